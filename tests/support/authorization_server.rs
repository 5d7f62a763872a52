//! The three independent authorization servers under `tests/interop`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::process::{self, Process};

/// The audience of the tokens, unless they are asked to be for another.
pub(crate) const AUDIENCE: &str = "https://api.example";

const START: Duration = Duration::from_secs(60);

#[derive(Copy, Clone, Debug)]
enum Program {
    OidcProvider { metadata: &'static str, nonces: bool, certificates: Option<&'static Path> },
    Authlib,
    DjangoOauthToolkit,
}

/// How the server changes its keys.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Rotation {
    /// The new keys sign; the old ones stay in the set, behind them.
    Overlap,
    /// The old keys are gone at once.
    Hard,
    /// The new keys are in the set, and don't sign yet.
    Prepublish,
    /// The keys that were published ahead sign.
    Promote,
}

/// An authorization server in a process of its own. Its keys are in a file, so that it has the same
/// ones when it is started again.
#[derive(Debug)]
pub(crate) struct AuthorizationServer {
    program: Program,
    state: PathBuf,
    issuer: String,
    process: Process,
    http: reqwest::Client,
}

impl AuthorizationServer {
    /// Starts `oidc-provider`, with both metadata documents.
    pub(crate) fn oidc_provider() -> Self {
        Self::start(Program::OidcProvider { metadata: "both", nonces: false, certificates: None })
    }

    /// Starts `oidc-provider` with the metadata it is told: `openid`, `oauth` or `login-page`.
    pub(crate) fn oidc_provider_with_metadata(metadata: &'static str) -> Self {
        Self::start(Program::OidcProvider { metadata, nonces: false, certificates: None })
    }

    /// Starts `oidc-provider`, which also asks clients for certificates, with what is in this folder.
    pub(crate) fn oidc_provider_with_certificates(folder: &Path) -> Self {
        let certificates = Some(&*Box::leak(folder.to_owned().into_boxed_path()));
        Self::start(Program::OidcProvider { metadata: "both", nonces: false, certificates })
    }

    /// Starts `oidc-provider`, which then wants a nonce in every DPoP proof.
    pub(crate) fn oidc_provider_with_nonces() -> Self {
        Self::start(Program::OidcProvider { metadata: "both", nonces: true, certificates: None })
    }

    /// Starts the server made with Authlib, which has the metadata document of RFC 8414 only.
    pub(crate) fn authlib() -> Self {
        Self::start(Program::Authlib)
    }

    /// Starts the server made with django-oauth-toolkit, which grants opaque tokens only.
    pub(crate) fn django_oauth_toolkit() -> Self {
        Self::start(Program::DjangoOauthToolkit)
    }

    fn start(program: Program) -> Self {
        let state = process::scratch("keys.json");
        // Node was seen to hang once before it had read its own files, which is not what is tested.
        let started = (0..2).find_map(|_| spawn(program, &state, "0"));
        let (process, issuer) = started.expect("the server starts");
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        Self { program, state, issuer, process, http }
    }

