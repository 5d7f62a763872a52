//! The platform's token in place of a secret: projected, rotated, lost, late and broken.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use tower_bearer::client::{
    AssertionType, ClientAuth, ErrorCode, Grant, SecretErrorKind, TokenClient, TokenErrorKind,
    TokenSource, WorkloadToken,
};
use tower_bearer::testing::{Endpoint, ManualClock, ScriptedTransport, TestClient, TestIssuer};
use tower_bearer::{Clock, Secret};

use crate::support::*;

pub(crate) const START: i64 = 1_800_000_000;
const SUBJECT: &str = "system:serviceaccount:shop:billing";

/// A volume as kubelet mounts it: `token` leads to `..data/token`, and `..data` to the newest folder.
pub(crate) struct Volume(pub(crate) PathBuf);

impl Volume {
    pub(crate) fn empty() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("workload-{}-{count}", std::process::id());
        let volume = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        fs::create_dir_all(&volume.0).unwrap();
        symlink("..data/token", volume.0.join("token")).unwrap();
        volume
    }

    pub(crate) fn with(token: impl AsRef<[u8]>) -> Self {
        let volume = Self::empty();
        volume.swap(token);
        volume
    }

    /// Puts another token in place, as kubelet's atomic writer does.
    pub(crate) fn swap(&self, token: impl AsRef<[u8]>) {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("..{}", COUNT.fetch_add(1, Ordering::Relaxed));
        fs::create_dir(self.0.join(&name)).unwrap();
        fs::write(self.0.join(&name).join("token"), token).unwrap();
        let data = self.0.join("..data");
        let before = fs::read_link(&data).ok();
        symlink(&name, self.0.join("..data_tmp")).unwrap();
        fs::rename(self.0.join("..data_tmp"), &data).unwrap();
        if let Some(before) = before {
            fs::remove_dir_all(self.0.join(before)).unwrap();
        }
    }

    pub(crate) fn lose(&self) {
        fs::remove_file(self.0.join("..data")).unwrap();
    }

    pub(crate) fn path(&self) -> String {
        self.0.join("token").to_str().unwrap().to_owned()
    }

    fn token(&self) -> WorkloadToken {
        WorkloadToken::file(self.path())
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _gone_already = fs::remove_dir_all(&self.0);
    }
}

