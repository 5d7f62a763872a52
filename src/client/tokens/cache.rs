//! The state of one grant's token: whether a call uses the token, waits for a fetch, starts one or fails.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::grant::error::{TokenError, TokenErrorKind};
use crate::client::tokens::callers::{Begun, Callers};
use crate::client::tokens::failed::{Failed, Fetch, RefusedFetch};
use crate::client::tokens::flying::Flying;
use crate::client::tokens::health::TokenHealth;
use crate::client::tokens::held::Held;
use crate::client::tokens::polled::Polled;
use crate::client::tokens::refusals::{Invalidation, Refusals};
use crate::client::tokens::slots::Urgency;
use crate::client::tokens::token::Token;
use crate::clock::{UnixTime, monotonic};
use crate::credentials::fingerprinted::FingerprintedSecret;

/// The cache entry of one grant: its token, or the failure that stands in its place.
#[derive(Default)]
pub(crate) struct Entry {
    held: ArcSwapOption<Held>,
    state: Mutex<State>,
    /// When it was last used, in nanoseconds.
    used: AtomicU64,
    /// What concerns all callers, if this is the entry of one. Its permanent failures are cached for a short while
    /// only.
    callers: Option<Arc<Callers>>,
}

#[derive(Default)]
struct State {
    flight: Option<Flying>,
    /// How many fetches were started.
    begun: u64,
    failed: Option<Failed>,
    /// Until when no other fetch is started, since nothing would be sent.
    unsent_until: Option<Instant>,
    /// Whether an operator has called `reset`: the secret may have changed.
    reset: bool,
    refusals: Refusals,
    /// The last token that a server has refused.
    rejected: Option<Token>,
    /// When the newest refused token was obtained.
    floor: Option<UnixTime>,
}

/// What a call needs.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// The token that a server has refused: another one is needed.
    pub(crate) unlike: Option<&'a Token>,
    pub(crate) secret_can_change: bool,
    /// The runtime that a fetch would run in.
    pub(crate) runtime: Option<&'a Handle>,
}

/// What a call has to do for its token.
pub(crate) enum Step {
    Serve(Token),
    Fail(TokenError),
    Wait(Flying),
    /// Carry out the order; if a token is usable meanwhile, the call returns that at once.
    Fetch(Box<Order>, Flying, Option<Token>),
}

/// A fetch that is to be carried out exactly once.
pub(crate) struct Order {
    entry: Arc<Entry>,
    arrival: watch::Sender<Option<Result<Token, TokenError>>>,
    /// The token that is held now.
    pub(crate) held: Option<Arc<Held>>,
    /// The token that must not be taken from the shared store.
    pub(crate) rejected: Option<Token>,
    /// Tokens obtained at this time or before must not be taken from there either.
    pub(crate) floor: Option<UnixTime>,
    /// Whether a server has refused the token that is held.
    pub(crate) suspect: bool,
    /// Whether the providers of the secret and of the key have to be asked first.
    pub(crate) reset: bool,
    /// The cached error, and the secrets that it is for: only another secret is a reason to fetch.
    pub(crate) probe: Option<(TokenError, Vec<FingerprintedSecret>)>,
    serves: bool,
    number: u64,
    pub(crate) urgency: Urgency,
    /// When it began, if it is on behalf of a caller.
    pub(crate) begun: Option<Begun>,
    pub(crate) polled: Polled,
}

impl Entry {
    /// Creates the entry of one caller.
    pub(crate) fn for_caller(callers: Arc<Callers>) -> Self {
        Self { callers: Some(callers), ..Self::default() }
    }

    pub(crate) fn callers(&self) -> Option<&Callers> {
        self.callers.as_deref()
    }

    /// Returns the token if it isn't due yet.
    pub(crate) fn fresh(&self, now: Instant) -> Option<Token> {
        let held = self.held.load();
        held.as_ref().filter(|held| now < held.soft).map(|held| held.token.clone())
    }

    /// Returns the token while it may be used, whether it is due or not.
    pub(crate) fn usable(&self, now: Instant) -> Option<Token> {
        let held = self.held.load();
        held.as_ref().filter(|held| now < held.hard).map(|held| held.token.clone())
    }

