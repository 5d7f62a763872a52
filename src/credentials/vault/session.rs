//! The token that this process has for a Vault: read from a file, or obtained by a login and renewed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Uri};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::cause::Reason;
use crate::clock::monotonic;
use crate::credentials::inquiry::COOLDOWN;
use crate::credentials::provider::{SecretError, SecretErrorKind};
use crate::credentials::text::trim;
use crate::credentials::vault::answer::{Lease, lease, token};
use crate::credentials::vault::server::{Failure, Server, TIMEOUT};
use crate::file::{FileFault, SmallFile};
use crate::secret::Secret;

/// The age up to which a token isn't replaced if Vault denies access: the role may lack the permission, and
/// each login leaves a token in Vault.
const FRESH: Duration = Duration::from_secs(30);

/// How long a call with a valid token waits for a newer one. The rest of its time is for the secret.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long no login is tried after one has failed, while the token is still valid.
const REST: Duration = Duration::from_secs(10);

/// How long a renewal may take: after one that hangs, there is time for a login.
const RENEWAL: Duration = Duration::from_secs(2);

/// After this time, a login has ended in any case: its file and its request have four seconds each.
const LONGEST: Duration = Duration::from_secs(10);

/// How this process authenticates to Vault.
pub(crate) enum LoginMethod {
    /// By a token that another process gets and renews.
    TokenFile(SmallFile),
    Kubernetes(Arc<Kubernetes>),
}

pub(crate) struct Kubernetes {
    pub(crate) login: Uri,
    pub(crate) renewal: Uri,
    pub(crate) role: String,
    pub(crate) jwt: SmallFile,
}

/// A Vault, and the token that this process has for it.
pub(crate) struct Session {
    pub(crate) server: Server,
    pub(crate) method: LoginMethod,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    failed: Option<(Instant, SecretError)>,
    under_way: Option<Login>,
}

struct Held {
    lease: Lease,
    logged_in: Instant,
    /// When the lease was requested.
    since: Instant,
}

/// A login or a renewal, which all calls share that need it.
struct Login {
    began: Instant,
    /// The sender is dropped when the login ends.
    ended: watch::Receiver<()>,
}

/// The body of a login.
#[derive(Serialize)]
struct Account<'a> {
    role: &'a str,
    jwt: &'a str,
}

impl Session {
    pub(crate) fn new(server: Server, method: LoginMethod) -> Self {
        Self { server, method, state: Mutex::default() }
    }

    /// Returns a token to use, other than the one that Vault has denied.
    pub(crate) async fn token(
        self: &Arc<Self>,
        denied: Option<&HeaderValue>,
        by: Instant,
    ) -> Result<HeaderValue, SecretError> {
        match &self.method {
            LoginMethod::TokenFile(file) => {
                let read = timeout_at(by, file.read()).await.unwrap_or(Err(FileFault::Slow));
                let read = read.map(|read| Secret::new(&**read));
                let read = read.map_err(|fault| unreadable(VAULTS_TOKEN, fault))?;
                let token = token(read).ok_or_else(|| {
                    unreadable(VAULTS_TOKEN, FileFault::Malformed("it isn't a token"))
                })?;
                if denied == Some(&token) { Err(denial()) } else { Ok(token) }
            }
            LoginMethod::Kubernetes(kubernetes) => self.kept(kubernetes, denied, by).await,
        }
    }

    async fn kept(
        self: &Arc<Self>,
        kubernetes: &Arc<Kubernetes>,
        denied: Option<&HeaderValue>,
        by: Instant,
    ) -> Result<HeaderValue, SecretError> {
        let now = monotonic();
        let soon = now.checked_add(PATIENCE).unwrap_or(now);
        // The login under way may be the renewal of the denied token: then there is a second round.
        for _ in 0..2 {
            let (mut ended, by) = {
                let mut state = self.lock();
                if let Some(settled) = state.settled(denied) {
                    return settled;
                }
                let by = if state.usable(denied).is_some() { by.min(soon) } else { by };
                let under_way = state.under_way.as_ref().filter(|login| login.is_under_way());
                let ended = under_way.map(|login| login.ended.clone());
                (ended.unwrap_or_else(|| self.start(kubernetes, denied, &mut state)), by)
            };
            if timeout_at(by, ended.changed()).await.is_err() {
                break;
            }
        }
        let state = self.lock();
        state.settled(denied).or_else(|| state.usable(denied).map(Ok)).unwrap_or_else(|| {
            let reason = Reason("the login to Vault didn't end in time".into());
            Err(SecretError::new(SecretErrorKind::Unavailable).with_source(reason))
        })
    }

