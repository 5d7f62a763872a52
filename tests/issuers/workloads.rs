//! Workloads as callers: pods of a cluster beside users of an issuer, and SPIFFE's JWT-SVIDs, whose trust
//! domain the route decides since their `iss` says nothing.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, Response};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::middleware::Conditions;
use tower_bearer::testing::{ManualClock, TestKey};
use tower_bearer::token::ClientIdSource;
use tower_bearer::{
    AccessToken, BearerAuthLayer, Clock, Refusal, RejectionKind, Validator, issuers,
};

use crate::support::{A, API, Issuer, clock};

const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";

/// A trust domain: its bundle, and the SVIDs of its workloads.
struct Domain {
    name: &'static str,
    key: TestKey,
}

impl Domain {
    fn new(name: &'static str) -> Self {
        // The same `kid` everywhere, so that it tells no domain from another.
        Self { name, key: TestKey::generate(Algorithm::ES256).with_kid("1") }
    }

    fn layer(&self, clock: &ManualClock) -> BearerAuthLayer {
        let mut jwk = self.key.public_jwk();
        jwk["use"] = json!("jwt-svid");
        let bundle = json!({ "keys": [jwk], "spiffe_sequence": 1, "spiffe_refresh_hint": 300 });
        let keys = Jwks::static_spiffe_bundle(self.name, &bundle.to_string()).unwrap();
        let validator = Validator::jwt_svid(self.name, API).keys(keys);
        BearerAuthLayer::new(validator.clock(clock.clone()).build().unwrap())
    }

    /// An SVID with these claims over those of a valid one.
    fn svid(&self, now: i64, changes: Value) -> String {
        let mut claims = json!({
            "sub": format!("spiffe://{}/billing", self.name), "aud": [API],
            "iat": now, "exp": now + 300,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let header = json!({ "alg": "ES256", "kid": "1", "typ": "JWT" });
        self.key.sign(header.to_string(), claims.to_string())
    }
}

async fn send(app: &Router, path: &str, token: &str) -> Response<Body> {
    let request = Request::get(path).header("authorization", format!("Bearer {token}"));
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn accepted(app: &Router, path: &str, token: &str) -> String {
    let answer = send(app, path, token).await;
    assert_eq!(answer.status(), 200, "{path}: {:?}", answer.extensions().get::<Refusal>());
    let body = axum::body::to_bytes(answer.into_body(), 1_024).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn refused(app: &Router, path: &str, token: &str) -> (u16, RejectionKind) {
    let answer = send(app, path, token).await;
    match answer.extensions().get() {
        Some(Refusal::Rejection(rejection)) => (answer.status().as_u16(), rejection.kind()),
        other => panic!("{path}: {} {other:?}", answer.status()),
    }
}

// WI9
#[tokio::test(start_paused = true)]
async fn wi9_pods_are_an_entry_and_an_svids_trust_domain_is_the_routes() {
    let clock = clock();
    let now = clock.now().as_secs();
    let (users, cluster) = (Issuer::new(A, &clock), Issuer::new(CLUSTER, &clock));
    let pods = issuers::Issuer::new(CLUSTER, API).client_id_source(ClientIdSource::subject());
    let validator = Validator::issuers([users.entry(), pods.keys(cluster.jwks())])
        .clock(clock.clone())
        .build()
        .unwrap();
    for name in [A, CLUSTER] {
        let keys = validator.jwks_of(name).unwrap();
        keys.ready(std::time::Duration::from_secs(1)).await.unwrap();
    }
    let (own, partner) = (Domain::new("example.org"), Domain::new("partner.example"));
    let billing = Conditions::builder().clients(["spiffe://example.org/billing"]).build().unwrap();
    let who = |token: AccessToken| async move {
        format!("{} {}", token.issuer(), token.client_id().unwrap_or("nobody"))
    };
    let at = |layer: BearerAuthLayer| Router::new().route("/", get(who)).layer(layer);
    let app = Router::new()
        .nest("/cluster", at(BearerAuthLayer::new(validator)))
        .nest("/mesh", at(own.layer(&clock).conditions(&billing)))
        .nest("/partner", at(partner.layer(&clock)));

    let account = "system:serviceaccount:shop:web";
    let pod = cluster.token_with(json!({
        "sub": account, "client_id": null, "scope": null,
        "kubernetes.io": { "namespace": "shop", "serviceaccount": { "name": "web", "uid": "u" } },
    }));
    let user = users.token();
    let svid = own.svid(now, json!({}));
    assert_eq!(accepted(&app, "/cluster", &pod).await, format!("{CLUSTER} {account}"));
    assert_eq!(accepted(&app, "/cluster", &user).await, format!("{A} c"));
    let shown = "spiffe://example.org spiffe://example.org/billing";
    assert_eq!(accepted(&app, "/mesh", &svid).await, shown);
    let theirs = partner.svid(now, json!({}));
    let shown = "spiffe://partner.example spiffe://partner.example/billing";
    assert_eq!(accepted(&app, "/partner", &theirs).await, shown);
    // An issuer is neither wanted nor looked at: it decides nothing.
    for iss in [CLUSTER, "https://spire.partner.example", "spiffe://partner.example"] {
        accepted(&app, "/mesh", &own.svid(now, json!({ "iss": iss }))).await;
    }

    // Each at another's route.
    let wrong_domain = json!({ "sub": "spiffe://partner.example/billing" });
    let no_workload = json!({ "sub": account });
    for (path, token, kind) in [
        ("/mesh", &theirs, RejectionKind::WrongIssuer),
        ("/partner", &svid, RejectionKind::WrongIssuer),
        ("/mesh", &own.svid(now, wrong_domain), RejectionKind::WrongIssuer),
        // What another domain has signed in this one's name.
        (
            "/mesh",
            &partner.svid(now, json!({ "sub": "spiffe://example.org/billing" })),
            RejectionKind::BadSignature,
        ),
        ("/mesh", &own.svid(now, no_workload), RejectionKind::MalformedClaim),
        ("/mesh", &own.svid(now, json!({ "exp": now - 300 })), RejectionKind::Expired),
        ("/mesh", &own.svid(now, json!({ "aud": ["another"] })), RejectionKind::WrongAudience),
        ("/cluster", &svid, RejectionKind::MissingClaim),
        (
            "/cluster",
            &own.svid(now, json!({ "iss": "https://c.test" })),
            RejectionKind::WrongIssuer,
        ),
    ] {
        assert_eq!(refused(&app, path, token).await, (401, kind), "{path}");
    }
    for (path, token) in [("/mesh", &pod), ("/mesh", &user), ("/partner", &pod)] {
        assert_eq!(refused(&app, path, token).await.0, 401, "{path}");
    }
    // The right domain, and another workload of it.
    let other = own.svid(now, json!({ "sub": "spiffe://example.org/web" }));
    assert_eq!(refused(&app, "/mesh", &other).await.0, 403);
}
