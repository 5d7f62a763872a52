//! The client's secret in Vault: against a server that answers as Vault's API documentation says, word by
//! word, with its refusals, and one that is sealed, slow, huge or cut off. Neither Debian nor npm or PyPI has the real
//! server, so its documented API is scripted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower_bearer::client::{
    ClientAuth, SecretErrorKind, SecretProvider as _, SecretSource, TokenErrorKind, Vault,
    VaultSecret,
};
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};
use tower_bearer::transport::{ReqwestTransport, Transport, TransportErrorKind};
use tower_bearer::{ConfigError, Secret};

use crate::support::*;
use crate::workload::Volume;

const ADDRESS: &str = "https://vault.test:8200";
const HOUR: Duration = Duration::from_secs(3_600);

/// Vault's development mode, as far as a reader of secrets sees it.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What is at each path of the store at `secret/`, and whether that version was deleted.
    secrets: HashMap<String, (Value, bool)>,
    /// The tokens, and when they end.
    tokens: HashMap<String, Option<Instant>>,
    /// Until when renewals may go.
    longest: HashMap<String, Instant>,
    lease: Duration,
    max_ttl: Duration,
    logins: usize,
    renewals: usize,
    reads: usize,
    /// Answers to everything instead, with this body.
    instead: Option<(u16, Vec<u8>)>,
    forbidden: bool,
    /// A path that the policy leaves out.
    denied: Option<&'static str>,
}

impl Server {
    fn new() -> Self {
        let server = Self::default();
        {
            let mut state = server.state();
            state.lease = HOUR;
            state.max_ttl = 24 * HOUR;
        }
        server
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn put(&self, path: &str, data: Value) {
        self.state().secrets.insert(path.into(), (data, false));
    }

    fn token(&self, token: &str) {
        self.state().tokens.insert(token.into(), None);
    }

    fn revoke_all(&self) {
        self.state().tokens.clear();
    }

    fn answer_instead(&self, status: u16, body: impl Into<Vec<u8>>) {
        self.state().instead = Some((status, body.into()));
    }

    fn unseal(&self) {
        self.state().instead = None;
    }

    fn logins(&self) -> usize {
        self.state().logins
    }

    fn transport(&self) -> ScriptedTransport {
        let server = self.clone();
        ScriptedTransport::from_fn(move |request| ScriptedAnswer::new(server.answer(request)))
    }

    fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let mut state = self.state();
        let (status, body) = match &state.instead {
            Some((status, body)) => (*status, body.clone()),
            None => {
                let (status, body) = state.answer(request);
                (status, body.to_string().into_bytes())
            }
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    }
}

/// The members that every answer has.
fn envelope(data: Value, auth: Value) -> Value {
    json!({
        "request_id": "2f6a614c-4aa2-7b19-24b9-ad944a8d4de6", "lease_id": "", "renewable": false,
        "lease_duration": 0, "data": data, "wrap_info": null, "warnings": null, "auth": auth,
        "mount_type": "kv",
    })
}

fn errors(errors: &[&str]) -> Value {
    json!({ "errors": errors })
}

impl State {
    fn answer(&mut self, request: &Request<Bytes>) -> (u16, Value) {
        assert_eq!(request.headers()["x-vault-request"], "true");
        let path = request.uri().path().strip_prefix("/v1/").unwrap().to_owned();
        let body = || serde_json::from_slice::<Value>(request.body()).unwrap();
        if path == "auth/kubernetes/login" && request.method() == Method::POST {
            assert!(!request.headers().contains_key("x-vault-token"));
            return self.login(&body());
        }
        let now = Instant::now();
        let token = request.headers().get("x-vault-token").and_then(|token| token.to_str().ok());
        let known = token.and_then(|token| self.tokens.get(token).copied());
        if known.is_none_or(|end| end.is_some_and(|end| end <= now)) {
            return (403, errors(&["permission denied"]));
        }
        let token = token.unwrap().to_owned();
        if path == "auth/token/renew-self" && request.method() == Method::POST {
            self.renewals += 1;
            let end = (now + self.lease).min(self.longest[&token]);
            self.tokens.insert(token.clone(), Some(end));
            return (200, envelope(Value::Null, auth(&token, end - now)));
        }
        let is_allowed = |path: &&str| !self.forbidden && self.denied != Some(*path);
        let Some(path) = path.strip_prefix("secret/data/").filter(is_allowed) else {
            let denied = "1 error occurred:\n\t* permission denied\n\n";
            return (403, errors(&[denied]));
        };
        self.reads += 1;
        let deleted = "2018-03-22T02:36:43.986212308Z";
        match self.secrets.get(path) {
            Some((data, false)) => (200, envelope(version(data, ""), Value::Null)),
            Some((_, true)) => (404, envelope(version(&Value::Null, deleted), Value::Null)),
            None => (404, errors(&[])),
        }
    }

