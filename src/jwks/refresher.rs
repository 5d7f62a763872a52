//! The task that keeps the keys fresh, and what its handles share with it.

use std::collections::hash_map::RandomState;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::clock::{jitter, monotonic};
use crate::jwks::config::Config;
use crate::jwks::fetch::error::FetchErrorKind;
use crate::jwks::fetch::flight::{Fetched, Landed, Plan, attempt};
use crate::jwks::fetch::source::Fault;
use crate::jwks::kept::key_set::{KeySet, Succession};
use crate::jwks::kept::store::{Published, Store, Tenure};
use crate::jwks::keys_at::KeysAt;
use crate::jwks::report::Reporter;
use crate::jwks::timing::control::{Attempts, Control, Flying};
use crate::jwks::timing::schedule::after;
use crate::jwks::watchers::Watchers;

/// After this many failures in a row the metadata may have changed.
const FAILURES_BEFORE_REDISCOVERY: u32 = 2;

/// How often the clocks are compared and the watchers called while nothing else is due.
const BETWEEN_LOOKS: Duration = Duration::from_secs(30);

/// What the handles and the task share.
#[derive(Debug)]
pub(crate) struct SharedKeys {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) progress: watch::Sender<Attempts>,
    pub(crate) report: Reporter,
    /// Hashes tokens with unknown `kid`s, in a way that no caller can predict.
    pub(crate) digests: RandomState,
    pub(crate) watchers: Watchers,
    control: Mutex<Control>,
    wake: Notify,
    /// Whether there is a task, or none is needed.
    running: AtomicBool,
}

/// What the task does next.
enum Next {
    Fly(Plan),
    Wait(Option<Instant>),
    Stop,
}

impl SharedKeys {
    pub(crate) fn new(config: Config, published: Published, control: Control) -> Self {
        let fixed = config.fetching.is_none();
        let report = Reporter::new(Arc::clone(&config.issuer));
        let shared = Self {
            config,
            report,
            digests: RandomState::new(),
            watchers: Watchers::new(),
            store: Store::new(published),
            progress: watch::Sender::new(Attempts::default()),
            control: Mutex::new(control),
            wake: Notify::new(),
            running: AtomicBool::new(fixed),
        };
        if fixed {
            shared.store.watched(monotonic());
        }
        shared
    }

    pub(crate) fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Starts the task if it isn't running and there is a runtime for it. Returns `true` if there
    /// is a task.
    pub(crate) fn ensure_running(self: &Arc<Self>) -> bool {
        self.running.load(Ordering::Acquire) || self.spawn()
    }

    #[cold]
    fn spawn(self: &Arc<Self>) -> bool {
        let Ok(runtime) = Handle::try_current() else { return false };
        if !self.running.swap(true, Ordering::AcqRel)
            && let Some(worker) = Worker::new(Arc::clone(self))
        {
            runtime.spawn(worker.run());
        }
        true
    }

    /// Ends the task, and the use of the keys.
    pub(crate) fn close(&self) {
        let mut control = self.control();
        if control.closed {
            return;
        }
        control.closed = true;
        let published = Arc::clone(self.store.load(monotonic()).published());
        // Whatever still arrives is older than the end.
        let stopped =
            Published { sequence: u64::MAX, tenure: Tenure::Stopped, ..(*published).clone() };
        self.store.publish(stopped);
        self.report.state(&mut control, self.store.load(monotonic()).exact_state());
        let stopped = !control.alive;
        drop(control);
        self.report.tell();
        self.progress.send_modify(|progress| {
            progress.closed = true;
            // The task may have ended since it was last checked.
            progress.stopped |= stopped;
        });
        self.wake();
    }

    fn next(&self, now: Instant) -> Next {
        let next = self.decide(now);
        self.report.tell();
        self.watchers.look(now);
        next
    }

    fn decide(&self, now: Instant) -> Next {
        let mut control = self.control();
        if control.closed {
            return Next::Stop;
        }
        self.tick(&mut control, now);
        let published = Arc::clone(self.store.load(now).published());
        if let Some(flying) = control.start(now) {
            self.report.start(&published);
            return Next::Fly(Plan {
                purpose: flying.purpose,
                metadata: control.metadata.clone(),
                rediscover: control.schedule.failures() >= FAILURES_BEFORE_REDISCOVERY,
                origin: published.origin.clone(),
            });
        }
        let (fresh, stale) = match published.tenure {
            Tenure::Serving(serving) => (Some(serving.fresh_until), Some(serving.stale_until)),
            Tenure::Cold | Tenure::Static | Tenure::Stopped => (None, None),
        };
        // Nothing wakes the task for the wall clock, or for watchers.
        let look = Some(after(now, BETWEEN_LOOKS));
        let due = [fresh, stale, published.keys.next_retirement(), look].into_iter().flatten();
        Next::Wait(due.filter(|due| *due > now).chain(control.due(now)).min())
    }

    /// Handles what has become due.
    fn tick(&self, control: &mut Control, now: Instant) {
        self.compare_clocks(control, now);
        let published = Arc::clone(self.store.load(now).published());
        if let Some(succession) = published.keys.without_retired(now) {
            let keys = self.succession(control, succession, now);
            self.store.publish(Published { keys, ..(*published).clone() });
        }
        self.store.watched(now);
        self.report.state(control, published.state(now));
    }

