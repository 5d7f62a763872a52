//! nginx, HAProxy and Envoy end TLS in front of the example server, and hand on the client's certificate;
//! and the example that ends TLS itself. Certificates are made by openssl, requests by curl.
#![cfg(all(feature = "mtls", feature = "test-util"))]
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::process::{
    Process, TO_INSTALL, at_free_port, example, interop, node, python, scratch,
};
use tower_bearer::mtls::Certificate;
use tower_bearer::testing::TestIssuer;

const START: Duration = Duration::from_secs(60);

/// Certificates of one authority, in a folder of their own.
struct Certificates(PathBuf);

impl Certificates {
    fn make() -> Self {
        let folder = scratch("certificates");
        fs::create_dir_all(&folder).expect("a folder");
        let made = Self(folder);
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        made.openssl(
            &["req", "-x509"],
            &key,
            &["-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"],
        );
        // Each subject has what a proxy might write without care.
        for (name, subject) in
            [("server", "/CN=localhost"), ("alice", "/CN=alice, \"a;b\\\\"), ("bob", "/CN=bob")]
        {
            let (csr, key_file, pem) =
                (format!("{name}.csr"), format!("{name}.key"), format!("{name}.pem"));
            made.openssl(&["req"], &key, &["-subj", subject, "-keyout", &key_file, "-out", &csr]);
            let extensions = format!("{name}.ext");
            fs::write(
                made.file(&extensions),
                "subjectAltName=DNS:localhost,IP:127.0.0.1,URI:spiffe://example.org/a\n",
            )
            .expect("a file");
            made.openssl(
                &["x509", "-req", "-days", "2"],
                &["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"],
                &["-in", &csr, "-out", &pem, "-extfile", &extensions],
            );
        }
        let both = [made.file("server.pem"), made.file("server.key")];
        let both = both.map(|file| fs::read_to_string(file).expect("it was made")).concat();
        fs::write(made.file("server-with-key.pem"), both).expect("a file");
        made
    }

    fn openssl(&self, command: &[&str], more: &[&str], rest: &[&str]) {
        let mut openssl = Command::new("openssl");
        openssl.args(command).args(more).args(rest).current_dir(&self.0);
        let output = openssl.output().expect("openssl is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn path(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    fn der(&self, name: &str) -> Vec<u8> {
        self.openssl(
            &["x509", "-outform", "DER"],
            &["-in", &format!("{name}.pem")],
            &["-out", &format!("{name}.der")],
        );
        fs::read(self.file(&format!("{name}.der"))).expect("it was made")
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An issuer, the example server, and a proxy in front of it.
struct World {
    certificates: Certificates,
    issuer: TestIssuer,
    api: u16,
    port: u16,
    server: Process,
    _proxy: Process,
}

impl World {
    async fn start(
        preset: &str,
        trusted: &str,
        proxy: fn(&Certificates, u16, u16) -> Command,
    ) -> Self {
        let issuer = TestIssuer::start().await.expect("an issuer");
        let variables =
            [("ISSUER", issuer.issuer().to_owned()), ("AUDIENCE", issuer.audience().to_owned())];
        Self::with(Certificates::make(), issuer, &variables, preset, trusted, proxy)
    }

    fn with(
        certificates: Certificates,
        issuer: TestIssuer,
        variables: &[(&str, String)],
        preset: &str,
        trusted: &str,
        proxy: fn(&Certificates, u16, u16) -> Command,
    ) -> Self {
        let mut server = Command::new(example("resource_server"));
        server
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env("LISTEN", "127.0.0.1:0")
            .env("CLIENT_CERT_HEADER", preset)
            .env("TRUSTED_PROXIES", trusted)
            .env("RUST_LOG", "tower_bearer=debug");
        let server = Process::spawn(server);
        let address = server.listening_on(START).expect("the example listens");
        let (_, api) = address.split_once(':').expect("a port");
        let api = api.parse().expect("a port");
        let (port, proxy) = at_free_port(|port| {
            let mut proxy = Process::spawn(proxy(&certificates, port, api));
            proxy.listens(port, START).then_some((port, proxy))
        });
        Self { certificates, issuer, api, port, server, _proxy: proxy }
    }

    fn bound(&self, name: &str) -> String {
        let certificate = Certificate::from_der(&self.certificates.der(name));
        self.issuer.token().subject(name).bound_to_certificate(&certificate).sign()
    }

    fn unbound(&self) -> String {
        self.issuer.token().sign()
    }

    /// Returns the status of a request with this certificate, token, and further fields.
    fn ask(&self, shown: Option<&str>, token: &str, fields: &[String]) -> u16 {
        let mut curl = self.curl();
        curl.args(["--cacert", &self.certificates.path("ca.pem")]);
        if let Some(shown) = shown {
            curl.args(["--cert", &self.certificates.path(&format!("{shown}.pem"))]);
            curl.args(["--key", &self.certificates.path(&format!("{shown}.key"))]);
        }
        curl.args(["--header", &format!("Authorization: Bearer {token}")]);
        for field in fields {
            curl.args(["--header", field]);
        }
        curl.arg(format!("https://localhost:{}/whoami", self.port));
        status(curl)
    }

    fn curl(&self) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]);
        curl.args(["--noproxy", "*", "--max-time", "20"]);
        curl
    }

