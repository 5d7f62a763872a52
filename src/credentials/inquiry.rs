//! Caches a provider's secret, and decides when the provider is asked again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::clock::{doubled, monotonic};
use crate::credentials::fingerprinted::FingerprintedSecret;
use crate::credentials::provider::{SecretError, SecretErrorKind, SecretProvider};
use crate::digest::{Digest, Parts};
use crate::telemetry::{count, event};
use crate::turns::Turns;

/// How long a provider may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// An inquiry that takes longer is on a runtime that isn't driven: another call may make one.
const LONGEST_TURN: Option<Duration> = Some(PATIENCE.saturating_add(COOLDOWN));

/// The least time between two inquiries because of a refusal, or after a failure.
pub(crate) const COOLDOWN: Duration = Duration::from_secs(1);

/// How many inquiries are made at that pace while a server refuses the secret, since a new one may
/// be about to arrive.
const PROMPT: u32 = 5;

/// From then on, the time between two inquiries doubles up to this.
pub(crate) const LONGEST_COOLDOWN: Duration = Duration::from_secs(30);

/// A provider of secrets, and the state of its answers.
pub(crate) struct Provided {
    provider: Arc<dyn SecretProvider>,
    id: u64,
    max_age: Duration,
    /// Returns why an answer can't be used, if it can't.
    fault: fn(&[u8]) -> Option<&'static str>,
    state: Mutex<State>,
    /// Held during an inquiry; the state can be read meanwhile.
    asking: Arc<Turns>,
}

#[derive(Default)]
struct State {
    current: Option<(FingerprintedSecret, Instant)>,
    /// The first inquiry whose answer counts: answers to earlier ones may be outdated.
    needed: u64,
    /// The last one that ended.
    answered: u64,
    /// The last that a server has accepted.
    good: Option<FingerprintedSecret>,
    /// How many inquiries were started.
    begun: u64,
    /// The last inquiry that ended.
    last: Option<Inquiry>,
    /// How many inquiries in a row were caused by a refusal and brought no new secret.
    fruitless: u32,
}

#[derive(Clone)]
struct Inquiry {
    number: u64,
    ended: Instant,
    failed: Option<SecretError>,
    /// Whether it was caused by a server's refusal.
    after_refusal: bool,
}

impl Provided {
    pub(crate) fn new(
        provider: Arc<dyn SecretProvider>,
        max_age: Duration,
        fault: fn(&[u8]) -> Option<&'static str>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (state, asking) = (Mutex::default(), Arc::default());
        Self { provider, id, max_age, fault, state, asking }
    }

    /// Returns another with an empty cache that asks the same provider.
    pub(crate) fn with_max_age(&self, max_age: Duration) -> Self {
        Self::new(Arc::clone(&self.provider), max_age, self.fault)
    }

    #[cfg(all(feature = "client", feature = "dpop"))]
    pub(crate) const fn max_age(&self) -> Duration {
        self.max_age
    }

    /// Returns what distinguishes this provider from others within the process.
    pub(crate) fn identity(&self) -> Digest {
        Parts::new("provider").part(self.id.to_be_bytes()).finish()
    }

    /// Returns the last secret that a server has accepted.
    pub(crate) fn good(&self) -> Option<FingerprintedSecret> {
        self.lock().good.clone()
    }

    /// Forces the provider to be asked the next time that the secret is needed.
    #[cfg(feature = "client")]
    pub(crate) fn reset(&self) {
        let mut state = self.lock();
        state.needed = state.begun.saturating_add(1);
        state.last = None;
        state.fruitless = 0;
    }

    /// Records that a server has accepted this secret.
    pub(crate) fn accepted(&self, known: &FingerprintedSecret) {
        self.lock().good = Some(known.clone());
    }

    /// Returns the cached secret if it is young enough, else asks the provider.
    pub(crate) async fn current(
        &self,
        patience: Duration,
    ) -> Result<FingerprintedSecret, SecretError> {
        let came = {
            let state = self.lock();
            if let Some(result) = state.settled(self.max_age, u64::MAX) {
                return result;
            }
            state.last.as_ref().map_or(0, |last| last.number)
        };
        let _asking = self.asking.take(LONGEST_TURN).await;
        let settled = self.lock().settled(self.max_age, came);
        match settled {
            Some(result) => result,
            None => self.ask(false, patience).await,
        }
    }

