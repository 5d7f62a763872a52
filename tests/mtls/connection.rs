//! The certificate of the connection itself.

use serde_json::json;
use tower::Layer as _;
use tower_bearer::mtls::Certificate;
use tower_bearer::{Access, Requirement, RouteTable, ScopeGuardLayer};

use crate::service::{World, from_connection, over, vectors, verdict};
use crate::world::{bearer, get, send};

#[test]
fn mt1_v8_v9_thumbprints_of_the_rfcs() {
    for vector in vectors() {
        let certificate = Certificate::from_der(&vector.decoded());
        assert_eq!(certificate.thumbprint(), vector.thumbprint, "{}", vector.id);
        let printed = format!("{certificate:?}");
        assert_eq!(printed, format!("Certificate({:?})", vector.thumbprint));
    }
}

#[tokio::test]
async fn mt2_a_bound_token_needs_its_certificate() {
    let world = World::new();
    let [own, other] = vectors();
    let service = world.service(from_connection());
    let token = world.bound(&own);
    // The second time, the token's own verdict is known.
    for _ in 0..2 {
        for (certificate, expected) in [
            (None, "certificate_missing"),
            (Some(&other), "certificate_mismatch"),
            (Some(&own), "accepted"),
        ] {
            let answer = send(&service, over(certificate, &token)).await;
            assert_eq!(verdict(&answer), expected);
            if expected != "accepted" {
                assert_eq!(answer.status(), 401);
                assert_eq!(
                    answer.challenge(),
                    r#"Bearer realm="api", error="invalid_token", error_description="The access token is invalid""#
                );
                assert_eq!(answer.header("cache-control"), Some("no-store"));
            }
        }
    }
    assert_eq!(world.inner.calls(), 2);
    // There is no such extension at all.
    let answer = send(&service, get("/", &[("authorization", &bearer(&token))])).await;
    assert_eq!((answer.status(), verdict(&answer)), (401, "certificate_missing"));
    assert!(answer.refusal().unwrap().to_string().contains("no extension"));
}

#[tokio::test]
async fn mt1_nothing_but_one_whole_thumbprint_binds() {
    let world = World::new();
    let [own, _] = vectors();
    let service = world.service(from_connection());
    let x5t = &own.thumbprint;
    for (cnf, good) in [
        (json!({ "x5t#S256": x5t }), true),
        (json!({ "x5t#S256": format!("{x5t}=") }), false),
        (json!({ "x5t#S256": x5t[..42] }), false),
        (json!({ "x5t#S256": x5t.to_lowercase() }), false),
        (json!({ "x5t#S256": own.sha256 }), false),
        (json!({ "x5t#S256": [x5t] }), false),
        (json!({ "x5t#s256": x5t }), false),
        (json!({ "x5t": x5t }), false),
        (json!({ "x5t#S256": x5t, "kid": "k" }), false),
        (json!({ "x5t#S256": x5t, "jkt": x5t }), false),
        (json!({}), false),
        (json!(x5t), false),
    ] {
        let token = world.issuer().token_with(json!({ "cnf": cnf }));
        let answer = send(&service, over(Some(&own), &token)).await;
        assert_eq!(answer.status(), if good { 200 } else { 401 }, "{cnf}");
    }
}

#[tokio::test]
async fn mt3_the_scheme_is_bearer() {
    let world = World::new();
    let [own, _] = vectors();
    let service = world.service(from_connection());
    let mut request = over(Some(&own), &world.bound(&own));
    assert_eq!(send(&service, request.clone()).await.status(), 200);
    let dpop = request.headers()["authorization"].to_str().unwrap().replace("Bearer", "DPoP");
    request.headers_mut().insert("authorization", dpop.parse().unwrap());
    let answer = send(&service, request).await;
    assert_eq!((answer.status(), verdict(&answer)), (401, "no_credentials"));
}

