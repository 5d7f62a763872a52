//! The handle for the token of one grant: get it, report a refusal, reset failures.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use crate::client::grant::definition::Grant;
use crate::client::grant::error::TokenError;
use crate::client::tokens::cache::Entry;
use crate::client::tokens::core::Core;
use crate::client::tokens::token::Token;
use crate::client::tokens::wait;
use crate::clock::{Clock, monotonic};
use crate::telemetry::count;

/// Provides the token of one grant: the cached one, or a new one.
///
/// Clones share the token. See the [module](crate::client) for what happens when.
///
/// # Examples
///
/// For an HTTP client that isn't a tower service, with bearer tokens:
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
/// if answer.status() == 401 {
///     if let Some(newer) = tokens.renew(&token, "https://orders.example").await {
///         answer = send(request().header(AUTHORIZATION, newer.header_value()).body(())?).await?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// Tokens that are bound to a key need a proof in each request: [`authorize`](Self::authorize) writes token and
/// proof, and has an example.
///
/// With the crate `reqwest-middleware`, this is a `Middleware` that adds a token to requests to one origin. It
/// sends nothing again: for that, and for the nonces that a server may want in proofs, there is
/// [`AttachTokenLayer`](crate::client::AttachTokenLayer).
///
/// ```
/// use http::Extensions;
/// use reqwest::{Request, Response, Url};
/// use reqwest_middleware::{ClientBuilder, Error, Middleware, Next, Result};
/// use tower_bearer::client::TokenSource;
///
/// struct WithToken {
///     tokens: TokenSource,
///     /// An `https` URL of the only origin that gets a token.
///     orders: Url,
/// }
///
/// #[async_trait::async_trait]
/// impl Middleware for WithToken {
///     async fn handle(
///         &self,
///         mut request: Request,
///         extensions: &mut Extensions,
///         next: Next<'_>,
///     ) -> Result<Response> {
///         if request.url().origin() == self.orders.origin() {
///             let token = self.tokens.token().await.map_err(Error::middleware)?;
///             let url = request.url().as_str().parse().map_err(Error::middleware)?;
///             let method = request.method().clone();
///             // Writes the token, and the proof of one that is bound to a key.
///             let written = self.tokens.authorize(&token, &method, &url, request.headers_mut());
///             written.map_err(Error::middleware)?;
///         }
///         next.run(request, extensions).await
///     }
/// }
///
/// # fn example(tokens: TokenSource) -> std::result::Result<(), Box<dyn std::error::Error>> {
/// let with_token = WithToken { tokens, orders: Url::parse("https://orders.example")? };
/// let http = ClientBuilder::new(reqwest::Client::new()).with(with_token).build();
/// # Ok(())
/// # }
/// ```
///
/// A program without a runtime, such as a command-line tool, makes one for the call:
///
/// ```no_run
/// use tower_bearer::client::TokenSource;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let tokens = TokenSource::from_env()?;
///     let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
///     let token = runtime.block_on(tokens.token())?;
///     // … any blocking client sends `token.header_value()`.
/// #   let _ = token;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct TokenSource {
    core: Arc<Core>,
    grant: Grant,
    entry: Arc<Entry>,
}

impl TokenSource {
    pub(crate) fn assemble(core: Arc<Core>, grant: Grant, entry: Arc<Entry>) -> Self {
        Self { core, grant, entry }
    }

    /// Returns a token.
    ///
    /// While the cached token is usable, this doesn't wait, even if a newer one is being fetched. Otherwise
    /// it waits for the one fetch that all callers share; dropping the future doesn't end the fetch.
    ///
    /// # Errors
    ///
    /// If no token can be obtained. The same error is returned for a while without asking again, for
    /// longer if it is permanent.
    pub async fn token(&self) -> Result<Token, TokenError> {
        self.token_until(None).await
    }

    /// Returns a token, or [`TokenErrorKind::Deadline`](crate::client::TokenErrorKind::Deadline)
    /// at the caller's deadline. The fetch continues then.
    pub(crate) async fn token_until(&self, deadline: Option<Instant>) -> Result<Token, TokenError> {
        match self.cached(monotonic()) {
            Some(token) => Ok(token),
            None => {
                let token = wait::token(&self.core, &self.grant, &self.entry, None, deadline).await;
                token.map_err(|error| error.about(self.grant.party()))
            }
        }
    }

    /// Returns the cached token if it isn't due yet.
    pub(crate) fn cached(&self, now: Instant) -> Option<Token> {
        self.entry.touch(now.saturating_duration_since(self.core.started));
        let token = self.entry.fresh(now)?;
        count!("tower_bearer_client_cache_hits_total", "cache" => "l1");
        Some(token)
    }

    /// Returns a token that replaces this one, which the server at `origin` has refused; `None` if
    /// there is no other, or if that origin refuses new tokens as well.
    ///
    /// If the token was replaced meanwhile, that is the newer one. Otherwise another is fetched, once
    /// for all callers. Until that succeeds, [`token`](Self::token) keeps returning the refused one, which
    /// other servers may accept.
    ///
    /// The refusals of one origin, such as `https://orders.example` (the rest of a URL makes no difference),
    /// cause at most one new token in 30 seconds: if the next is refused too, the token isn't the cause, and
    /// the authorization server is spared.
    pub async fn renew(&self, refused: &Token, origin: &str) -> Option<Token> {
        if !wait::refuse_at(&self.entry, refused, origin) {
            return None;
        }
        self.other_than(refused, None).await
    }

    /// Records that `origin` has refused a token; returns `true` if another one may help.
    pub(crate) fn refuse(&self, token: &Token, origin: &str) -> bool {
        wait::refuse(&self.entry, token, origin)
    }

    /// Returns another token than one that was [refused](Self::refuse).
    pub(crate) async fn other_than(
        &self,
        refused: &Token,
        deadline: Option<Instant>,
    ) -> Option<Token> {
        let other = wait::token(&self.core, &self.grant, &self.entry, Some(refused), deadline);
        other.await.ok().filter(|token| !token.is_same(refused))
    }

    /// Starts to fetch another token than one that was [refused](Self::refuse).
    pub(crate) fn renew_in_background(&self) {
        wait::renew(&self.core, &self.grant, &self.entry);
    }

    /// Discards cached failures and refusals: the next call that needs a new token queries the
    /// secret's provider and the authorization server at once.
    ///
    /// For an operator who has fixed the cause: without it, an error is cached for up to five minutes. A
    /// usable token is kept.
    pub fn reset(&self) {
        self.entry.reset();
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.core.clock
    }

    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Returns the grant.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("grant", &self.grant).finish_non_exhaustive()
    }
}
