use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tower_bearer::client::ClientAuth;
use tower_bearer::introspection::Introspection;
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::testing::{ManualClock, ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::{Refusal, RejectionKind, UnixTime, Validator, ValidatorBuilder};

use crate::world::{AUDIENCE, ISSUER};

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const ENDPOINT: &str = "https://issuer.example/introspect";

/// An authorization server that answers what a test says about each token.
pub(crate) struct World {
    pub(crate) transport: ScriptedTransport,
    pub(crate) clock: ManualClock,
    pub(crate) key: TestKey,
    answers: Answers,
}

type Make = Arc<dyn Fn() -> ScriptedAnswer + Send + Sync>;
type Answers = Arc<Mutex<HashMap<String, Make>>>;

impl World {
    pub(crate) fn new() -> Self {
        let answers = Answers::default();
        let known = Arc::clone(&answers);
        let transport = ScriptedTransport::from_fn(move |request| {
            let answer = known.lock().unwrap().get(&token_of(request)).cloned();
            answer.map_or_else(|| ScriptedAnswer::json(r#"{"active":false}"#), |answer| answer())
        });
        let clock = ManualClock::running(UnixTime::from_secs(NOW));
        Self { transport, clock, key: TestKey::generate(Algorithm::EdDSA), answers }
    }

    /// Answers this about a token from now on.
    pub(crate) fn answer(
        &self,
        token: &str,
        answer: impl Fn() -> ScriptedAnswer + Send + Sync + 'static,
    ) {
        self.answers.lock().unwrap().insert(token.into(), Arc::new(answer));
    }

    /// Answers with this status and this body.
    pub(crate) fn status(&self, token: &str, status: u16, body: &'static str) {
        self.answer(token, move || {
            let response = http::Response::builder().status(status);
            ScriptedAnswer::new(response.body(Bytes::from_static(body.as_bytes())).unwrap())
        });
    }

    /// Calls a token active, with these members over those of a good answer; `null` takes one away.
    pub(crate) fn active(&self, token: &str, changes: Value) {
        let body = answer(changes).to_string();
        self.answer(token, move || ScriptedAnswer::json(body.clone()));
    }

    pub(crate) fn introspection(&self) -> Introspection {
        Introspection::endpoint(ENDPOINT, ClientAuth::basic("me", "secret"))
            .transport(self.transport.clone())
    }

    pub(crate) fn builder(&self, introspection: Introspection) -> ValidatorBuilder {
        let set = json!({ "keys": [self.key.public_jwk()] }).to_string();
        Validator::builder(ISSUER, AUDIENCE)
            .keys(Jwks::static_set(ISSUER, &set).unwrap())
            .introspection(introspection)
            .clock(self.clock.clone())
    }

    pub(crate) fn validator(&self) -> Validator {
        self.builder(self.introspection()).build().unwrap()
    }

    /// A JWT of the issuer, with these claims over those of a good one.
    pub(crate) fn jwt(&self, changes: Value) -> String {
        let mut claims = answer(changes);
        claims.as_object_mut().unwrap().remove("active");
        let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": self.key.kid() });
        self.key.sign(header.to_string(), claims.to_string())
    }

    pub(crate) fn calls(&self) -> usize {
        self.transport.request_count()
    }
}

/// A good answer, with these members over it.
pub(crate) fn answer(changes: Value) -> Value {
    let mut answer = json!({
        "active": true, "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "client_id": "app",
        "exp": NOW + 600, "iat": NOW, "scope": "a b", "token_type": "Bearer",
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            answer.as_object_mut().unwrap().remove(name);
        } else {
            answer[name] = value.clone();
        }
    }
    answer
}

/// The token that a request asks about.
pub(crate) fn token_of(request: &Request<Bytes>) -> String {
    let body = std::str::from_utf8(request.body()).unwrap();
    let form = reqwest::Url::parse(&format!("http://form/?{body}")).unwrap();
    let mut tokens = form.query_pairs().filter(|(name, _)| name == "token");
    let token = tokens.next().map(|(_, token)| token.into_owned()).unwrap_or_default();
    assert_eq!(tokens.next(), None, "I5: once");
    token
}

/// Why a token was refused by what its issuer says.
#[track_caller]
pub(crate) fn rejected<T>(told: Result<T, Refusal>) -> RejectionKind {
    match told {
        Err(Refusal::Rejection(rejection)) => rejection.kind(),
        Err(other) => panic!("it isn't the token's fault: {other}"),
        Ok(_) => panic!("accepted"),
    }
}

/// Why a token couldn't be checked.
#[track_caller]
pub(crate) fn unavailable<T>(told: Result<T, Refusal>) -> UnavailableReason {
    match told {
        Err(Refusal::Unavailable(unavailable)) => {
            assert!(unavailable.retry_after() >= Duration::from_secs(1));
            unavailable.reason()
        }
        Err(other) => panic!("it is the token's fault: {other}"),
        Ok(_) => panic!("accepted"),
    }
}
