//! Issuers made of a scripted transport and one key each.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tower_bearer::issuers;
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::{Jwks, JwksBuilder};
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::testing::{ManualClock, ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::transport::TransportErrorKind;
use tower_bearer::{AccessToken, Clock, Refusal, RejectionKind, UnixTime, Validator};

pub(crate) const A: &str = "https://a.test";
pub(crate) const B: &str = "https://b.test";
pub(crate) const API: &str = "https://api.test";

pub(crate) type Verdict = Result<AccessToken, Refusal>;

/// What an issuer answers.
enum Answers {
    Set(Value),
    Nothing,
    /// The set, but only after this time.
    Late(Value, Duration),
}

/// One issuer, whose key set is at `/jwks`.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) name: String,
    pub(crate) key: TestKey,
    pub(crate) transport: ScriptedTransport,
    pub(crate) clock: ManualClock,
    answers: Arc<Mutex<Answers>>,
}

impl Issuer {
    pub(crate) fn new(name: &str, clock: &ManualClock) -> Self {
        // The same `kid` everywhere, so that it tells no issuer from another.
        let key = TestKey::generate(Algorithm::EdDSA).with_kid("1");
        let answers = Arc::new(Mutex::new(Answers::Set(set(&[&key]))));
        let transport = ScriptedTransport::from_fn({
            let answers = Arc::clone(&answers);
            move |_| match &*answers.lock().unwrap() {
                Answers::Set(set) => ScriptedAnswer::json(set.to_string()),
                Answers::Nothing => ScriptedAnswer::error(TransportErrorKind::Connect),
                Answers::Late(set, after) => ScriptedAnswer::json(set.to_string()).delay(*after),
            }
        });
        Self { name: name.to_owned(), key, transport, clock: clock.clone(), answers }
    }

    /// Can't be reached until it publishes something.
    pub(crate) fn die(&self) {
        *self.answers.lock().unwrap() = Answers::Nothing;
    }

    /// Takes so long to answer.
    pub(crate) fn be_slow(&self, after: Duration) {
        *self.answers.lock().unwrap() = Answers::Late(set(&[&self.key]), after);
    }

    pub(crate) fn publish(&self, keys: &[&TestKey]) {
        *self.answers.lock().unwrap() = Answers::Set(set(keys));
    }

    pub(crate) fn jwks(&self) -> JwksBuilder {
        Jwks::url(&self.name, format!("{}/jwks", self.name))
            .transport(self.transport.clone())
            .clock(self.clock.clone())
    }

    /// Its entry in a list, with the audience that all have.
    pub(crate) fn entry(&self) -> issuers::Issuer {
        issuers::Issuer::new(&self.name, API).keys(self.jwks())
    }

    pub(crate) fn token(&self) -> String {
        self.token_with(json!({}))
    }

    /// A token with these claims over those of a valid one; `null` takes one out.
    pub(crate) fn token_with(&self, changes: Value) -> String {
        self.token_by(&self.key, changes)
    }

    pub(crate) fn token_by(&self, key: &TestKey, changes: Value) -> String {
        key.sign(header(key), self.claims(changes).to_string())
    }

    pub(crate) fn claims(&self, changes: Value) -> Value {
        let now = self.clock.now().as_secs();
        let mut claims = json!({
            "iss": self.name, "aud": API, "sub": "s", "client_id": "c", "jti": "1",
            "iat": now, "exp": now + 86_400, "scope": "read",
        });
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        claims
    }
}

pub(crate) fn header(key: &TestKey) -> String {
    json!({"alg": key.algorithm().name(), "kid": key.kid(), "typ": "at+jwt"}).to_string()
}

pub(crate) fn set(keys: &[&TestKey]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.public_jwk()).collect::<Vec<_>>() })
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::running(UnixTime::from_secs(1_800_000_000))
}

/// Two issuers, and a validator that trusts both.
pub(crate) async fn two() -> (Issuer, Issuer, Validator) {
    let clock = clock();
    let (a, b) = (Issuer::new(A, &clock), Issuer::new(B, &clock));
    let validator = Validator::issuers([a.entry(), b.entry()]).clock(clock).build().unwrap();
    for name in [A, B] {
        validator.jwks_of(name).unwrap().ready(Duration::from_secs(1)).await.unwrap();
    }
    (a, b, validator)
}

#[track_caller]
pub(crate) fn kind(verdict: Verdict) -> Option<RejectionKind> {
    match verdict {
        Ok(_) => None,
        Err(Refusal::Rejection(rejection)) => Some(rejection.kind()),
        Err(other) => panic!("neither accepted nor rejected: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn unavailable(verdict: Verdict) -> UnavailableReason {
    match verdict {
        Err(Refusal::Unavailable(unavailable)) => {
            assert!(unavailable.retry_after() >= Duration::from_secs(1), "{unavailable:?}");
            unavailable.reason()
        }
        other => panic!("not unavailable: {other:?}"),
    }
}

pub(crate) fn same(one: &AccessToken, other: &AccessToken) -> bool {
    std::ptr::eq(one.claims(), other.claims())
}
