use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Client;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::clock::monotonic;
use crate::error::ConfigError;
use crate::telemetry::event;

/// Makes a client.
pub(crate) type Make = dyn Fn() -> Result<Client, ConfigError> + Send + Sync;

/// A client that is replaced, together with all its pooled connections, once one of them may hang.
///
/// A client doesn't drop an HTTP/2 connection that no longer answers, and has no method to drop it:
/// each exchange after a failed one would fail likewise.
pub(crate) struct Renewable {
    make: Arc<Make>,
    current: Mutex<Arc<Generation>>,
}

/// One client after the other.
pub(crate) struct Generation {
    /// Made when it is first needed.
    client: OnceCell<Client>,
    /// Used further if no other can be made, for example if the certificates can no longer be read.
    before: Mutex<Option<Client>>,
    since: Instant,
}

/// The state in which an exchange leaves its client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Suspicion {
    /// No answer came in time: the connection may hang, and others with it.
    Silent,
    /// The connection broke. The others that were kept may be as old.
    Broken,
}

impl Renewable {
    pub(crate) fn new(make: Arc<Make>) -> Result<Self, ConfigError> {
        let first = Generation {
            client: OnceCell::new_with(Some(make()?)),
            before: Mutex::default(),
            since: monotonic(),
        };
        Ok(Self { make, current: Mutex::new(Arc::new(first)) })
    }

    /// Returns the current generation; [`client`](Self::client) makes its client.
    pub(crate) fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the function that makes the clients.
    pub(crate) fn make(&self) -> Arc<Make> {
        Arc::clone(&self.make)
    }

    /// Replaces the client for later exchanges, unless it was replaced already.
    pub(crate) fn replace(&self, used: &Arc<Generation>, suspicion: Suspicion) {
        // What breaks new connections too would cost a client each time.
        const SHORTEST: Duration = Duration::from_secs(1);
        let age = monotonic().saturating_duration_since(used.since);
        if suspicion == Suspicion::Broken && age < SHORTEST {
            return;
        }
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // A client that wasn't made yet has no connections.
        if !Arc::ptr_eq(&current, used) || !used.client.initialized() {
            return;
        }
        *current = Arc::new(Generation {
            client: OnceCell::new(),
            before: Mutex::new(used.client.get().cloned()),
            since: monotonic(),
        });
    }
}

impl Generation {
    /// Returns the client, and makes it first if needed. That reads the system's certificates, which
    /// blocks.
    pub(crate) async fn client(&self, make: Arc<Make>) -> Option<&Client> {
        let client = self.client.get_or_try_init(async || {
            let made = tokio::task::spawn_blocking(move || make()).await;
            let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
            let before = before.take();
            match made {
                Ok(Ok(client)) => Ok(client),
                _ => {
                    event!(
                        WARN,
                        "transport_client: the HTTP client can't be built anew; using the old one"
                    );
                    before.ok_or(())
                }
            }
        });
        client.await.ok()
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

    async fn client_of(generation: &Generation, renewable: &Renewable) -> bool {
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
}
