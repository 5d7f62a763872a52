//! The examples, run as a newcomer runs them: with nothing set, and the lines they print pasted
//! into a shell.

#![allow(clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "processes live in real time")]

mod support;

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use http::Method;
use support::authorization_server::{AUDIENCE, AuthorizationServer};
use support::process::{Process, at_free_port, example};
use tower_bearer::testing::TestIssuer;

const START: Duration = Duration::from_secs(60);

/// Starts the example without the variables that it reads, but for these.
fn start(name: &str, variables: &[(&str, &str)]) -> Process {
    let mut command = Command::new(example(name));
    for variable in [
        "ISSUER",
        "AUDIENCE",
        "JWKS_URI",
        "ISSUER_2",
        "AUDIENCE_2",
        "JWKS_URI_2",
        "SCOPE_CLAIM_2",
        "INTROSPECTION_CLIENT_ID",
        "INTROSPECTION_CLIENT_SECRET",
        "INTROSPECTION_BASIC",
        "INTROSPECTION_URI",
        "INTROSPECTION_TTL_SECS",
        "INTROSPECTION_TIMEOUT_SECS",
        "INTROSPECTION_AUD",
        "INTROSPECTION_SIGNED",
        "LISTEN",
        "RESOURCE",
        "DPOP",
        "DPOP_NONCES",
        "DPOP_NONCE_KEY",
        "DPOP_REPLAY",
        "PUBLIC_ORIGIN",
        "CLIENT_CERT_HEADER",
        "TRUSTED_PROXIES",
        "LEEWAY_SECS",
        "JWKS_TTL_SECS",
        "JWKS_COOLDOWN_SECS",
        "JWKS_TIMEOUT_SECS",
        "JWKS_MAX_BYTES",
        "RUST_LOG",
        "SCOPE",
        "SUBJECT",
    ] {
        command.env_remove(variable);
    }
    command.envs(variables.iter().copied());
    Process::spawn(command)
}