/// A token that is good until then. Nobody looks at its signature.
fn jwt(name: &str, expires: i64) -> String {
    let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"iss":"https://k8s.test","sub":"{name}","exp":{expires}}}"#);
    format!("{}.{}.{}", encode(r#"{"alg":"RS256"}"#), encode(&claims), encode("canary-canary"))
}

/// A server that grants tokens of a minute to whom `accepts` the assertion.
fn server(accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> ScriptedTransport {
    ScriptedTransport::from_fn(move |request| match form(request).get("client_assertion") {
        Some(assertion) if accepts(assertion) => granted("t", 60),
        _ => refused(401, "invalid_client"),
    })
}

fn source_at(
    transport: &ScriptedTransport,
    clock: &ManualClock,
    token: WorkloadToken,
) -> TokenSource {
    let client = TokenClient::builder().transport(transport.clone()).clock(clock.clone());
    let grant = Grant::endpoint("https://as.test/token", ClientAuth::workload("billing", token));
    client.build().unwrap().source(&grant.build().unwrap())
}

fn assertions(transport: &ScriptedTransport) -> Vec<String> {
    let requests = transport.requests();
    requests.iter().map(|request| form(request)["client_assertion"].clone()).collect()
}

/// Until no token of the server serves any more.
async fn later(clock: &ManualClock) {
    let before = clock.now();
    tokio::time::advance(60 * SECOND).await;
    assert_eq!(clock.now().saturating_since(before), 60 * SECOND);
}

// WI1, WI2
#[tokio::test(start_paused = true)]
async fn wi1_wi2_the_file_is_read_for_each_request_and_swaps_are_seen() {
    let (clock, transport) = (running_clock(), server(|_| true));
    let tokens: Vec<String> = (1..=3).map(|n| jwt(&format!("{n}"), START + 3_600)).collect();
    let volume = Volume::with(format!("{}\n", tokens[0]));
    let source = source_at(&transport, &clock, volume.token());
    for token in &tokens {
        volume.swap(format!("{token}\n"));
        source.token().await.unwrap();
        // While that one serves, nothing is read.
        volume.swap("never read");
        source.token().await.unwrap();
        later(&clock).await;
    }
    assert_eq!(assertions(&transport), tokens);
    let sent = form(&transport.requests()[0]);
    assert_eq!(sent["client_id"], "billing");
    let urn = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    assert_eq!(sent["client_assertion_type"], urn);
}

// WI2
#[tokio::test(start_paused = true)]
async fn wi2_the_last_good_token_is_used_until_it_expires() {
    let (clock, transport) = (running_clock(), server(|_| true));
    let good = jwt("a", START + 600);
    let volume = Volume::with(&good);
    let source = source_at(&transport, &clock, volume.token());
    source.token().await.unwrap();
    let half = &good[..good.len() / 2];
    let huge = jwt(&"a".repeat(20_000), START + 3_600);
    for broken in ["", "\n", half, &huge, "{\"error\":\"not mounted\"}"] {
        later(&clock).await;
        volume.swap(broken);
        source.token().await.unwrap();
    }
    later(&clock).await;
    volume.lose();
    source.token().await.unwrap();
    assert_eq!(assertions(&transport), vec![good; 7]);
    // Four minutes later it has expired, and nothing more is sent.
    for _ in 0..4 {
        later(&clock).await;
    }
    let error = source.token().await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::Credentials(SecretErrorKind::Expired));
    assert!(!error.is_permanent());
    assert_eq!(transport.requests().len(), 7);
    // There is another: found within a second.
    let newer = jwt("b", START + 3_600);
    volume.swap(&newer);
    tokio::time::advance(SECOND).await;
    source.token().await.unwrap();
    assert_eq!(assertions(&transport).last(), Some(&newer));
}

// WI2: in place of an expired one the one before serves, if it still does.
#[tokio::test(start_paused = true)]
async fn wi2_an_expired_file_is_not_sent_and_the_one_before_is() {
    let (clock, transport) = (running_clock(), server(|_| true));
    let (good, stale) = (jwt("a", START + 600), jwt("b", START - 1));
    let volume = Volume::with(&stale);
    let source = source_at(&transport, &clock, volume.token());
    let error = source.token().await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::Credentials(SecretErrorKind::Expired));
    assert!(transport.requests().is_empty());
    volume.swap(&good);
    tokio::time::advance(SECOND).await;
    source.token().await.unwrap();
    volume.swap(&stale);
    later(&clock).await;
    source.token().await.unwrap();
    assert_eq!(assertions(&transport), [good.clone(), good]);
}

// WI2
#[tokio::test(start_paused = true)]
async fn wi2_what_was_never_good_is_named_and_nothing_is_sent() {
    let huge = jwt(&"a".repeat(20_000), START + 3_600);
    let cases: [(Option<&str>, SecretErrorKind, &str); 5] = [
        (None, SecretErrorKind::NotFound, ""),
        (Some(""), SecretErrorKind::Malformed, "the file is empty"),
        (Some("\n"), SecretErrorKind::Malformed, "it is empty"),
        (Some(&huge), SecretErrorKind::Malformed, "16 KiB"),
        (Some("canary"), SecretErrorKind::Malformed, "isn't a JWT"),
    ];
    for (content, kind, why) in cases {
        let (clock, transport) = (running_clock(), server(|_| true));
        let volume = Volume::empty();
        if let Some(content) = content {
            volume.swap(content);
        }
        let source = source_at(&transport, &clock, volume.token());
        let error = source.token().await.unwrap_err();
        assert_eq!(*error.kind(), TokenErrorKind::Credentials(kind), "{why}");
        let printed = format!("{error:?}");
        assert!(printed.contains(why) && !printed.contains("canary"), "{printed}");
        assert!(transport.requests().is_empty());
        // The good case, which is found by itself.
        volume.swap(jwt("a", START + 3_600));
        tokio::time::advance(SECOND).await;
        source.token().await.unwrap();
    }
}

