use std::fmt;
use std::sync::Arc;

use crate::client::cache::{Entry, Invalidation};
use crate::client::core::Core;
use crate::client::error::TokenError;
use crate::client::flight;
use crate::client::grant::Grant;
use crate::client::token::Token;
use crate::client::token_client::TokenClient;
use crate::clock::monotonic;
use crate::error::ConfigError;
use crate::telemetry::count;

/// Gives the token of one grant: the one that is kept, or a new one.
///
/// Clones share the token. See the [module](crate::client) for what happens when.
///
/// # Examples
///
/// For an HTTP client that no layer fits around:
///
/// ```no_run
/// use http::header::AUTHORIZATION;
/// use tower_bearer::client::TokenSource;
///
/// # async fn send(_: http::Request<()>) -> Result<http::Response<()>, std::io::Error> {
/// #     Ok(http::Response::new(()))
/// # }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = TokenSource::from_env()?;
/// let request = || http::Request::get("https://orders.example/orders/7");
///
/// let token = tokens.token().await?;
/// let mut answer = send(request().header(AUTHORIZATION, token.header_value()).body(())?).await?;
/// if answer.status() == 401 && tokens.invalidate(&token) {
///     let token = tokens.token().await?;
///     answer = send(request().header(AUTHORIZATION, token.header_value()).body(())?).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TokenSource {
    core: Arc<Core>,
    grant: Grant,
    entry: Arc<Entry>,
}

impl TokenSource {
    /// Creates a source with a cache and a transport of its own.
    ///
    /// # Errors
    ///
    /// If there is no transport: without the features `reqwest` and `aws-lc-rs`, one must be given
    /// to a [`TokenClient`].
    pub fn new(grant: Grant) -> Result<Self, ConfigError> {
        Ok(TokenClient::builder().capacity(1).build()?.source(&grant))
    }

    /// Creates a source from the environment: see [`Grant::from_env`].
    ///
    /// # Errors
    ///
    /// Those of [`Grant::from_env`], [`GrantBuilder::build`](crate::client::GrantBuilder::build) and
    /// [`new`](Self::new).
    pub fn from_env() -> Result<Self, ConfigError> {
        Grant::from_env()?.source()
    }

    pub(crate) fn assemble(core: Arc<Core>, grant: Grant, entry: Arc<Entry>) -> Self {
        Self { core, grant, entry }
    }

    /// Returns a token.
    ///
    /// As long as one serves, this doesn't wait, even if a newer one is being fetched. Otherwise it
    /// waits for the one fetch that all callers share; dropping the future doesn't end the fetch.
    ///
    /// # Errors
    ///
    /// If no token can be had. The same error is returned for a while without asking again, the
    /// longer the less likely it is to pass.
    pub async fn token(&self) -> Result<Token, TokenError> {
        match self.ready() {
            Some(token) => Ok(token),
            None => {
                let token = flight::token(&self.core, &self.grant, &self.entry).await;
                token.map_err(|error| error.about(self.grant.party()))
            }
        }
    }

    /// Returns the token if nothing need be done for it.
    pub(crate) fn ready(&self) -> Option<Token> {
        let now = monotonic();
        self.entry.touch(now.saturating_duration_since(self.core.started));
        let token = self.entry.fresh(now)?;
        count!("client_cache_hit_total", "cache" => "l1");
        Some(token)
    }

    /// Drops a token that a server has refused, unless it was replaced meanwhile; tells whether
    /// asking for another one makes sense.
    ///
    /// A token is dropped at most once in 30 seconds: if the next is refused too, the fault isn't
    /// the token's, and the authorization server must not pay for it.
    pub fn invalidate(&self, token: &Token) -> bool {
        let invalidation = self.entry.invalidate(token, monotonic());
        let label = match invalidation {
            Invalidation::AskAgain => "ask_again",
            Invalidation::Pointless => "pointless",
        };
        count!("client_token_invalidated_total", "result" => label);
        invalidation == Invalidation::AskAgain
    }

    /// Returns what the tokens are for.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("grant", &self.grant).finish_non_exhaustive()
    }
}