    fn login(&mut self, body: &Value) -> (u16, Value) {
        if body["role"] != "billing" {
            return (400, errors(&[&format!("invalid role name {}", body["role"])]));
        }
        if body["jwt"] != "pod.jwt.canary" {
            return (403, errors(&["permission denied"]));
        }
        self.logins += 1;
        let token = format!("hvs.canary-{}", self.logins);
        let now = Instant::now();
        self.tokens.insert(token.clone(), Some(now + self.lease));
        self.longest.insert(token.clone(), now + self.max_ttl);
        (200, envelope(Value::Null, auth(&token, self.lease)))
    }
}

fn version(data: &Value, deletion_time: &str) -> Value {
    json!({ "data": data, "metadata": {
        "created_time": "2018-03-22T02:24:06.945319214Z", "custom_metadata": null,
        "deletion_time": deletion_time, "destroyed": false, "version": 2,
    }})
}

fn auth(token: &str, lease: Duration) -> Value {
    json!({
        "client_token": token, "accessor": "78e87a38-84ed-2692-538f-ca8b9f400ab3",
        "policies": ["default"], "token_policies": ["default"],
        "metadata": {
            "role": "billing", "service_account_name": "billing",
            "service_account_namespace": "shop", "service_account_secret_name": "",
            "service_account_uid": "aa9aa8ff-98d0-11e7-9bb7-0800276d99bf",
        },
        "lease_duration": lease.as_secs(), "renewable": true, "entity_id": "",
        "token_type": "service", "orphan": true, "mfa_requirement": null, "num_uses": 0,
    })
}

fn vault(transport: impl Transport, account: &Volume) -> Vault {
    let vault = Vault::builder(ADDRESS).kubernetes("billing").transport(transport);
    vault.service_account_token(account.0.join("token")).build().unwrap()
}

fn account() -> Volume {
    Volume::with("pod.jwt.canary\n")
}

fn with_token(transport: impl Transport, file: &Volume) -> Vault {
    let vault = Vault::builder(ADDRESS).token_file(file.0.join("token"));
    vault.transport(transport).build().unwrap()
}

fn billing(vault: &Vault) -> VaultSecret {
    vault.kv2("secret", "oauth/billing").unwrap().json_field("client_secret")
}

async fn read(secret: &VaultSecret) -> Result<Secret, SecretErrorKind> {
    secret.secret().await.map_err(|error| error.kind())
}

async fn is(secret: &VaultSecret, expected: &str) {
    assert_eq!(secret.secret().await.unwrap(), Secret::new(expected));
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_read_after_one_login_for_all() {
    let (server, account) = (Server::new(), account());
    server.put("oauth/billing", json!({ "client_id": "billing", "client_secret": "p%:+/ &=s" }));
    server.put("oauth/orders%20eu", json!({ "value": "one" }));
    let transport = server.transport();
    let vault = vault(transport.clone(), &account);
    assert_eq!(transport.request_count(), 0, "nothing is asked before there is need");
    is(&billing(&vault), "p%:+/ &=s").await;
    is(&vault.clone().kv2("/secret/", "oauth/orders eu").unwrap(), "one").await;
    let asked: Vec<_> = transport.requests().iter().map(|it| it.uri().to_string()).collect();
    assert_eq!(
        asked,
        [
            "https://vault.test:8200/v1/auth/kubernetes/login",
            "https://vault.test:8200/v1/secret/data/oauth/billing",
            "https://vault.test:8200/v1/secret/data/oauth/orders%20eu",
        ]
    );
    assert!(transport.requests()[1].headers()["x-vault-token"].is_sensitive());
    // A new version.
    server.put("oauth/billing", json!({ "client_secret": "two" }));
    is(&billing(&vault), "two").await;
    assert_eq!(server.logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_comes_at_the_same_time_shares_one_login() {
    let (server, account) = (Server::new(), account());
    server.put("oauth/billing", json!({ "client_secret": "one" }));
    let vault = vault(server.transport(), &account);
    let readers = (0..50).map(|_| {
        let secret = billing(&vault);
        tokio::spawn(async move { read(&secret).await })
    });
    for reader in readers.collect::<Vec<_>>() {
        assert_eq!(reader.await.unwrap(), Ok(Secret::new("one")));
    }
    assert_eq!(server.logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_field_is_a_string_that_is_named_or_the_only_one() {
    let (server, account) = (Server::new(), account());
    let vault = vault(server.transport(), &account);
    let plain = vault.kv2("secret", "s").unwrap();
    let named = |name: &str| plain.clone().json_field(name);
    server.put("s", json!({ "a": "one" }));
    is(&plain, "one").await;
    is(&named("a"), "one").await;
    server.put("s", json!({ "a": "one", "b": 7, "c": "", "d": { "a": "x" }, "e": null }));
    is(&named("a"), "one").await;
    for name in ["A", "b", "c", "d", "d.a", "e", "f", ""] {
        assert_eq!(read(&named(name)).await, Err(SecretErrorKind::Malformed), "{name}");
    }
    assert_eq!(read(&plain).await, Err(SecretErrorKind::Malformed), "which one?");
    for data in [json!({}), json!({ "a": 1 }), json!("one"), json!(["one"])] {
        server.put("s", data);
        assert_eq!(read(&plain).await, Err(SecretErrorKind::Malformed));
        assert_eq!(read(&named("a")).await, Err(SecretErrorKind::Malformed));
    }
    // Gone: never there, or deleted.
    server.state().secrets.get_mut("s").unwrap().1 = true;
    assert_eq!(read(&named("a")).await, Err(SecretErrorKind::NotFound));
    let other = vault.kv2("secret", "another").unwrap();
    assert_eq!(read(&other).await, Err(SecretErrorKind::NotFound));
}

// FC13: as from everywhere else.
#[tokio::test(start_paused = true)]
async fn fc13_one_line_end_is_cut_from_the_secret_and_from_both_kinds_of_token() {
    let server = Server::new();
    server.token("hvs.agent");
    let sink = Volume::with("");
    for (token, line, works) in [
        ("hvs.agent", "s3cret\n", true),
        ("hvs.agent\n", "\u{feff}s3cret\r\n", true),
        ("\u{feff}hvs.agent\r\n", "s3cret", true),
        ("hvs.agent\n\n", "s3cret", false),
        (" hvs.agent", "s3cret", false),
        ("hvs.\nagent", "s3cret", false),
    ] {
        server.put("oauth/billing", json!({ "client_secret": line }));
        sink.swap(token);
        let secret = billing(&with_token(server.transport(), &sink));
        let auth = ClientAuth::body("me", SecretSource::from(secret));
        let grant = tower_bearer::client::Grant::endpoint("https://as.test/token", auth);
        let transport = counting(600);
        let got = client(&transport).token(&grant.build().unwrap()).await;
        assert_eq!(got.is_ok(), works, "{token:?}");
        if works {
            assert_eq!(form(&transport.requests()[0])["client_secret"], "s3cret");
        } else {
            let kind = TokenErrorKind::Credentials(SecretErrorKind::Unavailable);
            assert_eq!(*got.unwrap_err().kind(), kind);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_in_a_file_is_read_anew_and_once_more_when_it_is_denied() {
    let server = Server::new();
    server.put("oauth/billing", json!({ "client_secret": "one" }));
    server.token("hvs.a");
    let sink = Volume::with("hvs.a");
    let transport = server.transport();
    let secret = billing(&with_token(transport.clone(), &sink));
    is(&secret, "one").await;
    // Replaced, and the old one revoked.
    server.revoke_all();
    server.token("hvs.b");
    sink.swap("hvs.b");
    is(&secret, "one").await;
    assert_eq!(transport.request_count(), 2, "the old one wasn't sent again");
    // The same token isn't sent twice.
    server.revoke_all();
    assert_eq!(read(&secret).await, Err(SecretErrorKind::Other));
    assert_eq!(transport.request_count(), 3);
    // Swapped while the request is under way.
    let (later, swapped) = (server.clone(), Arc::new(Volume::with("hvs.b")));
    let at = swapped.clone();
    let racing = ScriptedTransport::from_fn(move |request| {
        let answer = later.answer(request);
        if answer.status() == StatusCode::FORBIDDEN {
            later.token("hvs.c");
            at.swap("hvs.c");
        }
        ScriptedAnswer::new(answer)
    });
    let secret = billing(&with_token(racing.clone(), &swapped));
    is(&secret, "one").await;
    assert_eq!(racing.request_count(), 2);
    // Nothing is sent without a token.
    for broken in ["", "\n", "hvs.c hvs.d", "hvs.\u{e9}", &"x".repeat(8_193)] {
        swapped.swap(broken);
        assert_eq!(read(&secret).await, Err(SecretErrorKind::Unavailable), "{broken:?}");
    }
    swapped.lose();
    assert_eq!(read(&secret).await, Err(SecretErrorKind::Unavailable));
    assert_eq!(racing.request_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_over_or_revoked_is_made_anew() {
    let (server, account) = (Server::new(), account());
    server.put("oauth/billing", json!({ "client_secret": "one" }));
    let secret = billing(&vault(server.transport(), &account));
    is(&secret, "one").await;
    // Long after its end.
    tokio::time::advance(2 * HOUR).await;
    is(&secret, "one").await;
    assert_eq!((server.logins(), server.state().renewals), (2, 0));
    // Revoked.
    tokio::time::advance(30 * SECOND).await;
    server.revoke_all();
    is(&secret, "one").await;
    assert_eq!(server.logins(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_while_vault_moves_its_end() {
    let (server, account) = (Server::new(), account());
    server.put("oauth/billing", json!({ "client_secret": "one" }));
    server.state().max_ttl = 3 * HOUR;
    let secret = billing(&vault(server.transport(), &account));
    // As often as a source asks, for five hours: one login lasts for three of them.
    for _ in 0..60 {
        is(&secret, "one").await;
        tokio::time::advance(300 * SECOND).await;
    }
    let state = server.state();
    assert_eq!(state.logins, 2);
    assert!((6..=10).contains(&state.renewals), "{}", state.renewals);
    assert_eq!(state.reads, 60);
}

#[tokio::test(start_paused = true)]
async fn a_role_that_may_not_read_does_not_log_in_again_and_again() {
    let (server, account) = (Server::new(), account());
    server.state().forbidden = true;
    let secret = billing(&vault(server.transport(), &account));
    for _ in 0..60 {
        assert_eq!(read(&secret).await, Err(SecretErrorKind::Other));
        tokio::time::advance(SECOND).await;
    }
    assert_eq!(server.logins(), 2, "once in half a minute");
    let shown = format!("{:?}", secret.secret().await.unwrap_err());
    assert!(shown.contains("may it read this path"), "{shown}");
    // The twin: the policy is put right.
    server.state().forbidden = false;
    server.put("oauth/billing", json!({ "client_secret": "one" }));
    is(&secret, "one").await;
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_refused_is_said_so_and_not_repeated_for_each_secret() {
    let server = Server::new();
    server.put("oauth/billing", json!({ "client_secret": "one" }));
    let account = Volume::with("another.jwt.canary");
    let transport = server.transport();
    let vault = vault(transport.clone(), &account);
    for _ in 0..50 {
        let error = billing(&vault).secret().await.unwrap_err();
        assert_eq!(error.kind(), SecretErrorKind::Other);
        let shown = format!("{error:?}");
        assert!(shown.contains("refuses the login") && !shown.contains("canary"), "{shown}");
    }
    assert_eq!(transport.request_count(), 1);
    // The kubelet has put the right one there.
    account.swap("pod.jwt.canary");
    tokio::time::advance(SECOND).await;
    is(&billing(&vault), "one").await;
    // Another role: 400, with its name in the answer's words.
    let other = Vault::builder(ADDRESS).kubernetes("role-canary").transport(server.transport());
    let other = other.service_account_token(account.0.join("token")).build().unwrap();
    let error = billing(&other).secret().await.unwrap_err();
    let shown = format!("{error:?}");
    assert!(shown.contains("status 400") && !shown.contains("canary"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn each_status_has_its_kind_and_none_is_a_secret() {
    use SecretErrorKind::{NotFound, Other, Unavailable};
    let sealed = errors(&["Vault is sealed"]).to_string();
    let server = Server::new();
    server.put("oauth/billing", json!({ "client_secret": "one" }));
    server.token("hvs.a");
    let sink = Volume::with("hvs.a");
    let transport = server.transport();
    let secret = billing(&with_token(transport.clone(), &sink));
    for (status, kind, why) in [
        (204, Other, "204"),
        (301, Unavailable, "redirect"),
        (307, Unavailable, "redirect"),
        (400, Other, "400"),
        (403, Other, "denies"),
        (404, NotFound, "not found"),
        (405, Other, "405"),
        (412, Unavailable, "up to date"),
        (429, Unavailable, "rate"),
        (472, Unavailable, "standby"),
        (473, Unavailable, "standby"),
        (500, Unavailable, "failed"),
        (502, Unavailable, "failed"),
        (503, Unavailable, "sealed"),
    ] {
        server.answer_instead(status, sealed.replace("sealed", "sealed canary"));
        let before = transport.request_count();
        let error = secret.secret().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}");
        let shown = format!("{error:?}");
        assert!(shown.contains(why) && !shown.contains("canary"), "{status}: {shown}");
        assert_eq!(transport.request_count(), before + 1, "{status}");
    }
    server.unseal();
    is(&secret, "one").await;
}

#[tokio::test(start_paused = true)]
async fn half_an_answer_and_a_wrong_one_are_errors() {
    use SecretErrorKind::{Malformed, NotFound, Unavailable};
    let server = Server::new();
    server.put("oauth/billing", json!({ "client_secret": "canary" }));
    server.token("hvs.a");
    let sink = Volume::with("hvs.a");
    let secret = billing(&with_token(server.transport(), &sink));
    let data = version(&json!({ "client_secret": "canary" }), "");
    let whole = envelope(data, Value::Null).to_string();
    let half = &whole[..whole.len() / 2];
    let twice =
        whole.replace(r#""data":{"client"#, r#""data":{"client_secret":"x"},"data":{"client"#);
    assert_ne!(twice, whole);
    let unversioned = envelope(json!({ "client_secret": "canary" }), Value::Null).to_string();
    let nothing = envelope(version(&Value::Null, ""), Value::Null).to_string();
    for (body, kind) in [
        (half, Unavailable),
        ("", Unavailable),
        ("<html>canary</html>", Unavailable),
        ("[]", Unavailable),
        (&*twice, Unavailable),
        ("{}", Malformed),
        (r#"{"data":null}"#, Malformed),
        // Version 1 of the store, where a secret has this path.
        (&*unversioned, Malformed),
        (&*nothing, NotFound),
    ] {
        server.answer_instead(200, body);
        let error = secret.secret().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{body}");
        assert!(!format!("{error:?}").contains("canary"));
    }
    server.answer_instead(200, whole);
    is(&secret, "canary").await;
}

#[tokio::test(start_paused = true)]
async fn half_a_login_is_an_error_and_no_token_is_sent() {
    let account = account();
    let transport = ScriptedTransport::new();
    let secret = billing(&vault(transport.clone(), &account));
    let good = envelope(Value::Null, auth("hvs.a", HOUR)).to_string();
    let bodies = [
        good[..good.len() / 2].to_owned(),
        envelope(Value::Null, Value::Null).to_string(),
        // A second factor is asked for.
        good.replace("hvs.a", ""),
        good.replace("hvs.a", "hvs.a\\nX-Evil: canary"),
        good.replace("hvs.a", "hvs.\u{e9}"),
        good.replace("3600", "-1"),
        good.replace("3600", "1e400"),
    ];
    for body in bodies {
        transport.push(ScriptedAnswer::json(body.clone()));
        let error = secret.secret().await.unwrap_err();
        assert!(!format!("{error:?}").contains("canary"));
        assert_eq!(transport.queued(), 0, "{body}");
        tokio::time::advance(SECOND).await;
    }
    assert!(transport.requests().iter().all(|it| !it.headers().contains_key("x-vault-token")));
    // The twin. A lease of 0 has no end.
    let server = Server::new();
    server.put("oauth/billing", json!({ "client_secret": "one" }));
    server.token("hvs.a");
    transport.push(ScriptedAnswer::json(good.replace("3600", "0")));
    for _ in 0..2 {
        let data = version(&json!({ "client_secret": "one" }), "");
        transport.push(ScriptedAnswer::json(envelope(data, Value::Null).to_string()));
        is(&secret, "one").await;
        tokio::time::advance(10_000 * HOUR).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_a_huge_and_an_absent_vault_end_in_time() {
    use SecretErrorKind::{Malformed, Unavailable};
    let account = account();
    let login = || ScriptedAnswer::json(envelope(Value::Null, auth("hvs.a", HOUR)).to_string());
    let transport = ScriptedTransport::new();
    let secret = billing(&vault(transport.clone(), &account));
    // The login and the secret have four seconds together.
    transport.push(login().delay(3 * SECOND));
    transport.push(ScriptedAnswer::json("{}").delay(3 * SECOND));
    let start = Instant::now();
    assert_eq!(read(&secret).await, Err(Unavailable));
    assert_eq!(start.elapsed(), 4 * SECOND);
    transport.push(ScriptedAnswer::never());
    assert_eq!(read(&secret).await, Err(Unavailable));
    assert_eq!(start.elapsed(), 8 * SECOND);
    let huge = |bytes: usize| {
        let value = "x".repeat(bytes);
        let data = version(&json!({ "client_secret": "one", "other": value }), "");
        ScriptedAnswer::json(envelope(data, Value::Null).to_string())
    };
    transport.push(huge(300_000));
    assert_eq!(read(&secret).await, Err(Malformed));
    transport.push(huge(200_000));
    is(&secret, "one").await;
    for kind in [TransportErrorKind::Connect, TransportErrorKind::Tls, TransportErrorKind::Other] {
        transport.push(ScriptedAnswer::error(kind));
        assert_eq!(read(&secret).await, Err(Unavailable));
    }
    assert_eq!(transport.queued(), 0);
}

/// Whoever waits for somebody else's login waits no longer than that may take.
#[tokio::test(start_paused = true)]
async fn a_login_that_hangs_is_waited_for_once_by_all() {
    let account = account();
    let transport = ScriptedTransport::from_fn(|_| ScriptedAnswer::never());
    let vault = vault(transport.clone(), &account);
    let start = Instant::now();
    let readers = (0..50).map(|_| {
        let secret = billing(&vault);
        tokio::spawn(async move { read(&secret).await })
    });
    for reader in readers.collect::<Vec<_>>() {
        assert_eq!(reader.await.unwrap(), Err(SecretErrorKind::Unavailable));
    }
    assert_eq!(start.elapsed(), 4 * SECOND);
    assert_eq!(transport.request_count(), 1);
}

#[test]
fn a_login_on_a_runtime_that_is_kept_and_not_run_is_passed_over() {
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap()
    };
    let (kept, other) = (runtime(), runtime());
    let (server, account) = (Server::new(), account());
    server.put("oauth/billing", json!({ "client_secret": "one" }));
    let secret = billing(&vault(server.transport(), &account));
    kept.block_on(async {
        assert!(tokio_test::task::spawn(secret.secret()).poll().is_pending());
    });
    other.block_on(async {
        // Each waits for as long as a secret may take.
        for _ in 0..2 {
            assert_eq!(read(&secret).await, Err(SecretErrorKind::Unavailable));
            tokio::time::advance(2 * SECOND).await;
        }
        is(&secret, "one").await;
    });
    assert_eq!(server.logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_old_token_serves_while_the_login_is_away() {
    let (server, account) = (Server::new(), account());
    server.put("oauth/billing", json!({ "client_secret": "one" }));
    let away = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (at, gone) = (server.clone(), away.clone());
    let transport = ScriptedTransport::from_fn(move |request| {
        let is_auth = request.uri().path().starts_with("/v1/auth/");
        match is_auth && gone.load(Ordering::Relaxed) {
            true => ScriptedAnswer::status(StatusCode::INTERNAL_SERVER_ERROR),
            false => ScriptedAnswer::new(at.answer(request)),
        }
    });
    let secret = billing(&vault(transport.clone(), &account));
    is(&secret, "one").await;
    away.store(true, Ordering::Relaxed);
    // Neither a renewal nor a login, as of two thirds of the hour; then the end.
    tokio::time::advance(50 * 60 * SECOND).await;
    is(&secret, "one").await;
    tokio::time::advance(10 * 60 * SECOND).await;
    assert_eq!(read(&secret).await, Err(SecretErrorKind::Unavailable));
    away.store(false, Ordering::Relaxed);
    tokio::time::advance(SECOND).await;
    is(&secret, "one").await;
}

/// How the scripted Vault's logins and renewals go.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Auth {
    Works,
    Fails,
    Hangs,
    Takes(Duration),
}

/// A transport to this server, how its logins go, and how many logins and renewals were sent.
fn with_auth(server: &Server) -> (ScriptedTransport, Arc<Mutex<Auth>>, Arc<AtomicUsize>) {
    let (auth, sent) = (Arc::new(Mutex::new(Auth::Works)), Arc::new(AtomicUsize::new(0)));
    let (server, how, count) = (server.clone(), auth.clone(), sent.clone());
    let transport = ScriptedTransport::from_fn(move |request| {
        if !request.uri().path().starts_with("/v1/auth/") {
            return ScriptedAnswer::new(server.answer(request));
        }
        count.fetch_add(1, Ordering::Relaxed);
        match *how.lock().unwrap() {
            Auth::Works => ScriptedAnswer::new(server.answer(request)),
            Auth::Fails => ScriptedAnswer::status(StatusCode::INTERNAL_SERVER_ERROR),
            Auth::Hangs => ScriptedAnswer::never(),
            Auth::Takes(time) => ScriptedAnswer::new(server.answer(request)).delay(time),
        }
    });
    (transport, auth, sent)
}

#[tokio::test(start_paused = true)]
async fn an_old_token_serves_while_the_login_hangs() {
    let (server, account) = (Server::new(), account());
    server.put("oauth/billing", json!({ "client_secret": "one" }));
    let (transport, auth, sent) = with_auth(&server);
    let vault = vault(transport, &account);
    let secret = billing(&vault);
    is(&secret, "one").await;
    *auth.lock().unwrap() = Auth::Hangs;
    tokio::time::advance(50 * 60 * SECOND).await;
    let before = sent.load(Ordering::Relaxed);
    let readers = (0..50).map(|_| {
        let secret = billing(&vault);
        tokio::spawn(async move { read(&secret).await })
    });
    for reader in readers.collect::<Vec<_>>() {
        assert_eq!(reader.await.unwrap(), Ok(Secret::new("one")));
    }
    // For nine minutes, whoever asks. The next attempt isn't right after the last.
    let start = Instant::now();
    while start.elapsed() < 9 * 60 * SECOND {
        is(&secret, "one").await;
        tokio::time::advance(SECOND / 2).await;
    }
    let attempts = sent.load(Ordering::Relaxed) - before;
    assert!((60..=90).contains(&attempts), "{attempts}, each a renewal and a login in 14 s");
    // The twin: it answers again, though later than anybody waits for.
    *auth.lock().unwrap() = Auth::Takes(3 * SECOND / 2);
    for _ in 0..20 {
        is(&secret, "one").await;
        tokio::time::advance(SECOND).await;
    }
    assert_eq!((server.logins(), server.state().renewals), (1, 1));
    tokio::time::advance(30 * 60 * SECOND).await;
    let before = sent.load(Ordering::Relaxed);
    is(&secret, "one").await;
    assert_eq!(sent.load(Ordering::Relaxed), before, "the lease is the new one");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_denied_takes_the_login_from_no_other() {
    let (server, account) = (Server::new(), account());
    server.put("oauth/billing", json!({ "client_secret": "one" }));
    server.put("oauth/other", json!({ "client_secret": "two" }));
    server.state().denied = Some("oauth/other");
    let (transport, auth, sent) = with_auth(&server);
    let vault = vault(transport, &account);
    let (allowed, denied) = (billing(&vault), vault.kv2("secret", "oauth/other").unwrap());
    is(&allowed, "one").await;
    for how in [Auth::Fails, Auth::Hangs] {
        *auth.lock().unwrap() = how;
        tokio::time::advance(40 * SECOND).await;
        for _ in 0..10 {
            let before = sent.load(Ordering::Relaxed);
            assert_eq!(read(&denied).await, Err(SecretErrorKind::Unavailable));
            assert!(sent.load(Ordering::Relaxed) <= before + 1);
            let before = sent.load(Ordering::Relaxed);
            is(&allowed, "one").await;
            assert_eq!(sent.load(Ordering::Relaxed), before, "it has a good token");
            tokio::time::advance(SECOND / 2).await;
        }
        assert_eq!(server.logins(), 1);
    }
    // A login that works replaces the token for all; whoever is refused with it, too, is told so.
    *auth.lock().unwrap() = Auth::Works;
    tokio::time::advance(10 * SECOND).await;
    assert_eq!(read(&denied).await, Err(SecretErrorKind::Other));
    is(&allowed, "one").await;
    assert_eq!(server.logins(), 2);
    // The twin: the policy is put right.
    server.state().denied = None;
    is(&denied, "two").await;
    assert_eq!(server.logins(), 2);
}

/// Each login leaves a token in Vault, whoever waits for it.
#[tokio::test(start_paused = true)]
async fn a_login_is_not_lost_with_the_caller_that_goes_away() {
    use tokio::time::timeout;
    let (server, account) = (Server::new(), account());
    server.put("oauth/billing", json!({ "client_secret": "one" }));
    let (transport, auth, sent) = with_auth(&server);
    let secret = billing(&vault(transport, &account));
    *auth.lock().unwrap() = Auth::Takes(2 * SECOND);
    timeout(3 * SECOND / 2, read(&secret)).await.unwrap_err();
    assert_eq!(timeout(3 * SECOND / 2, read(&secret)).await.unwrap(), Ok(Secret::new("one")));
    assert_eq!(server.logins(), 1);
    // The same once that one is over, and nobody waits for the end of the next.
    tokio::time::advance(2 * HOUR).await;
    timeout(SECOND, read(&secret)).await.unwrap_err();
    tokio::time::sleep(5 * SECOND).await;
    let before = sent.load(Ordering::Relaxed);
    is(&secret, "one").await;
    assert_eq!((server.logins(), sent.load(Ordering::Relaxed)), (2, before));
    // One that hangs isn't sent again by each who waits for less time.
    tokio::time::advance(2 * HOUR).await;
    *auth.lock().unwrap() = Auth::Hangs;
    let start = Instant::now();
    while start.elapsed() < 20 * SECOND {
        let _ = timeout(SECOND / 2, read(&secret)).await.map(Result::unwrap_err);
        tokio::time::advance(SECOND / 10).await;
    }
    let sent = sent.load(Ordering::Relaxed) - before;
    assert!((3..=5).contains(&sent), "{sent}");
}

/// The documented choice: the last good secret goes on being used.
#[tokio::test(start_paused = true)]
async fn a_vault_that_seals_itself_fails_no_call_that_has_had_the_secret() {
    let (server, account) = (Server::new(), account());
    server.put("oauth/billing", json!({ "client_secret": "one" }));
    let secret = SecretSource::from(billing(&vault(server.transport(), &account)));
    let grant = |scope: &str| {
        let auth = ClientAuth::body("me", secret.clone());
        let grant = tower_bearer::client::Grant::endpoint("https://as.test/token", auth);
        grant.scope(scope).build().unwrap()
    };
    let transport = counting(600);
    let client = client(&transport);
    client.token(&grant("a")).await.unwrap();
    server.answer_instead(503, errors(&["Vault is sealed"]).to_string());
    tokio::time::advance(HOUR).await;
    client.token(&grant("b")).await.unwrap();
    assert_eq!(form(&transport.requests()[1])["client_secret"], "one");
    // Unsealed, with another secret, and its tokens gone as after a restart in memory.
    server.unseal();
    server.revoke_all();
    server.put("oauth/billing", json!({ "client_secret": "two" }));
    tokio::time::advance(HOUR).await;
    client.token(&grant("c")).await.unwrap();
    assert_eq!(form(&transport.requests()[2])["client_secret"], "two");
}

#[tokio::test(start_paused = true)]
async fn the_namespace_is_in_each_request() {
    let (server, account) = (Server::new(), account());
    server.put("oauth/billing", json!({ "client_secret": "one" }));
    let transport = server.transport();
    let vault = Vault::builder(&format!("{ADDRESS}/")).kubernetes("billing");
    let vault = vault.namespace("team/billing/").service_account_token(account.0.join("token"));
    is(&billing(&vault.transport(transport.clone()).build().unwrap()), "one").await;
    let requests = transport.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.headers()["x-vault-namespace"], "team/billing");
    }
}

#[test]
fn what_can_not_work_is_said_at_the_start() {
    let built = |address: &str, set: fn(tower_bearer::client::VaultBuilder) -> _| {
        let builder: tower_bearer::client::VaultBuilder = set(Vault::builder(address));
        builder.transport(ScriptedTransport::new()).build().map(drop)
    };
    let refused = |built: Result<(), ConfigError>, why: &str| {
        let error = built.unwrap_err().to_string();
        assert!(error.contains(why) && !error.contains("canary"), "{error}");
    };
    assert_eq!(built(ADDRESS, |it| it.kubernetes("r")), Ok(()));
    assert_eq!(built(ADDRESS, |it| it.token_file("/t")), Ok(()));
    assert_eq!(built("https://proxy.test/vault", |it| it.kubernetes("r")), Ok(()));
    refused(built(ADDRESS, |it| it), "no way to log in");
    refused(built(ADDRESS, |it| it.kubernetes("")), "role");
    refused(built(ADDRESS, |it| it.kubernetes("r").token_file("/t")), "two ways");
    refused(built(ADDRESS, |it| it.kubernetes("r").kubernetes_mount("../sys")), "mount");
    refused(built(ADDRESS, |it| it.kubernetes("r").namespace("a b")), "namespace");
    refused(built(ADDRESS, |it| it.kubernetes("r").namespace("a\r\nb")), "namespace");
    refused(built("vault.test", |it| it.kubernetes("r")), "address");
    refused(built("https://u:canary@vault.test", |it| it.kubernetes("r")), "password");
    refused(built("https://vault.test/?canary", |it| it.kubernetes("r")), "query");
    refused(built("http://vault.test", |it| it.kubernetes("r").allow_loopback_http()), "https");
    refused(built("http://127.0.0.1:8200", |it| it.kubernetes("r")), "allow_loopback_http");
    assert_eq!(
        built("http://127.0.0.1:8200", |it| it.token_file("/t").allow_loopback_http()),
        Ok(())
    );
    let vault = Vault::builder(ADDRESS).kubernetes("r").transport(ScriptedTransport::new());
    let vault = vault.build().unwrap();
    for (mount, path) in [("", "a"), ("secret", ""), ("secret", "../sys/a"), ("secret", "a//b")] {
        vault.kv2(mount, path).unwrap_err();
    }
    vault.kv2("secret", &"x".repeat(70_000)).unwrap_err();
}

// L1, L2: everything that anybody logs, at the most verbose level, in the HTTP stack too.
#[cfg(feature = "tracing")]
#[tokio::test]
async fn l2_nothing_secret_is_printed_or_logged() {
    let (server, account) = (Server::new(), account());
    server.put("oauth/billing", json!({ "client_secret": "secret-canary", "b": "b-canary" }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let at = server.clone();
    let app = axum::Router::new().fallback(move |request: Request<axum::body::Body>| async move {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 65_536).await.unwrap();
        at.answer(&Request::from_parts(parts, body)).map(axum::body::Body::from)
    });
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let (log, guard) = Log::of_this_thread(LevelFilter::TRACE);
    let builder = Vault::builder(&address).kubernetes("billing").allow_loopback_http();
    let builder = builder.service_account_token(account.0.join("token"));
    let builder = builder.transport(ReqwestTransport::new().unwrap());
    let mut shown = format!("{builder:?}");
    let vault = builder.build().unwrap();
    let secret = billing(&vault);
    is(&secret, "secret-canary").await;
    let source = SecretSource::from(secret.clone()).max_age(Duration::ZERO);
    let auth = ClientAuth::body("me", source.clone());
    shown += &format!("{vault:?} {secret:?} {source:?} {auth:?} {:?}", secret.secret().await);
    let grant = tower_bearer::client::Grant::endpoint("https://as.test/token", auth);
    let grant = grant.build().unwrap();
    let transport = counting(600);
    let client = client(&transport);
    server.answer_instead(500, "canary".repeat(10));
    shown += &format!("{:?}", client.token(&grant).await.unwrap_err());
    server.answer_instead(200, "{\"canary");
    shown += &format!("{:?}", secret.secret().await.unwrap_err());
    server.unseal();
    server.revoke_all();
    shown += &format!("{:?}", secret.secret().await.unwrap_err());
    drop(guard);
    serving.abort();
    assert!(shown.contains("VaultSecret") && shown.contains("oauth/billing"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
    let text = log.text();
    assert!(text.contains("client_secret_failed") && text.contains("127.0.0.1"), "{text}");
    let line = text.lines().find(|line| line.contains("canary"));
    assert_eq!(line, None);
}