    /// What every proxy must come to.
    fn check(&self, name: &str, forged: &str) {
        let (of_alice, of_bob) = (self.bound("alice"), self.bound("bob"));
        let forged = [format!("{name}: {forged}")];
        let forged_twice = [&forged[..], &forged[..]].concat();
        // MT28: all of it through the same few connections to the server.
        for _ in 0..3 {
            for (shown, token, fields, expected) in [
                (Some("alice"), &of_alice, &[][..], 200),
                (Some("alice"), &of_bob, &[], 401),
                (Some("bob"), &of_bob, &[], 200),
                (Some("bob"), &of_alice, &[], 401),
                (None, &of_alice, &[], 401),
                (Some("alice"), &self.unbound(), &[], 200),
                (None, &self.unbound(), &[], 200),
                // What the client sends under that name is replaced.
                (Some("alice"), &of_alice, &forged, 200),
                (Some("bob"), &of_alice, &forged, 401),
                (None, &of_alice, &forged, 401),
                (None, &of_alice, &forged_twice, 401),
                (Some("bob"), &of_bob, &forged_twice, 200),
            ] {
                let status = self.ask(shown, token, fields);
                assert_eq!(status, expected, "{shown:?} {fields:?}: {}", self.server.stderr());
            }
        }
        // Without the proxy, from an address that is trusted here: what the field says is believed.
        let mut direct = self.curl();
        direct.args(["--header", &format!("Authorization: Bearer {of_alice}")]);
        direct.args(["--header", &forged[0]]);
        direct.arg(format!("http://127.0.0.1:{}/whoami", self.api));
        assert_eq!(status(direct), 200, "what was forged is a good certificate");
    }
}

fn status(mut curl: Command) -> u16 {
    let output = curl.output().expect("curl is there");
    let status = String::from_utf8(output.stdout).expect("digits");
    status.parse().unwrap_or_else(|_| panic!("no status: {curl:?}"))
}

fn write(certificates: &Certificates, name: &str, text: &str) -> String {
    fs::write(certificates.file(name), text).expect("a file");
    certificates.path(name)
}

fn nginx_with(certificates: &Certificates, port: u16, api: u16, field: &str) -> Command {
    let folder = certificates.0.display();
    let config = format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
         events {{ }}
         http {{
             access_log off;
             client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
             fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
             upstream api {{ server 127.0.0.1:{api}; keepalive 2; }}
             server {{
                 listen 127.0.0.1:{port} ssl http2;
                 ssl_certificate {folder}/server.pem;
                 ssl_certificate_key {folder}/server.key;
                 ssl_client_certificate {folder}/ca.pem;
                 ssl_verify_client optional;
                 location / {{
                     proxy_pass http://api;
                     proxy_http_version 1.1;
                     proxy_set_header Connection \"\";
                     {field}
                 }}
             }}
         }}"
    );
    let mut nginx = Command::new("nginx");
    nginx.args(["-e", "stderr", "-c", &write(certificates, "nginx.conf", &config)]);
    nginx
}

fn nginx(certificates: &Certificates, port: u16, api: u16) -> Command {
    let field = "proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;";
    nginx_with(certificates, port, api, field)
}

/// What people write who have read of RFC 9440, but not all of it.
fn nginx_mistaken(certificates: &Certificates, port: u16, api: u16) -> Command {
    let field = "proxy_set_header Client-Cert $ssl_client_escaped_cert;";
    nginx_with(certificates, port, api, field)
}

