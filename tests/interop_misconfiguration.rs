//! Each usual misconfiguration, with a real `oidc-provider`: what the log says at `info`, within a minute,
//! has the cause and the setting that helps.

#![allow(clippy::disallowed_methods, reason = "processes live in real time")]

#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "support/log.rs"]
mod log;
mod support;

use std::sync::Arc;
use std::time::Duration;

use log::{LevelFilter, Log};
use rcgen::{CertificateParams, KeyPair};
use support::authorization_server::{AUDIENCE, AuthorizationServer};
use support::resource_server::ResourceServer;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tower_bearer::Validator;
use tower_bearer::jwks::Jwks;

/// How long the log may take.
const A_MINUTE: Duration = Duration::from_secs(60);

/// The lines of `tower_bearer` at `info` and above, on this thread, which is the only one of the runtime.
struct Lines {
    log: Log,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Lines {
    fn at_info() -> Self {
        let (log, guard) = Log::of_this_thread(LevelFilter::INFO);
        Self { log, _guard: guard }
    }

    fn text(&self) -> String {
        self.log.text()
    }

    /// Waits until one line of this event has all of these parts.
    async fn say(&self, event: &str, parts: &[&str]) {
        let began = Instant::now();
        let says = |line: &str| line.contains(event) && parts.iter().all(|it| line.contains(it));
        while !self.text().lines().any(says) {
            assert!(began.elapsed() < A_MINUTE, "no {event} with {parts:?}:\n{}", self.text());
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Starts a service that expects this issuer and audience, and doesn't wait for keys.
async fn service(issuer: &str, audience: &str) -> ResourceServer {
    ResourceServer::start(Validator::builder(issuer, audience).build().expect("settings")).await
}

/// Sends a token until it is answered this: the first keys come in the background.
async fn answered(api: &ResourceServer, token: &str, status: u16) {
    let began = Instant::now();
    loop {
        let seen = api.get("/read", token).await;
        if seen == status {
            return;
        }
        assert!(began.elapsed() < A_MINUTE, "answered {seen}, not {status}");
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_right_configuration_says_what_is_in_force_and_nothing_else() {
    let lines = Lines::at_info();
    let server = AuthorizationServer::oidc_provider();
    let api = service(server.issuer(), AUDIENCE).await;
    let token = server.token("ES256", "api:read").await;
    answered(&api, &token, 200).await;
    lines.say("auth_in_force", &[server.issuer(), AUDIENCE]).await;
    for event in ["WARN", "ERROR", "auth_summary"] {
        let unasked = lines.text();
        // A request may have come before the keys.
        let unasked = unasked.lines().filter(|line| !line.contains("keys_not_loaded"));
        assert_eq!(unasked.filter(|line| line.contains(event)).count(), 0, "{}", lines.text());
    }
}

#[tokio::test]
async fn a_wrong_audience_is_told_with_both_and_the_setting() {
    let lines = Lines::at_info();
    let server = AuthorizationServer::oidc_provider();
    let api = service(server.issuer(), "https://orders.example").await;
    answered(&api, &server.token("ES256", "api:read").await, 401).await;
    let presented = format!("presented {AUDIENCE:?}");
    let parts = ["wrong_audience", "expected \"https://orders.example\"", &presented];
    lines.say("auth_summary", &parts).await;
    lines.say("auth_summary", &["also_audience"]).await;
}

#[tokio::test]
async fn a_slash_too_many_in_the_issuer_is_told_with_both_and_the_setting() {
    let lines = Lines::at_info();
    let server = AuthorizationServer::oidc_provider();
    let slashed = format!("{}/", server.issuer());
    let api = service(&slashed, AUDIENCE).await;
    answered(&api, &server.token("ES256", "api:read").await, 401).await;
    let (expected, presented) =
        (format!("expected {slashed:?}"), format!("presented {:?}", server.issuer()));
    let parts = ["wrong_issuer", &expected, &presented, "trailing slash and all", "also_issuer"];
    lines.say("auth_summary", &parts).await;
    // Its metadata is found, and says the same.
    lines.say("jwks_issuer_mismatch", &["WARN", &slashed, server.issuer()]).await;
    lines.say("jwks_fetch_failed", &["issuer_mismatch", "trailing slash and all"]).await;
}

#[tokio::test]
async fn a_token_of_another_environment_is_told_with_both_issuers() {
    let lines = Lines::at_info();
    let (server, staging) =
        (AuthorizationServer::oidc_provider(), AuthorizationServer::oidc_provider());
    let api = service(server.issuer(), AUDIENCE).await;
    answered(&api, &server.token("ES256", "api:read").await, 200).await;
    answered(&api, &staging.token("ES256", "api:read").await, 401).await;
    let (expected, presented) =
        (format!("expected {:?}", server.issuer()), format!("presented {:?}", staging.issuer()));
    let parts = ["wrong_issuer", &expected, &presented, "the client uses another environment"];
    lines.say("auth_summary", &parts).await;
}

#[tokio::test]
async fn an_issuer_whose_clock_is_an_hour_behind_is_told_from_an_old_token() {
    let lines = Lines::at_info();
    let server = AuthorizationServer::oidc_provider();
    server.set_clock_ahead(-3_600).await;
    // Once its keys are there, its clock is known.
    let validator = Validator::builder(server.issuer(), AUDIENCE).build().expect("settings");
    let api = ResourceServer::ready(validator).await;
    answered(&api, &server.token("ES256", "api:read").await, 401).await;
    let parts = ["expired", "50 min ago", "leeway", "behind this one", "synchronize"];
    lines.say("auth_summary", &parts).await;
    lines.say("jwks_clock", &["WARN", server.issuer(), "behind this one", "leeway"]).await;
}

#[tokio::test]
async fn an_issuer_whose_clock_is_an_hour_ahead_is_told() {
    let lines = Lines::at_info();
    let server = AuthorizationServer::oidc_provider();
    server.set_clock_ahead(3_600).await;
    let api = service(server.issuer(), AUDIENCE).await;
    // Its tokens are valid, and for an hour longer than it means them to be.
    answered(&api, &server.token("ES256", "api:read").await, 200).await;
    let parts = ["WARN", server.issuer(), "ahead of this one", "synchronize", "leeway"];
    lines.say("jwks_clock", &parts).await;
}

#[tokio::test]
async fn keys_that_cannot_be_reached_are_told_with_address_and_cause() {
    let lines = Lines::at_info();
    let mut server = AuthorizationServer::oidc_provider();
    let token = server.token("ES256", "api:read").await;
    server.kill();
    let api = service(server.issuer(), AUDIENCE).await;
    answered(&api, &token, 503).await;
    let parts = ["WARN", server.issuer(), "refused", "check host and port"];
    lines.say("jwks_fetch_failed", &parts).await;
    lines.say("auth_summary", &["keys_not_loaded", "make the issuer's keys reachable"]).await;
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told_with_the_setting() {
    let lines = Lines::at_info();
    let server = AuthorizationServer::oidc_provider();
    let address = with_own_certificate(&server).await;
    let api = service_with_metadata_at(&server, &address).await;
    answered(&api, &server.token("ES256", "api:read").await, 503).await;
    lines.say("jwks_fetch_failed", &["tls", &address, "certificate", "root_certificates"]).await;
    lines.say("auth_summary", &["keys_not_loaded", &address, "certificate"]).await;
}

#[tokio::test]
async fn a_name_without_an_address_is_told() {
    let lines = Lines::at_info();
    let server = AuthorizationServer::oidc_provider();
    // RFC 6761 §6.4: no name server knows it.
    let address = "https://oidc-provider.invalid";
    let api = service_with_metadata_at(&server, address).await;
    answered(&api, &server.token("ES256", "api:read").await, 503).await;
    lines.say("jwks_fetch_failed", &["dns", address, "check the host of the metadata URL"]).await;
    lines.say("auth_summary", &["keys_not_loaded", address]).await;
}

/// Starts a service that has the server's metadata from another address than its issuer's.
async fn service_with_metadata_at(server: &AuthorizationServer, address: &str) -> ResourceServer {
    let document = format!("{address}/.well-known/openid-configuration");
    let keys = Jwks::discover_at(server.issuer(), document);
    let validator = Validator::builder(server.issuer(), AUDIENCE).keys(keys).build();
    ResourceServer::start(validator.expect("settings")).await
}

/// Serves the server over TLS, by a certificate that nobody else has issued, and returns its address.
async fn with_own_certificate(server: &AuthorizationServer) -> String {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let key = key.serialize_der().try_into().expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let plain = server.issuer().trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        loop {
            let Ok((socket, _)) = listener.accept().await else { return };
            let (acceptor, plain) = (acceptor.clone(), plain.clone());
            tokio::spawn(async move {
                let Ok(mut secured) = acceptor.accept(socket).await else { return };
                let mut plain = TcpStream::connect(plain).await.expect("the server listens");
                let _ended = copy_bidirectional(&mut secured, &mut plain).await;
            });
        }
    });
    format!("https://localhost:{port}")
}
