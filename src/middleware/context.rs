use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, Response};

use crate::answer::RequestHead;
use crate::middleware::conditions::Conditions;
#[cfg(feature = "dpop")]
use crate::middleware::proof::Sent;
#[cfg(feature = "mcp")]
use crate::middleware::routes::access::{Rule, Rules};
use crate::middleware::routes::missing::{insufficient_scope, no_credentials};
use crate::middleware::settings::{Settings, refuse_without_layer};
use crate::middleware::tally::{Counting, Tally};
use crate::refusal::{Misconfigured, Refusal};
use crate::scope::{Implications, Requirement, ScopeSet};
#[cfg(feature = "mcp")]
use crate::token::Claims;
use crate::token::{AccessToken, ErasedToken, Lifetime};

const NO_LAYER: &str = "the request didn't come through a BearerAuthLayer: put \
                        .layer(BearerAuthLayer::new(validator)) around what needs a token";

#[cfg(feature = "axum")]
const OTHER_CLAIMS: &str = "the handler asks for other claims than the layer's validator reads: \
                            use the same type for both";

/// What the layer leaves in a request's extensions: the token, if there was one, and who let the
/// request pass.
#[derive(Clone)]
struct Authenticated {
    token: Option<ErasedToken>,
    by: Arc<dyn HasSettings>,
    tally: Tally,
    /// What was sent with the scheme `DPoP`, and the address of the validator that accepted it.
    #[cfg(feature = "dpop")]
    proved: Option<Arc<(Sent, usize)>>,
}

/// Who let a request pass, of whatever type of claims.
pub(crate) trait HasSettings: Send + Sync {
    fn settings(&self) -> &Settings;
}

impl<C: Send + Sync + 'static> AccessToken<C> {
    /// Returns the token of a request that came through a
    /// [`BearerAuthLayer`](crate::BearerAuthLayer), from the request's extensions.
    ///
    /// `None` if it came without a token where none is needed, if there is no such layer, or if
    /// its validator reads another type of claims than `C`.
    pub fn from_extensions(extensions: &Extensions) -> Option<Self> {
        Self::from_erased(extensions.get::<Authenticated>()?.token.as_ref()?)
    }
}

/// What the layer left in a request's extensions, for guards and extractors within it.
pub(crate) struct Context<'a> {
    authenticated: &'a Authenticated,
    settings: &'a Settings,
}

impl<'a> Context<'a> {
    /// Leaves the token, or that there is none, and who let the request pass.
    pub(crate) fn leave<C: Send + Sync + 'static>(
        extensions: &mut Extensions,
        token: Option<AccessToken<C>>,
        by: Arc<dyn HasSettings>,
        tally: Tally,
        #[cfg(feature = "dpop")] proved: Option<(Sent, usize)>,
    ) {
        extensions.insert(Authenticated {
            token: token.map(AccessToken::erase),
            by,
            tally,
            #[cfg(feature = "dpop")]
            proved: proved.map(Arc::new),
        });
    }

    /// Returns the token of a request whose very proof a layer around has accepted, by the same
    /// validator: it was used up then.
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

    /// Begins to count a request, unless a layer around does.
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

    /// Returns the token, of whatever type of claims.
    #[cfg(feature = "mcp")]
    pub(crate) const fn erased(&self) -> Option<&'a ErasedToken> {
        self.authenticated.token.as_ref()
    }

    /// Returns which scopes imply others.
    #[cfg(feature = "mcp")]
    pub(crate) const fn implications(&self) -> &'a Implications {
        &self.settings.terms.implications
    }

    /// Decides whether the request may do what a rule is for.
    #[cfg(feature = "mcp")]
    pub(crate) fn admit(&self, rule: &Rule) -> Result<(), Refusal> {
        let admitted = Rules::from(rule).admit(self.claims(), &self.settings.terms);
        admitted.map_err(|refused| refused.rejection.into())
    }

    /// Returns when the token ends, if the request has one.
    pub(crate) fn lifetime(&self) -> Option<&'a Lifetime> {
        self.authenticated.token.as_ref().map(ErasedToken::lifetime)
    }

    /// Returns the token if it meets a requirement, which is given as a check and, for the answer
    /// to those who fail it, as itself.
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
            conditions.check(token.claims(), requirement, &self.settings.terms)?;
        }
        self.require(
            |granted, implications| requirement.is_met_by(granted, implications),
            || requirement.clone(),
        )
    }

    /// Refuses a token, if there is one, that isn't bound to a key though it must be.
    pub(crate) fn check_bound(&self, bound: bool) -> Result<(), Refusal> {
        match &self.authenticated.token {
            Some(token) if bound && token.claims().key_thumbprint().is_none() => {
                Err(self.settings.not_bound())
            }
            _ => Ok(()),
        }
    }

    /// Leaves what was left in one request in another.
    #[cfg(feature = "axum")]
    pub(crate) fn hand_on(from: &Extensions, to: &mut Extensions) {
        if let Some(authenticated) = from.get::<Authenticated>() {
            to.insert(authenticated.clone());
        }
    }
}

/// Answers a refusal as the layer would that the request came through, if it did.
pub(crate) fn refuse(
    refusal: Refusal,
    extensions: &Extensions,
    request: RequestHead<'_>,
) -> Response<Bytes> {
    refuse_where(false, refusal, extensions, request)
}

/// The same; `bound` says whether only tokens are accepted there that are bound to a key.
pub(crate) fn refuse_where(
    bound: bool,
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
            let asked = context.settings.asked(&refusal, proved, bound);
            context.settings.refuse(refusal, None, None, asked, request)
        }
        Err(_) => refuse_without_layer(refusal, request),
    }
}
