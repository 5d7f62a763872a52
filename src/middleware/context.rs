//! What the layer leaves in a request's extensions for guards, extractors and handlers.

use std::sync::Arc;

use bytes::Bytes;
#[cfg(feature = "client")]
use http::Request;
use http::{Extensions, Response};

use crate::answer::RequestHead;
#[cfg(feature = "client")]
use crate::middleware::bearer;
use crate::middleware::bound::Bound;
use crate::middleware::conditions::Conditions;
use crate::middleware::fault::{not_bound, settle};
#[cfg(feature = "dpop")]
use crate::middleware::proof::{Proved, Sent};
#[cfg(feature = "mcp")]
use crate::middleware::routes::access::{Rule, Rules};
use crate::middleware::routes::missing::{insufficient_scope, no_credentials};
use crate::middleware::settings::{Settings, refuse_without_layer};
use crate::middleware::tally::{Counting, Tally};
#[cfg(feature = "mcp")]
use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::refusal::{Misconfigured, Refusal};
use crate::scope::{Implications, Requirement, ScopeSet};
#[cfg(feature = "mcp")]
use crate::token::Claims;
use crate::token::{AccessToken, ErasedToken, Lifetime};
#[cfg(feature = "client")]
use crate::token::{CallerToken, KeptText};

const NO_LAYER: &str = "the request didn't come through a BearerAuthLayer: put \
                        .layer(BearerAuthLayer::new(validator)) around what needs a token";

#[cfg(feature = "axum")]
const OTHER_CLAIMS: &str = "the handler asks for another type of claims than the layer's validator reads: \
                            use the same type for both";

/// What the layer leaves in a request's extensions: the token, if there was one, and the settings and the
/// validator that accepted the request.
#[derive(Clone)]
struct Authenticated {
    token: Option<ErasedToken>,
    by: Arc<dyn HasSettings>,
    tally: Tally,
    #[cfg(feature = "dpop")]
    proved: Option<Arc<Proved>>,
}

/// The layer that accepted a request, for any type of claims.
pub(crate) trait HasSettings: Send + Sync {
    fn settings(&self) -> &Settings;
}

impl<C: Send + Sync + 'static> AccessToken<C> {
    /// Returns the token of a request that came through a
    /// [`BearerAuthLayer`](crate::BearerAuthLayer), from the request's extensions.
    /// `None` if it came without a token where none is needed, if there is no such layer, or if
    /// its validator reads another type of claims than `C`.
    pub fn from_extensions(extensions: &Extensions) -> Option<Self> {
        Self::from_erased(extensions.get::<Authenticated>()?.token.as_ref()?)
    }
}

/// The token itself, if it is kept: stored separately, since most requests have none.
#[cfg(feature = "client")]
#[derive(Clone)]
struct Kept(KeptText);

#[cfg(feature = "client")]
impl CallerToken {
    /// Returns the token of a request that came through a [`BearerAuthLayer`](crate::BearerAuthLayer)
    /// which [keeps it](crate::BearerAuthLayer::keep_for_exchange), from the request's extensions.
    ///
    /// `None` if it came without a token where none is needed, if there is no such layer, or if it
    /// doesn't keep tokens.
    pub fn from_extensions(extensions: &Extensions) -> Option<Self> {
        let token = extensions.get::<Authenticated>()?.token.as_ref()?;
        let Kept(text) = extensions.get()?;
        Some(Self::new(token.clone(), KeptText::clone(text)))
    }
}

/// What the layer left in a request's extensions, for guards and extractors within it.
pub(crate) struct Context<'a> {
    authenticated: &'a Authenticated,
    settings: &'a Settings,
}

impl<'a> Context<'a> {
    /// Keeps the token itself of a request that is accepted with one.
    #[cfg(feature = "client")]
    #[cold]
    pub(crate) fn keep<B>(request: &mut Request<B>) {
        if let Some(text) = bearer::accepted(request.headers()) {
            let text = Arc::new(text.to_vec().into());
            request.extensions_mut().insert(Kept(text));
        }
    }

