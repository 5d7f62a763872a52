//! An issuer whose public name leads elsewhere than its metadata.

use std::time::Duration;

use serde_json::json;
use tower_bearer::Validator;
use tower_bearer::issuers;
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};

use crate::support::{A, API, Issuer, clock, kind, set};

const DOCUMENT: &str = "https://internal.test:8443/a/.well-known/openid-configuration";
const KEYS: &str = "https://keys.internal.test/a";

/// Metadata with this issuer at the internal address, and the keys at another one.
fn internal(a: &Issuer, named: &str) -> ScriptedTransport {
    let keys = set(&[&a.key]).to_string();
    let document = json!({"issuer": named, "jwks_uri": KEYS}).to_string();
    ScriptedTransport::from_fn(move |request| match request.uri().to_string().as_str() {
        DOCUMENT => ScriptedAnswer::json(document.clone()),
        KEYS => ScriptedAnswer::json(keys.clone()),
        other => panic!("{other} is asked"),
    })
}

#[tokio::test(start_paused = true)]
async fn n12_the_documents_issuer_must_be_the_public_name_whatever_its_address() {
    let clock = clock();
    let a = Issuer::new(A, &clock);
    for (named, expected) in
        [(A, true), ("https://internal.test:8443/a", false), ("https://a.test/", false)]
    {
        let transport = internal(&a, named);
        let keys = Jwks::discover_at(A, DOCUMENT).transport(transport.clone()).clock(clock.clone());
        let list = [issuers::Issuer::new(A, API).keys(keys)];
        let validator = Validator::issuers(list).clock(clock.clone()).build().unwrap();
        let ready = validator.ready(Duration::from_secs(5)).await;
        assert_eq!(ready.is_ok(), expected, "{named}");
        if expected {
            assert_eq!(kind(validator.validate(&a.token()).await), None);
            let asked: Vec<_> =
                transport.requests().iter().map(|it| it.uri().to_string()).collect();
            assert_eq!(asked, [DOCUMENT, KEYS], "and the public name never");
        } else {
            assert!(validator.validate(&a.token()).await.is_err());
        }
    }
}

#[test]
fn n12_an_address_that_cannot_be_used_is_a_configuration_error() {
    for (url, part) in [
        ("http://internal.test/doc", "metadata URL"),
        ("internal.test/doc", "metadata URL"),
        (" https://internal.test/doc", "space"),
    ] {
        let error = Jwks::discover_at(A, url).build().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
