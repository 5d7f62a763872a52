//! The conditions of a route, a guard or a handler, and the order in which they refuse.

use std::sync::Arc;
#[cfg(feature = "axum")]
use std::time::Duration;

use crate::middleware::conditions::claim_rule::ClaimRule;
use crate::middleware::conditions::login::Login;
use crate::middleware::conditions::terms::Terms;
use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::scope::{Requirement, ScopeSet};
use crate::text::{Excerpt, any_of};
use crate::token::Claims;

/// How many of the allowed values a refusal names.
const SHOWN: usize = 8;

/// Conditions on a request's token beside its scopes: how and when its user logged in (step-up, RFC 9470),
/// claims with certain values, the client that obtained it, and the issuer, if there are several.
///
/// They can be set on a route ([`Access::conditions`](crate::Access::conditions)), on a guard
/// ([`ScopeGuardLayer::conditions`](crate::ScopeGuardLayer::conditions)), for all requests of a layer
/// ([`BearerAuthLayer::conditions`](crate::BearerAuthLayer::conditions)), or required by a handler
/// (`Authorized`, feature `axum`).
///
/// | not met | answer |
/// |---|---|
/// | the issuer or the client isn't allowed, or a claim has no allowed value | 403 without a challenge: no other token of this kind would pass |
/// | a claim isn't [kept](crate::ValidatorBuilder::keep_claims) by the validator | 500, and the log names it: no token could meet the condition |
/// | the login is too old, or isn't of an accepted kind | 401 `insufficient_user_authentication`, with `acr_values`, `max_age` and the scopes of the request: what one new token must have |
/// | `acr` or `auth_time` is required and has a wrong type | 401 `invalid_token` |
///
/// A token of the client-credentials grant has no user, and so no login: where a login is required, it is
/// refused the same way, and no retry can help.
///
/// ```
/// use std::time::Duration;
/// use tower_bearer::middleware::Conditions;
/// use tower_bearer::{Access, RouteTable};
/// use http::Method;
///
/// let recent = Conditions::builder()
///     .acr_values(["phr", "mfa"])
///     .max_auth_age(Duration::from_secs(300))
///     .claim("email_verified", true) // of those that the validator keeps
///     .build()?;
/// let routes = RouteTable::builder()
///     .route(Method::POST, "/payments", Access::scope("payments").conditions(&recent))
///     .build()?;
/// # Ok::<(), tower_bearer::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    inner: Arc<Inner>,
}

#[derive(Debug, PartialEq)]
struct Inner {
    login: Login,
    /// For challenges.
    acr_values: Arc<str>,
    claims: Vec<ClaimRule>,
    clients: Option<Vec<String>>,
    issuers: Option<Vec<String>>,
    /// What was set before this.
    before: Option<Conditions>,
}

impl Conditions {
    pub(crate) fn new(
        login: Login,
        claims: Vec<ClaimRule>,
        clients: Option<Vec<String>>,
        issuers: Option<Vec<String>>,
    ) -> Self {
        let acr_values = login.acr_values.join(" ").into();
        let before = None;
        Self { inner: Arc::new(Inner { login, acr_values, claims, clients, issuers, before }) }
    }

    /// A token of this issuer.
    pub(crate) fn of_issuer(issuer: &str) -> Self {
        Self::new(Login::default(), Vec::new(), None, Some(vec![issuer.to_owned()]))
    }

    /// A login at most this long ago.
    #[cfg(feature = "axum")]
    pub(crate) fn recent(max_age: Duration) -> Self {
        let login = Login { max_age: Some(max_age), ..Login::default() };
        Self::new(login, Vec::new(), None, None)
    }

    /// Requires what others require, too.
    pub(crate) fn and(&self, before: Option<&Self>) -> Self {
        let Some(before) = before else { return self.clone() };
        let Inner { login, acr_values, claims, clients, issuers, before: earlier } = &*self.inner;
        let before = earlier.as_ref().map_or_else(|| before.clone(), |it| it.and(Some(before)));
        Self {
            inner: Arc::new(Inner {
                login: login.clone(),
                acr_values: Arc::clone(acr_values),
                claims: claims.clone(),
                clients: clients.clone(),
                issuers: issuers.clone(),
                before: Some(before),
            }),
        }
    }

    /// Returns the one issuer whose tokens are accepted, if there is only one.
    #[cfg(feature = "introspection")]
    pub(crate) fn issuer(&self) -> Option<&str> {
        match self.inner.issuers.as_deref() {
            Some([issuer]) => Some(issuer),
            _ => self.inner.before.as_ref().and_then(Self::issuer),
        }
    }

    /// Checks a token, of which a request also requires these scopes.
    ///
    /// Conditions that no new token could meet come first; then those that a new login would meet, which name
    /// the scopes, so that one round trip is enough.
    pub(crate) fn check(
        &self,
        claims: &Claims,
        requirement: &Requirement,
        terms: &Terms,
    ) -> Result<(), Rejection> {
        if let Some(before) = &self.inner.before {
            before.check(claims, requirement, terms)?;
        }
        let Inner { login, claims: rules, clients, issuers, .. } = &*self.inner;
        if let Some(issuers) = issuers {
            require_issuer(claims, issuers)?;
        }
        if let Some(clients) = clients
            && !claims.client_id().is_some_and(|id| clients.iter().any(|allowed| allowed == id))
        {
            let allowed = any_of(clients.iter().map(|id| Excerpt::new(id)), SHOWN).into();
            let presented = claims.client_id().map(Excerpt::new);
            let detail = Detail::Client { allowed, presented };
            return Err(Rejection::with(RejectionKind::WrongClient, detail));
        }
        rules.iter().try_for_each(|rule| rule.check(claims))?;
        if login.is_any() || login.check(claims, terms)?.is_some() {
            return Ok(());
        }
        let scopes = requirement.sufficient_for(claims.scopes(), terms);
        Err(self.log_in_again(scopes))
    }

    fn log_in_again(&self, scopes: ScopeSet) -> Rejection {
        let Inner { login, acr_values, .. } = &*self.inner;
        let detail = Detail::Login {
            acr_values: Arc::clone(acr_values),
            max_age: login.max_age,
            scopes: Arc::new(scopes),
        };
        Rejection::with(RejectionKind::InsufficientLogin, detail)
    }
}

/// Refuses a token of none of these issuers.
pub(crate) fn require_issuer<T: AsRef<str>>(
    claims: &Claims,
    issuers: &[T],
) -> Result<(), Rejection> {
    if issuers.iter().any(|issuer| claims.is_of_issuer(issuer.as_ref())) {
        return Ok(());
    }
    let known = any_of(issuers.iter().map(|issuer| Excerpt::new(issuer.as_ref())), SHOWN).into();
    let detail = Detail::Issuer { known, presented: Excerpt::new(claims.issuer()) };
    Err(Rejection::with(RejectionKind::IssuerNotAllowed, detail))
}