    /// Applies the result of an attempt.
    fn finish(&self, landed: Result<Landed, JoinError>, now: Instant, jitter: f64) {
        let mut control = self.control();
        let Some(flight) = control.flying.take() else { return };
        control.unusable = Box::default();
        let result = match landed {
            Ok(landed) => {
                if landed.metadata.is_some() {
                    control.metadata = landed.metadata;
                }
                control.unusable = landed.unusable;
                landed.result
            }
            Err(_) => Err(FetchErrorKind::Panic.into()),
        };
        let took = now.saturating_duration_since(flight.begun);
        let place = KeysAt::at(&self.config, control.metadata.as_ref());
        let place = place.map(KeysAt::for_log);
        self.report.landing(&result, place, &control.unusable, took);
        let error = match result {
            Ok(fetched) => {
                self.succeed(&mut control, flight, fetched, now, jitter);
                None
            }
            Err(Fault { error, retry_after }) => {
                control.failed(flight, error.clone(), retry_after, now, jitter);
                Some(error)
            }
        };
        // Once more, for a recorder that was installed after the source was built.
        self.report.state_now(&control);
        let settled = control.misses.settled();
        drop(control);
        // Before anything is reported: no request waits for a subscriber.
        self.progress.send_modify(|progress| {
            progress.ended = flight.sequence;
            if settled > progress.settled {
                progress.settled = settled;
                progress.settled_failed = error.is_some();
            }
            progress.error = error;
        });
        self.report.tell();
    }

    fn succeed(
        &self,
        control: &mut Control,
        flight: Flying,
        fetched: Fetched,
        now: Instant,
        jitter: f64,
    ) {
        let before = Arc::clone(self.store.load(now).published());
        let serving = control.schedule.succeeded(now, fetched.remaining, jitter);
        let keys = match fetched.parsed {
            None => Arc::clone(&before.keys),
            Some(parsed) => {
                let grace_ends = after(now, self.config.removed_key_grace);
                let succession = before.keys.followed_by(parsed, now, grace_ends);
                self.succession(control, succession, now)
            }
        };
        control.succeeded(flight, &keys, now);
        if let Some(offset) = fetched.clock_offset {
            let before = control.log.clock_offset.replace(offset);
            self.report.clock(before, offset, self.watchers.leeway());
        }
        self.report.keys(&keys);
        self.store.publish(Published {
            sequence: flight.sequence,
            keys,
            tenure: Tenure::Serving(serving),
            origin: Some(Arc::new(fetched.origin)),
        });
        self.store.watched(now);
        self.report.state(control, self.store.load(now).exact_state());
    }

    fn succession(
        &self,
        control: &mut Control,
        succession: Succession,
        now: Instant,
    ) -> Arc<KeySet> {
        if succession.changed {
            self.report.succession(&succession);
            let removed = succession.removed.iter().map(|kid| &**kid);
            control.misses.replaced(removed, succession.set.kids(), now);
        }
        succession.set
    }

    /// Handles the end of the task: on request, or with its runtime.
    ///
    /// Unfinished work is left to the next task, which the next waiting caller starts.
    fn ended(&self) {
        let mut control = self.control();
        control.alive = false;
        if control.closed {
            drop(control);
            self.progress.send_modify(|progress| progress.stopped = true);
            return;
        }
        control.abandon();
        self.store.unwatched();
        drop(control);
        self.report.tell();
        self.running.store(false, Ordering::Release);
        self.progress.send_modify(|_| {});
    }
}

/// The task.
struct Worker {
    shared: Arc<SharedKeys>,
    /// At most one attempt. It runs in its own task, so that a transport that panics ends nothing else.
    flight: JoinSet<Landed>,
}

impl Worker {
    fn new(shared: Arc<SharedKeys>) -> Option<Self> {
        let mut control = shared.control();
        if control.closed {
            return None;
        }
        control.alive = true;
        drop(control);
        Some(Self { shared, flight: JoinSet::new() })
    }

    async fn run(mut self) {
        loop {
            match self.shared.next(monotonic()) {
                Next::Stop => break,
                Next::Fly(plan) => {
                    let shared = Arc::clone(&self.shared);
                    self.flight.spawn(async move { launch(&shared, plan).await });
                }
                Next::Wait(until) => self.wait(until).await,
            }
        }
        self.flight.shutdown().await;
    }

    async fn wait(&mut self, until: Option<Instant>) {
        let timer = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(landed) = self.flight.join_next() => self.shared.finish(landed, monotonic(), jitter()),
            () = timer => {}
            () = self.shared.wake.notified() => {}
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.ended();
    }
}

async fn launch(shared: &SharedKeys, plan: Plan) -> Landed {
    match &shared.config.fetching {
        Some(fetching) => {
            attempt(fetching, shared.config.backend, plan, || shared.config.clock.now()).await
        }
        None => {
            let result = Err(FetchErrorKind::ShutDown.into());
            Landed { metadata: None, result, unusable: Box::default() }
        }
    }
}