/// Waits until nothing listens any more where the examples do when no other place is set.
fn wait_for_port_3000() {
    let began = Instant::now();
    while TcpListener::bind("127.0.0.1:3000").is_err() {
        assert!(began.elapsed() < START, "another program listens at port 3000");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Returns the three `curl` lines that the resource server prints.
fn curl_lines(process: &Process) -> [String; 3] {
    [(); 3].map(|()| {
        let line = process.line_with("curl ", START).expect("a curl line");
        line.trim().to_owned()
    })
}

/// Runs the line in a shell as it stands, but for the output: its status only.
fn paste(line: &str) -> u16 {
    let quiet =
        line.replacen("curl ", "curl --silent --output /dev/null --write-out '%{http_code}' ", 1);
    let output = Command::new("sh").args(["-c", &quiet]).output().expect("a shell");
    let status = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    let status = status.chars().rev().take(3).collect::<Vec<_>>().into_iter().rev();
    status.collect::<String>().parse().unwrap_or_else(|_| panic!("no status: {line}"))
}

fn assert_stops(process: &mut Process, signal: &str) {
    process.signal(signal);
    let status = process.wait(Duration::from_secs(5)).expect("it stops within five seconds");
    assert!(status.success(), "{signal}: {status}: {}", process.stderr());
}

#[test]
fn resource_server_with_nothing_set_answers_the_lines_it_prints() {
    wait_for_port_3000();
    let mut process = start("resource_server", &[]);
    let mut statuses: Vec<u16> = curl_lines(&process).iter().map(|line| paste(line)).collect();
    statuses.sort_unstable();
    statuses.dedup();
    assert_eq!(statuses, [200, 401, 403]);
    assert_stops(&mut process, "TERM");
    assert_eq!(process.line_with("curl ", START), None, "these are all");
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_issuer_prints_what_a_service_is_started_with_and_a_token_for_it() {
    let (listen, scope) = (("LISTEN", "127.0.0.1:0"), ("SCOPE", "api:read"));
    let mut issuer = start("dev_issuer", &[listen, ("AUDIENCE", AUDIENCE), scope]);
    let mut lines = Vec::new();
    while !lines.iter().any(|line: &String| line.starts_with("curl ")) {
        lines.push(issuer.line(START).unwrap_or_else(|| panic!("{}", issuer.stderr())));
    }
    let line = |start: &str| {
        let found = lines.iter().find_map(|line| line.strip_prefix(start));
        found.unwrap_or_else(|| panic!("no line with {start}: {lines:?}"))
    };
    let (url, audience) = line("ISSUER=").split_once(" AUDIENCE=").expect("both in a line");
    assert_eq!(audience, AUDIENCE);
    let mut api = Api::start(url).await;
    api.expect(Method::GET, "/read", Some(line("TOKEN=")), 200).await;
    assert_eq!(api.status(Method::POST, "/write", Some(line("TOKEN="))).await, 403);
    let more = Command::new("sh").args(["-c", &format!("curl {}", line("curl "))]).output();
    let more: serde_json::Value =
        serde_json::from_slice(&more.expect("a shell").stdout).expect("JSON");
    let token = more["access_token"].as_str().expect("a token");
    api.expect(Method::GET, "/read", Some(token), 200).await;
    assert_stops(&mut api.process, "INT");
    assert_stops(&mut issuer, "INT");
}

/// The resource server of the example, for a real issuer.
struct Api {
    address: String,
    process: Process,
    http: reqwest::Client,
}

impl Api {
    async fn start(issuer: &str) -> Self {
        Self::start_with(issuer, &[]).await
    }

    async fn start_with(issuer: &str, more: &[(&str, &str)]) -> Self {
        let mut variables = vec![
            ("ISSUER", issuer),
            ("AUDIENCE", AUDIENCE),
            ("LISTEN", "127.0.0.1:0"),
            ("LEEWAY_SECS", "1"),
            ("JWKS_TTL_SECS", "2"),
            ("JWKS_COOLDOWN_SECS", "1"),
            ("JWKS_TIMEOUT_SECS", "2"),
            ("JWKS_MAX_BYTES", "65536"),
        ];
        variables.extend(more);
        let process = start("resource_server", &variables);
        let address = process.listening_on(START).expect("the example listens");
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let api = Self { address, process, http };
        api.expect(Method::GET, "/public", None, 200).await;
        api
    }

    async fn status(&self, method: Method, path: &str, token: Option<&str>) -> u16 {
        let request = self.http.request(method, format!("http://{}{path}", self.address));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.map_or(0, |response| response.status().as_u16())
    }

    async fn json(&self, path: &str, token: Option<&str>) -> serde_json::Value {
        let request = self.http.get(format!("http://{}{path}", self.address));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.expect("it answers").json().await.expect("it is JSON")
    }

    /// Waits until the request is answered with this status.
    async fn expect(&self, method: Method, path: &str, token: Option<&str>, expected: u16) {
        for _ in 0..100 {
            if self.status(method.clone(), path, token).await == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{path} isn't answered with {expected}: {}", self.process.stderr());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_server_serves_for_a_real_issuer() {
    let server = AuthorizationServer::oidc_provider();
    let reader = server.token("ES256", "api:read").await;
    let writer = server.token("RS256", "api:read api:write").await;
    let admin = server.token("EdDSA", "api:admin").await;
    let foreign = server.token("other", "api:read api:write api:admin").await;
    let mut api = Api::start(server.issuer()).await;
    api.expect(Method::GET, "/healthz/ready", None, 200).await;
    // One issuer alone, whom nobody asks about tokens: its keys are all that there is to say.
    let status = api.json("/healthz/ready", None).await;
    let members: Vec<&String> = status.as_object().expect("an object").keys().collect();
    for name in
        ["state", "health", "generation", "age", "fresh_until", "stale_until", "last_success"]
    {
        assert!(members.iter().any(|it| *it == name), "{name}: {status}");
    }
    assert_eq!(
        (&status["state"], &status["health"]),
        (&"fresh".into(), &"ready".into()),
        "{status}"
    );
    assert_eq!(status.get("issuers"), None, "{status}");

    let get = Method::GET;
    let post = Method::POST;
    let (none, reader, writer) = (None, Some(reader.as_str()), Some(writer.as_str()));
    let (admin, foreign) = (Some(admin.as_str()), Some(foreign.as_str()));
    for (method, path, token, expected) in [
        (&get, "/public", none, 200),
        (&get, "/whoami", none, 401),
        (&get, "/whoami", reader, 200),
        (&get, "/whoami", foreign, 401),
        (&get, "/read", none, 401),
        (&get, "/read", reader, 200),
        (&get, "/read", admin, 403),
        (&post, "/write", reader, 403),
        (&post, "/write", writer, 200),
        (&get, "/any", reader, 403),
        (&get, "/any", writer, 200),
        (&get, "/any", admin, 200),
        (&get, "/optional", none, 200),
        (&get, "/optional", reader, 200),
        (&get, "/optional", foreign, 401),
    ] {
        assert_eq!(api.status(method.clone(), path, token).await, expected, "{method} {path}");
    }
    assert_stops(&mut api.process, "INT");
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_server_serves_for_two_issuers_at_once() {
    let (mut first, second) =
        (AuthorizationServer::oidc_provider(), AuthorizationServer::authlib());
    let of_first = first.token("ES256", "api:read").await;
    let of_second = second.token("scp", "api:read").await;
    let other_audience = second.token("es256", "api:read").await;
    for jwks_uri in [None, Some(format!("{}/jwks", second.issuer()))] {
        let mut variables = vec![
            ("ISSUER_2", second.issuer()),
            ("AUDIENCE_2", "svc-scp"),
            ("SCOPE_CLAIM_2", "scp"),
        ];
        variables.extend(jwks_uri.as_deref().map(|uri| ("JWKS_URI_2", uri)));
        let mut api = Api::start_with(first.issuer(), &variables).await;
        for (path, token, expected) in [
            ("/read", &of_first, 200),
            ("/read", &of_second, 200),
            ("/whoami", &other_audience, 401),
        ] {
            api.expect(Method::GET, path, Some(token), expected).await;
        }
        for (token, issuer) in [(&of_first, first.issuer()), (&of_second, second.issuer())] {
            assert_eq!(api.json("/whoami", Some(token)).await["iss"], issuer);
        }
        let status = api.json("/healthz/ready", None).await;
        assert_eq!(status["health"], "ready", "{status}");
        for (at, issuer) in [first.issuer(), second.issuer()].into_iter().enumerate() {
            assert_eq!(status["issuers"][at]["issuer"], issuer, "{status}");
            assert_eq!(status["issuers"][at]["health"], "ready", "{status}");
        }
        assert_stops(&mut api.process, "TERM");
    }
    // One that is down at the start costs its own tokens 503.
    first.kill();
    let variables =
        [("ISSUER_2", second.issuer()), ("AUDIENCE_2", "svc-scp"), ("SCOPE_CLAIM_2", "scp")];
    let api = Api::start_with(first.issuer(), &variables).await;
    api.expect(Method::GET, "/read", Some(&of_second), 200).await;
    assert_eq!(api.status(Method::GET, "/read", Some(&of_first)).await, 503);
    let status = api.json("/healthz/ready", None).await;
    assert_eq!(status["health"], "degraded", "{status}");
    assert_eq!(status["issuers"][0]["health"], "not_ready", "{status}");
}

/// The claim of the second issuer's scopes is an array with Authlib's server, and a string here.
#[tokio::test(flavor = "multi_thread")]
async fn resource_server_takes_the_second_issuers_scopes_from_a_string() {
    let first = AuthorizationServer::oidc_provider();
    let second = TestIssuer::start().await.expect("an issuer");
    let variables = [
        ("ISSUER_2", second.issuer()),
        ("AUDIENCE_2", second.audience()),
        ("SCOPE_CLAIM_2", "perms"),
    ];
    let api = Api::start_with(first.issuer(), &variables).await;
    let token = |claim: &str| second.token().claim(claim, "api:read api:write").sign();
    for (claim, expected) in [("perms", 200), ("scp", 403)] {
        api.expect(Method::GET, "/read", Some(&token(claim)), expected).await;
        assert_eq!(api.status(Method::POST, "/write", Some(&token(claim))).await, expected);
    }
    // The first one's are where they were.
    api.expect(Method::GET, "/read", Some(&first.token("ES256", "api:read").await), 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_server_asks_about_opaque_tokens() {
    const OWN: [(&str, &str); 4] = [
        ("INTROSPECTION_CLIENT_ID", "svc"),
        ("INTROSPECTION_CLIENT_SECRET", "svc-secret"),
        ("INTROSPECTION_TTL_SECS", "1"),
        ("INTROSPECTION_TIMEOUT_SECS", "2"),
    ];
    let oidc = AuthorizationServer::oidc_provider();
    for more in [&[][..], &[("INTROSPECTION_SIGNED", "1")], &[("INTROSPECTION_BASIC", "raw")]] {
        let api = Api::start_with(oidc.issuer(), &[&OWN, more].concat()).await;
        let (opaque, jwt) =
            (oidc.token("opaque", "api:read").await, oidc.token("ES256", "api:read").await);
        for token in [&opaque, &jwt] {
            api.expect(Method::GET, "/read", Some(token), 200).await;
            assert_eq!(api.json("/whoami", Some(token)).await["iss"], oidc.issuer(), "{more:?}");
        }
        assert_eq!(api.status(Method::POST, "/write", Some(&opaque)).await, 403);
        assert_eq!(api.status(Method::GET, "/read", Some("garbage")).await, 401);
        oidc.revoke(&opaque).await;
        api.expect(Method::GET, "/read", Some(&opaque), 401).await;
        let status = api.json("/healthz/ready", None).await;
        assert_eq!(status["issuers"][0]["introspection"]["health"], "ready", "{status}");
    }

    // It publishes neither keys nor, in its answers, its name.
    let django = AuthorizationServer::django_oauth_toolkit();
    let uri = format!("{}/introspect/", django.issuer());
    let more = [("INTROSPECTION_URI", uri.as_str()), ("INTROSPECTION_AUD", "optional")];
    for more in [&more[..], &more[1..]] {
        let api = Api::start_with(django.issuer(), &[&OWN, more].concat()).await;
        let opaque = django.token("opaque", "api:read").await;
        api.expect(Method::GET, "/read", Some(&opaque), 200).await;
        assert_eq!(api.json("/whoami", Some(&opaque)).await["iss"], django.issuer());
        api.expect(Method::GET, "/healthz/ready", None, 200).await;
    }
}

#[test]
fn resource_server_serves_the_metadata_that_its_challenges_name() {
    let (listen, resource, _process) = at_free_port(|port| {
        let listen = format!("127.0.0.1:{port}");
        let resource = format!("http://{listen}/api");
        let process = start("resource_server", &[("LISTEN", &listen), ("RESOURCE", &resource)]);
        process.listening_on(START)?;
        Some((listen, resource, process))
    });
    let curl = |url: &str| {
        let output = Command::new("curl").args(["--silent", "--include", url]).output();
        String::from_utf8(output.expect("curl").stdout).expect("text")
    };
    let refused = curl(&format!("http://{listen}/read"));
    let (_, url) = refused.split_once("resource_metadata=\"").expect("the challenge names it");
    let url = url.split('"').next().expect("a URL");
    assert_eq!(url, format!("http://{listen}/.well-known/oauth-protected-resource/api"));
    let document = curl(url);
    assert!(document.starts_with("HTTP/1.1 200"), "{document}");
    assert!(document.contains(&format!("\"resource\":\"{resource}\"")), "{document}");
    assert!(document.contains("\"scopes_supported\":[\"api:read\",\"api:write\""), "{document}");
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_server_waits_for_an_issuer_that_is_down() {
    let mut server = AuthorizationServer::oidc_provider();
    let token = server.token("ES256", "api:read").await;
    server.kill();
    let mut api = Api::start(server.issuer()).await;
    assert_eq!(api.status(Method::GET, "/healthz/ready", None).await, 503);
    assert_eq!(api.status(Method::GET, "/read", Some(&token)).await, 503);
    assert_eq!(api.status(Method::GET, "/read", None).await, 401);
    server.start_again();
    api.expect(Method::GET, "/healthz/ready", None, 200).await;
    api.expect(Method::GET, "/read", Some(&token), 200).await;
    assert_stops(&mut api.process, "TERM");
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_greets_the_bearer_of_a_token() {
    let server = AuthorizationServer::oidc_provider();
    let token = server.token("ES256", "").await;
    wait_for_port_3000();
    let process = start("hello", &[("ISSUER", server.issuer()), ("AUDIENCE", AUDIENCE)]);
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let api = Api { address: "127.0.0.1:3000".to_owned(), process, http };
    api.expect(Method::GET, "/", Some(&token), 200).await;
    api.expect(Method::GET, "/", None, 401).await;
}

#[test]
fn tonic_server_shows_what_each_token_is_good_for() {
    let process = start("tonic_server", &[]);
    let mut lines = Vec::new();
    while lines.len() < 10
        && let Some(line) = process.line(START)
    {
        lines.push(line.trim().to_owned());
    }
    assert!(lines[0].starts_with("listening on 127.0.0.1:"), "{lines:#?}");
    assert_eq!(
        lines[1..],
        [
            "no token:",
            "Get:   Unauthenticated: An access token is required",
            "Watch: Unauthenticated: An access token is required",
            "a token with orders:read:",
            "Get:   order 7 for demo",
            "Watch: PermissionDenied: The request requires higher privileges than provided by the \
             access token",
            "a token with orders:read and orders:watch:",
            "Get:   order 7 for demo",
            "Watch: order 7 packed, order 7 sent, order 7 delivered",
        ]
    );
}
