//! Shares one introspection among all requests with the same token.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::clock::{has_timers, monotonic};
use crate::digest::Digest;

/// The digest of a token, and the generation of the issuer's settings: an answer that is judged by those of an
/// entry decides for no other one.
pub(crate) type Key = (Digest, u64);

/// Introspections under way. Each runs in its own task, so that it continues if the requests that wait for it
/// are dropped.
pub(crate) struct Flights<T> {
    under_way: Arc<Mutex<HashMap<Key, Flight<T>>>>,
    next: AtomicU64,
}

/// The result of a flight: `None` if there was no runtime, or it ended or isn't driven.
pub(crate) type Landing<T> = Pin<Box<dyn Future<Output = Option<T>> + Send>>;

#[derive(Clone)]
struct Flight<T> {
    number: u64,
    landed: watch::Receiver<Option<T>>,
    /// Until when it is waited for.
    until: Instant,
}

/// A flight's entry in the map, which is removed when the flight ends.
pub(crate) struct Ticket<T> {
    under_way: Arc<Mutex<HashMap<Key, Flight<T>>>>,
    key: Key,
    number: u64,
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// Joins the flight with this key, or starts it at once. One that takes longer than `longest` is on a runtime
    /// that exists but isn't driven: nobody waits for it any more, and whoever comes later starts another.
    pub(crate) fn join<F>(
        &self,
        key: Key,
        longest: Duration,
        start: impl FnOnce(Arc<Ticket<T>>) -> F,
    ) -> Landing<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let flight = self.flight(key, longest, start);
        Box::pin(async move {
            let Flight { mut landed, until, .. } = flight?;
            if !has_timers() {
                return None;
            }
            let landed = timeout_at(until, landed.wait_for(Option::is_some)).await.ok()?.ok()?;
            landed.clone()
        })
    }

    fn flight<F>(
        &self,
        key: Key,
        longest: Duration,
        start: impl FnOnce(Arc<Ticket<T>>) -> F,
    ) -> Option<Flight<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (runtime, now) = (Handle::try_current().ok()?, monotonic());
        // The sender is dropped only if the runtime of the flight ended.
        let is_joined =
            |flight: &&Flight<T>| flight.landed.has_changed().is_ok() && now < flight.until;
        if let Some(flight) = lock(&self.under_way).get(&key).filter(is_joined) {
            return Some(flight.clone());
        }
        if !has_timers() {
            return None;
        }
        let mut under_way = lock(&self.under_way);
        if let Some(flight) = under_way.get(&key).filter(is_joined) {
            return Some(flight.clone());
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (land, landed) = watch::channel(None);
        let until = now.checked_add(longest).unwrap_or(now);
        let joined = Flight { number, landed, until };
        under_way.insert(key, joined.clone());
        drop(under_way);
        let ticket = Arc::new(Ticket { under_way: Arc::clone(&self.under_way), key, number });
        let flight = start(Arc::clone(&ticket));
        runtime.spawn(async move {
            let result = flight.await;
            land.send_replace(Some(result));
            drop(ticket);
        });
        Some(joined)
    }

    /// Detaches the flight with this key: later requests start another, and its result isn't cached.
    pub(crate) fn detach(&self, key: &Key) {
        lock(&self.under_way).remove(key);
    }

    /// Detaches all flights.
    pub(crate) fn detach_all(&self) {
        lock(&self.under_way).clear();
    }
}