fn haproxy_with(certificates: &Certificates, port: u16, api: u16, rules: &str) -> Command {
    let folder = certificates.0.display();
    let config = format!(
        "defaults
             mode http
             timeout connect 5s
             timeout client 30s
             timeout server 30s
         frontend https
             bind 127.0.0.1:{port} ssl crt {folder}/server-with-key.pem ca-file {folder}/ca.pem verify optional alpn h2,http/1.1
             {rules}
             default_backend api
         backend api
             http-reuse always
             server api 127.0.0.1:{api}\n"
    );
    let mut haproxy = Command::new("haproxy");
    haproxy.args(["-db", "-f", &write(certificates, "haproxy.cfg", &config)]);
    haproxy
}

fn haproxy(certificates: &Certificates, port: u16, api: u16) -> Command {
    let rule = "http-request set-header X-SSL-Client-DER %[ssl_c_der,base64]";
    haproxy_with(certificates, port, api, rule)
}

fn haproxy_by_rfc9440(certificates: &Certificates, port: u16, api: u16) -> Command {
    let rules = "http-request del-header Client-Cert
             http-request set-header Client-Cert :%[ssl_c_der,base64]: if { ssl_c_used }";
    haproxy_with(certificates, port, api, rules)
}

fn envoy(certificates: &Certificates, port: u16, api: u16) -> Command {
    let folder = certificates.0.display();
    let config = format!(
        r#"
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - certificate_chain: {{ filename: "{folder}/server.pem" }}
              private_key: {{ filename: "{folder}/server.key" }}
            validation_context:
              trusted_ca: {{ filename: "{folder}/ca.pem" }}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: https
          forward_client_cert_details: SANITIZE_SET
          set_current_client_cert_details: {{ subject: true, cert: true, chain: true, dns: true, uri: true }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            virtual_hosts:
            - name: api
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                route: {{ cluster: api }}
  clusters:
  - name: api
    type: STATIC
    load_assignment:
      cluster_name: api
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {api} }} }} }}
"#
    );
    // Beside the Python that its package is installed for.
    let program = python().with_file_name("envoy");
    assert!(program.exists(), "{} is missing: {TO_INSTALL}", program.display());
    let mut envoy = Command::new(program);
    envoy.args(["--config-path", &write(certificates, "envoy.yaml", &config)]);
    envoy.args(["--concurrency", "1", "--log-level", "warning", "--disable-hot-restart"]);
    envoy
}

fn base64(der: &[u8]) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    BASE64_STANDARD.encode(der)
}

