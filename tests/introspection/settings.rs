//! What can't work is found when the validator is built.

use std::time::Duration;

use tower_bearer::client::ClientAuth;
use tower_bearer::introspection::{Introspection, IntrospectionAuth};
use tower_bearer::jose::{Algorithm, HmacAlgorithm};
use tower_bearer::jwks::Jwks;
use tower_bearer::{Secret, Validator, ValidatorBuilder};

use crate::support::World;
use crate::world::{AUDIENCE, ISSUER};

fn told(builder: ValidatorBuilder) -> String {
    builder.build().map_or_else(|error| error.to_string(), |_| String::new())
}

fn basic() -> ClientAuth {
    ClientAuth::basic("me", "secret")
}

// I9, I11
#[test]
fn i9_i11_addresses_and_bounds_are_checked() {
    let world = World::new();
    let at = |url: &str| told(world.builder(Introspection::endpoint(url, basic())));
    assert_eq!(at("https://as.example/introspect?a=b"), "");
    assert_eq!(at("http://127.0.0.1:1/introspect"), "");
    for (url, word) in [
        ("http://as.example/introspect", "dangerous_allow_http"),
        ("https://u:canary@as.example/", "user"),
        ("https://as.example/#a", "fragment"),
        ("/introspect", "URL"),
    ] {
        assert!(at(url).contains(word) && !at(url).contains("canary"), "{url}: {}", at(url));
    }
    let everywhere = Introspection::endpoint("http://as.example/i", basic()).dangerous_allow_http();
    assert_eq!(told(world.builder(everywhere)), "");
    let with = |change: fn(Introspection) -> Introspection| {
        told(world.builder(change(world.introspection())))
    };
    assert_eq!(with(|it| it), "");
    assert!(with(|it| it.ttl(Duration::from_secs(3_601))).contains("ttl"));
    assert!(with(|it| it.negative_ttl(Duration::from_secs(301))).contains("negative_ttl"));
    assert!(with(|it| it.max_stale(Duration::from_secs(3_601))).contains("max_stale"));
    assert!(with(|it| it.timeout(Duration::from_secs(31))).contains("timeout"));
    assert!(with(|it| it.connect_timeout(Duration::from_secs(6))).contains("connect_timeout"));
    assert!(with(|it| it.concurrent(0)).contains("concurrent"));
    assert!(with(|it| it.waiting(100_001)).contains("waiting"));
    assert!(with(|it| it.token_prefix("")).contains("prefix"));
    assert!(with(|it| it.signed_algorithms([Algorithm::ES256])).contains("signed()"));
    assert!(with(|it| it.signed().signed_algorithms([])).contains("algorithm"));
    assert_eq!(with(|it| it.timeout(Duration::from_secs(1)).ttl(Duration::from_secs(1))), "");
}

#[test]
fn i6_i47_credentials_are_checked() {
    let world = World::new();
    let with = |auth: IntrospectionAuth| {
        told(world.builder(Introspection::endpoint("https://as.example/i", auth)))
    };
    assert_eq!(with(IntrospectionAuth::bearer("token")), "");
    assert!(with(ClientAuth::basic("me", "").into()).contains("secret"));
    for token in ["", "a b", "tokén"] {
        assert!(with(IntrospectionAuth::bearer(token)).contains("token"), "{token:?}");
    }
    let signed = |audience: bool| {
        let own = IntrospectionAuth::bearer("token");
        let signed = Introspection::endpoint("https://as.example/i", own).signed();
        told(world.builder(if audience { signed.signed_audience("me") } else { signed }))
    };
    assert!(signed(false).contains("signed_audience"));
    assert_eq!(signed(true), "");
}

#[test]
fn i42_i44_what_does_not_fit_together_is_refused() {
    let world = World::new();
    let without_keys =
        |introspection: Introspection| Validator::builder(ISSUER, AUDIENCE).keys(introspection);
    assert_eq!(told(without_keys(world.introspection())), "");
    let signed = told(without_keys(world.introspection().signed()));
    assert!(signed.contains("issuer's keys"), "{signed}");
    let jwts = told(without_keys(world.introspection().introspect_jwts()));
    assert!(jwts.contains("introspect_jwts"), "{jwts}");
    let twice = told(without_keys(world.introspection()).introspection(world.introspection()));
    assert!(twice.contains("twice"), "{twice}");
    let secret = Validator::builder(ISSUER, AUDIENCE)
        .dangerous_shared_secret(HmacAlgorithm::HS256, Secret::new([7; 32]))
        .introspection(world.introspection().signed());
    assert!(told(secret).contains("issuer's keys"));
    for introspection in [
        world.introspection().dangerous_accept_missing_aud(),
        world.introspection().dangerous_accept_missing_aud().signed(),
    ] {
        let fapi = world.builder(introspection.clone()).fapi2();
        assert!(told(fapi).contains("dangerous_accept_missing_aud"));
    }
    let fapi = told(world.builder(world.introspection()).fapi2());
    assert!(!fapi.contains("dangerous_accept_missing_aud"), "{fapi}");
    let bundle = Jwks::spiffe_bundle("example.org", "https://spire.example/bundle");
    let svids = Validator::jwt_svid("example.org", "spiffe://example.org/a")
        .keys(bundle)
        .introspection(world.introspection());
    assert!(told(svids).contains("JWT-SVID"));
}

// L1
#[test]
fn l1_nothing_secret_is_printed() {
    let auth = ClientAuth::basic("me", "canary");
    let url = "https://as.example/i?key=canary";
    let introspection = Introspection::endpoint(url, auth);
    let own = IntrospectionAuth::bearer("canary");
    let world = World::new();
    let validator = world.builder(introspection.clone()).build().unwrap();
    let status = validator.introspection_status(ISSUER);
    let printed = format!("{introspection:?} {own:?} {validator:?} {status:?}");
    assert!(!printed.contains("canary"), "{printed}");
    assert!(printed.contains("https://as.example/i?…"), "{printed}");
}
