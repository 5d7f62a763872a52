//! An HTTP client that is replaced, with its pooled connections, once one of them may hang.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::Client;
use tokio::time::Instant;

use crate::clock::monotonic;
use crate::error::ConfigError;
use crate::telemetry::event;
use crate::turns::Turns;

/// The function that builds a client.
pub(crate) type Make = dyn Fn() -> Result<Client, ConfigError> + Send + Sync;

/// An HTTP client that is replaced, together with all its pooled connections, once one of them may hang.
///
/// A client doesn't drop an HTTP/2 connection that no longer answers, and has no method to drop it:
/// each exchange after a failed one would fail as well.
pub(crate) struct Renewable {
    make: Arc<Make>,
    current: Mutex<Arc<Generation>>,
}

/// One of the clients that follow each other.
pub(crate) struct Generation {
    /// Built when it is first needed.
    client: OnceLock<Client>,
    /// Held by the thread that builds it.
    making: Arc<Turns>,
    /// The previous client, which stays in use if this one can't be built, as when certificates can't be read.
    before: Mutex<Option<Client>>,
    since: Instant,
}

/// Why an exchange makes its client suspect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Suspicion {
    /// No answer came in time: the connection may hang, and others with it.
    Silent,
    /// The connection broke, and other pooled ones may be as old.
    Broken,
}

impl Renewable {
    pub(crate) fn new(make: Arc<Make>) -> Result<Self, ConfigError> {
        let first = Generation {
            client: make()?.into(),
            making: Arc::default(),
            before: Mutex::default(),
            since: monotonic(),
        };
        Ok(Self { make, current: Mutex::new(Arc::new(first)) })
    }

    /// Returns the current generation, which may not have built its client yet.
    pub(crate) fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the function that builds the clients.
    pub(crate) fn make(&self) -> Arc<Make> {
        Arc::clone(&self.make)
    }

    /// Replaces the client for later exchanges, since its settings have changed.
    pub(crate) fn renew(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(current.next());
    }

    /// Replaces the client for later exchanges, unless it was replaced already.
    pub(crate) fn replace(&self, used: &Arc<Generation>, suspicion: Suspicion) {
        // Where new connections break as well, each exchange would otherwise build another client.
        const SHORTEST: Duration = Duration::from_secs(1);
        let age = monotonic().saturating_duration_since(used.since);
        if suspicion == Suspicion::Broken && age < SHORTEST {
            return;
        }
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // A client that wasn't built yet has no connections.
        if !Arc::ptr_eq(&current, used) || used.client.get().is_none() {
            return;
        }
        *current = Arc::new(used.next());
    }
}

impl Generation {
    /// Returns the next generation, whose client isn't built yet.
    fn next(&self) -> Self {
        let made = self.client.get().cloned();
        let before = || self.before.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self {
            client: OnceLock::new(),
            making: Arc::default(),
            before: Mutex::new(made.or_else(before)),
            since: monotonic(),
        }
    }

    /// Returns the client, and builds it first if needed. That reads the system's certificates, which
    /// blocks.
    pub(crate) async fn client(self: &Arc<Self>, make: Arc<Make>) -> Option<&Client> {
        if self.client.get().is_some() {
            return self.client.get();
        }
        let making = self.making.take(None).await;
        if self.client.get().is_none() {
            let this = Arc::clone(self);
            // The thread ends even if its caller is dropped.
            let made = tokio::task::spawn_blocking(move || {
                let _making = making;
                this.make(&*make);
            });
            let _ended = made.await;
        }
        self.client.get()
    }

    fn make(&self, make: &Make) {
        let made = catch_unwind(AssertUnwindSafe(make)).ok().and_then(Result::ok);
        let lock = || self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let before = lock().clone();
        if made.is_none() && before.is_some() {
            event!(WARN, "transport_client: the HTTP client can't be replaced; using the old one");
        }
        if let Some(client) = made.or(before) {
            let _first = self.client.set(client);
            // Only now: the next generation takes over one or the other.
            *lock() = None;
        }
    }
}

impl fmt::Debug for Renewable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewable").finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "aws-lc-rs"))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    /// A client, and how many were made; from the second on, none can be.
    fn renewable(most: usize) -> (Renewable, Arc<AtomicUsize>) {
        let made = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&made);
        let make = move || {
            if count.fetch_add(1, SeqCst) >= most {
                return Err(ConfigError::new("no certificates"));
            }
            Client::builder().build().map_err(|_| ConfigError::new("none"))
        };
        (Renewable::new(Arc::new(make)).unwrap(), made)
    }

    async fn client_of(generation: &Arc<Generation>, renewable: &Renewable) -> bool {
        generation.client(renewable.make()).await.is_some()
    }

    #[tokio::test]
    async fn fc1_many_that_time_out_together_replace_the_client_once() {
        let (renewable, made) = renewable(9);
        let used = renewable.current();
        for _ in 0..10 {
            renewable.replace(&used, Suspicion::Silent);
        }
        assert!(client_of(&used, &renewable).await);
        assert_eq!(made.load(SeqCst), 1, "none was needed yet");
        let next = renewable.current();
        assert!(!Arc::ptr_eq(&used, &next));
        assert!(client_of(&next, &renewable).await && client_of(&next, &renewable).await);
        assert_eq!(made.load(SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn fc1_a_server_that_breaks_every_connection_doesnt_cost_a_client_each() {
        let (renewable, _made) = renewable(9);
        let used = renewable.current();
        renewable.replace(&used, Suspicion::Broken);
        assert!(Arc::ptr_eq(&used, &renewable.current()));
        tokio::time::advance(Duration::from_secs(1)).await;
        renewable.replace(&used, Suspicion::Broken);
        assert!(!Arc::ptr_eq(&used, &renewable.current()));
    }

    #[tokio::test]
    async fn fc1_where_no_client_can_be_made_the_old_one_is_used_on() {
        let (renewable, made) = renewable(1);
        for round in 2..5 {
            renewable.replace(&renewable.current(), Suspicion::Silent);
            assert!(client_of(&renewable.current(), &renewable).await);
            assert_eq!(made.load(SeqCst), round);
        }
    }

    #[test]
    fn a_runtime_that_is_kept_and_not_run_keeps_no_client_from_another() {
        let (renewable, made) = renewable(9);
        renewable.replace(&renewable.current(), Suspicion::Silent);
        let next = renewable.current();
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (kept, other) = (runtime(), runtime());
        let mut parked: Vec<_> =
            (0..2).map(|_| tokio_test::task::spawn(client_of(&next, &renewable))).collect();
        kept.block_on(async {
            for parked in &mut parked {
                assert!(parked.poll().is_pending());
            }
        });
        assert!(other.block_on(client_of(&next, &renewable)));
        assert_eq!(made.load(SeqCst), 2);
    }
}