    /// Leaves the token, or its absence, and the layer that accepted the request.
    #[inline]
    pub(crate) fn leave<C: Send + Sync + 'static>(
        extensions: &mut Extensions,
        token: Option<AccessToken<C>>,
        by: Arc<dyn HasSettings>,
        tally: Tally,
        #[cfg(feature = "dpop")] proved: Option<Arc<Proved>>,
    ) {
        let outer = extensions.insert(Authenticated {
            token: token.map(AccessToken::erase),
            by,
            tally,
            #[cfg(feature = "dpop")]
            proved,
        });
        // Most requests come through one layer, and then there is nothing to drop.
        if let Some(_outer) = outer {
            // What an outer layer has kept belongs to that layer, whose token may be another.
            #[cfg(feature = "client")]
            extensions.remove::<Kept>();
        }
    }

    /// Returns the token of a request whose proof an outer layer with the same validator has already
    /// accepted, and so used up.
    #[cfg(feature = "dpop")]
    pub(crate) fn proved<C: Send + Sync + 'static>(
        extensions: &Extensions,
        sent: &Sent,
        validator: usize,
    ) -> Option<AccessToken<C>> {
        let outer = extensions.get::<Authenticated>()?;
        let (before, by) = outer.proved.as_deref()?;
        let is_same = *by == validator && before.is(sent);
        is_same.then(|| AccessToken::from_erased(outer.token.as_ref()?))?
    }

    /// Begins to count a request, unless an outer layer does.
    pub(crate) fn counting(_extensions: &Extensions) -> Counting {
        #[cfg(feature = "metrics")]
        let outer = _extensions.get::<Authenticated>().map(|outer| &outer.tally);
        #[cfg(not(feature = "metrics"))]
        let outer = None;
        Counting::begin(outer)
    }

    /// Finds what was left. Without it, there is no layer, which is the operator's fault.
    pub(crate) fn find(extensions: &'a Extensions) -> Result<Self, Refusal> {
        let Some(authenticated) = extensions.get::<Authenticated>() else {
            return Err(Misconfigured::new(NO_LAYER).into());
        };
        Ok(Self { authenticated, settings: authenticated.by.settings() })
    }

    /// Returns the token, if the request has one.
    ///
    /// # Errors
    ///
    /// If its claims are of another type.
    #[cfg(feature = "axum")]
    pub(crate) fn token<C: Send + Sync + 'static>(
        &self,
    ) -> Result<Option<AccessToken<C>>, Refusal> {
        let Some(erased) = &self.authenticated.token else {
            return Ok(None);
        };
        AccessToken::from_erased(erased).map(Some).ok_or_else(|| {
            let (asked, read) = (std::any::type_name::<C>(), erased.claims_type());
            Misconfigured::between(OTHER_CLAIMS, asked, read).into()
        })
    }

    /// Returns the token's claims, if the request has one.
    #[cfg(feature = "mcp")]
    pub(crate) fn claims(&self) -> Option<&'a Claims> {
        self.authenticated.token.as_ref().map(ErasedToken::claims)
    }

    /// Returns the token, of any type of claims.
    #[cfg(feature = "mcp")]
    pub(crate) const fn erased(&self) -> Option<&'a ErasedToken> {
        self.authenticated.token.as_ref()
    }

    /// Returns which scopes imply others.
    #[cfg(feature = "mcp")]
    pub(crate) const fn implications(&self) -> &'a Implications {
        &self.settings.terms.implications
    }

    /// Decides whether a rule admits the request.
    #[cfg(feature = "mcp")]
    pub(crate) fn admit(&self, rule: &Rule) -> Result<(), Refusal> {
        let admitted = Rules::from(rule).admit(self.claims(), &self.settings.terms);
        let needs_key = rule.needs_key(self.settings.certificates);
        let token = self.claims();
        admitted.map_err(|refused| settle(refused.rejection, token, self.settings, needs_key))
    }

    /// Refuses a token, if there is one, that has expired while the request waited.
    #[cfg(feature = "mcp")]
    pub(crate) fn check_lifetime(&self) -> Result<(), Refusal> {
        match self.lifetime() {
            Some(lifetime) if lifetime.has_ended() => {
                let detail = Detail::Note("it was valid when the request began");
                Err(Rejection::with(RejectionKind::Expired, detail).into())
            }
            _ => Ok(()),
        }
    }

    /// Returns when the token ends, if the request has one.
    pub(crate) fn lifetime(&self) -> Option<&'a Lifetime> {
        self.authenticated.token.as_ref().map(ErasedToken::lifetime)
    }

    /// Returns the token if it meets a requirement, which is given as a check and, for the answer
    /// if it fails, as a value.
    pub(crate) fn require(
        &self,
        is_met_by: impl FnOnce(&ScopeSet, &Implications) -> bool,
        requirement: impl FnOnce() -> Requirement,
    ) -> Result<&'a ErasedToken, Refusal> {
        let implications = &self.settings.terms.implications;
        match &self.authenticated.token {
            None => {
                let needed = requirement().sufficient_for(&ScopeSet::default(), implications);
                Err(no_credentials(&Arc::new(needed)).into())
            }
            Some(token) if is_met_by(token.claims().scopes(), implications) => Ok(token),
            Some(token) => {
                Err(insufficient_scope(&requirement(), token.claims(), implications).into())
            }
        }
    }
}

