//! Who decides about a request: the validator about its token, the settings about what a route needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "dpop")]
use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use serde::de::DeserializeOwned;

use crate::answer::Absent;
#[cfg(feature = "dpop")]
use crate::binding::dpop::target::Target;
#[cfg(feature = "dpop")]
use crate::metadata::full_uri;
use crate::middleware::bearer::{self, Credentials};
use crate::middleware::body::RefusalBody;
use crate::middleware::context::{Context, HasSettings};
#[cfg(feature = "dpop")]
use crate::middleware::proof::{self, DPOP, NONCE, Sent};
use crate::middleware::routes::access::{NotAdmitted, Rules};
use crate::middleware::settings::{self, Settings};
use crate::middleware::tally::Tally;
use crate::progress::Progress;
use crate::refusal::{Refusal, RejectionKind};
use crate::scope::ScopeSet;
use crate::syntax::is_b64token;
#[cfg(feature = "dpop")]
use crate::telemetry::count;
use crate::token::{AccessToken, Claims};
#[cfg(feature = "dpop")]
use crate::validator::Proof;
use crate::validator::{Presented, Validator};

pub(crate) struct Authority<C> {
    pub(crate) validator: Validator<C>,
    pub(crate) settings: Settings,
    /// Whether the log was told what is in force.
    announced: AtomicBool,
}

/// Whether a request passes, with its token if it needs one.
pub(crate) type Decided<C> = Result<Option<AccessToken<C>>, Refused>;

/// Why a request doesn't pass.
pub(crate) enum Refused {
    Refusal {
        refusal: Refusal,
        hidden: Option<Absent>,
        /// What the challenge names, if the refusal doesn't say.
        needed: Option<Arc<ScopeSet>>,
        /// Whether the route accepts tokens only that are bound to a key.
        bound: bool,
    },
    /// It asks for the metadata of this layer, which answers it.
    Metadata,
}

