//! Clients of DPoP that others wrote, against the example server; and two such servers that share a
//! Redis and a nonce key.

#![allow(clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "it uses a part of what the tests share")]
#![allow(clippy::disallowed_methods, reason = "processes live in real time")]

#[path = "support/process.rs"]
mod process;
#[path = "support/redis_server.rs"]
mod redis_server;

use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use process::{Process, TO_INSTALL, at_free_port, example, interop, node};
use redis_server::RedisServer;
use serde_json::Value;
use tower_bearer::jose::Algorithm;
use tower_bearer::testing::{TestIssuer, TestKey, TestProof};

const START: Duration = Duration::from_secs(60);

/// The example server, in a process of its own.
struct Server {
    origin: String,
    issuer: String,
    process: Process,
}

impl Server {
    /// Starts it with these variables, and waits until it listens.
    fn start(variables: &[(&str, &str)]) -> Self {
        at_free_port(|port| Self::start_at(port, variables))
    }

    fn start_at(port: u16, variables: &[(&str, &str)]) -> Option<Self> {
        let address = format!("127.0.0.1:{port}");
        let origin = format!("http://{address}");
        let mut command = Command::new(example("resource_server"));
        for unset in ["ISSUER", "AUDIENCE", "JWKS_URI", "RESOURCE", "DPOP_NONCES", "DPOP_NONCE_KEY"]
        {
            command.env_remove(unset);
        }
        command.env("LISTEN", &address).env("DPOP", "require").env("PUBLIC_ORIGIN", &origin);
        command
            .envs(variables.iter().map(|(name, value)| (name, value.replace("$ORIGIN", &origin))));
        let process = Process::spawn(command);
        let said = process.line_with("listening on ", START)?;
        let issuer = said.split("for tokens of ").nth(1).and_then(|it| it.split(' ').next());
        let issuer = issuer.expect("it says whose tokens it accepts").to_owned();
        Some(Self { origin, issuer, process })
    }
}

/// Runs a client of this library, which gets a token and calls the server.
fn run(library: &str, server: &Server, algorithm: &str) -> Value {
    let modules = interop("dpop-clients/node_modules/.installed");
    assert!(modules.exists(), "npm packages are missing: {TO_INSTALL}");
    let mut command = Command::new(node());
    command.arg(interop("dpop-clients/client.js"));
    command.args([library, &server.issuer, &format!("{}/read", server.origin), algorithm]);
    let output = command.output().expect("node runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{library}: {errors} {}", server.process.stderr());
    serde_json::from_slice(&output.stdout).expect("a line of JSON")
}

#[test]
fn three_libraries_call_the_server_with_and_without_nonces() {
    for nonces in [false, true] {
        let variables: &[_] = if nonces { &[("DPOP_NONCES", "1")] } else { &[] };
        let server = Server::start(variables);
        for library in ["oauth4webapi", "openid-client", "dpop"] {
            for algorithm in ["ES256", "Ed25519", "PS256", "RS256"] {
                let done = run(library, &server, algorithm);
                let what = format!("{library} {algorithm} {done}");
                assert_eq!(done["statuses"], serde_json::json!([200, 200]), "{what}");
                assert!(done.get("nonce").is_none_or(|it| *it == nonces), "{what}");
                assert!(done.get("replayed").is_none_or(|it| *it == 401), "{what}");
            }
        }
    }
}

/// A client whose tokens both servers accept.
struct Client {
    http: reqwest::Client,
    issuer: TestIssuer,
    key: TestKey,
}

impl Client {
    fn proof(&self, server: &Server, token: &str) -> TestProof {
        let uri = format!("{}/read", server.origin);
        TestProof::by(&self.key).method("GET").uri(&uri).token(token)
    }

