//! Decides about a request: the validator about its token, the settings about what the route needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::AUTHORIZATION;
use http::{Request, Response};
use serde::de::DeserializeOwned;

use crate::answer::Absent;
use crate::middleware::bearer::{self, Credentials};
use crate::middleware::body::RefusalBody;
use crate::middleware::context::{Context, HasSettings};
use crate::middleware::fault::settle;
#[cfg(feature = "dpop")]
use crate::middleware::proof::{self, DPOP, Proved, Sent};
use crate::middleware::routes::access::{NotAdmitted, Rules};
use crate::middleware::settings::{self, Settings};
use crate::middleware::tally::Tally;
use crate::progress::Progress;
use crate::refusal::{Refusal, RejectionKind};
use crate::scope::ScopeSet;
use crate::syntax::is_b64token;
use crate::token::{AccessToken, Claims};
use crate::validator::{Presented, Validator};

pub(crate) struct Authority<C> {
    pub(crate) validator: Validator<C>,
    pub(crate) settings: Settings,
    /// Whether what is in force was logged.
    announced: AtomicBool,
}

/// Whether a request passes, with its token if it needs one.
pub(crate) type Decided<C> = Result<Option<AccessToken<C>>, Refused>;

/// Why a request doesn't pass.
pub(crate) enum Refused {
    Refusal {
        refusal: Refusal,
        hidden: Option<Absent>,
        /// The scopes that the challenge names, if the refusal doesn't.
        needed: Option<Arc<ScopeSet>>,
        /// Whether the route accepts only tokens that are bound to a key.
        needs_key: bool,
    },
    /// The request is for the metadata of this layer, which answers it.
    Metadata,
}