impl<'a> Context<'a> {
    /// Returns the token if it meets a requirement and conditions.
    pub(crate) fn meet(
        &self,
        requirement: &Requirement,
        conditions: Option<&Conditions>,
    ) -> Result<&'a ErasedToken, Refusal> {
        if let (Some(token), Some(conditions)) = (&self.authenticated.token, conditions) {
            let checked = conditions.check(token.claims(), requirement, &self.settings.terms);
            checked.map_err(|unmet| settle(unmet, Some(token.claims()), self.settings, false))?;
        }
        self.require(
            |granted, implications| requirement.is_met_by(granted, implications),
            || requirement.clone(),
        )
    }

    /// Refuses a token, if there is one, that isn't bound though it must be.
    pub(crate) fn check_bound(&self, bound: Bound) -> Result<(), Refusal> {
        match &self.authenticated.token {
            Some(token) if !bound.is_met_by(token.claims()) => {
                Err(not_bound(self.settings, bound.needs_key(self.settings.certificates)))
            }
            _ => Ok(()),
        }
    }

    /// Copies what was left in one request to another.
    #[cfg(feature = "axum")]
    pub(crate) fn hand_on(from: &Extensions, to: &mut Extensions) {
        if let Some(authenticated) = from.get::<Authenticated>() {
            to.insert(authenticated.clone());
        }
        #[cfg(feature = "client")]
        if let Some(kept) = from.get::<Kept>() {
            to.insert(kept.clone());
        }
    }
}

/// Renders a refusal as the layer would that the request came through, if it did.
pub(crate) fn refuse(
    refusal: Refusal,
    extensions: &Extensions,
    request: RequestHead<'_>,
) -> Response<Bytes> {
    refuse_where(Bound::Nothing, refusal, extensions, request)
}

/// The same, where tokens must be bound.
pub(crate) fn refuse_where(
    bound: Bound,
    refusal: Refusal,
    extensions: &Extensions,
    request: RequestHead<'_>,
) -> Response<Bytes> {
    match Context::find(extensions) {
        Ok(context) => {
            let Authenticated { token, tally, .. } = context.authenticated;
            tally.refuse(&refusal);
            if token.is_some() {
                context.settings.summary.not_accepted();
            }
            // A token that is bound to a key was accepted with a proof.
            let proved = token.as_ref().is_some_and(|it| it.claims().key_thumbprint().is_some());
            let needs_key = bound.needs_key(context.settings.certificates);
            let asked = context.settings.asked(&refusal, proved, needs_key);
            context.settings.refuse(refusal, None, None, asked, request)
        }
        Err(_) => refuse_without_layer(refusal, request),
    }
}