    async fn send(&self, server: &Server, token: &str, proof: &str) -> reqwest::Response {
        let request = self.http.get(format!("{}/read", server.origin));
        let request = request.header("authorization", format!("DPoP {token}"));
        request.header("dpop", proof).send().await.expect("the server answers")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_used_proofs_and_nonces() {
    let mut redis = RedisServer::start();
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let issuer = TestIssuer::start().await.expect("an issuer");
    let client = Client { http, issuer, key: TestKey::generate(Algorithm::ES256) };
    let nonce_key = URL_SAFE_NO_PAD.encode([7; 32]);
    let url = redis.url();
    // Both are the same service, behind one address.
    let shared = [
        ("ISSUER", client.issuer.issuer()),
        ("AUDIENCE", client.issuer.audience()),
        ("PUBLIC_ORIGIN", "https://api.example"),
        ("DPOP_NONCES", "1"),
        ("DPOP_NONCE_KEY", &nonce_key),
        ("DPOP_REPLAY", &url),
    ];
    let [one, two] = [Server::start(&shared), Server::start(&shared)];
    let token = client.issuer.token().scope("api:read").bound_to(&client.key).sign();
    let proof = || client.proof(&one, &token).uri("https://api.example/read");

    let refused = client.send(&one, &token, &proof().sign()).await;
    assert_eq!(refused.status(), 401);
    let nonce = refused.headers()["dpop-nonce"].to_str().expect("ASCII").to_owned();
    let good = || proof().nonce(&nonce).sign();
    let until_accepted = async |server: &Server| {
        let mut tries = 0;
        while client.send(server, &token, &good()).await.status() != 200 {
            tries += 1;
            assert!(tries < 100, "it isn't accepted: {}", server.process.stderr());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // A server's first request may take longer than it waits for the Redis: it has to connect.
    until_accepted(&one).await;
    until_accepted(&two).await;
    // A nonce of one is accepted by the other, and a proof that one has seen is not.
    let used = good();
    assert_eq!(client.send(&two, &token, &used).await.status(), 200);
    assert_eq!(client.send(&one, &token, &used).await.status(), 401);
    assert_eq!(client.send(&two, &token, &used).await.status(), 401);
    assert_eq!(client.send(&one, &token, &good()).await.status(), 200);

    // Without the Redis, no proof is accepted, and it isn't the caller's fault.
    redis.kill();
    for server in [&one, &two] {
        let answer = client.send(server, &token, &good()).await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], "1");
        assert!(!answer.headers().contains_key("www-authenticate"));
    }
    redis.start_again();
    until_accepted(&one).await;
    until_accepted(&two).await;
}

// Each value of the variables that are about proofs.
#[tokio::test(flavor = "multi_thread")]
async fn d39_d61_d64_the_variables_mean_what_the_table_says() {
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let issuer = TestIssuer::start().await.expect("an issuer");
    let client = Client { http, issuer, key: TestKey::generate(Algorithm::ES256) };
    let of_issuer = [("ISSUER", client.issuer.issuer()), ("AUDIENCE", client.issuer.audience())];
    let bound = client.issuer.token().scope("api:read").bound_to(&client.key).sign();
    let unbound = client.issuer.token().scope("api:read").sign();
    let nonce_key = URL_SAFE_NO_PAD.encode([7; 32]);
    for (variables, with_proof, as_bearer, asks_for_nonce) in [
        (&[("DPOP", "")][..], 401, 200, false),
        (&[("DPOP", "accept")], 200, 200, false),
        (&[("DPOP", "require")], 200, 401, false),
        (&[("DPOP_REPLAY", "memory")], 200, 401, false),
        (&[("DPOP_NONCES", "1")], 401, 401, true),
        (&[("DPOP_NONCES", "1"), ("DPOP_NONCE_KEY", &*nonce_key)], 401, 401, true),
        // Several origins: `Host` names one.
        (&[("PUBLIC_ORIGIN", "https://api.example,$ORIGIN")], 200, 401, false),
        (&[("PUBLIC_ORIGIN", "https://api.example")], 401, 401, false),
    ] {
        let all: Vec<_> = of_issuer.iter().chain(variables).copied().collect();
        let server = Server::start(&all);
        let proof = client.proof(&server, &bound).sign();
        let answer = client.send(&server, &bound, &proof).await;
        assert_eq!(answer.status(), with_proof, "{variables:?} {}", server.process.stderr());
        let nonce = answer.headers().get("dpop-nonce").map(|it| it.to_str().expect("ASCII"));
        assert_eq!(nonce.is_some(), asks_for_nonce, "{variables:?}");
        if let Some(nonce) = nonce {
            let proof = client.proof(&server, &bound).nonce(nonce).sign();
            assert_eq!(client.send(&server, &bound, &proof).await.status(), 200);
        }
        if with_proof == 200 {
            assert_eq!(client.send(&server, &bound, &proof).await.status(), 401, "once more");
        }
        let request = client.http.get(format!("{}/read", server.origin)).bearer_auth(&unbound);
        let answer = request.send().await.expect("the server answers");
        assert_eq!(answer.status(), as_bearer, "{variables:?}");
    }
}

#[test]
fn d39_d68_the_example_names_the_variable_that_is_wrong() {
    const ON: (&str, &str) = ("DPOP", "accept");
    const ORIGIN: (&str, &str) = ("PUBLIC_ORIGIN", "https://api.example");
    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    for (variables, word) in [
        (&[("DPOP", "maybe")][..], "DPOP"),
        (&[("DPOP", "accept")], "public_origins"),
        (&[("DPOP", "accept"), ("PUBLIC_ORIGIN", "api.example")], "origin"),
        (
            &[
                ("DPOP", "accept"),
                ("PUBLIC_ORIGIN", "https://api.example"),
                ("DPOP_NONCES", "1"),
                ("DPOP_NONCE_KEY", "c2hvcnQ"),
            ],
            "32 random bytes",
        ),
        (
            &[
                ("DPOP", "accept"),
                ("PUBLIC_ORIGIN", "https://api.example"),
                ("DPOP_REPLAY", "redis"),
            ],
            "redis",
        ),
        (&[ON, ORIGIN, ("DPOP_NONCES", "true")], r#"DPOP_NONCES is \"true\": use 1"#),
        (&[ON, ORIGIN, ("DPOP_NONCES", "0")], r#"DPOP_NONCES is \"0\": use 1"#),
        (&[ON, ORIGIN, ("DPOP_NONCE_KEY", KEY)], "without DPOP_NONCES=1"),
        (&[ON, ORIGIN, ("DPOP_REPLAY_SENTINEL", "mymaster")], "Sentinels in DPOP_REPLAY"),
        (&[ORIGIN, ("DPOP_NONCES", "1")], "DPOP_NONCES has no effect without DPOP"),
        (&[("DPOP", ""), ("DPOP_NONCE_KEY", KEY)], "DPOP_NONCE_KEY has no effect without DPOP"),
        (&[("DPOP_REPLAY", "memory")], "DPOP_REPLAY has no effect without DPOP"),
        (
            &[
                ("INTROSPECTION_CLIENT_ID", "svc"),
                ("INTROSPECTION_CLIENT_SECRET", "s"),
                ("INTROSPECTION_SIGNED", "yes"),
            ],
            r#"INTROSPECTION_SIGNED is \"yes\": use 1"#,
        ),
    ] {
        let mut command = Command::new(example("resource_server"));
        command.env_remove("ISSUER").env("LISTEN", "127.0.0.1:0").envs(variables.iter().copied());
        let output = command.output().expect("it ends at once");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(word), "{variables:?}: {said}");
    }
}
