use serde_json::{Value, json};
use tower_bearer::jose::Algorithm;
use tower_bearer::testing::{Discovery, Endpoint, TestClient, TestIssuer, TestKey};

use crate::{get, get_json, http};

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

fn root(issuer: &TestIssuer) -> String {
    format!("http://{}", issuer.address())
}

#[tokio::test]
async fn serves_both_documents_by_default() {
    let issuer = TestIssuer::start().await.unwrap();
    assert_eq!(issuer.issuer(), root(&issuer));
    for path in [OAUTH, OPENID] {
        let document = get_json(&format!("{}{path}", root(&issuer))).await;
        assert_eq!(document["issuer"], issuer.issuer());
        assert_eq!(document["jwks_uri"], issuer.jwks_uri());
        assert_eq!(document["token_endpoint"], issuer.token_endpoint());
        let urn = |name| format!("urn:ietf:params:oauth:grant-type:{name}");
        let grants = json!(["client_credentials", urn("token-exchange"), urn("jwt-bearer")]);
        assert_eq!(document["grant_types_supported"], grants);
        assert_eq!(
            document["token_endpoint_auth_methods_supported"],
            json!(["client_secret_basic", "client_secret_post"])
        );
        assert_eq!(document["response_types_supported"], json!([]));
        assert!(document["token_endpoint_auth_signing_alg_values_supported"].is_null());
        let openid = path == OPENID;
        assert_eq!(document["id_token_signing_alg_values_supported"].is_array(), openid);
        assert_eq!(document["subject_types_supported"].is_array(), openid);
    }
}

#[tokio::test]
async fn names_assertions_if_a_client_signs_them() {
    let key = TestKey::generate(Algorithm::ES256);
    let builder = TestIssuer::builder().client(TestClient::key("c", &key));
    let issuer = builder.start().await.unwrap();
    let document = get_json(&format!("{}{OAUTH}", root(&issuer))).await;
    assert_eq!(document["token_endpoint_auth_methods_supported"], json!(["private_key_jwt"]));
    let algorithms = &document["token_endpoint_auth_signing_alg_values_supported"];
    assert_eq!(algorithms.as_array().unwrap().len(), Algorithm::ALL.len());
}

#[tokio::test]
async fn serves_one_document_or_none_if_told_so() {
    for (discovery, oauth, openid) in [
        (Discovery::OAuth, 200, 404),
        (Discovery::OpenId, 404, 200),
        (Discovery::None, 404, 404),
        (Discovery::Both, 200, 200),
    ] {
        let issuer = TestIssuer::builder().discovery(discovery).start().await.unwrap();
        assert_eq!(get(&format!("{}{OAUTH}", root(&issuer))).await.status(), oauth);
        assert_eq!(get(&format!("{}{OPENID}", root(&issuer))).await.status(), openid);
        assert_eq!(get(&issuer.jwks_uri()).await.status(), 200);
    }
}

// P7, and point 6 of what servers do differently: the RFC 8414 form is inserted before the path,
// the OpenID form is appended to it, and a slash at the end stays in the issuer alone.
#[tokio::test]
async fn puts_the_documents_where_the_path_says() {
    for (path, oauth, openid) in [
        ("", OAUTH.to_owned(), OPENID.to_owned()),
        ("/", OAUTH.to_owned(), OPENID.to_owned()),
        ("/realms/a", format!("{OAUTH}/realms/a"), format!("/realms/a{OPENID}")),
        ("/realms/a/", format!("{OAUTH}/realms/a"), format!("/realms/a{OPENID}")),
    ] {
        let issuer = TestIssuer::builder().issuer_path(path).start().await.unwrap();
        let root = root(&issuer);
        assert_eq!(issuer.issuer(), format!("{root}{path}"));
        for place in [&oauth, &openid] {
            let document = get_json(&format!("{root}{place}")).await;
            assert_eq!(document["issuer"], issuer.issuer());
        }
        let base = format!("{root}{}", path.trim_end_matches('/'));
        assert_eq!(issuer.jwks_uri(), format!("{base}/jwks"));
        assert_eq!(issuer.token_endpoint(), format!("{base}/token"));
        assert_eq!(get(&issuer.jwks_uri()).await.status(), 200);
        if path.len() > 1 {
            assert_eq!(get(&format!("{root}{OAUTH}")).await.status(), 404);
            assert_eq!(get(&format!("{root}{OPENID}")).await.status(), 404);
            assert_eq!(get(&format!("{root}/jwks")).await.status(), 404);
        }
    }
}

