//! An issuer made of a scripted transport and a few keys, and a validator that trusts it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::{Jwks, JwksBuilder};
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::testing::{ManualClock, ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::transport::TransportErrorKind;
use tower_bearer::{AccessToken, Clock, Refusal, RejectionKind, UnixTime, Validator};

pub(crate) const ISSUER: &str = "https://issuer.test";
pub(crate) const URL: &str = "https://issuer.test/jwks";
pub(crate) const AUDIENCE: &str = "https://api.test";

pub(crate) type Verdict = Result<AccessToken, Refusal>;

/// The issuer: what it answers, and the time that it was asked.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) transport: ScriptedTransport,
    pub(crate) clock: ManualClock,
    state: Arc<Mutex<State>>,
}

struct State {
    set: Value,
    headers: Vec<(&'static str, String)>,
    etag: Option<String>,
    fault: Option<Box<dyn Fn() -> ScriptedAnswer + Send>>,
    asked_at: Vec<f64>,
}

impl Issuer {
    /// An issuer that publishes these keys, without saying how long they are fresh.
    pub(crate) fn with(keys: &[&TestKey]) -> Self {
        let clock = ManualClock::running(UnixTime::from_secs(1_800_000_000));
        let state = State {
            set: set(keys),
            headers: Vec::new(),
            etag: None,
            fault: None,
            asked_at: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let transport = ScriptedTransport::from_fn({
            let (state, clock) = (Arc::clone(&state), clock.clone());
            move |request| state.lock().unwrap().answer(request, clock.now())
        });
        Self { transport, clock, state }
    }

    pub(crate) fn publish(&self, keys: &[&TestKey]) {
        self.publish_json(set(keys));
    }

    pub(crate) fn publish_json(&self, set: Value) {
        self.state.lock().unwrap().set = set;
    }

    pub(crate) fn header(&self, name: &'static str, value: &str) {
        self.state.lock().unwrap().headers.push((name, value.to_owned()));
    }

    /// Sends an `ETag`, and 304 to those who have it.
    pub(crate) fn etag(&self, etag: &str) {
        self.state.lock().unwrap().etag = Some(etag.to_owned());
    }

    /// Answers in this way until it is healed.
    pub(crate) fn fail(&self, fault: impl Fn() -> ScriptedAnswer + Send + 'static) {
        self.state.lock().unwrap().fault = Some(Box::new(fault));
    }

    /// Can't be reached until it is healed.
    pub(crate) fn die(&self) {
        self.fail(|| ScriptedAnswer::error(TransportErrorKind::Connect));
    }

    pub(crate) fn heal(&self) {
        self.state.lock().unwrap().fault = None;
    }

    pub(crate) fn requests(&self) -> usize {
        self.transport.request_count()
    }

    pub(crate) fn last_headers(&self) -> HeaderMap {
        self.transport.requests().pop().unwrap().headers().clone()
    }

    /// Returns the seconds between one request and the next.
    pub(crate) fn gaps(&self) -> Vec<f64> {
        let asked_at = self.state.lock().unwrap().asked_at.clone();
        asked_at.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    pub(crate) fn jwks(&self) -> JwksBuilder {
        self.prepare(Jwks::url(ISSUER, URL))
    }

    pub(crate) fn prepare(&self, builder: JwksBuilder) -> JwksBuilder {
        builder.transport(self.transport.clone()).clock(self.clock.clone())
    }

    /// Returns a validator whose keys are there, with the settings of `builder`.
    pub(crate) async fn ready(&self, builder: JwksBuilder) -> (Validator, Jwks) {
        let (validator, jwks) = self.validator(builder);
        jwks.ready(Duration::from_secs(10)).await.unwrap();
        (validator, jwks)
    }

    pub(crate) fn validator(&self, builder: JwksBuilder) -> (Validator, Jwks) {
        let jwks = builder.build().unwrap();
        let validator = Validator::builder(ISSUER, AUDIENCE)
            .keys(jwks.clone())
            .clock(self.clock.clone())
            .build()
            .unwrap();
        (validator, jwks)
    }

    /// Signs a token that is good for a week.
    pub(crate) fn token(&self, key: &TestKey) -> String {
        let header = json!({"alg": key.algorithm().name(), "kid": key.kid(), "typ": "at+jwt"});
        key.sign(header.to_string(), self.claims().to_string())
    }

    pub(crate) fn token_without_kid(&self, key: &TestKey) -> String {
        let header = json!({"alg": key.algorithm().name(), "typ": "at+jwt"});
        key.sign(header.to_string(), self.claims().to_string())
    }

    /// A token that could be valid, if the issuer had a key of that name.
    pub(crate) fn token_of(&self, key: &TestKey, kid: &str) -> String {
        self.token(&key.clone().with_kid(kid))
    }

    fn claims(&self) -> Value {
        let now = self.clock.now().as_secs();
        json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "s", "iat": now, "exp": now + 604_800})
    }
}

impl State {
    fn answer(&mut self, request: &Request<bytes::Bytes>, now: UnixTime) -> ScriptedAnswer {
        self.asked_at.push(now.as_secs_f64());
        if let Some(fault) = &self.fault {
            return fault();
        }
        let has = request.headers().get("if-none-match").map(|value| value.to_str().unwrap());
        let mut answer = if self.etag.is_some() && has == self.etag.as_deref() {
            ScriptedAnswer::status(StatusCode::NOT_MODIFIED)
        } else {
            ScriptedAnswer::json(self.set.to_string())
        };
        if let Some(etag) = &self.etag {
            answer = answer.header("etag", etag);
        }
        for (name, value) in &self.headers {
            answer = answer.header(name, value);
        }
        answer
    }
}

pub(crate) fn set(keys: &[&TestKey]) -> Value {
    let keys: Vec<Value> = keys.iter().map(|key| key.public_jwk()).collect();
    json!({ "keys": keys })
}

pub(crate) fn key(kid: &str) -> TestKey {
    TestKey::generate(Algorithm::EdDSA).with_kid(kid)
}

#[allow(clippy::disallowed_methods, reason = "a test may look at the paused clock")]
pub(crate) fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Lets time pass, and whoever has something to do then do it.
pub(crate) async fn pass(secs: f64) {
    tokio::time::sleep(Duration::from_secs_f64(secs)).await;
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[track_caller]
pub(crate) fn rejected(verdict: Verdict) -> RejectionKind {
    match verdict {
        Err(Refusal::Rejection(rejection)) => rejection.kind(),
        other => panic!("not rejected: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn unavailable(verdict: Verdict) -> (UnavailableReason, Duration) {
    match verdict {
        Err(Refusal::Unavailable(unavailable)) => {
            assert!(unavailable.retry_after() >= secs(1), "{unavailable:?}");
            (unavailable.reason(), unavailable.retry_after())
        }
        other => panic!("not unavailable: {other:?}"),
    }
}
