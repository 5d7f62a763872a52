//! Bounds the fetches that use the network at the same time, and picks the next of those that wait.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::clock::monotonic;

/// How often waiting fetches look for slots whose deadline has passed, which count as free: a runtime that
/// isn't run never releases its slot.
const LOOK: Duration = Duration::from_secs(1);

/// The bound on concurrent fetches.
pub(crate) struct Slots {
    limit: usize,
    /// A fetch with less time left gets no slot: many have the same deadline, and each would open a connection
    /// only to give it up.
    least: Duration,
    queue: Mutex<Queue>,
}

/// Whether a caller waits for a fetch. That may become so while the fetch is under way.
#[derive(Clone)]
pub(crate) struct Urgency(Arc<(AtomicBool, Notify)>);

/// The right to use the network, until it is dropped.
pub(crate) struct Slot<'a> {
    slots: &'a Slots,
    ticket: Arc<Ticket>,
}

struct Ticket {
    server: Box<str>,
    /// When the fetch ends at the latest.
    deadline: Instant,
    granted: AtomicBool,
    called: Notify,
}

#[derive(Default)]
struct Queue {
    taken: Vec<Arc<Ticket>>,
    urgent: Ring,
    background: Ring,
}

/// Waiting fetches: servers take turns, and fetches from the same server are in order of arrival.
#[derive(Default)]
struct Ring {
    turns: VecDeque<Box<str>>,
    waiting: HashMap<Box<str>, VecDeque<Arc<Ticket>>>,
}

impl Urgency {
    pub(crate) fn new(urgent: bool) -> Self {
        Self(Arc::new((AtomicBool::new(urgent), Notify::new())))
    }

    /// Records that a caller waits.
    pub(crate) fn raise(&self) {
        if !self.0.0.swap(true, Ordering::Relaxed) {
            self.0.1.notify_one();
        }
    }

    fn is_urgent(&self) -> bool {
        self.0.0.load(Ordering::Relaxed)
    }

    async fn raised(&self) {
        while !self.is_urgent() {
            self.0.1.notified().await;
        }
    }
}

impl Slots {
    /// Bounds the concurrent fetches. One server gets half of the slots, so that a server that hangs leaves
    /// slots for the others.
    pub(crate) fn new(limit: usize, timeout: Duration) -> Self {
        let least = timeout.checked_div(20).unwrap_or_default();
        Self { limit, least, queue: Mutex::default() }
    }

    /// Waits for a slot: a fetch that no caller waits for comes after those with a waiting caller.
    pub(crate) async fn enter(
        &self,
        server: &str,
        urgency: &Urgency,
        deadline: Instant,
    ) -> Slot<'_> {
        let ticket = Arc::new(Ticket {
            server: server.into(),
            deadline,
            granted: AtomicBool::new(false),
            called: Notify::new(),
        });
        let mut urgent = urgency.is_urgent();
        let slot = Slot { slots: self, ticket: Arc::clone(&ticket) };
        self.change(|queue| queue.ring(urgent).push(Arc::clone(&ticket)));
        while !ticket.granted.load(Ordering::Acquire) {
            tokio::select! {
                () = ticket.called.notified() => {}
                () = urgency.raised(), if !urgent => {
                    urgent = true;
                    self.change(|queue| {
                        if queue.background.remove(&ticket) {
                            queue.urgent.push(Arc::clone(&ticket));
                        }
                    });
                }
                () = sleep(LOOK) => self.change(|_| {}),
            }
        }
        slot
    }

    /// Changes the queue, and grants the slots that are free then.
    fn change(&self, change: impl FnOnce(&mut Queue)) {
        let mut queue = self.lock();
        change(&mut queue);
        queue.grant(self.limit, self.least, monotonic());
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.slots.change(|queue| queue.leave(&self.ticket));
    }
}

impl Queue {
    fn ring(&mut self, urgent: bool) -> &mut Ring {
        if urgent { &mut self.urgent } else { &mut self.background }
    }

    fn leave(&mut self, ticket: &Arc<Ticket>) {
        self.taken.retain(|taken| !Arc::ptr_eq(taken, ticket));
        if !ticket.granted.load(Ordering::Acquire) && !self.urgent.remove(ticket) {
            self.background.remove(ticket);
        }
    }

    fn grant(&mut self, limit: usize, least: Duration, now: Instant) {
        self.taken.retain(|taken| now < taken.deadline);
        let share = limit.div_ceil(2);
        while self.taken.len() < limit {
            let taken = &self.taken;
            let has_room = |server: &str| {
                taken.iter().filter(|taken| *taken.server == *server).count() < share
            };
            let next = self.urgent.next(has_room).or_else(|| self.background.next(has_room));
            let Some(ticket) = next else { return };
            if ticket.deadline.saturating_duration_since(now) <= least {
                continue;
            }
            ticket.granted.store(true, Ordering::Release);
            ticket.called.notify_one();
            self.taken.push(ticket);
        }
    }
}

impl Ring {
    fn push(&mut self, ticket: Arc<Ticket>) {
        let waiting = self.waiting.entry(ticket.server.clone()).or_default();
        if waiting.is_empty() {
            self.turns.push_back(ticket.server.clone());
        }
        waiting.push_back(ticket);
    }