impl<T: Into<Refusal>> From<T> for Refused {
    fn from(refusal: T) -> Self {
        Self::Refusal { refusal: refusal.into(), hidden: None, needed: None, needs_key: false }
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Authority<C> {
    /// Decides about a request, and marks its credentials as sensitive, so that they are not printed. If the
    /// token's verdict comes later, [`admit`](Self::admit) continues with it.
    pub(crate) fn judge<B>(
        &self,
        request: &mut Request<B>,
    ) -> Progress<AccessToken<C>, Decided<C>> {
        let rules = self.settings.rules(request);
        let is_preflight = self.settings.lets_preflight_pass(request);
        #[cfg(feature = "dpop")]
        let has_proof = self.validator.dpop().is_some() && proof::hide(request.headers_mut());
        // From every request, so that no handler trusts it.
        #[cfg(feature = "mtls")]
        let field = self.take_field(request);
        let credentials = bearer::credentials(request.headers_mut());
        let Some(rules) = &rules else {
            return Progress::Ready(Err(self.without_rules(request)));
        };
        if rules.are_public() || is_preflight {
            return Progress::Ready(Ok(None));
        }
        let authenticated = match credentials {
            Credentials::Refused(kind) => return Progress::Ready(Err(self.refused(kind, rules))),
            #[cfg(not(feature = "dpop"))]
            Credentials::None => None,
            #[cfg(feature = "dpop")]
            Credentials::None => self.authenticate_proved(
                request,
                rules,
                #[cfg(feature = "mtls")]
                &field,
            ),
            Credentials::Token(token) => Some(match self.validator.recognize(token) {
                // Where there may be proofs, no token is recognized by itself.
                Some(token) => Progress::Ready(Ok(token)),
                #[cfg(feature = "dpop")]
                None if has_proof => {
                    #[cfg(feature = "mtls")]
                    let presented = self.presented(request, &field);
                    #[cfg(not(feature = "mtls"))]
                    let presented = Presented::bearer(token);
                    proof::ignored(self.authenticate(&presented, rules))
                }
                #[cfg(feature = "mtls")]
                None if self.validator.mtls().is_some() => {
                    self.authenticate(&self.presented(request, &field), rules)
                }
                None => self.authenticate(&Presented::bearer(token), rules),
            }),
        };
        let token = match authenticated {
            None => None,
            Some(Progress::Ready(Ok(token))) => Some(token),
            Some(Progress::Ready(Err(refusal))) => {
                return Progress::Ready(Err(self.refused(refusal, rules)));
            }
            Some(Progress::Pending(token)) => return Progress::Pending(token),
        };
        match self.admit_by(rules, request, token.as_deref()) {
            Ok(()) => Progress::Ready(Ok(token)),
            Err(refused) => Progress::Ready(Err(refused)),
        }
    }

    /// Decides about a request whose token was accepted after a wait.
    pub(crate) fn admit<B>(
        &self,
        request: &mut Request<B>,
        token: &AccessToken<C>,
    ) -> Result<(), Refused> {
        let rules = self.settings.rules(request).ok_or(RejectionKind::AmbiguousPath)?;
        self.admit_by(&rules, request, Some(token))
    }

    /// Refuses a request whose token wasn't accepted after a wait.
    pub(crate) fn refused_after_waiting<B>(
        &self,
        refusal: impl Into<Refusal>,
        request: &mut Request<B>,
    ) -> Refused {
        match self.settings.rules(request) {
            Some(rules) => self.refused(refusal, &rules),
            None => refusal.into().into(),
        }
    }

    fn refused(&self, refusal: impl Into<Refusal>, rules: &Rules<'_>) -> Refused {
        let (refusal, needed) = (refusal.into(), self.settings.needed(rules));
        let needs_key = self.settings.needs_key(rules);
        Refused::Refusal { refusal, hidden: None, needed, needs_key }
    }

    /// Decides about a request for which there are no rules.
    fn without_rules<B>(&self, request: &Request<B>) -> Refused {
        match self.settings.map.published() {
            Some(published) if published.is_asked_for(request) => Refused::Metadata,
            _ => RejectionKind::AmbiguousPath.into(),
        }
    }

    pub(crate) fn authenticate(
        &self,
        presented: &Presented<'_>,
        _rules: &Rules<'_>,
    ) -> Progress<AccessToken<C>> {
        #[cfg(feature = "introspection")]
        let presented = &match self.validator.asks_by_route() {
            true => Presented { issuer: _rules.issuer(), ..*presented },
            false => *presented,
        };
        match self.validator.authenticate(presented) {
            // Whatever could be decoded is a b64token: only refused tokens need this check.
            Progress::Ready(Err(_)) if !is_b64token(presented.token) => {
                Progress::Ready(Err(RejectionKind::MalformedCredentials.into()))
            }
            progress => progress,
        }
    }

    #[inline]
    fn admit_by<B>(
        &self,
        rules: &Rules<'_>,
        request: &Request<B>,
        token: Option<&Claims>,
    ) -> Result<(), Refused> {
        match rules.admit(token, &self.settings.terms) {
            Ok(()) => Ok(()),
            Err(refused) => Err(self.not_admitted(refused, rules, request, token)),
        }
    }

    /// Returns why a request isn't admitted that its rules refuse.
    #[cold]
    fn not_admitted<B>(
        &self,
        refused: NotAdmitted,
        rules: &Rules<'_>,
        request: &Request<B>,
        token: Option<&Claims>,
    ) -> Refused {
        let settings = &self.settings;
        let refused = settings.explain(refused, rules, request);
        let NotAdmitted { rejection, hidden, .. } = settings.conceal(refused, token);
        let any_needs_key = settings.any_needs_key(rules);
        let refusal = settle(rejection, token, settings, any_needs_key);
        let needs_key = settings.needs_key(rules);
        Refused::Refusal { refusal, hidden, needed: None, needs_key }
    }

    /// Prepares a request for the inner service.
    pub(crate) fn hand_over<B>(
        self: &Arc<Self>,
        request: &mut Request<B>,
        token: Option<AccessToken<C>>,
        tally: &Tally,
    ) {
        tally.let_in(token.is_some());
        if token.is_some() {
            self.settings.summary.accepted();
        }
        // The reference count that the service's clones use as well: threads share no other but the token's.
        let by = Arc::clone(self) as Arc<dyn HasSettings>;
        #[cfg(feature = "dpop")]
        let proved = match &token {
            Some(token) if token.is_bound() => self.proved(request, token),
            _ => None,
        };
        #[cfg(feature = "client")]
        let keep = self.settings.keep && token.is_some();
        Context::leave(
            request.extensions_mut(),
            token,
            by,
            tally.clone(),
            #[cfg(feature = "dpop")]
            proved,
        );
        #[cfg(feature = "client")]
        if keep {
            Context::keep(request);
        }
        if !self.settings.forward {
            request.headers_mut().remove(AUTHORIZATION);
            #[cfg(feature = "dpop")]
            if self.validator.dpop().is_some() {
                request.headers_mut().remove(DPOP);
            }
        }
    }
}

impl<C> Authority<C> {
    /// Returns what was sent with a token that is bound to a key, and which validator accepted it.
    #[cfg(feature = "dpop")]
    #[cold]
    fn proved<B>(&self, request: &Request<B>, token: &AccessToken<C>) -> Option<Arc<Proved>> {
        token.key_thumbprint()?;
        let sent = Sent::read(request.headers())?.ok()?;
        Some(Arc::new((sent, self.validator.address())))
    }

    pub(crate) const fn new(validator: Validator<C>, settings: Settings) -> Self {
        Self { validator, settings, announced: AtomicBool::new(false) }
    }

    /// Logs what is in force, once.
    #[inline]
    pub(crate) fn announce(&self) {
        let is_told = || {
            self.announced.load(Ordering::Relaxed) || self.announced.swap(true, Ordering::Relaxed)
        };
        if cfg!(feature = "tracing") && !is_told() {
            self.settings.announce(&self.validator.in_force());
        }
    }

    pub(crate) fn refuse<B>(
        &self,
        refused: impl Into<Refused>,
        request: &Request<B>,
        tally: &Tally,
    ) -> Response<RefusalBody> {
        let (refusal, hidden, needed, needs_key) = match refused.into() {
            Refused::Refusal { refusal, hidden, needed, needs_key } => {
                (refusal, hidden, needed, needs_key)
            }
            Refused::Metadata => {
                tally.let_in(false);
                let published = self.settings.map.published();
                let answer = published.and_then(|published| published.answer(request));
                return answer.unwrap_or_default().map(RefusalBody::from);
            }
        };
        tally.refuse(&refusal);
        let is_sized = hidden.is_none() || !settings::may_be_routed(request);
        #[cfg(feature = "dpop")]
        let (proved, nonce) = (proof::is_used(request.headers()), self.nonce_for(&refusal));
        #[cfg(not(feature = "dpop"))]
        let proved = false;
        let asked = self.settings.asked(&refusal, proved, needs_key);
        let needed = needed.as_deref();
        let response = self.settings.refuse(refusal, hidden, needed, asked, request.into());
        #[cfg(feature = "dpop")]
        let response = proof::with_nonce(response, nonce);
        response.map(|bytes| RefusalBody { bytes, is_sized })
    }
}

impl<C: Send + Sync + 'static> HasSettings for Authority<C> {
    fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl<C> Clone for Authority<C> {
    fn clone(&self) -> Self {
        Self::new(self.validator.clone(), self.settings.clone())
    }
}