// WI4
#[tokio::test(start_paused = true)]
async fn wi4_a_refused_token_is_read_once_more_and_the_request_repeated() {
    // Servers differ in the status.
    for status in [400, 401] {
        let (old, new) = (jwt("old", START + 600), jwt("new", START + 600));
        let volume = std::sync::Arc::new(Volume::with(&old));
        // It is rotated while the first request is under way.
        let (rotated, accepted) = (volume.clone(), new.clone());
        let transport = ScriptedTransport::from_fn(move |request| {
            if form(request)["client_assertion"] == accepted {
                return granted("t", 60);
            }
            rotated.swap(&accepted);
            refused(status, "invalid_client")
        });
        let source = source_at(&transport, &running_clock(), volume.token());
        source.token().await.unwrap();
        assert_eq!(assertions(&transport), [old, new], "{status}");
    }
}

// WI4: one that hasn't changed isn't sent again.
#[tokio::test(start_paused = true)]
async fn wi4_the_same_token_is_not_sent_twice() {
    let volume = Volume::with(jwt("other audience", START + 600));
    let transport = server(|_| false);
    let source = source_at(&transport, &running_clock(), volume.token());
    let error = source.token().await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::Refused(ErrorCode::InvalidClient));
    assert_eq!(transport.requests().len(), 1);
}

// WI3
#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn wi3_a_token_that_is_about_to_expire_is_reported_and_never_printed() {
    let (clock, transport) = (running_clock(), server(|_| true));
    let volume = Volume::with(jwt("canary", START + 100));
    let source = source_at(&transport, &clock, volume.token());
    let (log, guard) = Log::of_this_thread(LevelFilter::TRACE);
    source.token().await.unwrap();
    assert!(!log.text().contains("client_workload_token_late"), "{}", log.text());
    later(&clock).await;
    source.token().await.unwrap();
    let text = log.text();
    assert!(text.contains("client_workload_token_late") && text.contains("seconds_left=40"));
    volume.swap("canary.canary");
    later(&clock).await;
    source.token().await.unwrap_err();
    drop(guard);
    let text = log.text();
    assert!(text.contains("client_secret_failed") && text.contains("has expired"), "{text}");
    let signature = BASE64_URL_SAFE_NO_PAD.encode("canary");
    for secret in ["canary", &*signature, "eyJ"] {
        assert!(!text.contains(secret), "{text}");
    }
}

// WI8: whatever else has the token is asked for each request.
#[tokio::test(start_paused = true)]
async fn wi8_a_function_gives_a_svid() {
    let count = AtomicUsize::new(0);
    let svid = WorkloadToken::from_fn(move || {
        let n = count.fetch_add(1, Ordering::Relaxed);
        let svid = Secret::new(jwt(&format!("spiffe://example.org/billing#{n}"), START + 300));
        async move { Ok(svid) }
    });
    let transport = server(|_| true);
    let auth = ClientAuth::workload_as("billing", svid, AssertionType::JwtSpiffe);
    let grant = Grant::endpoint("https://as.test/token", auth.without_client_id());
    let clock = running_clock();
    let client = TokenClient::builder().transport(transport.clone()).clock(clock.clone());
    let source = client.build().unwrap().source(&grant.build().unwrap());
    source.token().await.unwrap();
    later(&clock).await;
    source.token().await.unwrap();
    let sent: Vec<_> = transport.requests().iter().map(form).collect();
    assert_ne!(sent[0]["client_assertion"], sent[1]["client_assertion"]);
}

/// A platform, an issuer that knows the workload of `SUBJECT` there, and both's clock.
async fn federation() -> (TestIssuer, TestIssuer, ManualClock) {
    let clock = running_clock();
    let platform = TestIssuer::builder().clock(clock.clone()).start().await.unwrap();
    let client = TestClient::workload("billing", &platform, SUBJECT);
    let issuer = TestIssuer::builder().client(client).clock(clock.clone());
    let issuer = issuer.token_lifetime(60 * SECOND).start().await.unwrap();
    (platform, issuer, clock)
}

