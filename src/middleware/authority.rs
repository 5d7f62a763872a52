//! Who decides about a request: the validator about its token, the settings about what a route needs.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{Request, Response};
use serde::de::DeserializeOwned;

use crate::answer::Absent;
use crate::middleware::bearer::{self, Credentials, is_b64token};
use crate::middleware::body::RefusalBody;
use crate::middleware::context::{Context, HasSettings};
use crate::middleware::routes::access::{NotAdmitted, Rules};
use crate::middleware::settings::{self, Settings};
use crate::middleware::tally::Tally;
use crate::progress::Progress;
use crate::refusal::{Refusal, RejectionKind};
use crate::scope::ScopeSet;
use crate::token::{AccessToken, Claims};
use crate::validator::{Presented, Validator};

pub(crate) struct Authority<C> {
    pub(crate) validator: Validator<C>,
    pub(crate) settings: Settings,
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
    },
    /// It asks for the metadata of this layer, which answers it.
    Metadata,
}

impl<T: Into<Refusal>> From<T> for Refused {
    fn from(refusal: T) -> Self {
        Self::Refusal { refusal: refusal.into(), hidden: None, needed: None }
    }
}

impl From<NotAdmitted> for Refused {
    fn from(NotAdmitted { rejection, hidden, .. }: NotAdmitted) -> Self {
        Self::Refusal { refusal: rejection.into(), hidden, needed: None }
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
        let credentials = bearer::credentials(request.headers_mut());
        let Some(rules) = rules else {
            return Progress::Ready(Err(self.without_rules(request)));
        };
        if rules.are_public() || is_preflight {
            return Progress::Ready(Ok(None));
        }
        let token = match credentials {
            Credentials::None => None,
            Credentials::Refused(kind) => {
                return Progress::Ready(Err(self.refused(kind, &rules)));
            }
            Credentials::Token(token) => {
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
        Refused::Refusal { refusal, hidden: None, needed }
    }

    /// Decides about a request for which there are no rules.
    fn without_rules<B>(&self, request: &Request<B>) -> Refused {
        match self.settings.map.published() {
            Some(published) if published.is_asked_for(request) => Refused::Metadata,
            _ => RejectionKind::AmbiguousPath.into(),
        }
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
            settings.conceal(refused, token).into()
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
        // The count that the service's clones have as well: threads share no other but the token's.
        let by = Arc::clone(self) as Arc<dyn HasSettings>;
        Context::leave(request.extensions_mut(), token, by, tally.clone());
        if !self.settings.forward {
            request.headers_mut().remove(AUTHORIZATION);
        }
    }
}

impl<C> Authority<C> {
    pub(crate) fn refuse<B>(
        &self,
        refused: impl Into<Refused>,
        request: &Request<B>,
        tally: &Tally,
    ) -> Response<RefusalBody> {
        let (refusal, hidden, needed) = match refused.into() {
            Refused::Refusal { refusal, hidden, needed } => (refusal, hidden, needed),
            Refused::Metadata => {
                tally.let_in(false);
                let published = self.settings.map.published();
                let answer = published.and_then(|published| published.answer(request));
                return answer.unwrap_or_default().map(RefusalBody::from);
            }
        };
        tally.refuse(&refusal);
        let is_sized = hidden.is_none() || !settings::may_be_routed(request);
        let response = self.settings.refuse(refusal, hidden, needed.as_deref(), request.into());
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
        Self { validator: self.validator.clone(), settings: self.settings.clone() }
    }
}
