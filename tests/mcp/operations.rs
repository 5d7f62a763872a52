//! What each operation needs, and what a refusal names.

use http::Request;
use http_body_util::Full;
use tower::{Layer as _, ServiceExt as _};
use tower_bearer::mcp::{McpGuardLayer, OperationTable};
use tower_bearer::middleware::Conditions;
use tower_bearer::{Access, BearerAuthLayer, Implications, RejectionKind, Secret, Validator};

use crate::stub::{App, Server, app, call, guard, message, post, within};
use crate::world::{AUDIENCE, Answer, ISSUER, Issuer, bearer, send};

type Rule = OperationTable;

async fn ask(app: &App, token: &str, body: String) -> Answer {
    send(app, post(token, Full::<bytes::Bytes>::from(body))).await
}

// MC6, MC20: the challenge of a 403 names all that the operation needs.
#[tokio::test]
async fn mc6_mc20_each_operation_needs_its_scopes_and_a_challenge_names_all_of_them() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let app = app(&issuer, guard(), &server);
    let read = |uri: &str| message("resources/read", &format!(r#"{{"uri":"{uri}"}}"#));
    let prompt = |name: &str| message("prompts/get", &format!(r#"{{"name":"{name}"}}"#));
    let list = || message("tools/list", "{}");
    let rows = [
        (call("add"), "mcp:use", Ok(())),
        (call("add"), "", Err("mcp:use")),
        (call("wipe"), "mcp:use mcp:danger", Ok(())),
        (call("wipe"), "mcp:use", Err("mcp:use mcp:danger")),
        (call("wipe"), "mcp:danger", Err("mcp:use mcp:danger")),
        (call("wipe"), "", Err("mcp:use mcp:danger")),
        (prompt("secret"), "mcp:use mcp:prompts", Ok(())),
        (prompt("secret"), "mcp:use", Err("mcp:use mcp:prompts")),
        (prompt("other"), "mcp:use", Ok(())),
        (read("file:///public/a"), "mcp:use", Ok(())),
        (read("file:///public/hr/a"), "mcp:use hr", Ok(())),
        (read("file:///public/hr/a"), "mcp:use", Err("mcp:use hr")),
        (read("db://x/y"), "mcp:use db", Ok(())),
        (read("db://x/y"), "mcp:use", Err("mcp:use db")),
        (list(), "mcp:use", Ok(())),
        (list(), "", Err("mcp:use")),
        (message("ping", "{}"), "", Err("mcp:use")),
        (message("initialize", "{}"), "", Ok(())),
        (message("notifications/initialized", "{}"), "", Ok(())),
        (message("notifications", "{}"), "", Err("mcp:use")),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned(), "", Err("mcp:use")),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned(), "mcp:use", Ok(())),
    ];
    for (body, scopes, expected) in rows {
        let answer = ask(&app, &issuer.token(scopes), body.clone()).await;
        match expected {
            Ok(()) => {
                assert_eq!(answer.status(), 200, "{body} {scopes}");
                assert_eq!(server.take().unwrap().body, body);
            }
            Err(needed) => {
                assert_eq!(answer.status(), 403, "{body} {scopes}");
                let challenge = answer.challenge();
                assert!(challenge.contains(r#"error="insufficient_scope""#), "{challenge}");
                assert!(challenge.ends_with(&format!(r#"scope="{needed}""#)), "{challenge}");
                assert_eq!(server.count(), 0, "{body} {scopes}");
            }
        }
    }
}

// MC20: what isn't listed is denied where the table says so, whatever the scopes.
#[tokio::test]
async fn mc20_unlisted_tools_and_resources_can_be_denied() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let app = app(&issuer, guard(), &server);
    let token = issuer.token("mcp:use mcp:danger hr db");
    for body in [
        call("Add"),
        call("add "),
        call("nothing"),
        message("resources/read", r#"{"uri":"file:///secret"}"#),
        message("resources/subscribe", r#"{"uri":"file:///publicity"}"#),
    ] {
        let answer = ask(&app, &token, body.clone()).await;
        assert_eq!(answer.kind(), Some(RejectionKind::Denied), "{body}");
        assert_eq!(answer.challenge(), "", "no other token would do");
    }
    assert_eq!(server.count(), 0);

    let open = OperationTable::builder(Access::scope("mcp:use")).build().unwrap();
    let app = self::app(&issuer, McpGuardLayer::new(open).unwrap(), &server);
    assert_eq!(ask(&app, &token, call("nothing")).await.status(), 200);
    assert_eq!(ask(&app, &issuer.token(""), call("nothing")).await.status(), 403);
    let odd = message("resources/read", "{\"uri\":\"no uri\"}");
    assert_eq!(ask(&app, &token, odd).await.status(), 200, "no entry is about resources");
}

// MC20: however a resource's URI is spelled, its rule holds.
#[tokio::test]
async fn mc20_no_spelling_of_a_uri_escapes_its_rule() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let app = app(&issuer, guard(), &server);
    for uri in [
        "file:///public/%68r/a",
        "file:///public/%2568r/a",
        "file:///public//hr/a",
        "file:///public/./hr",
        "file:///public/%2e/hr/a?b",
        "file:///public/hr;v=1/a",
    ] {
        let body = message("resources/read", &format!(r#"{{"uri":"{uri}"}}"#));
        let answer = ask(&app, &issuer.token("mcp:use"), body.clone()).await;
        assert_eq!(answer.status(), 403, "{uri}");
        assert!(answer.challenge().ends_with(r#"scope="mcp:use hr""#), "{uri}");
        assert_eq!(server.count(), 0);
        assert_eq!(ask(&app, &issuer.token("mcp:use hr"), body).await.status(), 200, "{uri}");
        server.take();
    }
    // As written, these are listed nowhere.
    for uri in ["FILE:///public/a", "file:/public/a", "file://localhost/public/a", "DB://x"] {
        let body = message("resources/read", &format!(r#"{{"uri":"{uri}"}}"#));
        let answer = ask(&app, &issuer.token("mcp:use hr db"), body).await;
        assert_eq!(answer.kind(), Some(RejectionKind::Denied), "{uri}");
    }
    // What some readers find elsewhere: each of these begins with what is public.
    for uri in [
        "file:///public/../etc/passwd",
        "file:///public/%2e%2e/etc",
        "file:///public/x/%252e%252e/hr/a",
        "file:///public/x/..\\\\hr/a",
        "file:///public\\\\hr",
        "file:///public/x%2fy/../../hr/a",
        "file:///public/x//../../hr/a",
        "file:///public/x?/../../hr/a",
        "file:///public/x#/../hr/a",
        "file:///public/..;/hr/a",
        "file:///public/hr./a",
        "file:///public/hr%20/a",
        "db:/../file:///x",
        "file:///public/\\u0000",
        "file:///public/%0a",
        "db://x/../../y",
        "db://x?@y/z",
        "public",
        "",
    ] {
        let body = message("resources/read", &format!(r#"{{"uri":"{uri}"}}"#));
        let answer = ask(&app, &issuer.token("mcp:use hr db"), body).await;
        assert_eq!(answer.kind(), Some(RejectionKind::MalformedMessage), "{uri}");
    }
    assert_eq!(server.count(), 0);
}

// MC7: a scope that implies the one asked for is enough, and isn't asked for again.
#[tokio::test]
async fn mc7_implied_scopes_count() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let implications =
        Implications::builder().implies("admin", ["mcp:use", "mcp:danger"]).build().unwrap();
    let app = within(issuer.layer().implications(implications), guard(), &server);
    assert_eq!(ask(&app, &issuer.token("admin"), call("wipe")).await.status(), 200);
    assert_eq!(ask(&app, &issuer.token("mcp:use"), call("wipe")).await.status(), 403);
}

// MC8: off by default.
#[tokio::test]
async fn mc8_a_challenge_names_granted_scopes_only_if_it_is_told_to() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let token = issuer.token("other mcp:use");
    for (names, expected) in [(false, "mcp:use mcp:danger"), (true, "other mcp:use mcp:danger")] {
        let app = app(&issuer, guard().name_granted_scopes(names), &server);
        let answer = ask(&app, &token, call("wipe")).await;
        assert!(answer.challenge().ends_with(&format!(r#"scope="{expected}""#)));
    }
}

// MC4, MC5: without a token the body isn't even read, and the challenge names the base.
#[tokio::test]
async fn mc4_mc5_without_a_token_it_is_401_with_the_base_scopes() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let strict = issuer.layer().fallback(Access::scope("mcp:use")).unwrap();
    let lax = issuer.layer().fallback(Access::optional()).unwrap();
    let tables = [
        (strict, crate::stub::operations()),
        (lax, OperationTable::builder(Access::scope("mcp:use")).build().unwrap()),
    ];
    for (layer, table) in tables {
        let app = within(layer, McpGuardLayer::new(table).unwrap(), &server);
        for method in ["POST", "GET", "DELETE"] {
            let request = Request::builder().method(method).uri("/mcp");
            let answer = send(&app, request.body(Full::<bytes::Bytes>::from("[")).unwrap()).await;
            assert_eq!(answer.status(), 401, "{method}");
            assert_eq!(answer.challenge(), r#"Bearer realm="api", scope="mcp:use""#);
        }
    }
    assert_eq!(server.count(), 0);
}

// MC18
#[tokio::test]
async fn mc18_a_method_can_be_left_open_to_callers_without_a_token() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let layer = || issuer.layer().fallback(Access::optional()).unwrap();
    let table = OperationTable::builder(Access::scope("mcp:use"))
        .method("tools/list", Access::public())
        .build()
        .unwrap();
    let app = within(layer(), McpGuardLayer::new(table).unwrap(), &server);
    let without = |body: String| {
        let mut request = post("x", Full::<bytes::Bytes>::from(body));
        request.headers_mut().remove("authorization");
        request
    };
    assert_eq!(send(&app, without(message("tools/list", "{}"))).await.status(), 200);
    for body in [call("add"), message("tools/call", "{}"), message("initialize", "{}")] {
        let answer = send(&app, without(body)).await;
        assert!([400, 401].contains(&answer.status()), "{}", answer.status());
    }
    let answer = send(&app, without(call("add"))).await;
    assert_eq!(answer.challenge(), r#"Bearer realm="api", scope="mcp:use""#);
    let bad = post("no.good.token", Full::<bytes::Bytes>::from(message("tools/list", "{}")));
    assert_eq!(send(&app, bad).await.status(), 401, "a bad token is refused all the same");
    let table = OperationTable::builder(Access::scope("mcp:use")).build().unwrap();
    let app = within(layer(), McpGuardLayer::new(table).unwrap(), &server);
    assert_eq!(send(&app, without(message("tools/list", "{}"))).await.status(), 401);
}

// SU6's like: what a method asks of tokens besides scopes, its tools ask for as well.
#[cfg(feature = "dpop")]
#[tokio::test]
async fn d22_a_tool_needs_a_bound_token_if_its_method_does() {
    use tower_bearer::dpop::Dpop;

    let (issuer, server) = (Issuer::new(), Server::new());
    let with_proofs = || {
        let keys = tower_bearer::jwks::Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
        let validator = Validator::builder(ISSUER, AUDIENCE).keys(keys);
        let dpop = Dpop::accept().public_origins(["https://api.example"]);
        BearerAuthLayer::new(validator.dpop(dpop).build().unwrap())
    };
    for (base, tool, is_for_bound) in [
        (Access::scope("mcp:use"), Access::scope("mcp:danger"), false),
        (Access::scope("mcp:use").require_dpop(), Access::scope("mcp:danger"), true),
        (Access::scope("mcp:use"), Access::scope("mcp:danger").require_dpop(), true),
        (Access::token().require_dpop(), Access::public(), true),
    ] {
        let table = OperationTable::builder(base).tool("wipe", tool).build().unwrap();
        let guard = || McpGuardLayer::new(table.clone()).unwrap();
        let token = issuer.token("mcp:use mcp:danger");
        let answer = ask(&within(with_proofs(), guard(), &server), &token, call("wipe")).await;
        if is_for_bound {
            assert_eq!(answer.kind(), Some(RejectionKind::TokenNotBound));
            assert_eq!(answer.status(), 401);
            assert!(answer.challenge().starts_with("DPoP "), "{}", answer.challenge());
        } else {
            assert_eq!(answer.status(), 200);
        }
        // Where no proof is accepted, nobody can meet the rule: that is no caller's fault.
        let answer = ask(&within(issuer.layer(), guard(), &server), &token, call("wipe")).await;
        assert_eq!(answer.status(), if is_for_bound { 500 } else { 200 });
        assert_eq!(server.count(), if is_for_bound { 0 } else { 2 });
        while server.take().is_some() {}
    }
}

// MC26
#[tokio::test]
async fn mc26_whatever_is_no_post_needs_the_base() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let app = app(&issuer, guard(), &server);
    for method in ["GET", "DELETE", "PUT", "HEAD", "OPTIONS", "PATCH", "QUERY"] {
        let ask = |scopes: &str| {
            let request = Request::builder()
                .method(method)
                .uri("/mcp")
                .header("mcp-method", "initialize")
                .header("authorization", bearer(&issuer.token(scopes)));
            request.body(Full::<bytes::Bytes>::from(call("add"))).unwrap()
        };
        assert_eq!(send(&app, ask("mcp:danger")).await.status(), 403, "{method}");
        assert_eq!(send(&app, ask("mcp:use")).await.status(), 200, "{method}");
    }
    assert_eq!(server.count(), 7);
}

// MC17: two resources in one process.
#[tokio::test]
async fn mc17_a_token_for_one_audience_is_no_good_at_the_other() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let layer = |audience: &str| {
        let keys = tower_bearer::jwks::Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
        let validator = Validator::builder(ISSUER, audience).keys(keys).build().unwrap();
        BearerAuthLayer::new(validator)
    };
    let (mcp, api) = ("https://host.example/mcp", "https://host.example/api");
    let token = |aud: &str| issuer.token_with(serde_json::json!({"aud": aud, "scope": "mcp:use"}));
    let of_mcp = within(layer(mcp), guard(), &server);
    let of_api = layer(api).layer(crate::world::Inner::default());
    for (aud, at_mcp, at_api) in [(mcp, 200, 401), (api, 401, 200)] {
        assert_eq!(ask(&of_mcp, &token(aud), call("add")).await.status(), at_mcp, "{aud}");
        let field = bearer(&token(aud));
        let request = crate::world::get("/api", &[("authorization", &field)]);
        assert_eq!(send(&of_api, request).await.status(), at_api, "{aud}");
    }
}

// MC3
#[tokio::test]
async fn mc3_the_audience_of_a_resource_is_compared_as_one_where_that_is_set() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let app = |resource: bool| {
        let keys = tower_bearer::jwks::Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
        let validator = Validator::builder(ISSUER, "https://host.example").keys(keys);
        let validator = if resource { validator.resource_audiences() } else { validator };
        within(BearerAuthLayer::new(validator.build().unwrap()), guard(), &server)
    };
    for (aud, exactly, as_resource) in [
        ("https://host.example", 200, 200),
        ("https://host.example/", 401, 200),
        ("HTTPS://Host.Example", 401, 200),
        ("https://host.example/mcp", 401, 401),
        ("https://other.example", 401, 401),
    ] {
        let token = issuer.token_with(serde_json::json!({"aud": aud, "scope": "mcp:use"}));
        assert_eq!(ask(&app(false), &token, call("add")).await.status(), exactly, "{aud}");
        assert_eq!(ask(&app(true), &token, call("add")).await.status(), as_resource, "{aud}");
    }
}

#[tokio::test]
async fn without_the_layer_around_it_nothing_passes() {
    let server = Server::new();
    let alone = guard().layer(server.clone());
    for request in [
        post("x", Full::<bytes::Bytes>::from(call("add"))),
        Request::get("/mcp").body(Full::default()).unwrap(),
    ] {
        let response = alone.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 500);
    }
    assert_eq!(server.count(), 0);
}

#[test]
fn a_table_that_cannot_work_is_refused() {
    let table = || Rule::builder(Access::token());
    assert!(table().build().is_ok());
    for (broken, says) in [
        (table().tool("a", Access::token()).tool("a", Access::denied()), "listed twice"),
        (table().method("a", Access::token()).method("a", Access::token()), "listed twice"),
        (table().prompt("", Access::token()), "empty name"),
        (table().tool("a", Access::scope("a b")), "not a scope"),
        (table().tool("a", Access::token().hide_existence()), "hide"),
        (table().method("tools*", Access::token()), "last segment"),
        (table().method("*", Access::token()), "last segment"),
        (table().method("a/*/b", Access::token()), "last segment"),
        (table().resource_prefix("/a", Access::token()), "beginning of a URI"),
        (table().resource_prefix("a:/%2525", Access::token()), "beginning of a URI"),
        (table().resource_prefix("a:/b/../c", Access::token()), "beginning of a URI"),
        (table().resource_prefix("a:/b?c", Access::token()), "has a query"),
        (table().resource_prefix("a:/b#c", Access::token()), "has a query"),
        (
            table()
                .resource_prefix("a:/b", Access::token())
                .resource_prefix("A:/b/", Access::token()),
            "listed twice",
        ),
        (Rule::builder(Access::scope("")), "not a scope"),
    ] {
        let error = broken.build().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(guard().max_message_bytes(0).is_err());
    let key = |bytes: usize| guard().session_key(Secret::new(vec![0; bytes]));
    assert!(key(31).is_err() && key(32).is_ok());
}

// SU6: a tool can need a login, and says so in one challenge with its scopes.
#[tokio::test]
async fn su6_tools_can_ask_for_a_login() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let strong = Conditions::builder().acr_values(["mfa"]).build().unwrap();
    let table = OperationTable::builder(Access::scope("mcp:use"))
        .tool("pay", Access::scope("mcp:pay").conditions(&strong))
        .build()
        .unwrap();
    let app = app(&issuer, McpGuardLayer::new(table).unwrap(), &server);
    let token = |acr: &str| {
        issuer.token_with(serde_json::json!({ "acr": acr, "scope": "mcp:use mcp:pay" }))
    };
    assert_eq!(ask(&app, &token("mfa"), call("pay")).await.status(), 200);
    assert_eq!(ask(&app, &token("pwd"), call("add")).await.status(), 200);
    let weak = ask(&app, &token("pwd"), call("pay")).await;
    assert_eq!((weak.status(), weak.kind()), (401, Some(RejectionKind::InsufficientLogin)));
    let challenge = weak.challenge();
    assert!(challenge.contains(r#", acr_values="mfa", scope="mcp:"#), "{challenge}");
    assert_eq!(server.count(), 2);
}

// SU3, SU6: where several rules are for one request, a challenge for a login names the scopes of all.
#[tokio::test]
async fn su6_a_challenge_for_a_login_names_the_scopes_of_each_rule() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let strong = Conditions::builder().acr_values(["mfa"]).build().unwrap();
    let table = || {
        OperationTable::builder(Access::scope("mcp:use"))
            .method("resources/*", Access::scope("files:read"))
            .resource_prefix("file:///hr", Access::scope("hr:read").conditions(&strong))
            .build()
            .unwrap()
    };
    let hr = || message("resources/read", r#"{"uri":"file:///hr/a"}"#);
    for (granted, guard, names) in [
        ("x", McpGuardLayer::new(table()).unwrap(), "files:read hr:read"),
        (
            "x",
            McpGuardLayer::new(table()).unwrap().name_granted_scopes(true),
            "files:read hr:read x",
        ),
        ("files:read", McpGuardLayer::new(table()).unwrap(), "files:read hr:read"),
    ] {
        let app = app(&issuer, guard, &server);
        let token = |acr: &str, scope: &str| {
            issuer.token_with(serde_json::json!({ "acr": acr, "scope": scope }))
        };
        let weak = ask(&app, &token("pwd", granted), hr()).await;
        assert_eq!((weak.status(), weak.kind()), (401, Some(RejectionKind::InsufficientLogin)));
        let challenge = weak.challenge();
        let scope = challenge.split("scope=\"").nth(1).and_then(|rest| rest.split('"').next());
        let mut scope: Vec<_> = scope.unwrap().split(' ').collect();
        scope.sort_unstable();
        assert_eq!(scope.join(" "), names, "{challenge}");
        assert!(challenge.contains(r#"acr_values="mfa""#), "{challenge}");
        // What it names is enough.
        let strong = ask(&app, &token("mfa", names), hr()).await;
        assert_eq!(strong.status(), 200);
    }
}