fn source_of(issuer: &TestIssuer, clock: &ManualClock, auth: ClientAuth) -> TokenSource {
    let client = TokenClient::builder().transport(issuer.transport()).clock(clock.clone());
    let grant = Grant::discover(issuer.issuer(), auth).allow_loopback_http().build().unwrap();
    client.build().unwrap().source(&grant)
}

// WI1, WI4: what a server checks that knows the platform.
#[tokio::test(start_paused = true)]
async fn wi_another_issuers_token_is_checked_by_the_server() {
    let (platform, issuer, clock) = federation().await;
    let good = || platform.token().subject(SUBJECT).audience(issuer.issuer());
    let volume = Volume::empty();
    let get = async |token: String, nameless: bool| {
        volume.swap(token);
        let auth = ClientAuth::workload("billing", volume.token());
        let auth = if nameless { auth.without_client_id() } else { auth };
        let token = source_of(&issuer, &clock, auth).token().await;
        token.map(drop).map_err(|error| error.kind().clone())
    };
    assert_eq!(get(good().sign(), false).await, Ok(()));
    assert_eq!(get(good().sign(), true).await, Ok(()));
    let refused = Err(TokenErrorKind::Refused(ErrorCode::InvalidClient));
    for bad in [
        good().audience("https://another.example"),
        good().subject("system:serviceaccount:shop:another"),
        good().claim("iss", "https://another.example"),
        good().wrong_signature(),
        good().without_claim("exp"),
    ] {
        assert_eq!(get(bad.sign(), false).await, refused);
    }
    let expired = Err(TokenErrorKind::Credentials(SecretErrorKind::Expired));
    assert_eq!(get(good().expired_for(SECOND).sign(), false).await, expired);
}

// WI2: a swap each time, 50 callers, and a token that must be got anew.
#[tokio::test]
async fn wi2_no_call_fails_while_the_file_is_swapped() {
    let (platform, issuer, clock) = federation().await;
    let token = || {
        let token = platform.token().subject(SUBJECT).audience(issuer.issuer());
        token.expires_in(90 * SECOND).sign()
    };
    let volume = Volume::with(token());
    let auth = ClientAuth::workload("billing", volume.token());
    for _ in 0..60 {
        volume.swap(token());
        // It holds no token yet, so that the file is read.
        let source = source_of(&issuer, &clock, auth.clone());
        let callers = (0..50).map(|_| {
            let source = source.clone();
            tokio::spawn(async move { source.token().await.map(drop) })
        });
        let callers = callers.collect::<Vec<_>>();
        volume.swap(token());
        for caller in callers {
            caller.await.unwrap().unwrap();
        }
    }
    let requests = issuer.counters().requests(Endpoint::Token);
    assert_eq!(requests, 60, "one for 50 callers");
    assert_eq!(issuer.counters().granted(), requests);
}

// WI1: processes with tokens of their own share what is granted to their workload.
#[tokio::test(start_paused = true)]
async fn wi1_processes_of_one_workload_share_their_access_token() {
    let (clock, store) = (running_clock(), MemoryStore::default());
    let transport = counting(600);
    let process = |token: String| {
        let client = TokenClient::builder().transport(transport.clone()).clock(clock.clone());
        let client = client.shared(store.clone(), store_key()).build().unwrap();
        let token = WorkloadToken::from_fn(move || {
            let token = Secret::new(token.clone());
            async move { Ok(token) }
        });
        let auth = ClientAuth::workload("billing", token);
        client.source(&Grant::endpoint("https://as.test/token", auth).build().unwrap())
    };
    let first = process(jwt("a", START + 600));
    assert_eq!(token(&first).await, "t1");
    assert_eq!(token(&process(jwt("a", START + 1_200))).await, "t1");
    assert_eq!(token(&process(jwt("b", START + 600))).await, "t2");
}
