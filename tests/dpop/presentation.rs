//! How tokens and proofs are presented, and what is answered in which mode.

use http::header::PROXY_AUTHORIZATION;
use serde_json::json;

use crate::service::{World, accept, all, proved, require, verdict};
use crate::world::{bearer, get, request, send};

const BEARER: &str = r#"Bearer realm="api""#;
const DPOP: &str = r#"DPoP realm="api", algs="ES256 EdDSA""#;

#[tokio::test]
async fn d15_two_authorization_lines_are_refused_with_both_challenges() {
    let world = World::new();
    let service = world.service(accept());
    let (bound, unbound) = (world.bound(""), world.unbound(""));
    let (dpop, plain) = (format!("DPoP {bound}"), bearer(&unbound));
    for [one, two] in [[&dpop, &dpop], [&dpop, &plain], [&plain, &dpop], [&plain, &plain]] {
        let proof = world.proof("GET", "/", &bound).sign();
        let fields = [("authorization", one.as_str()), ("authorization", two), ("dpop", &proof)];
        let answer = send(&service, get("/", &fields)).await;
        assert_eq!((answer.status(), verdict(&answer)), (400, "multiple_credentials"));
        let challenges = all(&answer, "www-authenticate");
        assert!(challenges[0].starts_with(BEARER) && challenges[1].starts_with("DPoP "));
        let errors = challenges.iter().filter(|it| it.contains(r#"error="invalid_request""#));
        assert_eq!((challenges.len(), errors.count()), (2, 1));
    }
    let proof = world.proof("GET", "/", &bound).sign();
    assert_eq!(send(&service, proved("GET", "/", &bound, &proof)).await.status(), 200);
}

#[tokio::test]
async fn d16_a_bound_token_is_never_a_bearer_token() {
    let world = World::new();
    let token = world.bound("");
    for dpop in [accept(), require()] {
        let service = world.service(dpop);
        // From the cache as well: it has been accepted with a proof before the second attempt.
        for _ in 0..2 {
            let answer = send(&service, get("/", &[("authorization", &bearer(&token))])).await;
            assert_eq!(answer.status(), 401);
            assert!(answer.body().contains("invalid_token"), "{}", answer.body());
            let proof = world.proof("GET", "/", &token).sign();
            // Not even with a good proof beside it.
            let fields = [("authorization", &*bearer(&token)), ("dpop", &proof)];
            assert_eq!(send(&service, get("/", &fields)).await.status(), 401);
            let accepted = send(&service, proved("GET", "/", &token, &proof)).await;
            assert_eq!(verdict(&accepted), "accepted");
        }
    }
    // Off: such a token isn't accepted in any way.
    let service = tower::Layer::layer(&world.issuer.layer(), world.inner.clone());
    let token = world.issuer.token_with(json!({ "cnf": { "jkt": "a" } }));
    let answer = send(&service, get("/", &[("authorization", &bearer(&token))])).await;
    assert_eq!(verdict(&answer), "sender_constrained");
}

#[tokio::test]
async fn off_knows_no_scheme_dpop() {
    let world = World::new();
    let service = tower::Layer::layer(&world.issuer.layer(), world.inner.clone());
    let token = world.issuer.token("");
    let proof = world.proof("GET", "/", &token).sign();
    let answer = send(&service, proved("GET", "/", &token, &proof)).await;
    assert_eq!(verdict(&answer), "no_credentials");
    assert_eq!(all(&answer, "www-authenticate"), [BEARER]);
    let fields = [("authorization", &*bearer(&token)), ("dpop", "x")];
    assert_eq!(send(&service, get("/", &fields)).await.status(), 200);
    assert!(world.inner.headers().contains_key("dpop"), "which is no credential there");
}

#[tokio::test]
async fn d17_an_unbound_token_is_never_a_bound_one() {
    let world = World::new();
    let token = world.unbound("");
    for dpop in [accept(), require()] {
        let service = world.service(dpop);
        for _ in 0..2 {
            let proof = world.proof("GET", "/", &token).sign();
            let answer = send(&service, proved("GET", "/", &token, &proof)).await;
            assert_eq!((answer.status(), verdict(&answer)), (401, "token_not_bound"));
            let last = all(&answer, "www-authenticate").pop().unwrap();
            assert!(last.starts_with(r#"DPoP realm="api", error="invalid_token""#), "{last}");
        }
    }
    let service = world.service(accept());
    let answer = send(&service, get("/", &[("authorization", &bearer(&token))])).await;
    assert_eq!(verdict(&answer), "accepted");
}

#[tokio::test]
async fn d21_a_proof_beside_an_unbound_token_is_ignored() {
    let world = World::new();
    let service = world.service(accept());
    let token = world.unbound("");
    for proof in ["", "garbage", "a,b"] {
        let fields = [("authorization", &*bearer(&token)), ("dpop", proof)];
        let answer = send(&service, get("/", &fields)).await;
        assert_eq!(verdict(&answer), "accepted", "{proof}");
    }
}

#[tokio::test]
async fn d22_where_proofs_are_required_bearer_tokens_are_refused() {
    let world = World::new();
    let service = world.service(require());
    for token in [world.unbound(""), world.bound(""), "garbage".to_owned()] {
        let answer = send(&service, get("/", &[("authorization", &bearer(&token))])).await;
        assert_eq!((answer.status(), verdict(&answer)), (401, "token_not_bound"));
        assert_eq!(
            all(&answer, "www-authenticate"),
            [
                r#"DPoP realm="api", error="invalid_token", error_description="The access token is invalid", algs="ES256 EdDSA""#
            ]
        );
    }
    let answer = send(&service, get("/", &[])).await;
    assert_eq!(all(&answer, "www-authenticate"), [DPOP]);
    let token = world.bound("");
    let proof = world.proof("GET", "/", &token).sign();
    assert_eq!(send(&service, proved("GET", "/", &token, &proof)).await.status(), 200);
}

#[tokio::test]
async fn d23_nothing_is_read_from_proxy_authorization() {
    let world = World::new();
    let service = world.service(accept());
    let token = world.bound("");
    let proof = world.proof("GET", "/", &token).sign();
    let dpop = format!("DPoP {token}");
    let fields = [(PROXY_AUTHORIZATION.as_str(), &*dpop), ("dpop", &proof)];
    let answer = send(&service, get("/", &fields)).await;
    assert_eq!(verdict(&answer), "no_credentials");
    assert!(answer.header("proxy-authenticate").is_none());
    assert_eq!(send(&service, proved("GET", "/", &token, &proof)).await.status(), 200);
}

#[tokio::test]
async fn d24_proofs_are_sensitive_and_removed_with_the_token() {
    let world = World::new();
    let token = world.bound("");
    for forward in [true, false] {
        let layer = world.layer(accept()).forward_credentials(forward);
        let service = tower::Layer::layer(&layer, world.inner.clone());
        let proof = world.proof("GET", "/", &token).sign();
        assert_eq!(send(&service, proved("GET", "/", &token, &proof)).await.status(), 200);
        let headers = world.inner.headers();
        for name in ["authorization", "dpop"] {
            let field = headers.get(name);
            assert_eq!(field.is_some(), forward, "{name}");
            assert!(field.is_none_or(http::HeaderValue::is_sensitive), "{name}");
        }
    }
}

#[tokio::test]
async fn d50_d51_a_confirmation_that_is_not_one_key_is_refused() {
    let world = World::new();
    let service = world.service(accept());
    let jkt = crate::service::thumbprint(&world.client);
    let other = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2";
    for (cnf, good) in [
        (json!({ "jkt": jkt }), true),
        (json!({ "jkt": jkt, "x5t#S256": other }), false),
        (json!({ "x5t#S256": other }), false),
        (json!({ "jkt": jkt, "jwk": {} }), false),
        (json!({ "jkt": jkt, "kid": "k" }), false),
        (json!({ "jkt": format!("{jkt}=") }), false),
        (json!({ "jkt": [jkt] }), false),
        (json!({}), false),
        (json!([]), false),
        (json!("jkt"), false),
    ] {
        let token = world.token("", cnf.clone());
        let proof = world.proof("GET", "/", &token).sign();
        let answer = send(&service, proved("GET", "/", &token, &proof)).await;
        assert_eq!(verdict(&answer), if good { "accepted" } else { "sender_constrained" }, "{cnf}");
        let answer = send(&service, get("/", &[("authorization", &bearer(&token))])).await;
        assert_eq!(verdict(&answer), "sender_constrained", "{cnf}");
    }
}

#[tokio::test]
async fn d43_d45_requests_without_a_url_cannot_carry_a_proof() {
    let world = World::new();
    let service = world.service(accept());
    let token = world.bound("");
    let dpop = format!("DPoP {token}");
    for (method, uri, good) in [
        ("GET", "/", true),
        ("OPTIONS", "*", false),
        ("OPTIONS", "/", true),
        ("CONNECT", "api.example:443", false),
        ("GET", "https://api.example/", true),
        ("GET", "http://10.0.0.1/", true),
    ] {
        let proof = world.proof(method, "/", &token).sign();
        let fields = [("authorization", dpop.as_str()), ("dpop", &proof)];
        let answer = send(&service, request(method, uri, &fields)).await;
        let expected = if good { "accepted" } else { "dpop_proof_mismatch" };
        assert_eq!(verdict(&answer), expected, "{method} {uri}");
    }
    // A web socket's opening request, by either scheme.
    for uri in ["https://api.example/ws", "wss://api.example/ws"] {
        let proof = world.proof("GET", "/ws", &token).uri(uri).sign();
        let fields = [
            ("authorization", dpop.as_str()),
            ("dpop", &proof),
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
        ];
        assert_eq!(verdict(&send(&service, get("/ws", &fields)).await), "accepted", "{uri}");
    }
}
