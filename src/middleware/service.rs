use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use http::header::AUTHORIZATION;
use http::{Request, Response};
use serde::de::DeserializeOwned;
use tower_service::Service;

use crate::answer::Absent;
use crate::jwks::KeyWait;
use crate::middleware::bearer::{self, Credentials, is_b64token};
use crate::middleware::body::{RefusalBody, ResponseBody};
use crate::middleware::context::Context;
use crate::middleware::future::ResponseFuture;
use crate::middleware::routes::access::NotAdmitted;
use crate::middleware::settings::{self, Settings};
use crate::refusal::{Refusal, Rejection, RejectionKind};
use crate::telemetry::count;
use crate::token::{AccessToken, HasSettings, NoClaims};
use crate::validator::{Check, Validator};

/// The service that a [`BearerAuthLayer`](crate::BearerAuthLayer) makes.
///
/// A request that waits for keys, or is refused, holds nothing that the inner service became ready
/// with, such as the permit of a concurrency limit: the inner service is replaced by a clone, which
/// must not be ready, as tower demands. A limit *around* this service counts such requests: put it
/// within the layer, so that tokens with made-up keys can't use it up.
pub struct BearerAuth<S, C = NoClaims> {
    inner: S,
    authority: Arc<Authority<C>>,
}

impl<S, C> BearerAuth<S, C> {
    pub(crate) const fn new(inner: S, authority: Arc<Authority<C>>) -> Self {
        Self { inner, authority }
    }
}

impl<S: Clone, C> BearerAuth<S, C> {
    /// Drops the service that is ready and won't be called. Kept, it would hold what it became ready
    /// with, such as a permit: while the request waits, or until this service is called again.
    fn give_readiness_back(&mut self) {
        self.inner = self.inner.clone();
    }
}

impl<S, C, B, R> Service<Request<B>> for BearerAuth<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    C: DeserializeOwned + Send + Sync + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, C, B>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        // Missing keys are an answer, not back-pressure.
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.authority.judge(&mut request, Turn::First) {
            Verdict::Pass(token) => {
                self.authority.hand_over(&mut request, token);
                ResponseFuture::inner(self.inner.call(request))
            }
            Verdict::Refuse(refused) => {
                self.give_readiness_back();
                ResponseFuture::refused(self.authority.refuse(refused, &request))
            }
            Verdict::Wait(wait) => {
                self.give_readiness_back();
                let unready = self.inner.clone();
                ResponseFuture::waiting(wait, unready, request, Arc::clone(&self.authority))
            }
        }
    }
}

/// Who decides: the validator about tokens, the settings about what a route needs.
pub(crate) struct Authority<C> {
    pub(crate) validator: Validator<C>,
    pub(crate) settings: Settings,
}

/// What is to be done with a request.
pub(crate) enum Verdict<C> {
    Pass(Option<AccessToken<C>>),
    Refuse(Refused),
    Wait(KeyWait),
}

/// Whether a request comes for the first time, or has waited for keys. Nobody waits twice.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    First,
    AfterWaiting,
}

pub(crate) struct Refused {
    refusal: Refusal,
    hidden: Option<Absent>,
}

impl<T: Into<Refusal>> From<T> for Refused {
    fn from(refusal: T) -> Self {
        Self { refusal: refusal.into(), hidden: None }
    }
}

impl From<NotAdmitted> for Refused {
    fn from(NotAdmitted { rejection, hidden, .. }: NotAdmitted) -> Self {
        Self { refusal: rejection.into(), hidden }
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Authority<C> {
    /// Decides about a request, and hides its credentials from whoever may print it.
    pub(crate) fn judge<B>(&self, request: &mut Request<B>, turn: Turn) -> Verdict<C> {
        let settings = &self.settings;
        let rules = settings.rules(request);
        let is_preflight = settings.lets_preflight_pass(request);
        let credentials = bearer::credentials(request.headers_mut());
        let Some(rules) = rules else {
            return Verdict::Refuse(Rejection::new(RejectionKind::AmbiguousPath).into());
        };
        if rules.are_public() || is_preflight {
            return Verdict::Pass(None);
        }
        let token = match credentials {
            Credentials::None => None,
            Credentials::Refused(kind) => return Verdict::Refuse(Rejection::new(kind).into()),
            Credentials::Token(token) => match self.validator.recall(token) {
                Some(token) => Some(token),
                None => match self.check(token, turn) {
                    Check::Done(Ok(token)) => Some(token),
                    Check::Done(Err(refusal)) => return Verdict::Refuse(refusal.into()),
                    Check::Wait(wait) => return Verdict::Wait(wait),
                },
            },
        };
        match rules.admit(token.as_deref(), &settings.implications) {
            Ok(()) => Verdict::Pass(token),
            Err(refused) => {
                let refused = settings.explain(refused, &rules, request);
                Verdict::Refuse(settings.conceal(refused, token.as_deref()).into())
            }
        }
    }

    fn check(&self, token: &[u8], turn: Turn) -> Check<C> {
        let check = match turn {
            Turn::First => self.validator.check(token),
            Turn::AfterWaiting => Check::Done(self.validator.check_again(token)),
        };
        match check {
            // What was decoded is a b64token: only what is refused need be looked at.
            Check::Done(Err(_)) if !is_b64token(token) => {
                Check::Done(Err(RejectionKind::MalformedCredentials.into()))
            }
            check => check,
        }
    }

    /// Makes a request ready for the service within.
    pub(crate) fn hand_over<B>(
        self: &Arc<Self>,
        request: &mut Request<B>,
        token: Option<AccessToken<C>>,
    ) {
        if token.is_some() {
            count!("token_total", "result" => "accepted", "reason" => "none");
        }
        // The count that the service's clones have as well: threads share no other but the token's.
        let by = Arc::clone(self) as Arc<dyn HasSettings>;
        Context::leave(request.extensions_mut(), token, by);
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
    ) -> Response<RefusalBody> {
        let Refused { refusal, hidden } = refused.into();
        let is_sized = hidden.is_none() || !settings::may_be_routed(request);
        let response = self.settings.refuse(refusal, hidden, request.into());
        response.map(|bytes| RefusalBody { bytes, is_sized })
    }
}

impl<C: Send + Sync + 'static> HasSettings for Authority<C> {
    fn settings(&self) -> &dyn Any {
        &self.settings
    }
}

impl<S: Clone, C> Clone for BearerAuth<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), authority: Arc::clone(&self.authority) }
    }
}

impl<C> Clone for Authority<C> {
    fn clone(&self) -> Self {
        Self { validator: self.validator.clone(), settings: self.settings.clone() }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for BearerAuth<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerAuth").field("inner", &self.inner).finish_non_exhaustive()
    }
}