#[tokio::test]
async fn members_are_set_and_taken_away() {
    let builder = TestIssuer::builder().metadata("scopes_supported", json!(["a"]));
    let issuer = builder.metadata("grant_types_supported", Value::Null).start().await.unwrap();
    let url = format!("{}{OPENID}", root(&issuer));
    let document = get_json(&url).await;
    assert_eq!(document["scopes_supported"], json!(["a"]));
    assert!(document.get("grant_types_supported").is_none());
    issuer.set_metadata("issuer", "https://other.test");
    assert_eq!(get_json(&url).await["issuer"], "https://other.test");
}

#[tokio::test]
async fn the_key_set_has_an_entity_tag() {
    let builder = TestIssuer::builder().jwks_header("cache-control", "max-age=30");
    let issuer = builder.jwks_header("age", "5").start().await.unwrap();
    let first = get(&issuer.jwks_uri()).await;
    assert_eq!(first.headers()["cache-control"], "max-age=30");
    assert_eq!(first.headers()["age"], "5");
    let etag = first.headers()["etag"].clone();
    let ask = |tag: &str| {
        let request = http().get(issuer.jwks_uri()).header("if-none-match", tag);
        async move { request.send().await.unwrap() }
    };
    let tag = etag.to_str().unwrap();
    for list in [tag, &format!("W/{tag}"), &format!("\"x\", {tag}"), "*"] {
        let again = ask(list).await;
        assert_eq!(again.status(), 304, "{list}");
        assert_eq!(again.headers()["etag"], etag);
        assert_eq!(again.headers()["cache-control"], "max-age=30");
        assert_eq!(again.bytes().await.unwrap(), "");
    }
    assert_eq!(ask("\"x\"").await.status(), 200);
    assert_eq!(issuer.counters().not_modified(), 4);
    issuer.rotate_overlapping();
    let changed = ask(tag).await;
    assert_eq!(changed.status(), 200);
    assert_ne!(changed.headers()["etag"], etag);
}

#[tokio::test]
async fn the_key_set_may_have_no_entity_tag_and_another_type() {
    let builder = TestIssuer::builder().without_etag();
    let builder = builder.jwks_header("content-type", "application/jwk-set+json");
    let issuer = builder.start().await.unwrap();
    let response = http().get(issuer.jwks_uri()).header("if-none-match", "*").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("etag"));
    assert_eq!(response.headers()["content-type"], "application/jwk-set+json");
}

#[tokio::test]
async fn knows_its_methods_and_paths() {
    let issuer = TestIssuer::start().await.unwrap();
    let head = http().head(issuer.jwks_uri()).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.bytes().await.unwrap(), "");
    let post = http().post(issuer.jwks_uri()).send().await.unwrap();
    assert_eq!(
        (post.status().as_u16(), &post.headers()["allow"]),
        (405, &"GET, HEAD".parse().unwrap())
    );
    let token = get(&issuer.token_endpoint()).await;
    assert_eq!(
        (token.status().as_u16(), &token.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );
    assert_eq!(get(&format!("{}/authorize", root(&issuer))).await.status(), 404);
    assert_eq!(issuer.counters().requests(Endpoint::Jwks), 2);
    assert_eq!(issuer.counters().total(), 3);
}

#[tokio::test]
async fn may_be_known_by_another_address() {
    let builder = TestIssuer::builder().public_url("http://localhost:1234/").issuer_path("/a");
    let issuer = builder.start().await.unwrap();
    assert_eq!(issuer.issuer(), "http://localhost:1234/a");
    assert_eq!(issuer.jwks_uri(), "http://localhost:1234/a/jwks");
    let document = get_json(&format!("{}{OAUTH}/a", root(&issuer))).await;
    assert_eq!(document["token_endpoint"], "http://localhost:1234/a/token");
}

#[tokio::test]
async fn refuses_settings_that_cannot_work() {
    let message = async |builder: tower_bearer::testing::TestIssuerBuilder| {
        builder.start().await.map(drop).unwrap_err().to_string()
    };
    let builder = TestIssuer::builder;
    for (refused, hint) in [
        (builder().algorithms([]), "at least one algorithm"),
        (builder().issuer_path("a"), "must start with '/'"),
        (builder().issuer_path("/a?b"), "no query"),
        (builder().issuer_path("/a#b"), "no query or fragment"),
        (builder().public_url("issuer.test"), "must have a scheme"),
        (builder().public_url("http://issuer.test/a"), "nothing after the port"),
        (builder().jwks_header("cache control", "a"), "change its name"),
        (builder().jwks_header("cache-control", "a\n"), "change its name or its value"),
    ] {
        let message = message(refused).await;
        assert!(message.contains(hint), "{message}");
    }
    let taken = TestIssuer::start().await.unwrap();
    let message = message(builder().listen(taken.address())).await;
    assert!(message.contains("can't listen on"), "{message}");
}
