//! Protected-resource metadata: what is served, where, to whom; and the challenges that name it.
#![cfg(all(feature = "test-util", feature = "tracing", feature = "axum", feature = "reqwest"))]

mod world;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_bearer::issuers::{self, Tenants};
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::metadata::{
    MetadataFault, MetadataService, ResourceMetadata, ResourceMetadataBuilder, WELL_KNOWN, check,
};
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::transport::{ReqwestTransport, TransportErrorKind};
use tower_bearer::{
    Access, AccessToken, BearerAuthLayer, RejectionKind, Requirement, RouteTable, ScopeGuardLayer,
    Validator,
};
use world::{AUDIENCE, Answer, ISSUER, Inner, Issuer, Logs, bearer, send};

const MCP: &str = "https://api.example/mcp";
const MCP_PATH: &str = "/.well-known/oauth-protected-resource/mcp";

fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Request {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

fn routes() -> RouteTable {
    let either = [Requirement::scope("read").unwrap(), Requirement::scope("admin").unwrap()];
    RouteTable::builder()
        .route(Method::GET, "/read", Access::requires(Requirement::any(either).unwrap()))
        .route(Method::POST, "/read", Access::scope("write"))
        .any(
            "/both",
            Access::requires(Requirement::all([
                Requirement::scope("read").unwrap(),
                Requirement::scope("write").unwrap(),
            ])),
        )
        .any("/hidden", Access::scope("secret").hide_existence())
        .any("/public", Access::public())
        .build()
        .unwrap()
}

fn document(answer: &Answer) -> Value {
    assert_eq!((answer.status(), answer.header("content-type")), (200, Some("application/json")));
    serde_json::from_str(answer.body()).unwrap()
}

async fn document_of(layer: BearerAuthLayer, path: &str) -> Value {
    let service = tower::Layer::layer(&layer, Inner::default());
    document(&send(&service, world::get(path, &[])).await)
}

#[tokio::test]
async fn p2_p10_p13_the_document_says_what_the_layer_does_whatever_the_order_of_settings() {
    let issuer = Issuer::new();
    let expected = json!({
        "resource": MCP,
        "authorization_servers": [ISSUER],
        "scopes_supported": ["read", "admin", "write"],
        "bearer_methods_supported": ["header"],
    });
    let before = issuer.layer().resource(MCP).unwrap().routes(routes());
    let after = issuer.layer().routes(routes()).resource(MCP).unwrap();
    for layer in [before, after] {
        let found = document_of(layer.clone(), MCP_PATH).await;
        // What hides isn't listed.
        assert_eq!(found, expected);
        let layer = layer.fallback(Access::scope("base")).unwrap();
        let found = document_of(layer, MCP_PATH).await;
        assert_eq!(found["scopes_supported"], json!(["read", "admin", "write", "base"]));
    }
    for resource in ["https://api.example", "https://api.example/", "HTTPS://API.example/A?b=%2F"] {
        let metadata = ResourceMetadata::new(resource).unwrap();
        let path = metadata.url();
        let path = path.split_at("https://api.example".len()).1;
        let found = document_of(issuer.layer().resource(resource).unwrap(), path).await;
        assert_eq!(found["resource"], resource, "byte for byte");
    }
}

#[tokio::test]
async fn p3_what_is_empty_is_left_out() {
    let found = document_of(Issuer::new().layer().resource(MCP).unwrap(), MCP_PATH).await;
    assert!(found.get("scopes_supported").is_none(), "{found}");
    // An issuer that is no URL is no authorization server that clients could find.
    let key = TestKey::generate(Algorithm::EdDSA);
    let keys = json!({ "keys": [key.public_jwk()] }).to_string();
    let keys = Jwks::static_set("accounts", &keys).unwrap();
    let validator = Validator::builder("accounts", AUDIENCE).keys(keys).build().unwrap();
    let layer = BearerAuthLayer::new(validator).resource(MCP).unwrap();
    let found = document_of(layer, MCP_PATH).await;
    assert!(found.get("authorization_servers").is_none(), "{found}");
}

#[tokio::test]
async fn mc1_clients_are_told_of_an_authorization_server_and_the_operator_if_not() {
    let key = TestKey::generate(Algorithm::EdDSA);
    let keys = json!({ "keys": [key.public_jwk()] }).to_string();
    let named = ResourceMetadata::builder(MCP).authorization_servers(["https://login.example/a"]);
    let named = named.build().unwrap();
    let issuer = "http://keycloak.internal:8080/realms/a";
    for (issuer, metadata, expected) in [
        (ISSUER, ResourceMetadata::new(MCP).unwrap(), json!([ISSUER])),
        (issuer, named, json!(["https://login.example/a"])),
        (issuer, ResourceMetadata::new(MCP).unwrap(), json!(null)),
    ] {
        let keys = Jwks::static_set(issuer, &keys).unwrap();
        let validator = Validator::builder(issuer, AUDIENCE).keys(keys).build().unwrap();
        let logs = Logs::capture();
        let layer = BearerAuthLayer::new(validator).metadata(metadata).routes(routes());
        let told = logs.take().iter().filter(|it| it.contains("no_authorization_server")).count();
        assert_eq!(told, usize::from(expected.is_null()), "{issuer}");
        assert_eq!(document_of(layer, MCP_PATH).await["authorization_servers"], expected);
    }
}

#[tokio::test]
async fn n9_mc1_issuers_of_templates_are_listed_or_the_operator_is_told() {
    const ONE: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
    const TWO: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    const OTHER: &str = "https://other.example";
    let key = TestKey::generate(Algorithm::EdDSA);
    let set = json!({ "keys": [key.public_jwk()] }).to_string();
    let keys = |issuer: &str| Jwks::static_set(issuer, &set).unwrap();
    let entra = |version: &str| match version {
        "v1" => {
            issuers::Issuer::entra_v1(AUDIENCE).keys(keys("https://sts.windows.net/{tenantid}/"))
        }
        _ => issuers::Issuer::entra_v2(AUDIENCE)
            .keys(keys("https://login.microsoftonline.com/{tenantid}/v2.0")),
    };
    let v2 = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
    let one = || issuers::Issuer::new(v2(ONE), AUDIENCE).keys(keys(&v2(ONE)));
    let other = || issuers::Issuer::new(OTHER, AUDIENCE).keys(keys(OTHER));
    let tenants = || Tenants::new("https://{tenant}.example/", async |_| Ok(None));
    let of = |list: Vec<issuers::Issuer>| Validator::issuers(list);
    let named = ResourceMetadata::builder(MCP).authorization_servers([OTHER]).build().unwrap();
    let all = || ResourceMetadata::new(MCP).unwrap();
    let unknown = "metadata_issuers_unknown";
    for (number, (validator, metadata, listed, warned)) in [
        // The tenants are named: in the order of their ids, and each once.
        (
            of(vec![entra("v2").allow_tenants([ONE, TWO]), other()]),
            all(),
            json!([v2(TWO), v2(ONE), OTHER]),
            vec![],
        ),
        (
            of(vec![one(), entra("v2").allow_tenants([ONE, TWO])]),
            all(),
            json!([v2(ONE), v2(TWO)]),
            vec![],
        ),
        // They aren't.
        (
            of(vec![entra("v2").dangerous_any_tenant(), other()]),
            all(),
            json!([OTHER]),
            vec![unknown],
        ),
        (of(vec![entra("v2").allow_tenants_where(|_| true)]), all(), json!(null), vec![unknown]),
        (
            of(vec![
                entra("v1").dangerous_any_tenant(),
                entra("v2").dangerous_any_tenant(),
                other(),
            ]),
            all(),
            json!([OTHER]),
            vec![unknown; 2],
        ),
        (of(vec![]).tenants(tenants()), all(), json!(null), vec![unknown]),
        (of(vec![other()]).tenants(tenants()), all(), json!([OTHER]), vec![unknown]),
        (
            of(vec![entra("v2").dangerous_any_tenant()]).tenants(tenants()),
            named,
            json!([OTHER]),
            vec![],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let logs = Logs::capture();
        let layer = BearerAuthLayer::new(validator.build().unwrap()).metadata(metadata);
        let lines = logs.take();
        let told: Vec<&String> = lines.iter().filter(|line| line.contains("WARN")).collect();
        assert_eq!(told.len(), warned.len(), "{number}: {told:?}");
        for (line, expected) in told.iter().zip(warned) {
            assert!(line.contains(expected), "{number}: {line}");
            assert!(line.contains("ResourceMetadataBuilder::authorization_servers"), "{line}");
        }
        assert_eq!(document_of(layer, MCP_PATH).await["authorization_servers"], listed, "{number}");
    }
}

// The list may change while requests are served.
#[tokio::test]
async fn p13_n9_the_listed_tenants_and_the_warnings_follow_the_list() {
    const ONE: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
    const V2: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";
    let key = TestKey::generate(Algorithm::EdDSA);
    let set = json!({ "keys": [key.public_jwk()] }).to_string();
    let entra = || issuers::Issuer::entra_v2(AUDIENCE).keys(Jwks::static_set(V2, &set).unwrap());
    let validator = Validator::issuers([entra().allow_tenants([ONE])]).build().unwrap();
    let logs = Logs::capture();
    let layer = BearerAuthLayer::new(validator.clone()).resource(MCP).unwrap();
    let service = tower::Layer::layer(&layer, Inner::default());
    let listed = async || {
        let document = document(&send(&service, world::get(MCP_PATH, &[])).await);
        document["authorization_servers"].clone()
    };
    assert_eq!(listed().await, json!([V2.replace("{tenantid}", ONE)]));
    let warnings = || {
        let lines = logs.take();
        lines.iter().filter(|line| line.contains("metadata_issuers_unknown")).count()
    };
    assert_eq!(warnings(), 0);
    validator.set_issuers([entra().allow_tenants_where(|_| true)]).unwrap();
    assert_eq!((listed().await, listed().await, warnings()), (json!(null), json!(null), 1));
    validator.set_issuers([entra().allow_tenants([ONE])]).unwrap();
    assert_eq!((listed().await, warnings()), (json!([V2.replace("{tenantid}", ONE)]), 0));
}

// What a token must be bound to, clients learn before they ask for one.
#[cfg(feature = "dpop")]
#[tokio::test]
async fn p13_d81_the_document_says_which_proofs_are_accepted_and_whether_all_need_one() {
    use tower_bearer::dpop::Dpop;

    let issuer = Issuer::new();
    let algorithms = [Algorithm::ES256, Algorithm::EdDSA];
    let listed = json!(["ES256", "EdDSA"]);
    for (dpop, accepted, required) in [
        (None, json!(null), json!(null)),
        (Some(Dpop::accept()), listed.clone(), json!(null)),
        (Some(Dpop::require()), listed, json!(true)),
    ] {
        let keys = Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
        let validator = Validator::builder(ISSUER, AUDIENCE).keys(keys);
        let validator = match dpop {
            None => validator,
            Some(dpop) => {
                validator.dpop(dpop.algorithms(algorithms).public_origins(["https://api.example"]))
            }
        };
        let layer = BearerAuthLayer::new(validator.build().unwrap());
        let found = document_of(layer.resource(MCP).unwrap(), MCP_PATH).await;
        assert_eq!(found["dpop_signing_alg_values_supported"], accepted, "{found}");
        assert_eq!(found["dpop_bound_access_tokens_required"], required, "{found}");
        assert_eq!(found["bearer_methods_supported"], json!(["header"]));
    }
}

#[tokio::test]
async fn p23_no_document_is_signed() {
    let metadata = ResourceMetadata::builder(MCP).extra("signed_metadata", "a.b.c").build();
    assert!(metadata.unwrap_err().to_string().contains("signed_metadata"));
    let found = document_of(Issuer::new().layer().resource(MCP).unwrap(), MCP_PATH).await;
    assert_eq!(found.get("signed_metadata"), None, "{found}");
}

#[tokio::test]
async fn p14_every_member_can_be_set() {
    let metadata = ResourceMetadata::builder(MCP)
        .name("Orders")
        .name_in("de", "Bestellungen")
        .documentation("https://docs.example/")
        .policy("https://docs.example/policy")
        .terms_of_service("https://docs.example/tos")
        .jwks_uri("https://api.example/keys")
        .response_signing_algorithms(["ES256"])
        .authorization_details_types(["payment"])
        .authorization_servers(["https://one.example", "https://two.example"])
        .scopes(["extra"])
        .extra("org.example.tier", 2)
        .build()
        .unwrap();
    let found = document_of(Issuer::new().layer().metadata(metadata), MCP_PATH).await;
    assert_eq!(
        found,
        json!({
            "resource": MCP,
            "authorization_servers": ["https://one.example", "https://two.example"],
            "scopes_supported": ["extra"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Orders",
            "resource_name#de": "Bestellungen",
            "resource_documentation": "https://docs.example/",
            "resource_policy_uri": "https://docs.example/policy",
            "resource_tos_uri": "https://docs.example/tos",
            "jwks_uri": "https://api.example/keys",
            "resource_signing_alg_values_supported": ["ES256"],
            "authorization_details_types_supported": ["payment"],
            "org.example.tier": 2,
        })
    );
}

#[test]
fn p15_p19_what_cant_work_is_said_when_it_is_built() {
    type Change = fn(ResourceMetadataBuilder) -> ResourceMetadataBuilder;
    let changes: &[(Change, &str)] = &[
        (|it| it.url("/.well-known/x"), "absolute URL"),
        (|it| it.url("http://api.example/x"), "https://"),
        (|it| it.url("https://api.example/x?scope=a"), "parameter"),
        (|it| it.documentation("docs"), "documentation URL"),
        (|it| it.policy("http://docs.example"), "policy URL"),
        (|it| it.terms_of_service("https://docs.example/#a"), "terms of service"),
        (|it| it.jwks_uri(""), "key set URL"),
        (|it| it.authorization_servers(["http://as.example"]), "authorization server"),
        (|it| it.response_signing_algorithms(["none"]), "none"),
        (|it| it.authorization_details_types([""]), "empty"),
        (|it| it.scopes(["a b"]), "\"a b\""),
        (|it| it.only_scopes(["a\""]), "not a scope"),
        (|it| it.challenge_scopes([""]), "not a scope"),
        (|it| it.name("a").name("b"), "twice"),
        (|it| it.name_in("", "a"), "language tag"),
        (|it| it.extra("scopes_supported", 1), "scopes_supported"),
        (|it| it.extra("resource_name#x", 1), "resource_name#x"),
        (|it| it.extra("a", 1).extra("a", 2), "twice"),
        (|it| it.cache_for(Duration::from_secs(8 * 24 * 3_600)), "cache_for"),
    ];
    for (change, said) in changes {
        let error = change(ResourceMetadata::builder(MCP)).build().unwrap_err().to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
    assert!(Issuer::new().layer().resource("/mcp").is_err());
    assert!(ResourceMetadata::new("http://127.0.0.1:3000/mcp").is_ok());
}

#[tokio::test]
async fn p16_scopes_can_be_chosen_or_hidden_and_offline_access_is_dropped() {
    let issuer = Issuer::new();
    let metadata = || ResourceMetadata::builder(MCP).challenge_scopes(["base", "offline_access"]);
    let logs = Logs::capture();
    for (metadata, listed) in [
        (metadata(), json!(["read", "admin", "write", "base"])),
        (
            metadata().scopes(["x", "offline_access"]),
            json!(["read", "admin", "write", "base", "x"]),
        ),
        (metadata().only_scopes(["read"]), json!(["read"])),
        (metadata().hide_scopes(), Value::Null),
    ] {
        let layer = issuer.layer().routes(routes()).metadata(metadata.build().unwrap());
        assert_eq!(document_of(layer, MCP_PATH).await["scopes_supported"], listed);
    }
    let lines = logs.take();
    assert!(lines.iter().any(|line| line.contains("WARN") && line.contains("offline_access")));
}

#[tokio::test]
async fn p9_p11_p12_the_layer_answers_its_paths_before_it_looks_at_credentials() {
    let issuer = Issuer::new();
    let inner = Inner::default();
    let closed = issuer.layer().fallback(Access::denied()).unwrap().resource(MCP).unwrap();
    let service = tower::Layer::layer(&closed, inner.clone());
    let other_host = [("host", "evil.example"), ("x-forwarded-host", "evil.example")];
    for fields in [
        &[][..],
        &[("authorization", "Bearer garbage")],
        &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
        &other_host,
    ] {
        for path in [MCP_PATH, WELL_KNOWN, "/.well-known/oauth-protected-resource/"] {
            let answer = send(&service, world::get(path, fields)).await;
            // Nothing of it depends on who asks, or by what name (W19).
            assert_eq!(document(&answer)["resource"], MCP, "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
            let query = send(&service, world::get(&format!("{path}?x=1"), fields)).await;
            assert_eq!(query.body(), answer.body());
            let head = send(&service, world::request("HEAD", path, fields)).await;
            assert_eq!((head.status(), head.body()), (200, ""));
            assert_eq!(head.header("content-length"), answer.header("content-length"));
            for method in ["POST", "PUT", "DELETE", "PATCH", "PURGE"] {
                let answer = send(&service, world::request(method, path, fields)).await;
                assert_eq!((answer.status(), answer.body()), (405, ""), "{method}");
                assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
            }
        }
        for absent in [
            "/.well-known/oauth-protected-resource/mcp/",
            "/.well-known/oauth-protected-resource/MCP",
            "/.well-known/oauth-protected-resource/mcp/x",
            "/.well-known/oauth-protected-resource//mcp",
            "/.well-known/oauth-protected-resource/%6dcp",
            "/.well-known/oauth-protected-resource/x/../mcp",
        ] {
            let answer = send(&service, world::get(absent, fields)).await;
            assert_eq!((answer.status(), answer.body()), (404, ""), "{absent}");
        }
    }
    // Other paths are like any other: what a router behind would make of them, isn't asked.
    for other in [
        "//.well-known/oauth-protected-resource/mcp",
        "/.well-known//oauth-protected-resource/mcp",
        "/.well-known/oauth-protected-resourceful",
        "/.well-known/oauth-protected-resource%2Fmcp",
        "/%2ewell-known/oauth-protected-resource/mcp",
        "/a/../.well-known/oauth-protected-resource/mcp",
        "/x/.well-known/oauth-protected-resource/mcp",
    ] {
        assert_eq!(send(&service, world::get(other, &[])).await.status(), 401, "{other}");
    }
    assert_eq!(inner.calls(), 0);
    let without = ResourceMetadata::builder(MCP).root_alias(false).build().unwrap();
    let service = tower::Layer::layer(&issuer.layer().metadata(without), inner);
    assert_eq!(send(&service, world::get(WELL_KNOWN, &[])).await.status(), 404);
    assert_eq!(send(&service, world::get(MCP_PATH, &[])).await.status(), 200);
}

#[tokio::test]
async fn p8_a_query_of_the_resource_is_one_of_the_metadata() {
    let layer = Issuer::new().layer().resource("https://api.example/a?x=1").unwrap();
    let service = tower::Layer::layer(&layer, Inner::default());
    for (path, status) in [
        ("/.well-known/oauth-protected-resource/a?x=1", 200),
        ("/.well-known/oauth-protected-resource/a?x=2", 404),
        ("/.well-known/oauth-protected-resource/a", 404),
    ] {
        assert_eq!(send(&service, world::get(path, &[])).await.status(), status, "{path}");
    }
}

#[tokio::test]
async fn p17_the_document_is_made_once_and_may_be_kept() {
    let issuer = Issuer::new();
    let service = tower::Layer::layer(&issuer.layer().resource(MCP).unwrap(), Inner::default());
    let first = send(&service, world::get(MCP_PATH, &[])).await;
    assert_eq!(first.header("cache-control"), Some("public, max-age=3600"));
    let etag = first.header("etag").unwrap();
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 8);
    let weak = format!("\"x\", W/{etag}");
    for known in [etag, "*", &weak] {
        for method in ["GET", "HEAD"] {
            let fields = [("if-none-match", known)];
            let answer = send(&service, world::request(method, MCP_PATH, &fields)).await;
            assert_eq!((answer.status(), answer.body()), (304, ""), "{known}");
            assert_eq!(answer.header("etag"), Some(etag));
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        }
    }
    let other = send(&service, world::get(MCP_PATH, &[("if-none-match", "\"x\"")])).await;
    assert_eq!((other.status(), other.body()), (200, first.body()));
    for (secs, field) in [(0, "no-cache"), (60, "public, max-age=60")] {
        let metadata =
            ResourceMetadata::builder(MCP).cache_for(Duration::from_secs(secs)).build().unwrap();
        let service = tower::Layer::layer(&issuer.layer().metadata(metadata), Inner::default());
        let answer = send(&service, world::get(MCP_PATH, &[])).await;
        assert_eq!(answer.header("cache-control"), Some(field));
    }
}

#[tokio::test]
async fn p18_scripts_of_every_origin_may_read_it() {
    let layer = Issuer::new().layer().resource(MCP).unwrap();
    let service = tower::Layer::layer(&layer, Inner::default());
    let preflight = [
        ("origin", "https://inspector.example"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "mcp-protocol-version"),
    ];
    let answer = send(&service, world::request("OPTIONS", MCP_PATH, &preflight)).await;
    assert_eq!((answer.status(), answer.body()), (204, ""));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("*"));
    // Elsewhere a preflight is the application's affair.
    assert_eq!(send(&service, world::request("OPTIONS", "/read", &preflight)).await.status(), 401);
}

const INVALID: &str =
    r#"Bearer realm="api", error="invalid_token", error_description="The access token is invalid""#;
const INSUFFICIENT: &str = r#"Bearer realm="api", error="insufficient_scope", error_description="The request requires higher privileges than provided by the access token""#;
const TWICE: &str = r#"Bearer realm="api", error="invalid_request", error_description="More than one access token was sent""#;
const AMBIGUOUS: &str = r#"Bearer realm="api", error="invalid_request", error_description="The path can be read in more than one way""#;
const URL: &str =
    r#", resource_metadata="https://api.example/.well-known/oauth-protected-resource/mcp""#;

#[tokio::test]
async fn w18_w19_p21_mc5_mc6_every_challenge_names_the_metadata_and_what_is_needed() {
    let issuer = Issuer::new();
    let bare = r#"Bearer realm="api""#;
    let few = issuer.token("read");
    let metadata = || ResourceMetadata::builder(MCP);
    for (base, metadata) in
        [("", metadata()), (r#", scope="base""#, metadata().challenge_scopes(["base"]))]
    {
        let layer = issuer.layer().routes(routes()).metadata(metadata.build().unwrap());
        let service = tower::Layer::layer(&layer, Inner::default());
        for (method, path, tokens, status, challenge, scope) in [
            ("GET", "/other", &[][..], 401, bare, base),
            ("GET", "/read", &[], 401, bare, r#", scope="read""#),
            ("POST", "/read", &[], 401, bare, r#", scope="write""#),
            ("GET", "/both", &[], 401, bare, r#", scope="read write""#),
            // What hides looks like what isn't there.
            ("GET", "/hidden", &[], 401, bare, base),
            ("GET", "/hidden", &["garbage"], 401, INVALID, base),
            ("GET", "/other", &["garbage"], 401, INVALID, base),
            ("GET", "/read", &["garbage"], 401, INVALID, r#", scope="read""#),
            ("GET", "/both", &["garbage"], 401, INVALID, r#", scope="read write""#),
            ("GET", "/read", &["a", "b"], 400, TWICE, r#", scope="read""#),
            ("GET", "//read", &[], 400, AMBIGUOUS, base),
            ("POST", "/read", &[&few], 403, INSUFFICIENT, r#", scope="write""#),
            // All of them, and not only the missing one.
            ("GET", "/both", &[&few], 403, INSUFFICIENT, r#", scope="read write""#),
        ] {
            let tokens: Vec<_> = tokens.iter().map(|token| bearer(token)).collect();
            let mut fields = vec![("host", "evil.example"), ("x-forwarded-proto", "http")];
            fields.extend(tokens.iter().map(|token| ("authorization", token.as_str())));
            let answer = send(&service, world::request(method, path, &fields)).await;
            assert_eq!(answer.status(), status, "{method} {path}");
            assert_eq!(answer.challenge(), format!("{challenge}{scope}{URL}"), "{method} {path}");
        }
        // Whoever guesses what hides learns nothing, and no other token would do here.
        let hidden =
            send(&service, world::get("/hidden", &[("authorization", &bearer(&few))])).await;
        assert_eq!((hidden.status(), hidden.challenge()), (404, ""));
    }
}

#[tokio::test]
async fn without_metadata_challenges_are_what_they_were() {
    let issuer = Issuer::new();
    let service = tower::Layer::layer(&issuer.layer().routes(routes()), Inner::default());
    let garbage = [("authorization", "Bearer garbage")];
    assert_eq!(send(&service, world::get("/read", &garbage)).await.challenge(), INVALID);
    let bare = r#"Bearer realm="api", scope="read""#;
    assert_eq!(send(&service, world::get("/read", &[])).await.challenge(), bare);
    assert_eq!(send(&service, world::get(MCP_PATH, &[])).await.status(), 401);
}

#[tokio::test]
async fn guards_and_extractors_name_the_metadata_too() {
    let issuer = Issuer::new();
    let guard = ScopeGuardLayer::new(Requirement::scope("guarded").unwrap());
    let app =
        Router::new()
            .route("/guarded", get(|| async { "guarded" }).route_layer(guard))
            .route("/token", get(|_: AccessToken| async { "token" }))
            .layer(issuer.layer().fallback(Access::optional()).unwrap().metadata(
                ResourceMetadata::builder(MCP).challenge_scopes(["base"]).build().unwrap(),
            ));
    let token = bearer(&issuer.token("read"));
    let fields = [("authorization", token.as_str())];
    let answer = send(&app, request("GET", "/guarded", &fields)).await;
    assert_eq!(
        (answer.status(), answer.challenge()),
        (403, &*format!("{INSUFFICIENT}, scope=\"guarded\"{URL}"))
    );
    let answer = send(&app, request("GET", "/token", &[])).await;
    let bare = format!("Bearer realm=\"api\", scope=\"base\"{URL}");
    assert_eq!((answer.status(), answer.challenge()), (401, &*bare));
    assert_eq!(send(&app, request("GET", "/token", &fields)).await.body(), "token");
}

#[tokio::test]
async fn p25_grpc_calls_get_the_challenge_in_their_metadata() {
    let issuer = Issuer::new();
    let routes =
        RouteTable::builder().grpc_service("shop.Orders", Access::scope("orders")).build().unwrap();
    let layer = issuer.layer().routes(routes).resource(MCP).unwrap();
    let service = tower::Layer::layer(&layer, Inner::default());
    let fields = [("content-type", "application/grpc")];
    let answer = send(&service, world::request("POST", "/shop.Orders/List", &fields)).await;
    assert_eq!((answer.status(), answer.header("grpc-status")), (200, Some("16")));
    assert_eq!(answer.challenge(), format!("Bearer realm=\"api\", scope=\"orders\"{URL}"));
}

#[tokio::test]
async fn p22_the_resource_is_not_the_audience() {
    let issuer = Issuer::new();
    // Tokens are for `AUDIENCE`, as the authorization server calls it.
    let layer = issuer.layer().resource("https://elsewhere.example/mcp").unwrap();
    let inner = Inner::default();
    let service = tower::Layer::layer(&layer, inner.clone());
    let own = bearer(&issuer.token(""));
    let other = bearer(&issuer.token_with(json!({ "aud": "https://elsewhere.example/mcp" })));
    assert_eq!(send(&service, world::get("/", &[("authorization", &own)])).await.status(), 200);
    let refused = send(&service, world::get("/", &[("authorization", &other)])).await;
    assert_eq!((refused.status(), refused.kind()), (401, Some(RejectionKind::WrongAudience)));
    assert_eq!(inner.calls(), 1);
}

fn two(issuer: &Issuer) -> (Router, MetadataService) {
    let layer = |resource: &str| {
        let keys = Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
        let validator = Validator::builder(ISSUER, resource).keys(keys).build().unwrap();
        BearerAuthLayer::new(validator).realm("api").unwrap().resource(resource).unwrap()
    };
    let (mcp, api) = (layer(MCP), layer("https://api.example/api"));
    let services = [mcp.metadata_service(), api.metadata_service()];
    let app = Router::new()
        .nest("/mcp", Router::new().route("/x", get(|| async { "mcp" })).layer(mcp))
        .nest("/api", Router::new().route("/x", get(|| async { "api" })).layer(api));
    (app, MetadataService::new(services).unwrap())
}

#[tokio::test]
async fn p20_p24_several_resources_in_one_router_each_name_their_own() {
    let issuer = Issuer::new();
    let (app, metadata) = two(&issuer);
    let nested = app.clone().nest_service(WELL_KNOWN, metadata.clone());
    let routed = app
        .route_service(MCP_PATH, metadata.clone())
        .route_service("/.well-known/oauth-protected-resource/api", metadata);
    for app in [nested.clone(), routed] {
        for name in ["mcp", "api"] {
            let path = format!("{WELL_KNOWN}/{name}");
            let answer = send(&app, request("GET", &path, &[])).await;
            assert_eq!(document(&answer)["resource"], format!("https://api.example/{name}"));
            let answer = send(&app, request("GET", &format!("/{name}/x"), &[])).await;
            let url = format!("https://api.example{path}");
            let challenge = format!("Bearer realm=\"api\", resource_metadata=\"{url}\"");
            assert_eq!((answer.status(), answer.challenge()), (401, &*challenge));
            // A token for one is none for the other.
            let token =
                bearer(&issuer.token_with(json!({ "aud": format!("https://api.example/{name}") })));
            let fields = [("authorization", token.as_str())];
            for other in ["mcp", "api"] {
                let answer = send(&app, request("GET", &format!("/{other}/x"), &fields)).await;
                assert_eq!(answer.status() == 200, name == other, "{name} at {other}");
            }
        }
    }
    // None of several is that of the origin.
    for absent in [WELL_KNOWN, "/.well-known/oauth-protected-resource/other"] {
        assert_eq!(send(&nested, request("GET", absent, &[])).await.status(), 404, "{absent}");
    }
}

#[test]
fn p20_two_resources_at_one_path_are_refused_when_built() {
    let issuer = Issuer::new();
    let service = |resource: &str| issuer.layer().resource(resource).unwrap().metadata_service();
    let error = MetadataService::new([service(MCP), service(MCP)]).unwrap_err().to_string();
    assert!(error.contains(MCP_PATH), "{error}");
    // The host isn't looked at.
    assert!(MetadataService::new([service(MCP), service("https://b.example/mcp")]).is_err());
    assert!(MetadataService::new([service(MCP), service("https://api.example/mcp2")]).is_ok());
}

#[tokio::test]
async fn a_service_without_metadata_has_nothing() {
    let service = Issuer::new().layer().metadata_service();
    for path in [WELL_KNOWN, MCP_PATH, "/"] {
        assert_eq!(send(&service, world::get(path, &[])).await.status(), 404);
    }
}

#[tokio::test]
async fn p24_the_check_fetches_what_the_challenge_names() {
    let issuer = Issuer::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let resource = format!("{origin}/mcp");
    let metadata = ResourceMetadata::new(&resource).unwrap();
    let app = Router::new().route("/mcp", get(|| async { "mcp" }));
    let app = app.layer(issuer.layer().metadata(metadata.clone()));
    tokio::spawn(async move { axum::serve(listener, app).await });

    let transport = ReqwestTransport::new().unwrap();
    assert_eq!(check(&metadata, &transport).await, Ok(()));
    let client = reqwest::Client::new();
    let refused = client.get(&resource).send().await.unwrap();
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert!(challenge.ends_with(&format!("resource_metadata=\"{}\"", metadata.url())));

    // As if a proxy had taken a prefix away.
    let other = ResourceMetadata::new(&format!("{origin}/prefix/mcp")).unwrap();
    let status = MetadataFault::Status(StatusCode::NOT_FOUND);
    assert_eq!(check(&other, &transport).await, Err(status));
    let alias = ResourceMetadata::builder(&format!("{origin}/prefix/mcp"));
    let alias = alias.url(&format!("{origin}{WELL_KNOWN}")).build().unwrap();
    let other = MetadataFault::OtherResource(resource.into());
    assert_eq!(check(&alias, &transport).await, Err(other));
}

#[tokio::test]
async fn the_check_says_what_clients_would_trip_over() {
    let metadata = ResourceMetadata::new(MCP).unwrap();
    let page = Response::builder().header("content-type", "text/html");
    let page = page.body(format!(r#"{{"resource":"{MCP}"}}"#).into()).unwrap();
    let page = ScriptedAnswer::new(page);
    let json = |body: &str| ScriptedAnswer::json(body.to_owned());
    for (answer, fault) in [
        (page, MetadataFault::NotMetadata),
        (json("{}"), MetadataFault::NotMetadata),
        (json("[]"), MetadataFault::NotMetadata),
        (
            json(&format!(r#"{{"resource":"{MCP}","resource":"{MCP}"}}"#)),
            MetadataFault::NotMetadata,
        ),
        (
            json(&format!(r#"{{"resource":"{MCP}/"}}"#)),
            MetadataFault::OtherResource(format!("{MCP}/").into()),
        ),
        (
            ScriptedAnswer::status(StatusCode::UNAUTHORIZED),
            MetadataFault::Status(StatusCode::UNAUTHORIZED),
        ),
        (
            ScriptedAnswer::error(TransportErrorKind::Tls),
            MetadataFault::Transport(TransportErrorKind::Tls.into()),
        ),
    ] {
        let transport = ScriptedTransport::new();
        transport.push(answer);
        let found = check(&metadata, &transport).await.unwrap_err();
        assert_eq!(found, fault);
        assert!(found.to_string().contains("metadata"), "{found}");
    }
    let transport = ScriptedTransport::new();
    transport.push(json(&format!(r#"{{"resource":"{MCP}","scopes_supported":[]}}"#)));
    assert_eq!(check(&metadata, &transport).await, Ok(()));
}