impl<T: Into<Refusal>> From<T> for Refused {
    fn from(refusal: T) -> Self {
        Self::Refusal { refusal: refusal.into(), hidden: None, needed: None, bound: false }
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Authority<C> {
    /// Decides about a request, and marks its credentials as sensitive, so that they are not printed. Where the
    /// token's verdict comes later, [`admit`](Self::admit) goes on with it.
    pub(crate) fn judge<B>(
        &self,
        request: &mut Request<B>,
    ) -> Progress<AccessToken<C>, Decided<C>> {
        let rules = self.settings.rules(request);
        let is_preflight = self.settings.lets_preflight_pass(request);
        #[cfg(feature = "dpop")]
        let has_proof = self.validator.dpop().is_some() && proof::hide(request.headers_mut());
        let credentials = bearer::credentials(request.headers_mut());
        let Some(rules) = rules else {
            return Progress::Ready(Err(self.without_rules(request)));
        };
        if rules.are_public() || is_preflight {
            return Progress::Ready(Ok(None));
        }
        let token = match credentials {
            #[cfg(feature = "dpop")]
            Credentials::None => match self.authenticate_proved(request) {
                None => None,
                Some(Progress::Ready(Ok(token))) => Some(token),
                Some(Progress::Ready(Err(refusal))) => {
                    return Progress::Ready(Err(self.refused(refusal, &rules)));
                }
                Some(Progress::Pending(token)) => return Progress::Pending(token),
            },
            #[cfg(not(feature = "dpop"))]
            Credentials::None => None,
            Credentials::Refused(kind) => {
                return Progress::Ready(Err(self.refused(kind, &rules)));
            }
            Credentials::Token(token) => {
                #[cfg(feature = "dpop")]
                if has_proof {
                    count!("tower_bearer_dpop_proofs_total", "result" => "ignored");
                }
                let presented = Presented::bearer(token);
                match self.validator.recognize(&presented) {
                    Some(token) => Some(token),
                    None => match self.authenticate(&presented) {
                        Progress::Ready(Ok(token)) => Some(token),
                        Progress::Ready(Err(refusal)) => {
                            return Progress::Ready(Err(self.refused(refusal, &rules)));
                        }
                        Progress::Pending(token) => return Progress::Pending(token),
                    },
                }
            }
        };
        let admitted = self.admit_by(&rules, request, token.as_deref());
        Progress::Ready(admitted.map(|()| token))
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
        let bound = self.settings.is_for_bound_tokens(rules);
        Refused::Refusal { refusal, hidden: None, needed, bound }
    }

    /// Decides about a request for which there are no rules.
    fn without_rules<B>(&self, request: &Request<B>) -> Refused {
        match self.settings.map.published() {
            Some(published) if published.is_asked_for(request) => Refused::Metadata,
            _ => RejectionKind::AmbiguousPath.into(),
        }
    }

    /// Decides about a token that is sent with the scheme `DPoP`; `None` if it isn't, or that scheme is
    /// unknown.
    #[cfg(feature = "dpop")]
    fn authenticate_proved<B>(&self, request: &Request<B>) -> Option<Progress<AccessToken<C>>> {
        self.validator.dpop()?;
        let sent = match Sent::read(request.headers())? {
            Ok(sent) => sent,
            Err(rejection) => return Some(Progress::Ready(Err(rejection.into()))),
        };
        if let Some(token) = Context::proved(request.extensions(), &sent, self.validator.address())
        {
            return Some(Progress::Ready(Ok(token)));
        }
        let target = Target::new(request.method(), full_uri(request), request.headers());
        let proof = Proof { text: sent.proof(), target };
        Some(self.authenticate(&Presented::proved(sent.token(), proof)))
    }

    fn authenticate(&self, presented: &Presented<'_>) -> Progress<AccessToken<C>> {
        match self.validator.authenticate(presented) {
            // What was decoded is a b64token: only what is refused need be looked at.
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
        let settings = &self.settings;
        rules.admit(token, &settings.terms).map_err(|refused| {
            let refused = settings.explain(refused, rules, request);
            let NotAdmitted { rejection, hidden, .. } = settings.conceal(refused, token);
            let refusal = match rejection.kind() {
                RejectionKind::TokenNotBound => settings.not_bound(),
                _ => rejection.into(),
            };
            let bound = settings.is_for_bound_tokens(rules);
            Refused::Refusal { refusal, hidden, needed: None, bound }
        })
    }

    /// Makes a request ready for the service within.
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
        // The count that the service's clones have as well: threads share no other but the token's.
        let by = Arc::clone(self) as Arc<dyn HasSettings>;
        #[cfg(feature = "dpop")]
        let proved = token.as_ref().and_then(|token| {
            token.key_thumbprint()?;
            let sent = Sent::read(request.headers())?.ok()?;
            Some((sent, self.validator.address()))
        });
        Context::leave(
            request.extensions_mut(),
            token,
            by,
            tally.clone(),
            #[cfg(feature = "dpop")]
            proved,
        );
        if !self.settings.forward {
            request.headers_mut().remove(AUTHORIZATION);
            #[cfg(feature = "dpop")]
            if self.validator.dpop().is_some() {
                request.headers_mut().remove(DPOP);
            }
        }
    }

    /// Returns a newer nonce than that of the request's proof, which was accepted.
    #[cfg(feature = "dpop")]
    #[inline]
    pub(crate) fn newer_nonce<B>(
        &self,
        request: &Request<B>,
        token: Option<&AccessToken<C>>,
    ) -> Option<HeaderValue> {
        let checker = self.validator.dpop()?;
        token?.key_thumbprint()?;
        let sent = Sent::read(request.headers())?.ok()?;
        let nonce = checker.newer_nonce(sent.proof(), self.validator.now())?;
        HeaderValue::try_from(&*nonce).ok()
    }
}

impl<C> Authority<C> {
    pub(crate) const fn new(validator: Validator<C>, settings: Settings) -> Self {
        Self { validator, settings, announced: AtomicBool::new(false) }
    }

    /// Tells the log what is in force, once.
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
        let (refusal, hidden, needed, bound) = match refused.into() {
            Refused::Refusal { refusal, hidden, needed, bound } => (refusal, hidden, needed, bound),
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
        let asked = self.settings.asked(&refusal, proved, bound);
        let needed = needed.as_deref();
        let response = self.settings.refuse(refusal, hidden, needed, asked, request.into());
        #[cfg(feature = "dpop")]
        let response = with_nonce(response, nonce);
        response.map(|bytes| RefusalBody { bytes, is_sized })
    }

    /// Returns the nonce that a client is to use which was refused for want of one (RFC 9449 §9).
    #[cfg(feature = "dpop")]
    fn nonce_for(&self, refusal: &Refusal) -> Option<HeaderValue> {
        match refusal {
            Refusal::Rejection(it) if it.kind() == RejectionKind::DpopNonceRequired => {
                let nonce = self.validator.dpop()?.newest_nonce(self.validator.now())?;
                HeaderValue::try_from(&*nonce).ok()
            }
            _ => None,
        }
    }
}

/// Adds the nonce to an answer, whatever renderer made it.
#[cfg(feature = "dpop")]
fn with_nonce<B>(mut response: Response<B>, nonce: Option<HeaderValue>) -> Response<B> {
    if let Some(nonce) = nonce {
        response.headers_mut().insert(NONCE, nonce);
    }
    response
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