    /// Records a use, as the time `since` a moment that is the same for all entries.
    pub(crate) fn touch(&self, since: Duration) {
        self.used.store(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn last_used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns the health of the grant.
    pub(crate) fn health(&self, now: Instant) -> TokenHealth {
        let state = self.lock();
        let held = self.held.load();
        let left = held.as_ref().map(|held| held.serves_for(now));
        TokenHealth {
            serves_for: left.filter(|left| !left.is_zero()),
            failure: state.failed.as_ref().map(|failed| (failed.error.clone(), failed.count())),
        }
    }

    /// Returns `true` if the entry holds state beside a token: a cached failure, or a fetch under way.
    pub(crate) fn is_busy(&self, now: Instant) -> bool {
        let state = self.lock();
        let flies = state.flight.as_ref().is_some_and(Flying::is_alive);
        flies || state.failed.as_ref().is_some_and(|failed| failed.is_remembered(now))
    }

    /// Decides what a call has to do for its token.
    pub(crate) fn next(self: &Arc<Self>, now: Instant, ask: Ask<'_>) -> Step {
        let mut state = self.lock();
        let held = self.held.load_full();
        if let Some(held) = held.as_ref().filter(|held| now < held.soft) {
            return Step::Serve(held.token.clone());
        }
        let held_serves = held.as_ref().filter(|held| now < held.hard);
        let usable = held_serves.is_some();
        let refused = |token: &Token| ask.unlike.is_some_and(|unlike| unlike.is_same(token));
        let serving = held_serves.map(|held| held.token.clone()).filter(|token| !refused(token));
        if let Some(flight) = state.flight.as_ref().filter(|flight| flight.is_alive()) {
            return match serving {
                Some(token) => Step::Serve(token),
                None => {
                    flight.urgency.raise();
                    Step::Wait(flight.clone())
                }
            };
        }
        if state.unsent_until.is_some_and(|until| now < until)
            && let Some(Err(error)) = self.callers().map(|callers| callers.look(now))
        {
            return serving.map_or_else(|| Step::Fail(error), Step::Serve);
        }
        let mut probe = None;
        if let Some(failed) = state.failed.as_mut().filter(|failed| !failed.is_over(now, usable)) {
            if !(ask.secret_can_change && !usable && failed.may_probe(now)) {
                return serving.map_or_else(|| Step::Fail(failed.error.clone()), Step::Serve);
            }
            probe = Some((failed.error.clone(), failed.refused.clone()));
        }
        let (sender, arrival) = watch::channel(None);
        let urgency = Urgency::new(serving.is_none());
        state.begun = state.begun.wrapping_add(1);
        let flying = Flying {
            arrival,
            runtime: ask.runtime.cloned(),
            urgency: urgency.clone(),
            number: state.begun,
        };
        state.flight = Some(flying.clone());
        let suspect = held.as_ref().is_some_and(|held| state.refusals.suspects(&held.token));
        let order = Order {
            entry: Arc::clone(self),
            arrival: sender,
            held,
            rejected: state.rejected.clone(),
            floor: state.floor,
            suspect,
            reset: mem::take(&mut state.reset),
            probe,
            serves: usable,
            number: state.begun,
            urgency,
            begun: self.callers().map(Callers::begin),
            polled: Polled::default(),
        };
        Step::Fetch(Box::new(order), flying, serving)
    }

    /// Ends a fetch: keeps the token, or the failure, and wakes all calls that wait.
    ///
    /// A token that can't be held is given to the calls that wait, and to none after them.
    pub(crate) fn finish(&self, order: Order, result: Fetch, now: Instant) {
        self.end(&order, result, now);
    }

    fn end(&self, order: &Order, result: Fetch, now: Instant) {
        let mut state = self.lock();
        let is_current = state.flight.as_ref().is_some_and(|it| it.number == order.number);
        let result = match result {
            Ok((token, held)) => {
                if is_current || self.is_news(held.as_ref()) {
                    state.failed = None;
                    state.refusals.replaced(now);
                    self.held.store(held.map(Arc::new));
                }
                Ok(token)
            }
            Err(refused) => {
                let error = refused.error.clone();
                if is_current {
                    let (before, brief) = (state.failed.take(), self.callers.is_some());
                    state.failed = Some(Failed::after(before, refused, order.serves, brief, now));
                }
                Err(error)
            }
        };
        if is_current {
            state.flight = None;
        }
        drop(state);
        order.arrival.send_replace(Some(result));
    }

    /// Returns `true` if a fetch that was given up has brought a newer token after all.
    fn is_news(&self, held: Option<&Held>) -> bool {
        let before = self.held.load();
        held.is_some_and(|held| {
            before.as_ref().is_none_or(|before| before.obtained < held.obtained)
        })
    }

    /// Ends a fetch that had only to check whether the held token is still current. Returns `false` if the
    /// token was refused meanwhile: the updated order then has to be fetched.
    pub(crate) fn finish_confirmed(&self, order: &mut Order, again: Held) -> bool {
        let mut state = self.lock();
        order.suspect = state.refusals.suspects(&again.token);
        let (held, then) = (self.held.load_full(), order.held.as_ref().map(Arc::as_ptr));
        if order.suspect || held.as_ref().map(Arc::as_ptr) != then {
            (order.held, order.floor) = (held, state.floor);
            order.rejected = state.rejected.clone();
            return false;
        }
        let token = again.token.clone();
        self.held.store(Some(Arc::new(again)));
        if state.flight.as_ref().is_some_and(|it| it.number == order.number) {
            (state.flight, state.failed) = (None, None);
        }
        drop(state);
        order.arrival.send_replace(Some(Ok(token)));
        true
    }

    /// Ends a fetch that sent nothing, and wouldn't before that time: what is cached of failures stays as it is.
    pub(crate) fn finish_unsent(&self, order: Order, error: TokenError, until: Option<Instant>) {
        let mut state = self.lock();
        if state.flight.as_ref().is_some_and(|flight| flight.number == order.number) {
            (state.flight, state.unsent_until) = (None, until);
        }
        drop(state);
        order.arrival.send_replace(Some(Err(error)));
    }

    /// Gives up a fetch whose runtime isn't run: the next call starts another.
    pub(crate) fn give_up(&self, flying: &Flying) {
        let mut state = self.lock();
        if state.flight.as_ref().is_some_and(|flight| flight.number == flying.number) {
            state.flight = None;
        }
    }

    /// Records that a server has refused a token. If that is the one held, it is due from now on, and stays
    /// in use until there is another.
    pub(crate) fn refuse(&self, token: &Token, origin: &str, now: Instant) -> Invalidation {
        let mut state = self.lock();
        let held = self.held.load_full();
        let flies = state.flight.as_ref().is_some_and(Flying::is_alive);
        match &held {
            Some(held) if !held.token.is_same(token) => return Invalidation::AskAgain,
            None if flies => return Invalidation::AskAgain,
            _ => {}
        }
        let suspected = state.refusals.suspects(token);
        let verdict = state.refusals.note(token, origin, now);
        if suspected || verdict == Invalidation::Pointless {
            return verdict;
        }
        state.rejected = Some(token.clone());
        if let Some(held) = held {
            state.floor = Some(state.floor.map_or(held.obtained, |floor| floor.max(held.obtained)));
            self.held.store(Some(Arc::new(held.due(now))));
        }
        verdict
    }

    /// Discards failures and refusals: the next call for a token that is due asks the server. A fetch under
    /// way may use the old secret: it continues for the calls that wait for it already.
    pub(crate) fn reset(&self) {
        let mut state = self.lock();
        state.flight = None;
        state.failed = None;
        state.unsent_until = None;
        // The sources of many callers are the same, and are reset once.
        state.reset = self.callers.is_none();
        state.refusals = Refusals::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch in which the transport, the store or the secret's provider panics has failed. One that is dropped
/// with its runtime hasn't: the next call starts another.
impl Drop for Order {
    fn drop(&mut self) {
        // It was never started.
        if self.reset {
            self.entry.lock().reset = true;
        }
        let unwinds = self.polled.is_under_way();
        let landed = self.arrival.borrow().is_some();
        if unwinds && !landed {
            let error = TokenError::new(TokenErrorKind::NoRuntime);
            self.entry.end(self, Err(RefusedFetch::new(error, Vec::new())), monotonic());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // As in a call without a runtime, which can begin none.
    #[test]
    fn fc10_a_fetch_that_is_never_begun_leaves_the_reset_to_the_next() {
        let entry = Arc::new(Entry::default());
        let order = || {
            let ask = Ask { unlike: None, secret_can_change: false, runtime: None };
            match entry.next(monotonic(), ask) {
                Step::Fetch(order, ..) => order,
                _ => panic!("there is nothing else to do"),
            }
        };
        assert!(!order().reset);
        entry.reset();
        assert!(order().reset);
        let mut begun = order();
        assert!(mem::take(&mut begun.reset));
        drop(begun);
        assert!(!order().reset);
    }
}