impl<T> Ticket<T> {
    /// Calls `act` unless the flight was detached meanwhile, which makes its result outdated.
    pub(crate) fn if_attached(&self, act: impl FnOnce()) {
        let under_way = lock(&self.under_way);
        if under_way.get(&self.key).is_some_and(|flight| flight.number == self.number) {
            act();
        }
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        let mut under_way = lock(&self.under_way);
        if under_way.get(&self.key).is_some_and(|flight| flight.number == self.number) {
            under_way.remove(&self.key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self { under_way: Arc::default(), next: AtomicU64::new(0) }
    }
}

impl<T> fmt::Debug for Flights<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::oneshot;

    use super::*;

    const KEY: Key = ([7; 32], 1);
    const LONGEST: Duration = Duration::from_secs(6);

    #[tokio::test]
    async fn i31_however_many_ask_it_is_asked_once_and_the_first_may_go_away() {
        let (flights, asked) = (Flights::<u8>::default(), Arc::new(AtomicUsize::new(0)));
        let (tell, told) = oneshot::channel();
        let first = flights.join(KEY, LONGEST, |_| {
            asked.fetch_add(1, Ordering::Relaxed);
            async move { told.await.unwrap() }
        });
        let others: Vec<_> = (0..1_000)
            .map(|_| {
                tokio::spawn(flights.join(KEY, LONGEST, |_| async { panic!("it is under way") }))
            })
            .collect();
        tokio::task::yield_now().await;
        drop(first);
        tell.send(9).unwrap();
        for other in others {
            assert_eq!(other.await.unwrap(), Some(9));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(flights.join(KEY, LONGEST, |_| async { 1 }).await, Some(1), "then it is over");
        assert!(lock(&flights.under_way).is_empty());
    }

    #[tokio::test]
    async fn i35_a_detached_flight_serves_those_who_wait_and_nobody_else() {
        let flights = Flights::<u8>::default();
        let (tell, told) = oneshot::channel();
        let remembered = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&remembered);
        let waiting = tokio::spawn(flights.join(KEY, LONGEST, |ticket| async move {
            let told = told.await.unwrap();
            ticket.if_attached(|| {
                counter.fetch_add(1, Ordering::Relaxed);
            });
            told
        }));
        tokio::task::yield_now().await;
        flights.detach(&KEY);
        let next = Arc::clone(&remembered);
        let later = flights.join(KEY, LONGEST, |ticket| async move {
            ticket.if_attached(|| {
                next.fetch_add(10, Ordering::Relaxed);
            });
            2
        });
        assert_eq!(later.await, Some(2));
        tell.send(1).unwrap();
        assert_eq!(waiting.await.unwrap(), Some(1));
        assert_eq!(remembered.load(Ordering::Relaxed), 10);
    }

    #[test]
    fn i31_without_a_runtime_nothing_is_asked_and_one_that_ended_holds_nobody_up() {
        let flights = Flights::<u8>::default();
        let nowhere = flights.join(KEY, LONGEST, |_| async { panic!("nowhere") });
        let runtime =
            || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let first = runtime();
        assert_eq!(first.block_on(nowhere), None);
        let mut stuck = None;
        first.block_on(async {
            stuck = Some(flights.join(KEY, LONGEST, |_| std::future::pending()));
            tokio::task::yield_now().await;
        });
        drop(first);
        let second = runtime();
        assert_eq!(second.block_on(stuck.unwrap()), None);
        assert_eq!(
            second.block_on(async { flights.join(KEY, LONGEST, |_| async { 3 }).await }),
            Some(3)
        );
    }

    #[test]
    #[allow(clippy::async_yields_async, reason = "the flight is awaited elsewhere")]
    fn i31_a_flight_on_a_runtime_that_is_kept_and_not_run_is_passed_over() {
        let flights = Flights::<u8>::default();
        let runtime = || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_time().start_paused(true).build().unwrap()
        };
        let (kept, other) = (runtime(), runtime());
        let parked = kept.block_on(async { flights.join(KEY, LONGEST, |_| async { 1 }) });
        other.block_on(async {
            let began = monotonic();
            let joined = flights.join(KEY, LONGEST, |_| async { panic!("it is under way") });
            assert_eq!(joined.await, None);
            assert_eq!(monotonic() - began, LONGEST);
            assert_eq!(flights.join(KEY, LONGEST, |_| async { 2 }).await, Some(2));
        });
        assert_eq!(kept.block_on(parked), Some(1));
    }
}
