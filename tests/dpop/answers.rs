//! gRPC, browsers, waits for keys, metrics: what is answered beyond the challenges.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::{CONTENT_TYPE, HeaderName};
use tower_bearer::Secret;
use tower_bearer::answer::EXPOSED_HEADERS;
use tower_bearer::dpop::NonceKeys;
use tower_http::cors::{Any, CorsLayer};

use crate::service::{ORIGIN, World, accept, all, proved, verdict};
use crate::world::{request, send};

const METHOD: &str = "/pkg.Service/Method";

#[tokio::test]
async fn d44_d80_grpc_calls_carry_proofs_and_get_statuses() {
    let world = World::new();
    let keys = NonceKeys::new(Secret::new(vec![1; 32])).unwrap();
    let service = world.service(accept().nonces(keys));
    let token = world.bound("");
    let call = async |proof: &str| {
        let mut request = proved("POST", METHOD, &token, proof);
        request.headers_mut().insert(CONTENT_TYPE, "application/grpc".parse().unwrap());
        send(&service, request).await
    };
    let reason = |answer: &crate::world::Answer| {
        use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine as _};
        let details = answer.header("grpc-status-details-bin").unwrap();
        String::from_utf8_lossy(&BASE64_STANDARD_NO_PAD.decode(details).unwrap()).into_owned()
    };
    let get = world.proof("GET", METHOD, &token).sign();
    let bad = call(&get).await;
    assert_eq!((bad.status(), bad.header("grpc-status")), (200, Some("16")));
    assert!(reason(&bad).contains("DPOP_PROOF_INVALID"));
    assert_eq!(all(&bad, "www-authenticate").len(), 2);

    let refused = call(&world.proof("POST", METHOD, &token).sign()).await;
    assert_eq!((refused.status(), refused.header("grpc-status")), (200, Some("16")));
    assert!(reason(&refused).contains("DPOP_NONCE_REQUIRED"));
    let [nonce] = &*all(&refused, "dpop-nonce") else { panic!("one nonce") };
    let good = world.proof("POST", METHOD, &token).nonce(nonce).sign();
    assert_eq!(verdict(&call(&good).await), "accepted");
    let again = call(&good).await;
    assert!(reason(&again).contains("DPOP_PROOF_INVALID"));
}

#[tokio::test]
async fn d72_scripts_may_send_proofs_and_read_nonces() {
    let world = World::new();
    let keys = NonceKeys::new(Secret::new(vec![1; 32])).unwrap();
    let dpop = HeaderName::from_static("dpop");
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_headers([http::header::AUTHORIZATION, dpop])
        .expose_headers(EXPOSED_HEADERS);
    let app = Router::new()
        .route("/", get(async || "fine"))
        .layer(world.layer(accept().nonces(keys)))
        .layer(cors);
    let fields = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "authorization,dpop"),
    ];
    let preflight = send(&app, request("OPTIONS", "/", &fields).map(Body::new)).await;
    assert_eq!(preflight.status(), 200);
    assert_eq!(preflight.header("access-control-allow-headers"), Some("authorization,dpop"));
    let token = world.bound("");
    let proof = world.proof("GET", "/", &token).sign();
    let refused = send(&app, proved("GET", "/", &token, &proof).map(Body::new)).await;
    let exposed: Vec<&str> =
        refused.header("access-control-expose-headers").unwrap().split(',').collect();
    for needed in ["www-authenticate", "dpop-nonce"] {
        assert!(exposed.contains(&needed) && refused.header(needed).is_some(), "{needed}");
    }
}

#[tokio::test]
async fn d81_the_metadata_says_what_is_on() {
    let world = World::new();
    for (dpop, required) in [(accept(), None), (crate::service::require(), Some(true))] {
        let layer = world.layer(dpop).resource(ORIGIN).unwrap();
        let service = tower::Layer::layer(&layer, world.inner.clone());
        let path = "/.well-known/oauth-protected-resource";
        let answer = send(&service, request("GET", path, &[])).await;
        let document: serde_json::Value = serde_json::from_str(answer.body()).unwrap();
        let algorithms = &document["dpop_signing_alg_values_supported"];
        assert_eq!(*algorithms, serde_json::json!(["ES256", "EdDSA"]));
        assert_eq!(document["dpop_bound_access_tokens_required"].as_bool(), required);
        // D77: both challenges name it.
        let refused = send(&service, request("GET", "/", &[])).await;
        let challenges = all(&refused, "www-authenticate");
        assert!(challenges.iter().all(|it| it.contains("resource_metadata=")), "{challenges:?}");
    }
}

// A renderer of the application's own gets both challenges, and the nonce is added to what it returns.
#[tokio::test]
async fn d64_a_renderer_of_ones_own_loses_nothing() {
    use tower_bearer::answer::RefusalContext;
    let world = World::new();
    let keys = NonceKeys::new(Secret::new(vec![1; 32])).unwrap();
    let layer = world.layer(accept().nonces(keys)).renderer(
        |_: &tower_bearer::Refusal, cx: &RefusalContext<'_>| {
            let mut response = http::Response::new(bytes::Bytes::from("own"));
            *response.status_mut() = cx.status();
            for challenge in cx.challenges() {
                response.headers_mut().append("www-authenticate", challenge);
            }
            response
        },
    );
    let service = tower::Layer::layer(&layer, world.inner.clone());
    let token = world.bound("");
    let proof = world.proof("GET", "/", &token).sign();
    let refused = send(&service, proved("GET", "/", &token, &proof)).await;
    assert_eq!((refused.status(), refused.body()), (401, "own"));
    assert_eq!(all(&refused, "www-authenticate").len(), 2);
    assert!(refused.header("dpop-nonce").is_some());
}

// Nothing that a caller sent is in an answer, a log line or what is printed of a refusal.
#[tokio::test]
async fn nothing_of_a_proof_is_repeated() {
    let world = World::new();
    let service = world.service(accept());
    let logs = crate::world::Logs::capture();
    let token = world.bound("");
    let canary = "canary";
    for proof in [
        world.proof("GET", "/", &token).jti(canary).wrong_signature(),
        world.proof("GET", "/", &token).uri(&format!("{ORIGIN}/{canary}")),
        world.proof("GET", "/", &token).method(canary),
        world.proof("GET", "/", &token).claim("ath", canary),
        world.proof("GET", "/", &token).typ(canary),
        world.proof("GET", "/", &token).alg(canary),
        world.proof("GET", "/", &token).jwk_member(canary, canary).raw_payload(canary),
    ] {
        let proof = proof.sign();
        let answer = send(&service, proved("GET", "/", &token, &proof)).await;
        let said = format!("{:?} {:?} {}", answer, answer.refusal(), answer.body());
        assert_eq!(answer.status(), 401);
        assert!(!said.contains(canary) && !said.contains(&proof), "{said}");
    }
    let lines = logs.take().join("\n");
    assert!(lines.contains("dpop_proof_") && !lines.contains(canary), "{lines}");
}
