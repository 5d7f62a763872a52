//! The example `explain`, as an operator runs it: with good and bad tokens, and with an issuer that can't be
//! used.

#![allow(clippy::disallowed_methods, reason = "processes live in real time")]
#![allow(clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "support/process.rs"]
mod process;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tokio::task::spawn_blocking;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tower_bearer::jose::Algorithm;
use tower_bearer::testing::{Discovery, TestIssuer};

/// What a run printed, and its exit status.
struct Ran {
    code: Option<i32>,
    out: String,
}

impl Ran {
    #[track_caller]
    fn assert(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.out);
        for part in parts {
            assert!(self.out.contains(part), "{part:?} isn't in: {}", self.out);
        }
    }
}

/// Runs the example with this argument, what it reads from standard input, and these variables.
async fn run(argument: &str, stdin: &str, variables: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(process::example("explain"));
    let own = ["ISSUER", "AUDIENCE", "JWKS_URI", "ALGORITHMS", "LEEWAY_SECS", "RUST_LOG"];
    let more = ["JWKS_TTL_SECS", "JWKS_COOLDOWN_SECS", "JWKS_TIMEOUT_SECS", "JWKS_MAX_BYTES"];
    for variable in own.iter().chain(&more) {
        command.env_remove(variable);
    }
    // A proxy from the environment has no business on loopback.
    command.env("NO_PROXY", "*").envs(variables.iter().copied()).arg(argument);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let stdin = stdin.to_owned();
    let ran = spawn_blocking(move || {
        let mut child = command.spawn().expect("the example starts");
        let mut input = child.stdin.take().expect("standard input is a pipe");
        let _not_read = input.write_all(stdin.as_bytes());
        drop(input);
        child.wait_with_output().expect("it ends")
    });
    let output = ran.await.expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let out = format!("{}{}", text(&output.stdout), text(&output.stderr));
    Ran { code: output.status.code(), out }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_explained() {
    let issuer = TestIssuer::start().await.expect("an issuer");
    let variables = [("ISSUER", issuer.issuer()), ("AUDIENCE", issuer.audience())];
    let token = issuer.token().scope("orders:read").sign();
    let good = ["passed  aud", "orders:read", "it is valid", "verdict: accepted"];
    run(&token, "", &variables).await.assert(0, &good);
    run("-", &format!("{token}\n"), &variables).await.assert(0, &good);

    let foreign = run(&token, "", &[variables[0], ("AUDIENCE", "elsewhere")]).await;
    foreign.assert(
        1,
        &["FAILED  aud", "elsewhere", issuer.audience(), "wrong_audience", "also_audience"],
    );

    // As `Validator::from_env` reads the leeway.
    let late = issuer.token().expired_for(Duration::from_secs(120)).sign();
    run(&late, "", &variables).await.assert(1, &["FAILED  exp", "expired", "leeway 60 s"]);
    let lenient = [variables[0], variables[1], ("LEEWAY_SECS", "300")];
    run(&late, "", &lenient).await.assert(0, &["leeway 300 s", "verdict: accepted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_is_checked_step_by_step() {
    let builder = TestIssuer::builder().algorithms([Algorithm::ES256, Algorithm::RS256]);
    let unknown = serde_json::json!({ "kty": "NEW", "kid": "odd" });
    let builder = builder.discovery(Discovery::OpenId).publish_jwk(unknown);
    let issuer = builder.start().await.expect("an issuer");
    let variables = [("ISSUER", issuer.issuer()), ("AUDIENCE", issuer.audience())];
    let url = |path: &str| format!("url=\"{}{path}\"", issuer.issuer());
    let good = run("--check", "", &variables).await;
    good.assert(
        0,
        &[
            &format!("audience:       {}", issuer.audience()),
            // Each address, and what came of it.
            &url("/.well-known/oauth-authorization-server"),
            "result=\"the status 404\"",
            &url("/.well-known/openid-configuration"),
            "result=\"found\"",
            "jwks_fetched",
            // Each key, and whether its tokens are accepted.
            "kty EC, alg ES256: accepted with ES256",
            "kty RSA, alg RS256: accepted with RS256",
            "kid \"odd\", kty NEW, alg none: not accepted: ",
            "clock:   the issuer's is",
            "leeway 60 s",
            "nothing that can be seen without a token",
        ],
    );
    assert!(!good.out.contains("trouble"), "{}", good.out);

    let narrow = [variables[0], variables[1], ("ALGORITHMS", "ES384"), ("LEEWAY_SECS", "7")];
    run("--check", "", &narrow).await.assert(
        1,
        &[
            "ES256: not accepted: its algorithm",
            "trouble: no key of the issuer",
            "ES384",
            "leeway 7 s",
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_cant_be_used_is_told_with_the_cause() {
    // Nobody listens.
    let issuer = format!("http://127.0.0.1:{}", process::free_port());
    let place = format!("{issuer}/.well-known/oauth-authorization-server");
    let ran = run("--check", "", &[("ISSUER", &issuer), ("AUDIENCE", "orders")]).await;
    ran.assert(
        1,
        &[
            "metadata_asked",
            &place,
            "trouble: ",
            "no connection could be made",
            "refused",
            "check host and port",
        ],
    );
    // Without keys, a token can't be judged: that isn't the token's fault.
    let other = TestIssuer::start().await.expect("an issuer");
    let token = other.token().claim("iss", &*issuer).audience("orders").sign();
    let ran = run(&token, "", &[("ISSUER", &issuer), ("AUDIENCE", "orders")]).await;
    ran.assert(2, &["open    key", "keys_not_loaded", "503"]);

    // It is the metadata of another issuer.
    let slash = format!("{}/", other.issuer());
    let ran = run("--check", "", &[("ISSUER", &slash), ("AUDIENCE", "orders")]).await;
    ran.assert(1, &["the metadata of", "trailing slash", other.issuer()]);

    // Its certificate isn't trusted.
    let issuer = untrusted().await;
    let ran = run("--check", "", &[("ISSUER", &issuer), ("AUDIENCE", "orders")]).await;
    ran.assert(
        1,
        &["trouble: ", "no TLS session", "certificate", "UnknownIssuer", "root_certificates"],
    );

    // Nothing is set.
    run("--check", "", &[]).await.assert(2, &["ISSUER is missing or empty, AUDIENCE"]);
}

/// A server whose certificate no authority has signed; returns its origin.
async fn untrusted() -> String {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .expect("a certificate and its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _refused = acceptor.accept(stream).await;
        }
    });
    format!("https://localhost:{port}")
}
