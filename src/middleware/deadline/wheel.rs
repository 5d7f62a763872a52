//! Keeps the deadlines of many streams in one task.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::clock::{Clock, UnixTime};
use crate::token::LONGEST_SLEEP;

/// The deadlines of many streams, kept by one task: a stream that waits has no timer of its own and is
/// woken once. The task runs while there are streams.
#[derive(Debug)]
pub(crate) struct Wheel {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// A deadline was added before all others, or the last one was removed.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    streams: BTreeMap<Key, Arc<Slot>>,
    last_id: u64,
    is_running: bool,
}

/// When a stream is due, in milliseconds, and a number that makes it unique.
type Key = (i64, u64);

/// What the task and a stream share.
#[derive(Debug, Default)]
struct Slot {
    is_due: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// A stream's place on the wheel, for as long as it is kept.
#[derive(Debug)]
pub(crate) struct Entry {
    wheel: Arc<Wheel>,
    key: Key,
    slot: Arc<Slot>,
}

impl Wheel {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default(), changed: Notify::new() }
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Adds a stream; `None` if there is no runtime for the task.
    pub(crate) fn enter(self: &Arc<Self>, until: UnixTime) -> Option<Entry> {
        let runtime = Handle::try_current().ok()?;
        let slot = Arc::<Slot>::default();
        let mut state = self.state();
        state.last_id = state.last_id.wrapping_add(1);
        let key = (millis(until), state.last_id);
        let is_first = state.streams.first_key_value().is_none_or(|(first, _)| key < *first);
        state.streams.insert(key, Arc::clone(&slot));
        if !state.is_running {
            state.is_running = true;
            runtime.spawn(Running { wheel: Arc::clone(self), has_ended: false }.run());
        } else if is_first {
            self.changed.notify_one();
        }
        Some(Entry { wheel: Arc::clone(self), key, slot })
    }

    /// Wakes what is due, and returns how long the next stream has; `None` if there is none, and the
    /// task ends.
    fn turn(&self) -> Option<Duration> {
        loop {
            // Waking runs code of the runtime: not under the lock.
            let due = {
                let mut state = self.state();
                let Some(first) = state.streams.first_entry() else {
                    state.is_running = false;
                    return None;
                };
                let now = (self.clock.now().as_secs_f64() * 1_000.0).floor() as i64;
                match u64::try_from(first.key().0.saturating_sub(now)) {
                    Ok(left) if left > 0 => return Some(Duration::from_millis(left)),
                    _ => first.remove(),
                }
            };
            due.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task of a wheel. Its runtime may end it; the next stream then starts another.
struct Running {
    wheel: Arc<Wheel>,
    has_ended: bool,
}

impl Running {
    async fn run(mut self) {
        while let Some(left) = self.wheel.turn() {
            tokio::select! {
                () = sleep(left.min(LONGEST_SLEEP)) => {}
                () = self.wheel.changed.notified() => {}
            }
        }
        self.has_ended = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended {
            self.wheel.state().is_running = false;
        }
    }
}

impl Slot {
    fn wake(&self) {
        self.is_due.store(true, Ordering::Release);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Entry {
    pub(crate) fn is_due(&self) -> bool {
        self.slot.is_due.load(Ordering::Acquire)
    }

    /// Wakes the task that polls the stream when it is due. Returns `true` if it already is.
    pub(crate) fn wait(&self, cx: &Context<'_>) -> bool {
        let mut waker = self.slot.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        drop(waker);
        self.is_due()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.wheel.state();
        let was_there = state.streams.remove(&self.key).is_some();
        if was_there && state.streams.is_empty() {
            self.wheel.changed.notify_one();
        }
    }
}

/// Rounded up, so that what is due has ended.
fn millis(until: UnixTime) -> i64 {
    (until.as_secs_f64() * 1_000.0).ceil() as i64
}
