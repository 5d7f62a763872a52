//! Bounds the introspections that run at the same time, and those that wait.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// The bounds on concurrent introspections, and on those that wait for a slot.
#[derive(Debug)]
pub(crate) struct Slots {
    places: Semaphore,
    waiting: AtomicUsize,
    most_waiting: usize,
}

/// Counts a waiting introspection until it is dropped.
struct Queued<'a>(&'a AtomicUsize);

impl Slots {
    pub(crate) fn new(places: usize, most_waiting: usize) -> Self {
        Self { places: Semaphore::new(places), waiting: AtomicUsize::new(0), most_waiting }
    }

    /// Waits for a slot; `None` if too many wait already.
    pub(crate) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.places.try_acquire() {
            return Some(place);
        }
        let queued = Queued(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.most_waiting {
            return None;
        }
        let place = self.places.acquire().await.ok();
        drop(queued);
        place
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready, task::spawn};

    use super::*;

    #[test]
    fn i11_so_many_at_once_so_many_wait_and_the_rest_is_turned_away() {
        let slots = Slots::new(2, 1);
        let first = assert_ready!(spawn(slots.enter()).poll());
        let _second = assert_ready!(spawn(slots.enter()).poll()).unwrap();
        let mut third = spawn(slots.enter());
        assert_pending!(third.poll());
        for _ in 0..3 {
            assert!(assert_ready!(spawn(slots.enter()).poll()).is_none());
        }
        drop(first);
        assert!(third.is_woken());
        let _third = assert_ready!(third.poll()).unwrap();
        let mut fourth = spawn(slots.enter());
        assert_pending!(fourth.poll());
        drop(fourth);
        assert_pending!(spawn(slots.enter()).poll(), "one that goes away leaves its place");
    }
}