    /// Returns the issuer, which all tokens carry.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    fn origin(&self) -> &str {
        let path = ["/tenant", "/o"].iter().find_map(|path| self.issuer.strip_suffix(path));
        path.unwrap_or(&self.issuer)
    }

    fn port(&self) -> &str {
        self.origin().rsplit(':').next().unwrap_or_default()
    }

    /// Kills the server. Its port refuses connections from then on.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the killed server again, on the same port and with the same keys.
    pub(crate) fn start_again(&mut self) {
        // Another program may have been given the port for a moment.
        let began = Instant::now();
        let (process, issuer) = loop {
            if let Some(started) = spawn(self.program, &self.state, self.port()) {
                break started;
            }
            assert!(began.elapsed() < START, "the server doesn't start again");
            thread::sleep(Duration::from_millis(200));
        };
        assert_eq!(issuer, self.issuer);
        self.process = process;
    }

    /// Starts the killed server again, on the same port but with keys of its own making.
    pub(crate) fn start_again_with_new_keys(&mut self) {
        fs::remove_file(&self.state).expect("the keys were kept");
        self.start_again();
    }

    /// Asks for a token with the client-credentials grant. `kind` chooses what it is like: of
    /// `oidc-provider` the last segment of the resource, of the Authlib server the client.
    pub(crate) async fn token(&self, kind: &str, scope: &str) -> String {
        let scope = scope.replace(' ', "+");
        let form = format!("grant_type=client_credentials&scope={scope}");
        let (client, form) = match self.program {
            Program::OidcProvider { .. } => {
                ("svc".to_owned(), format!("{form}&resource={AUDIENCE}/{kind}"))
            }
            Program::Authlib => (format!("svc-{kind}"), form),
            Program::DjangoOauthToolkit => ("svc".to_owned(), format!("{form}&lifetime={kind}")),
        };
        let slash = if matches!(self.program, Program::DjangoOauthToolkit) { "/" } else { "" };
        let secret = format!("{client}-secret");
        let response = self
            .http
            .post(format!("{}/token{slash}", self.issuer))
            .basic_auth(client, Some(secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await
            .expect("the token endpoint answers");
        let status = response.status();
        let body: Value = response.json().await.expect("the token endpoint answers with JSON");
        match body.get("access_token").and_then(Value::as_str) {
            Some(token) => token.to_owned(),
            None => panic!("no token: {status} {body}"),
        }
    }

    /// Revokes a token (RFC 7009).
    pub(crate) async fn revoke(&self, token: &str) {
        let path = match self.program {
            Program::DjangoOauthToolkit => "revoke_token/",
            Program::OidcProvider { .. } | Program::Authlib => "token/revocation",
        };
        let response = self
            .http
            .post(format!("{}/{path}", self.issuer))
            .basic_auth("svc", Some("svc-secret"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={token}"))
            .send()
            .await
            .expect("the revocation endpoint answers");
        assert!(response.status().is_success(), "not revoked: {}", response.status());
    }

    /// Changes the server's keys.
    pub(crate) async fn rotate(&self, rotation: Rotation) {
        let mode = format!("{rotation:?}").to_lowercase();
        self.control(&format!("rotate?mode={mode}")).await;
    }

    /// Has the key set arrive late from now on, as it was when it was asked for.
    pub(crate) async fn delay_key_set(&self, delay: Duration) {
        self.control(&format!("delay?ms={}", delay.as_millis())).await;
    }

    /// Sets the server's clock so many seconds ahead, or behind.
    pub(crate) async fn set_clock_ahead(&self, secs: i64) {
        self.control(&format!("clock?secs={secs}")).await;
    }

    async fn control(&self, order: &str) {
        let url = format!("{}/control/{order}", self.origin());
        let response = self.http.post(url).send().await.expect("the server answers");
        assert!(response.status().is_success(), "{order}: {}", response.status());
    }

    /// Returns how often the key set was fetched since the server started.
    pub(crate) async fn key_set_fetches(&self) -> u64 {
        self.counter("jwks").await
    }

    /// Returns how often the server was asked about a token since it started.
    pub(crate) async fn introspections(&self) -> u64 {
        self.counter("introspection").await
    }

    async fn counter(&self, name: &str) -> u64 {
        let url = format!("{}/control/counters", self.origin());
        let response = self.http.get(url).send().await.expect("the server answers");
        let counters: Value = response.json().await.expect("counters");
        counters.get(name).and_then(Value::as_u64).expect("a counter")
    }
}

impl Drop for AuthorizationServer {
    fn drop(&mut self) {
        let _gone_already = fs::remove_file(&self.state);
    }
}

/// Starts the program and waits for the line that tells its issuer.
fn spawn(program: Program, state: &PathBuf, port: &str) -> Option<(Process, String)> {
    let mut command = match program {
        Program::OidcProvider { metadata, nonces, certificates } => {
            let mut command = Command::new(process::node());
            command.arg(process::interop("oidc-provider/server.js")).env("METADATA", metadata);
            command.env("DPOP_NONCES", if nonces { "1" } else { "" });
            command.envs(certificates.map(|folder| ("MTLS_DIR", folder)));
            command
        }
        Program::Authlib => {
            let mut command = Command::new(process::python());
            command.arg(process::interop("authlib/server.py"));
            command
        }
        Program::DjangoOauthToolkit => {
            let mut command = Command::new(process::python());
            command.arg(process::interop("django-oauth-toolkit/server.py"));
            command
        }
    };
    command.env("PORT", port).env("STATE_FILE", state).env("EXIT_WITH_STDIN", "1");
    let process = Process::spawn(command);
    let Some(line) = process.line(START) else {
        eprintln!("{program:?} doesn't start:\n{}", process.stderr());
        return None;
    };
    let ready: Value = serde_json::from_str(&line).expect("the server tells its issuer");
    let issuer = ready.get("issuer").and_then(Value::as_str).expect("the server tells its issuer");
    Some((process, issuer.to_owned()))
}
