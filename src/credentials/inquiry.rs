//! When a provider is asked for its secret, and what is known meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, sleep_until, timeout};

use crate::clock::{doubled, monotonic};
use crate::credentials::known::Known;
use crate::credentials::provider::{SecretError, SecretErrorKind, SecretProvider};
use crate::digest::{Digest, Parts};
use crate::telemetry::{count, event};

/// How long a provider may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A provider isn't asked twice within this time because of a refusal, or after it failed.
pub(crate) const COOLDOWN: Duration = Duration::from_secs(1);

/// So often a provider is asked at that pace while a server refuses what it has: a new secret may be
/// on its way.
const PROMPT: u32 = 5;

/// From then on, the time between two inquiries doubles up to this.
pub(crate) const LONGEST_COOLDOWN: Duration = Duration::from_secs(30);

/// A provider of secrets, and what is known of its answers.
pub(crate) struct Asked {
    provider: Arc<dyn SecretProvider>,
    id: u64,
    max_age: Duration,
    state: Mutex<State>,
    /// Held by who asks; what is known can be read meanwhile.
    asking: AsyncMutex<()>,
}

#[derive(Default)]
struct State {
    current: Option<(Known, Instant)>,
    /// Whether the provider is to be asked, whatever the age of that.
    due: bool,
    /// The last that a server has accepted.
    good: Option<Known>,
    /// How often the provider was asked.
    begun: u64,
    /// How it was asked last, and answered.
    last: Option<Inquiry>,
    /// How often in a row it was asked because of a refusal, and had nothing new.
    fruitless: u32,
}

#[derive(Clone)]
struct Inquiry {
    number: u64,
    ended: Instant,
    failed: Option<SecretError>,
    /// Whether a server had refused what was known.
    after_refusal: bool,
}

impl Asked {
    pub(crate) fn new(provider: Arc<dyn SecretProvider>, max_age: Duration) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { provider, id, max_age, state: Mutex::default(), asking: AsyncMutex::default() }
    }

    pub(crate) fn provider(&self) -> &Arc<dyn SecretProvider> {
        &self.provider
    }

    /// Returns what tells this provider from others within the process.
    pub(crate) fn identity(&self) -> Digest {
        Parts::new("provider").part(self.id.to_be_bytes()).finish()
    }

    /// Returns the last secret that a server has accepted.
    pub(crate) fn good(&self) -> Option<Known> {
        self.lock().good.clone()
    }

    /// Has the provider asked the next time that the secret is needed.
    #[cfg(feature = "client")]
    pub(crate) fn reset(&self) {
        let mut state = self.lock();
        state.due = true;
        state.last = None;
        state.fruitless = 0;
    }

    /// Notes that a server has accepted this secret.
    pub(crate) fn accepted(&self, known: &Known) {
        self.lock().good = Some(known.clone());
    }

    /// Returns what was read within the longest age; else asks.
    pub(crate) async fn current(&self, patience: Duration) -> Result<Known, SecretError> {
        let came = {
            let state = self.lock();
            if let Some(result) = state.settled(self.max_age, u64::MAX) {
                return result;
            }
            state.last.as_ref().map_or(0, |last| last.number)
        };
        let _asking = self.asking.lock().await;
        let settled = self.lock().settled(self.max_age, came);
        match settled {
            Some(result) => result,
            None => self.ask(false, patience).await,
        }
    }

    /// Returns what `wanted` is true of, if it is known, or the provider has it by now.
    ///
    /// However many servers refuse a secret, the provider is asked once a second for that reason, and
    /// ever more seldom while it has nothing else. Who comes within a second waits: the secret may
    /// have changed since.
    pub(crate) async fn newer(
        &self,
        wanted: impl Fn(&Known) -> bool,
        patience: Duration,
    ) -> Option<Known> {
        let came = self.lock().begun;
        loop {
            let asking = self.asking.lock().await;
            let (current, last, cooldown) = {
                let state = self.lock();
                let current = state.current.as_ref().map(|(known, _)| known.clone());
                (current, state.last.clone(), state.cooldown())
            };
            if let Some(known) = current.filter(&wanted) {
                return Some(known);
            }
            if last.as_ref().is_some_and(|last| last.number > came) {
                return None;
            }
            let last = last.filter(|last| last.after_refusal || last.failed.is_some());
            let due = last.and_then(|last| last.ended.checked_add(cooldown));
            match due.filter(|due| monotonic() < *due) {
                None => return self.ask(true, patience).await.ok().filter(&wanted),
                Some(_) if cooldown > COOLDOWN => return None,
                Some(due) => {
                    drop(asking);
                    sleep_until(due).await;
                }
            }
        }
    }

    /// Asks the provider. The caller ensures that only one inquiry is under way.
    async fn ask(&self, after_refusal: bool, patience: Duration) -> Result<Known, SecretError> {
        let number = {
            let mut state = self.lock();
            state.begun = state.begun.saturating_add(1);
            state.begun
        };
        let asked = timeout(patience.min(PATIENCE), self.provider.secret()).await;
        let asked = asked.unwrap_or(Err(SecretError::new(SecretErrorKind::Unavailable)));
        let asked = asked.map(Known::new).and_then(|known| {
            let empty = known.expose().is_empty();
            if empty { Err(SecretError::malformed("it is empty")) } else { Ok(known) }
        });
        let (ended, failed) = (monotonic(), asked.as_ref().err().cloned());
        let mut state = self.lock();
        let before = state.current.as_ref().map(|(known, _)| *known.fingerprint());
        let is_new = asked.as_ref().is_ok_and(|known| Some(*known.fingerprint()) != before);
        if is_new {
            state.fruitless = 0;
        } else if after_refusal {
            state.fruitless = state.fruitless.saturating_add(1);
        }
        state.last = Some(Inquiry { number, ended, failed, after_refusal });
        state.due = false;
        match asked {
            Ok(known) => {
                state.current = Some((known.clone(), ended));
                Ok(known)
            }
            Err(error) => {
                count!("tower_bearer_client_secret_failures_total");
                event!(
                    WARN,
                    error = %crate::cause::Report(&error),
                    "client_secret_failed: the client's secret wasn't read anew"
                );
                state.or_stale(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns what is to be used without asking, for a caller that came after inquiry `came`;
    /// `None` if the provider is to be asked.
    fn settled(&self, max_age: Duration, came: u64) -> Option<Result<Known, SecretError>> {
        let since = |then: Instant| monotonic().saturating_duration_since(then);
        let current = self.current.as_ref();
        if let Some((known, _)) = current.filter(|(_, read)| !self.due && since(*read) < max_age) {
            return Some(Ok(known.clone()));
        }
        let last = self.last.as_ref()?;
        // Many may wait for a provider that is away: not one after the other.
        let meanwhile = last.number > came;
        match &last.failed {
            Some(error) if meanwhile => Some(self.or_stale(error.clone())),
            Some(_) if since(last.ended) < COOLDOWN => current.map(|(known, _)| Ok(known.clone())),
            None if meanwhile => current.map(|(known, _)| Ok(known.clone())),
            _ => None,
        }
    }

    /// Returns how long the provider is left alone after it was asked because of a refusal.
    fn cooldown(&self) -> Duration {
        doubled(COOLDOWN, self.fruitless.saturating_sub(PROMPT), LONGEST_COOLDOWN)
    }

    /// Returns the older secret: most likely it is still the right one.
    fn or_stale(&self, error: SecretError) -> Result<Known, SecretError> {
        self.current.as_ref().map(|(known, _)| known.clone()).ok_or(error)
    }
}