    /// Returns the secret if `wanted` is true of the cached one, or of the one that the provider has now.
    ///
    /// However many servers refuse a secret, the provider is asked at most once a second for that reason,
    /// and less and less often while it has no other. A call within that second waits for the next inquiry,
    /// since the secret may have changed meanwhile.
    pub(crate) async fn newer(
        &self,
        wanted: impl Fn(&FingerprintedSecret) -> bool,
        patience: Duration,
    ) -> Option<FingerprintedSecret> {
        let came = self.lock().begun;
        loop {
            let asking = self.asking.take(LONGEST_TURN).await;
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
    async fn ask(
        &self,
        after_refusal: bool,
        patience: Duration,
    ) -> Result<FingerprintedSecret, SecretError> {
        let number = {
            let mut state = self.lock();
            state.begun = state.begun.saturating_add(1);
            state.begun
        };
        let asked = timeout(patience.min(PATIENCE), self.provider.secret()).await;
        let asked = asked.unwrap_or(Err(SecretError::new(SecretErrorKind::Unavailable)));
        let asked = asked.map(FingerprintedSecret::new).and_then(|known| {
            match (self.fault)(known.expose()) {
                Some(fault) => Err(SecretError::malformed(fault)),
                None => Ok(known),
            }
        });
        let (ended, failed) = (monotonic(), asked.as_ref().err().cloned());
        let mut state = self.lock();
        if state.answered > number {
            // This one took too long, and another was faster.
            return asked.or_else(|error| state.or_stale(error));
        }
        let before = state.current.as_ref().map(|(known, _)| *known.fingerprint());
        let is_new = asked.as_ref().is_ok_and(|known| Some(*known.fingerprint()) != before);
        if is_new {
            state.fruitless = 0;
        } else if after_refusal {
            state.fruitless = state.fruitless.saturating_add(1);
        }
        state.answered = number;
        if number >= state.needed {
            state.last = Some(Inquiry { number, ended, failed, after_refusal });
        }
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
                    "client_secret_failed: the client's secret couldn't be read again"
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
    /// Returns the result for a call that came after inquiry `came`, if the provider needn't be asked;
    /// `None` if it is to be asked.
    fn settled(
        &self,
        max_age: Duration,
        came: u64,
    ) -> Option<Result<FingerprintedSecret, SecretError>> {
        let since = |then: Instant| monotonic().saturating_duration_since(then);
        let current = self.current.as_ref();
        let is_due = self.answered < self.needed;
        if let Some((known, _)) = current.filter(|(_, read)| !is_due && since(*read) < max_age) {
            return Some(Ok(known.clone()));
        }
        let last = self.last.as_ref()?;
        // The failure that ended while this call waited is its own too: no queue of attempts.
        let meanwhile = last.number > came;
        match &last.failed {
            Some(error) if meanwhile => Some(self.or_stale(error.clone())),
            Some(_) if since(last.ended) < COOLDOWN => current.map(|(known, _)| Ok(known.clone())),
            None if meanwhile => current.map(|(known, _)| Ok(known.clone())),
            _ => None,
        }
    }

    /// Returns how long the provider isn't asked again after an inquiry because of a refusal.
    fn cooldown(&self) -> Duration {
        doubled(COOLDOWN, self.fruitless.saturating_sub(PROMPT), LONGEST_COOLDOWN)
    }

    /// Returns the stale secret, which is most likely still valid, or else the error.
    fn or_stale(&self, error: SecretError) -> Result<FingerprintedSecret, SecretError> {
        self.current.as_ref().map(|(known, _)| known.clone()).ok_or(error)
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::{Builder, Runtime};
    use tokio::sync::oneshot;
    use tokio_test::task;

    use super::*;
    use crate::credentials::provider::SecretFuture;
    use crate::secret::Secret;

    /// Waits the first time.
    struct Slow(Mutex<Option<oneshot::Receiver<()>>>);

    impl SecretProvider for Slow {
        fn secret(&self) -> SecretFuture<'_> {
            let waits = self.0.lock().unwrap().take();
            Box::pin(async move {
                let Some(waits) = waits else { return Ok(Secret::new("new")) };
                waits.await.unwrap();
                Ok(Secret::new("old"))
            })
        }
    }

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    }

    #[test]
    fn an_inquiry_on_a_runtime_that_is_kept_and_not_run_is_passed_over() {
        let (send, receive) = oneshot::channel();
        let provider = Arc::new(Slow(Mutex::new(Some(receive))));
        let provided = Provided::new(provider, Duration::from_secs(60), |_| None);
        let (kept, other) = (runtime(), runtime());
        let mut asks = task::spawn(provided.current(PATIENCE));
        let mut waits = task::spawn(provided.newer(|_| true, PATIENCE));
        kept.block_on(async {
            assert!(asks.poll().is_pending());
            assert!(waits.poll().is_pending());
        });
        let known = || other.block_on(provided.current(PATIENCE)).unwrap();
        assert_eq!(known().expose(), b"new");
        // What it brings after all is no news.
        send.send(()).unwrap();
        assert_eq!(kept.block_on(asks).unwrap().expose(), b"old");
        assert_eq!(known().expose(), b"new");
    }
}