#[tokio::test(flavor = "multi_thread")]
async fn mt23_nginx_hands_on_the_certificate() {
    let world = World::start("nginx", "127.0.0.1", nginx).await;
    let pem = fs::read(world.certificates.file("alice.pem")).expect("it was made");
    let escaped = percent_encoding::percent_encode(&pem, percent_encoding::NON_ALPHANUMERIC);
    world.check("X-SSL-Client-Cert", &escaped.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn mt25_haproxy_hands_on_the_certificate() {
    let world = World::start("haproxy", "127.0.0.0/8,::1", haproxy).await;
    world.check("X-SSL-Client-DER", &base64(&world.certificates.der("alice")));
}

#[tokio::test(flavor = "multi_thread")]
async fn mt18_haproxy_hands_on_the_certificate_by_rfc_9440() {
    let world = World::start("rfc9440", "127.0.0.1", haproxy_by_rfc9440).await;
    world.check("Client-Cert", &format!(":{}:", base64(&world.certificates.der("alice"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn mt21_mt22_envoy_hands_on_the_certificate() {
    let world = World::start("envoy", "127.0.0.1", envoy).await;
    let digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &world.certificates.der("alice"));
    let hash: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    world.check("X-Forwarded-Client-Cert", &format!("Hash={hash}"));
}

/// Percent-encodes what AWS's load balancer does: all but these.
fn as_alb_sends(pem: &str) -> String {
    let is_safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+=/".contains(byte);
    let encode = |byte: u8| match is_safe(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    pem.bytes().map(encode).collect()
}

// Each value of `CLIENT_CERT_HEADER`, with the header that the table names, and `TRUSTED_PROXIES`.
#[tokio::test(flavor = "multi_thread")]
async fn mt18_to_mt25_the_example_has_a_header_for_each_preset() {
    let certificates = Certificates::make();
    let issuer = TestIssuer::start().await.expect("an issuer");
    let der = certificates.der("alice");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    let hash: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let pem = fs::read_to_string(certificates.file("alice.pem")).expect("a certificate");
    let escaped = as_alb_sends(&pem);
    let thumbprint = Certificate::from_der(&der);
    let token = issuer.token().subject("alice").bound_to_certificate(&thumbprint).sign();
    let presets = [
        ("rfc9440", "Client-Cert", format!(":{}:", base64(&der))),
        ("envoy", "X-Forwarded-Client-Cert", format!("Hash={hash}")),
        ("alb", "X-Amzn-Mtls-Clientcert-Leaf", escaped.clone()),
        ("nginx", "X-SSL-Client-Cert", escaped.replace('+', "%2B").replace('/', "%2F")),
        ("haproxy", "X-SSL-Client-DER", base64(&der)),
    ];
    for (preset, _, _) in &presets {
        for (trusted, good) in [("10.0.0.0/8, 127.0.0.1", 200), ("10.0.0.0/8", 401)] {
            let mut server = Command::new(example("resource_server"));
            server
                .env("ISSUER", issuer.issuer())
                .env("AUDIENCE", issuer.audience())
                .env("LISTEN", "127.0.0.1:0")
                .env("CLIENT_CERT_HEADER", preset)
                .env("TRUSTED_PROXIES", trusted);
            let server = Process::spawn(server);
            let api = server.listening_on(START).expect("the example listens");
            for (other, name, value) in &presets {
                let mut curl = Command::new("curl");
                curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]);
                curl.args(["--noproxy", "*", "--max-time", "20"]);
                curl.args(["--header", &format!("Authorization: Bearer {token}")]);
                curl.args(["--header", &format!("{name}: {value}")]);
                curl.arg(format!("http://{api}/whoami"));
                let expected = if other == preset { good } else { 401 };
                assert_eq!(status(curl), expected, "{preset} {name}: {}", server.stderr());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mt14_a_proxy_that_is_not_listed_is_not_believed() {
    let world = World::start("nginx", "192.0.2.1, 10.0.0.0/8", nginx).await;
    let token = world.bound("alice");
    assert_eq!(world.ask(Some("alice"), &token, &[]), 401);
    assert_eq!(world.ask(Some("alice"), &world.unbound(), &[]), 200);
    let log = world.server.stderr();
    assert!(log.contains("its header came from a peer that isn't trusted"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mt19_the_log_names_the_preset_that_would_fit() {
    let world = World::start("rfc9440", "127.0.0.1", nginx_mistaken).await;
    assert_eq!(world.ask(Some("alice"), &world.bound("alice"), &[]), 401);
    let log = world.server.stderr();
    assert!(log.contains("use ClientCertHeader::nginx"), "{log}");
}

/// The authorization server `oidc-provider` behind the same certificates.
struct Provider {
    issuer: String,
    plain: String,
    _process: Process,
}

impl Provider {
    fn start(certificates: &Certificates) -> Self {
        let mut server = Command::new(node());
        server
            .arg(interop("oidc-provider/mutual_tls.js"))
            .env("TLS_CERT", certificates.file("server.pem"))
            .env("TLS_KEY", certificates.file("server.key"))
            .env("CLIENT_CA", certificates.file("ca.pem"))
            .env("EXIT_WITH_STDIN", "1");
        let process = Process::spawn(server);
        let line = process.line(START).unwrap_or_else(|| panic!("{}", process.stderr()));
        let said: Value = serde_json::from_str(&line).expect("JSON");
        let text = |name: &str| said[name].as_str().expect("an address").to_owned();
        Self { issuer: text("issuer"), plain: text("plain"), _process: process }
    }

    /// Gets a token for a client that shows this certificate.
    fn token(&self, certificates: &Certificates, shown: &str, resource: &str) -> String {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--noproxy", "*", "--cacert", &certificates.path("ca.pem")]);
        curl.args(["--cert", &certificates.path(&format!("{shown}.pem"))]);
        curl.args(["--key", &certificates.path(&format!("{shown}.key"))]);
        curl.args(["--user", "svc:svc-secret", "--data", "grant_type=client_credentials"]);
        curl.args([
            "--data",
            "scope=api:read",
            "--data-urlencode",
            &format!("resource={resource}"),
        ]);
        curl.arg(format!("{}/token", self.issuer));
        let output = curl.output().expect("curl is there");
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(answer["token_type"], "Bearer", "{answer}");
        answer["access_token"].as_str().expect("a token").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mt2_mt13_tokens_that_oidc_provider_bound_by_mutual_tls() {
    let certificates = Certificates::make();
    let provider = Provider::start(&certificates);
    let variables = [
        ("ISSUER", provider.issuer.clone()),
        ("AUDIENCE", "https://api.example".to_owned()),
        ("JWKS_URI", format!("{}/jwks", provider.plain)),
        ("INTROSPECTION_URI", format!("{}/token/introspection", provider.plain)),
        ("INTROSPECTION_CLIENT_ID", "svc".to_owned()),
        ("INTROSPECTION_CLIENT_SECRET", "svc-secret".to_owned()),
    ];
    let issuer = TestIssuer::start().await.expect("an issuer");
    let world = World::with(certificates, issuer, &variables, "haproxy", "127.0.0.1", haproxy);
    for resource in ["https://api.example", "https://api.example/opaque"] {
        let of_alice = provider.token(&world.certificates, "alice", resource);
        let of_bob = provider.token(&world.certificates, "bob", resource);
        assert_eq!(of_alice.contains('.'), !resource.ends_with("/opaque"));
        for _ in 0..2 {
            for (shown, token, expected) in [
                (Some("alice"), &of_alice, 200),
                (Some("bob"), &of_alice, 401),
                (None, &of_alice, 401),
                (Some("bob"), &of_bob, 200),
                (Some("alice"), &of_bob, 401),
            ] {
                let status = world.ask(shown, token, &[]);
                assert_eq!(status, expected, "{shown:?} {resource}: {}", world.server.stderr());
            }
        }
    }
}

/// Starts the example with these variables, which can't work, and returns what it says.
fn refused(variables: &[(&str, &str)]) -> String {
    let mut server = Command::new(example("resource_server"));
    server
        .env("LISTEN", "127.0.0.1:0")
        .env("ISSUER", "https://issuer.example")
        .env("AUDIENCE", "a");
    server.envs(variables.iter().copied());
    let mut server = Process::spawn(server);
    let status = server.wait(START).expect("it ends");
    assert!(!status.success());
    server.stderr()
}

#[test]
fn mt14_the_example_names_the_variable_that_is_wrong() {
    for (variables, name) in [
        (
            &[("CLIENT_CERT_HEADER", "apache"), ("TRUSTED_PROXIES", "127.0.0.1")][..],
            "CLIENT_CERT_HEADER",
        ),
        (&[("CLIENT_CERT_HEADER", "nginx")], "TRUSTED_PROXIES"),
        (&[("CLIENT_CERT_HEADER", "nginx"), ("TRUSTED_PROXIES", ",")], "TRUSTED_PROXIES"),
        (&[("CLIENT_CERT_HEADER", "nginx"), ("TRUSTED_PROXIES", "localhost")], "TRUSTED_PROXIES"),
        (&[("CLIENT_CERT_HEADER", "nginx"), ("TRUSTED_PROXIES", "10.0.0.0/40")], "TRUSTED_PROXIES"),
        (&[("CLIENT_CERT_HEADER", "nginx"), ("TRUSTED_PROXIES", "0.0.0.0/0")], "TRUSTED_PROXIES"),
        (&[("TRUSTED_PROXIES", "127.0.0.1")], "CLIENT_CERT_HEADER"),
    ] {
        let said = refused(variables);
        assert!(said.contains(name), "{variables:?}: {said}");
    }
}

#[test]
fn mt7_the_example_that_ends_tls_itself_answers_the_lines_it_prints() {
    let mut server = Command::new(example("mutual_tls"));
    for variable in ["ISSUER", "AUDIENCE", "TLS_CERT", "TLS_KEY", "CLIENT_CA"] {
        server.env_remove(variable);
    }
    let folder = scratch("mutual_tls");
    fs::create_dir_all(&folder).expect("a folder");
    server.env("LISTEN", "127.0.0.1:0").env("TMPDIR", &folder);
    let process = Process::spawn(server);
    let mut statuses = Vec::new();
    while statuses.len() < 3 {
        let line = process.line(START).unwrap_or_else(|| panic!("{}", process.stderr()));
        if let Some(arguments) = line.strip_prefix("curl -i ") {
            let quiet = "curl --silent --noproxy '*' --output /dev/null --write-out '%{http_code}'";
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("{quiet} {arguments}")]);
            statuses.push(status(shell));
        }
    }
    assert_eq!(statuses, [200, 401, 401]);
    let _ = fs::remove_dir_all(folder);
}