    fn next(&mut self, has_room: impl Fn(&str) -> bool) -> Option<Arc<Ticket>> {
        let at = self.turns.iter().position(|server| has_room(server))?;
        let server = self.turns.remove(at)?;
        let waiting = self.waiting.get_mut(&server)?;
        let ticket = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(&server);
        } else {
            self.turns.push_back(server);
        }
        ticket
    }

    fn remove(&mut self, ticket: &Arc<Ticket>) -> bool {
        let Some(waiting) = self.waiting.get_mut(&ticket.server) else { return false };
        let before = waiting.len();
        waiting.retain(|other| !Arc::ptr_eq(other, ticket));
        let removed = waiting.len() < before;
        if waiting.is_empty() {
            self.waiting.remove(&ticket.server);
            self.turns.retain(|server| *server != ticket.server);
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ticket(server: &str, deadline: Instant) -> Arc<Ticket> {
        let (granted, called) = (AtomicBool::new(false), Notify::new());
        Arc::new(Ticket { server: server.into(), deadline, granted, called })
    }

    fn has(ticket: &Arc<Ticket>) -> bool {
        ticket.granted.load(Ordering::Relaxed)
    }

    #[test]
    fn fc5_callers_come_before_background_work_and_else_in_order() {
        let now = monotonic();
        let mut queue = Queue::default();
        let all: Vec<_> = (0..6).map(|_| ticket("a", now + SECOND)).collect();
        for (at, ticket) in all.iter().enumerate() {
            queue.ring(at >= 3).push(Arc::clone(ticket));
        }
        let mut order = Vec::new();
        for _ in 0..6 {
            queue.grant(1, Duration::ZERO, now);
            let next =
                all.iter().position(|ticket| queue.taken.iter().any(|it| Arc::ptr_eq(it, ticket)));
            order.push(next.unwrap());
            queue.leave(&all[next.unwrap()]);
        }
        assert_eq!(order, [3, 4, 5, 0, 1, 2]);
    }

    #[test]
    fn fc5_one_server_has_half_of_the_places_and_servers_take_turns() {
        let now = monotonic();
        let mut queue = Queue::default();
        let hung: Vec<_> = (0..10).map(|_| ticket("hung", now + SECOND)).collect();
        hung.iter().for_each(|ticket| queue.urgent.push(Arc::clone(ticket)));
        queue.grant(4, Duration::ZERO, now);
        assert_eq!(hung.iter().filter(|ticket| has(ticket)).count(), 2);
        let (one, two) = (ticket("one", now + SECOND), ticket("two", now + SECOND));
        queue.urgent.push(Arc::clone(&one));
        queue.background.push(Arc::clone(&two));
        queue.grant(4, Duration::ZERO, now);
        assert!(has(&one) && has(&two));
        // With a single place, callers take turns.
        let mut queue = Queue::default();
        let tickets: Vec<_> = ["a", "a", "b"].map(|server| ticket(server, now + SECOND)).into();
        tickets.iter().for_each(|ticket| queue.urgent.push(Arc::clone(ticket)));
        queue.grant(1, Duration::ZERO, now);
        queue.leave(&tickets[0]);
        queue.grant(1, Duration::ZERO, now);
        assert!(has(&tickets[2]) && !has(&tickets[1]));
    }

    #[test]
    fn fc14_a_place_that_is_not_given_back_is_free_when_its_fetch_should_have_ended() {
        let now = monotonic();
        let mut queue = Queue::default();
        let (frozen, next) = (ticket("a", now + SECOND), ticket("a", now + 9 * SECOND));
        queue.urgent.push(Arc::clone(&frozen));
        queue.urgent.push(Arc::clone(&next));
        queue.grant(1, Duration::ZERO, now + SECOND / 2);
        assert!(has(&frozen) && !has(&next));
        queue.grant(1, Duration::ZERO, now + SECOND);
        assert!(has(&next));
        queue.leave(&frozen);
        assert_eq!(queue.taken.len(), 1, "a place is given back once");
        // Nor is one given to a fetch that is about to end.
        let (late, last) = (ticket("a", now + 9 * SECOND), ticket("a", now + 20 * SECOND));
        queue.urgent.push(Arc::clone(&late));
        queue.urgent.push(Arc::clone(&last));
        queue.leave(&next);
        queue.grant(1, SECOND, now + 8 * SECOND);
        assert!(!has(&late) && has(&last));
    }

    #[tokio::test(start_paused = true)]
    async fn fc5_who_goes_away_leaves_no_trace() {
        let slots = Slots::new(1, 20 * SECOND);
        let (urgent, deadline) = (Urgency::new(true), monotonic() + 100 * SECOND);
        let first = slots.enter("a", &urgent, deadline).await;
        for server in ["a", "b"] {
            let waiting = slots.enter(server, &urgent, deadline);
            assert!(tokio::time::timeout(SECOND, waiting).await.is_err());
        }
        assert!(slots.lock().urgent.turns.is_empty() && slots.lock().urgent.waiting.is_empty());
        drop(first);
        assert!(slots.lock().taken.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn fc5_background_work_moves_up_when_a_caller_waits_for_it() {
        let slots = Slots::new(1, 20 * SECOND);
        let deadline = monotonic() + 100 * SECOND;
        let (urgent, later) = (Urgency::new(true), Urgency::new(false));
        let first = slots.enter("a", &urgent, deadline).await;
        let mut background = tokio_test::task::spawn(slots.enter("a", &later, deadline));
        assert!(background.poll().is_pending());
        later.raise();
        assert!(background.is_woken());
        assert!(background.poll().is_pending());
        let mut second = tokio_test::task::spawn(slots.enter("a", &urgent, deadline));
        assert!(second.poll().is_pending());
        drop(first);
        let std::task::Poll::Ready(slot) = background.poll() else { panic!("it waits") };
        assert!(second.poll().is_pending());
        drop(slot);
        assert!(second.poll().is_ready());
    }
}
