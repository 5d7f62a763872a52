//! Bounds what runs at the same time, and what waits for that.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::clock::monotonic;

/// How often a waiting task looks for a free slot: the one that was notified may be on a runtime that isn't driven.
const LOOK: Duration = Duration::from_millis(250);

/// The bounds on concurrent tasks, and on those that wait for a slot.
#[derive(Debug)]
pub(crate) struct Slots {
    state: Mutex<State>,
    /// How long a task may take. One that has a slot for longer, or waits longer, is on a runtime that exists but
    /// isn't driven, and isn't counted any more.
    longest: Duration,
    left: Notify,
}

#[derive(Debug)]
struct State {
    next: u64,
    running: Bounded,
    waiting: Bounded,
}

/// Those that are counted, by number, and since when. Higher numbers are younger.
#[derive(Debug)]
struct Bounded {
    most: usize,
    since: BTreeMap<u64, Instant>,
}

/// Counts a task that runs or waits until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    slots: &'a Slots,
    number: u64,
}

impl Slots {
    pub(crate) fn new(most: usize, most_waiting: usize, longest: Duration) -> Self {
        let bounded = |most| Bounded { most, since: BTreeMap::new() };
        let (running, waiting) = (bounded(most), bounded(most_waiting));
        Self {
            state: Mutex::new(State { next: 0, running, waiting }),
            longest,
            left: Notify::new(),
        }
    }

    /// Waits for a slot; `None` if too many wait already.
    pub(crate) async fn enter(&self) -> Option<Slot<'_>> {
        // Those who wait come first.
        if self.lock().waiting.since.is_empty()
            && let Some(slot) = self.count(|state| &mut state.running)
        {
            return Some(slot);
        }
        let _waiting = self.count(|state| &mut state.waiting)?;
        loop {
            drop(timeout(LOOK, self.left.notified()).await);
            if let Some(slot) = self.count(|state| &mut state.running) {
                // Of several notices that come at once, one is kept.
                self.notify_if_free();
                return Some(slot);
            }
        }
    }

    fn count(&self, among: impl Fn(&mut State) -> &mut Bounded) -> Option<Slot<'_>> {
        let mut state = self.lock();
        let number = state.next;
        state.next = number.wrapping_add(1);
        let has_room = among(&mut state).insert(number, monotonic(), self.longest);
        // Lazily: dropping a slot takes the lock.
        has_room.then(|| Slot { slots: self, number })
    }

    fn notify_if_free(&self) {
        let State { running, waiting, .. } = &*self.lock();
        if running.since.len() < running.most && !waiting.since.is_empty() {
            self.left.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bounded {
    /// Counts another one, if there is room for it.
    fn insert(&mut self, number: u64, now: Instant, longest: Duration) -> bool {
        while let Some(oldest) = self.since.first_entry()
            && now.saturating_duration_since(*oldest.get()) > longest
        {
            oldest.remove();
        }
        let has_room = self.since.len() < self.most;
        if has_room {
            self.since.insert(number, now);
        }
        has_room
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        state.waiting.since.remove(&self.number);
        if state.running.since.remove(&self.number).is_some() {
            drop(state);
            self.slots.left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;
    use tokio_test::{assert_pending, assert_ready, task::spawn};

    use super::*;

    const LONGEST: Duration = Duration::from_secs(6);

    #[tokio::test(start_paused = true)]
    async fn i11_so_many_at_once_so_many_wait_and_the_rest_is_turned_away() {
        let slots = Slots::new(2, 1, LONGEST);
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

    #[tokio::test(start_paused = true)]
    async fn whoever_is_no_longer_polled_holds_nobody_up_for_ever() {
        let slots = Slots::new(1, 2, LONGEST);
        let parked = slots.enter().await.unwrap();
        let mut waits = spawn(slots.enter());
        assert_pending!(waits.poll());
        // Its task is notified, but never polled.
        drop(parked);
        assert!(waits.is_woken());
        let second = slots.enter().await.unwrap();
        let mut third = spawn(slots.enter());
        assert_pending!(third.poll());
        assert!(assert_ready!(spawn(slots.enter()).poll()).is_none());
        advance(LONGEST).await;
        assert_pending!(third.poll());
        advance(LOOK).await;
        let third = assert_ready!(third.poll()).unwrap();
        // The slot that timed out frees none when it is dropped.
        drop(second);
        let mut fourth = spawn(slots.enter());
        assert_pending!(fourth.poll());
        drop(third);
        assert!(assert_ready!(fourth.poll()).is_some());
    }
}
