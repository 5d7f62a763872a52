//! Tokens on behalf of callers: fetched by exchange or assertion, and cached for each caller's token.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::grant::builder::GrantBuilder;
use crate::client::grant::definition::{Caller, Grant};
use crate::client::grant::error::{TokenError, TokenErrorKind};
use crate::client::grant::kind::OnBehalfOf;
use crate::client::grant::on_behalf_error::OnBehalfError;
use crate::client::tokens::callers::Callers;
use crate::client::tokens::client::TokenClient;
use crate::client::tokens::core::Core;
use crate::client::tokens::subjects::Subjects;
use crate::client::tokens::token::Token;
use crate::client::tokens::wait;
use crate::clock::{Clock, monotonic};
use crate::error::ConfigError;
use crate::telemetry::count;
use crate::token::CallerToken;

/// The default of how many callers' tokens are remembered.
const CAPACITY: usize = 10_000;

/// Gets tokens for one target on behalf of callers: by an exchange of their tokens (RFC 8693), or with
/// them as assertions (RFC 7523).
///
/// A token that was obtained for a caller's token is used only for requests with that very token, and only
/// while both are valid. It is fetched once however many such requests wait. The caller's token is sent to the
/// authorization server of the grant and nowhere else, and the token in return is never replaced by one that
/// the service has for itself. Clones share the cache.
///
/// A refusal is cached for five seconds: for that caller, unless this client's own credentials are refused
/// (`invalid_client`) or can't be read; that stands for all callers who would have to wait for a token. One who
/// has a token is given it as long as it serves.
///
/// While the authorization server gives no answers, five requests in a row, about one a second is sent there;
/// calls that would have to wait for others fail at once, with the time until the next.
///
/// With a key ([`GrantBuilder::dpop`]), tokens are bound to it, and each request needs a proof besides the
/// token: [`authorize`](Self::authorize) writes both.
///
/// ```
/// # #[cfg(feature = "axum")]
/// # fn example(validator: tower_bearer::Validator) -> Result<(), tower_bearer::ConfigError> {
/// use axum::{Router, extract::State, routing::get};
/// use tower_bearer::BearerAuthLayer;
/// use tower_bearer::client::{ClientAuth, Grant, OnBehalf, OnBehalfOf, TokenExchange};
/// use tower_bearer::middleware::{Authorized, TokenRejection};
///
/// let orders = Grant::discover("https://issuer.example", ClientAuth::basic("shop", "s3cret"))
///     .audience("orders")
///     .scope("orders:read")
///     .on_behalf(OnBehalfOf::token_exchange(TokenExchange::new()))?;
///
/// async fn list(
///     State(orders): State<OnBehalf>,
///     caller: Authorized,
/// ) -> Result<String, TokenRejection> {
///     let token = caller.on_behalf(&orders).await?; // answers 401, 403 or 503 if there is none
///     // … a request to the one service that it is for, with `token.header_value()`, or
///     // `orders.authorize(…)` for a grant with a DPoP key.
/// #   let _ = token;
///     Ok("orders".into())
/// }
///
/// let app: Router = Router::new()
///     .route("/orders", get(list))
///     .layer(BearerAuthLayer::new(validator).keep_for_exchange())
///     .with_state(orders);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct OnBehalf {
    core: Arc<Core>,
    grant: Grant,
    subjects: Arc<Subjects>,
    callers: Arc<Callers>,
}

impl OnBehalf {
    /// Sets how many callers' tokens are remembered, at least one; 10,000 by default. Least recently used
    /// entries are evicted. Tokens that were fetched before this call are discarded.
    #[must_use]
    pub fn capacity(self, callers: usize) -> Self {
        let subjects = Subjects::new(callers.max(1), Arc::clone(&self.callers));
        Self { subjects: Arc::new(subjects), ..self }
    }

    /// Returns a token on behalf of the caller.
    ///
    /// # Errors
    ///
    /// [`OnBehalfError::CallerRefused`], [`Forbidden`](OnBehalfError::Forbidden) or
    /// [`Unavailable`](OnBehalfError::Unavailable), whose [`status`](OnBehalfError::status) is the status to
    /// answer with.
    pub async fn token(&self, caller: &CallerToken) -> Result<Token, OnBehalfError> {
        let (digest, now) = (caller.digest(), monotonic());
        // A handler may have kept the caller's token for a while. Only the wall clock knows of a machine's sleep.
        if self.has_expired(caller) {
            return Err(self.answer(TokenError::new(TokenErrorKind::CallerExpired)));
        }
        let since = now.saturating_duration_since(self.core.started);
        if let Some(token) = self.subjects.fresh(digest, since, now) {
            count!("tower_bearer_client_cache_hits_total", "cache" => "l1");
            return Ok(token);
        }
        self.fetch(caller, None, since, now).await.map_err(|error| self.answer(error))
    }