    /// Starts a login, or the renewal of one, in a task: Vault creates a token even if the caller is dropped
    /// meanwhile.
    fn start(
        self: &Arc<Self>,
        kubernetes: &Arc<Kubernetes>,
        denied: Option<&HeaderValue>,
        state: &mut State,
    ) -> watch::Receiver<()> {
        let (end, ended) = watch::channel(());
        state.under_way = Some(Login { began: monotonic(), ended: ended.clone() });
        let (session, kubernetes) = (Arc::clone(self), Arc::clone(kubernetes));
        let denied = denied.cloned();
        tokio::spawn(async move {
            session.renew_or_log_in(&kubernetes, denied.as_ref()).await;
            drop(end);
        });
        ended
    }

    async fn renew_or_log_in(&self, kubernetes: &Kubernetes, denied: Option<&HeaderValue>) {
        let asked = monotonic();
        let by = |time| asked.checked_add(time).unwrap_or(asked);
        let renewable = self.lock().renewable(denied);
        if let Some(token) = renewable {
            let body = Bytes::from_static(b"{}");
            let by = by(RENEWAL);
            let renewed = self.server.ask(&kubernetes.renewal, Some(body), Some(&token), by).await;
            if let Some(renewed) = renewed.ok().and_then(|answer| lease(answer).ok()) {
                let mut state = self.lock();
                let held = state.held.as_mut().filter(|held| held.lease.token == token);
                if let Some(held) = held {
                    held.renew(renewed, asked);
                }
                if state.held.as_ref().is_some_and(|held| !held.is_old()) {
                    state.failed = None;
                    return;
                }
            }
        }
        let asked = monotonic();
        let result = self.login(kubernetes, by(TIMEOUT)).await;
        let mut state = self.lock();
        match result {
            Ok(lease) => {
                state.held = Some(Held { lease, logged_in: asked, since: asked });
                state.failed = None;
            }
            Err(error) => state.failed = Some((monotonic(), error)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn login(&self, kubernetes: &Kubernetes, by: Instant) -> Result<Lease, SecretError> {
        let read = kubernetes.jwt.read().await.map(|read| trim(Secret::new(&**read)));
        let jwt = read.map_err(|fault| unreadable(ACCOUNTS_TOKEN, fault))?;
        let is_token = |jwt: &&str| !jwt.is_empty() && jwt.bytes().all(|it| it.is_ascii_graphic());
        let jwt = str::from_utf8(jwt.expose())
            .ok()
            .filter(is_token)
            .ok_or_else(|| unreadable(ACCOUNTS_TOKEN, FileFault::Malformed("it isn't a token")))?;
        let body = body(&kubernetes.role, jwt);
        match self.server.ask(&kubernetes.login, Some(body), None, by).await {
            Ok(answer) => lease(answer),
            Err(Failure::Error(error)) => Err(error),
            Err(Failure::Denied) => {
                Err(because("Vault refuses the login: is the role bound to this service account?"))
            }
            Err(Failure::Missing) => Err(because("Vault has no such auth method at this mount")),
        }
    }
}

impl State {
    /// Returns the token or the error without a login or a renewal; `None` if one is due.
    fn settled(&self, denied: Option<&HeaderValue>) -> Option<Result<HeaderValue, SecretError>> {
        if let Some(held) = &self.held {
            if denied != Some(&held.lease.token) {
                if !held.is_old() {
                    return Some(Ok(held.lease.token.clone()));
                }
            } else if age(held.logged_in) < FRESH {
                return Some(Err(denial()));
            }
        }
        let (failed, error) = self.failed.as_ref()?;
        match self.usable(denied) {
            Some(token) => (age(*failed) < REST).then_some(Ok(token)),
            None => (age(*failed) < COOLDOWN).then(|| Err(error.clone())),
        }
    }

    /// Returns the token, even if it is due for renewal, while it is valid and isn't the denied one. A denial
    /// of one secret doesn't concern the others.
    fn usable(&self, denied: Option<&HeaderValue>) -> Option<HeaderValue> {
        let held = self.held.as_ref().filter(|held| !held.is_over(1, 1))?;
        Some(&held.lease.token).filter(|token| denied != Some(*token)).cloned()
    }

    fn renewable(&self, denied: Option<&HeaderValue>) -> Option<HeaderValue> {
        self.held.as_ref().filter(|held| held.lease.renewable)?;
        self.usable(denied)
    }
}

impl Login {
    /// Returns `false` once it has ended, also with its runtime. In a runtime that isn't run it never ends,
    /// which delays other calls for a while only.
    fn is_under_way(&self) -> bool {
        self.ended.has_changed().is_ok() && age(self.began) < LONGEST
    }
}

impl Held {
    /// Returns `true` once two thirds of the lease are over.
    fn is_old(&self) -> bool {
        self.is_over(2, 3)
    }

    fn is_over(&self, part: u32, whole: u32) -> bool {
        let times = |time: Duration, factor| time.saturating_mul(factor);
        let is_over = |lifetime| times(age(self.since), whole) >= times(lifetime, part);
        self.lease.lifetime.is_some_and(is_over)
    }

    /// Takes the new lease. If it is much shorter, the token is near its maximum lifetime, and isn't renewed
    /// again.
    fn renew(&mut self, renewed: Lease, asked: Instant) {
        let before = self.lease.lifetime.unwrap_or(Duration::MAX);
        let shrinks = renewed.lifetime.is_some_and(|now| now.saturating_mul(2) < before);
        self.lease.lifetime = renewed.lifetime;
        self.lease.renewable = renewed.renewable && !shrinks;
        self.since = asked;
    }
}

const VAULTS_TOKEN: &str = "Vault's token";
const ACCOUNTS_TOKEN: &str = "the service account's token";

/// The error of a file that has no token, or not yet.
#[derive(Debug, thiserror::Error)]
#[error("the file with {what} can't be used")]
struct Unreadable {
    what: &'static str,
    #[source]
    fault: FileFault,
}

fn unreadable(what: &'static str, fault: FileFault) -> SecretError {
    SecretError::new(SecretErrorKind::Unavailable).with_source(Unreadable { what, fault })
}

/// Writes the body of a login, which is wiped once it is sent, unless the transport keeps a copy.
fn body(role: &str, jwt: &str) -> Bytes {
    let mut body = Zeroizing::new(Vec::with_capacity(room(role, jwt)));
    // Serializing two strings can't fail.
    let _ = serde_json::to_writer(&mut *body, &Account { role, jwt });
    Bytes::from_owner(body)
}

/// Returns the most bytes of that body: a buffer that grew would leave copies behind. A control character
/// takes six (RFC 8259 §7), and a character of a token at most two.
const fn room(role: &str, jwt: &str) -> usize {
    const FRAME: usize = r#"{"role":"","jwt":""}"#.len();
    role.len().saturating_mul(6).saturating_add(jwt.len().saturating_mul(2)).saturating_add(FRAME)
}

fn age(since: Instant) -> Duration {
    monotonic().saturating_duration_since(since)
}

pub(crate) fn denial() -> SecretError {
    because("Vault denies it: has the token expired, and may it read this path?")
}

fn because(reason: &'static str) -> SecretError {
    SecretError::new(SecretErrorKind::Other).with_source(Reason(reason.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_of_a_login_is_wiped_and_written_in_one_piece() {
        for (role, jwt, written) in [
            ("billing", "a.b.c", r#"{"role":"billing","jwt":"a.b.c"}"#),
            ("\u{1}", "\"\\", r#"{"role":"\u0001","jwt":"\"\\"}"#),
        ] {
            let body = body(role, jwt);
            assert_eq!(body, written);
            // `Bytes` reports this for memory with a custom owner, which here wipes it.
            assert!(!body.is_unique());
            assert!(body.len() <= room(role, jwt));
        }
    }
}