#[tokio::test]
async fn mt4_an_unbound_token_passes_unless_bound_ones_are_required() {
    let world = World::new();
    let [own, _] = vectors();
    let lenient = world.service(from_connection());
    let strict = world.builder().mtls(from_connection()).require_bound().build().unwrap();
    let strict = tower_bearer::BearerAuthLayer::new(strict).layer(world.inner.clone());
    for certificate in [None, Some(&own)] {
        let answer = send(&lenient, over(certificate, &world.unbound())).await;
        assert_eq!(verdict(&answer), "accepted");
        for _ in 0..2 {
            let answer = send(&strict, over(certificate, &world.unbound())).await;
            assert_eq!((answer.status(), verdict(&answer)), (401, "token_not_bound"));
            assert!(answer.challenge().contains(r#"error="invalid_token""#));
        }
    }
    assert_eq!(verdict(&send(&strict, over(Some(&own), &world.bound(&own))).await), "accepted");
}

#[tokio::test]
async fn mt4_a_route_can_require_bound_tokens() {
    let world = World::new();
    let [own, other] = vectors();
    let routes = RouteTable::builder()
        .any("/", Access::token().require_bound())
        .any("/free", Access::token())
        .build()
        .unwrap();
    let service = world.layer(from_connection()).routes(routes).layer(world.inner.clone());
    let guard = ScopeGuardLayer::new(Requirement::none()).require_bound();
    let guarded = world.layer(from_connection()).layer(guard.layer(world.inner.clone()));
    for service_verdict in [
        verdict(&send(&service, over(Some(&own), &world.unbound())).await),
        verdict(&send(&guarded, over(Some(&own), &world.unbound())).await),
    ] {
        assert_eq!(service_verdict, "token_not_bound");
    }
    let bound = world.bound(&own);
    assert_eq!(verdict(&send(&service, over(Some(&own), &bound)).await), "accepted");
    assert_eq!(verdict(&send(&guarded, over(Some(&own), &bound)).await), "accepted");
    assert_eq!(verdict(&send(&service, over(Some(&other), &bound)).await), "certificate_mismatch");
    let mut free = over(None, &world.unbound());
    *free.uri_mut() = "/free".parse().unwrap();
    assert_eq!(verdict(&send(&service, free).await), "accepted");
}

#[tokio::test]
async fn mt5_mt11_any_type_can_carry_what_is_never_looked_into() {
    let world = World::new();
    // Signed by itself, expired, or no certificate at all: that is for the TLS layer.
    let der = b"whatever the TLS layer took for one".to_vec();
    let thumbprint = Certificate::from_der(&der).thumbprint().to_owned();
    let mtls = tower_bearer::mtls::Mtls::from_connection(|chain: &Vec<Vec<u8>>| {
        Some(Certificate::from_der(chain.first()?))
    });
    let service = world.service(mtls);
    let token = world.issuer().token_with(json!({ "cnf": { "x5t#S256": thumbprint } }));
    for (chain, expected) in [
        (vec![der.clone(), b"its issuer".to_vec()], "accepted"),
        (vec![b"its issuer".to_vec(), der], "certificate_mismatch"),
        (vec![], "certificate_missing"),
    ] {
        let mut request = get("/", &[("authorization", &bearer(&token))]);
        request.extensions_mut().insert(chain);
        assert_eq!(verdict(&send(&service, request).await), expected);
    }
}

/// `PeerCerts` of connectrpc 0.9.1, which its servers put into the extensions of each request where the client
/// has shown a certificate.
#[derive(Clone)]
struct PeerCerts(std::sync::Arc<[tokio_rustls::rustls::pki_types::CertificateDer<'static>]>);

#[tokio::test]
async fn mt8_a_server_of_connectrpc_shows_the_first_certificate() {
    let world = World::new();
    let [own, other] = vectors();
    let mtls = tower_bearer::mtls::Mtls::from_connection(|chain: &PeerCerts| {
        Some(Certificate::from_der(chain.0.first()?))
    });
    let service = world.service(mtls);
    let ders = |all: &[&crate::service::Vector]| -> Vec<_> {
        all.iter().map(|it| it.decoded().into()).collect()
    };
    for (chain, expected) in [
        (Some(ders(&[&own, &other])), "accepted"),
        (Some(ders(&[&other, &own])), "certificate_mismatch"),
        (Some(vec![]), "certificate_missing"),
        (None, "certificate_missing"),
    ] {
        let mut request = get("/", &[("authorization", &bearer(&world.bound(&own)))]);
        if let Some(chain) = chain {
            request.extensions_mut().insert(PeerCerts(chain.into()));
        }
        assert_eq!(verdict(&send(&service, request).await), expected);
    }
}

#[tokio::test]
async fn mt2_handlers_learn_what_the_token_is_bound_to() {
    let world = World::new();
    let [own, _] = vectors();
    let service = world.service(from_connection());
    assert_eq!(send(&service, over(Some(&own), &world.bound(&own))).await.status(), 200);
    let last = world.inner.last.lock().unwrap().take().unwrap();
    let token: tower_bearer::AccessToken =
        tower_bearer::AccessToken::from_extensions(&last.extensions).unwrap();
    assert_eq!(token.certificate_thumbprint(), Some(&*own.thumbprint));
    assert_eq!((token.key_thumbprint(), token.is_bound()), (None, true));
}

#[tokio::test]
async fn mt2_outside_of_a_request_a_bound_token_is_refused() {
    let world = World::new();
    let [own, _] = vectors();
    let validator = world.builder().mtls(from_connection()).build().unwrap();
    let refusal = validator.validate(&world.bound(&own)).await.unwrap_err();
    assert_eq!(refusal.code(), "certificate_missing");
    assert!(validator.validate(&world.unbound()).await.is_ok());
}

#[tokio::test]
async fn mt2_without_the_setting_bound_tokens_are_refused() {
    let world = World::new();
    let [own, _] = vectors();
    let service = world.issuer().layer().layer(world.inner.clone());
    let answer = send(&service, over(Some(&own), &world.bound(&own))).await;
    assert_eq!((answer.status(), verdict(&answer)), (401, "sender_constrained"));
    assert_eq!(verdict(&send(&service, over(Some(&own), &world.unbound())).await), "accepted");
}
