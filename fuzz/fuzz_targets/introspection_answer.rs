//! What an introspection endpoint answers about a token: JSON, or the payload of a signed answer, which
//! the target signs.
#![no_main]

use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower_bearer::client::ClientAuth;
use tower_bearer::introspection::Introspection;
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::TestKey;
use tower_bearer::transport::{Limits, Transport, TransportFuture};
use tower_bearer::{Refusal, Validator};
use tower_bearer_fuzz::{AUDIENCE, Extra, FixedClock, ISSUER, is_strict};

/// Answers with whatever it was given last.
#[derive(Clone, Default)]
struct Last(Arc<Mutex<Bytes>>);

impl Transport for Last {
    fn send(&self, _: Request<Bytes>, limits: Limits) -> TransportFuture {
        let body = self.0.lock().unwrap().clone();
        assert!(body.len() <= limits.max_bytes);
        let response =
            Response::builder().header("content-type", "application/token-introspection+jwt");
        let response = response.body(body).unwrap();
        Box::pin(std::future::ready(Ok(response)))
    }
}

struct World {
    runtime: Runtime,
    last: Last,
    key: TestKey,
    plain: Validator<Extra>,
    signed: Validator<Extra>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (last, key) = (Last::default(), TestKey::generate(Algorithm::EdDSA));
    let set = format!("{{\"keys\":[{}]}}", key.public_jwk());
    let asking = Introspection::endpoint("https://issuer.example/i", ClientAuth::basic("me", "s"))
        .transport(last.clone())
        .ttl(std::time::Duration::ZERO)
        .negative_ttl(std::time::Duration::ZERO);
    let build = |asking| {
        Validator::builder(ISSUER, AUDIENCE)
            .claims()
            .keys(Jwks::static_set(ISSUER, &set).unwrap())
            .introspection(asking)
            .clock(FixedClock)
            .build()
            .unwrap()
    };
    let (plain, signed) = (build(asking.clone()), build(asking.signed()));
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    World { runtime, last, key, plain, signed }
});

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else { return };
    let World { runtime, last, key, plain, signed } = &*WORLD;
    let is_signed = first & 1 == 1;
    let body = match is_signed {
        false => data.to_vec(),
        true => {
            let header = r#"{"alg":"EdDSA","typ":"token-introspection+jwt","kid":"test-key"}"#;
            key.sign(header, data).into_bytes()
        }
    };
    if body.len() > 64 * 1_024 {
        return;
    }
    *last.0.lock().unwrap() = body.into();
    let validator = if is_signed { signed } else { plain };
    match runtime.block_on(validator.validate("opaque")) {
        Ok(token) => {
            assert!(is_strict(data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data)));
            assert_eq!(token.issuer(), ISSUER);
            assert!(token.audience().any(|audience| audience == AUDIENCE));
            assert_eq!(token.extra()["active"], true);
            assert!(!token.extra().contains_key("cnf"));
        }
        Err(Refusal::Rejection(_) | Refusal::Unavailable(_)) => {}
        Err(other) => panic!("{other}"),
    }
});