    /// Returns a token that replaces this one of the caller, which the server at `origin` has refused; `None` if
    /// there is no other, or if that origin refuses new tokens as well.
    ///
    /// If the caller's token was replaced meanwhile, that is the newer one. Otherwise another is fetched, once for
    /// all calls with the same caller's token. Until that succeeds, [`token`](Self::token) keeps returning the
    /// refused one, as [`TokenSource::renew`](crate::client::TokenSource::renew) has it. The refusals of one
    /// origin, such as `https://orders.example` (the rest of a URL makes no difference), cause at most one new
    /// token for each caller's token in 30 seconds.
    ///
    /// ```
    /// use tower_bearer::client::{CallerToken, OnBehalf, OnBehalfError, Token};
    ///
    /// # async fn send(_: &Token) -> http::Response<()> { http::Response::new(()) }
    /// async fn list(
    ///     orders: &OnBehalf,
    ///     caller: &CallerToken,
    /// ) -> Result<http::Response<()>, OnBehalfError> {
    ///     let token = orders.token(caller).await?;
    ///     let answer = send(&token).await;
    ///     if answer.status() == 401
    ///         && let Some(newer) = orders.renew(caller, &token, "https://orders.example").await
    ///     {
    ///         return Ok(send(&newer).await);
    ///     }
    ///     Ok(answer)
    /// }
    /// ```
    pub async fn renew(
        &self,
        caller: &CallerToken,
        refused: &Token,
        origin: &str,
    ) -> Option<Token> {
        if self.has_expired(caller) {
            return None;
        }
        let now = monotonic();
        let since = now.saturating_duration_since(self.core.started);
        let entry = self.subjects.entry(caller.digest(), since);
        if !wait::refuse_at(&entry, refused, origin) {
            return None;
        }
        let other = self.fetch(caller, Some(refused), since, now).await;
        other.ok().filter(|token| !token.is_same(refused))
    }

    fn has_expired(&self, caller: &CallerToken) -> bool {
        caller.expires_at().is_some_and(|expires| expires <= self.core.clock.now())
    }

    #[cold]
    fn answer(&self, error: TokenError) -> OnBehalfError {
        OnBehalfError::from(error.about(self.grant.party()))
    }

    /// Gets a token of the caller, other than the one that was refused.
    #[cold]
    async fn fetch(
        &self,
        caller: &CallerToken,
        refused: Option<&Token>,
        since: Duration,
        now: Instant,
    ) -> Result<Token, TokenError> {
        let is_another = |token: &Token| refused.is_none_or(|refused| !refused.is_same(token));
        if let Some(error) = self.callers.refusal(now) {
            // It isn't replaced now, which would fail.
            let token = self.subjects.usable(caller.digest(), since, now);
            return token.filter(is_another).ok_or(error);
        }
        let entry = self.subjects.entry(caller.digest(), since);
        let grant = self.grant.for_caller(Caller::new(&self.grant, caller));
        let token = wait::token(&self.core, &grant, &entry, refused, None).await?;
        // It may have expired meanwhile.
        if self.has_expired(caller) {
            return Err(TokenError::new(TokenErrorKind::CallerExpired));
        }
        Ok(token)
    }

    /// Discards refusals, as [`TokenSource::reset`](crate::client::TokenSource::reset) does.
    pub fn reset(&self) {
        self.grant.definition().reset_sources();
        // Whoever comes between these waits for a fetch that began after the reset.
        self.subjects.reset();
        self.callers.reset();
    }

    /// Returns how many callers' tokens are remembered.
    pub fn cached_callers(&self) -> usize {
        self.subjects.len()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.core.clock
    }

    /// Returns the grant, without any caller.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }
}

impl fmt::Debug for OnBehalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnBehalf").field("grant", &self.grant).finish_non_exhaustive()
    }
}

impl TokenClient {
    /// Returns an [`OnBehalf`], which gets tokens of this grant on behalf of callers. It has its own cache, and
    /// uses this client's settings for its fetches.
    ///
    /// # Errors
    ///
    /// Those of [`GrantBuilder::build`].
    pub fn on_behalf(&self, grant: GrantBuilder, how: OnBehalfOf) -> Result<OnBehalf, ConfigError> {
        let grant = grant.for_callers(how).build()?;
        let callers = Arc::<Callers>::default();
        let subjects = Arc::new(Subjects::new(CAPACITY, Arc::clone(&callers)));
        Ok(OnBehalf { core: Arc::clone(self.core()), grant, subjects, callers })
    }
}

impl GrantBuilder {
    /// Builds the grant, and an [`OnBehalf`] that gets its tokens on behalf of callers.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build) and of [`TokenSource::new`](crate::client::TokenSource::new).
    pub fn on_behalf(self, how: OnBehalfOf) -> Result<OnBehalf, ConfigError> {
        TokenClient::builder().capacity(1).build()?.on_behalf(self, how)
    }
}
