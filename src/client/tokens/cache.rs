//! One token: kept while it serves, replaced before it doesn't, fetched once however many wait.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::grant::error::{TokenError, TokenErrorKind};
use crate::client::tokens::failed::{Failed, RefusedFetch};
use crate::client::tokens::held::Held;
use crate::client::tokens::refusals::{Invalidation, Refusals};
use crate::client::tokens::slots::Urgency;
use crate::client::tokens::token::Token;
use crate::clock::{UnixTime, monotonic};
use crate::credentials::known::Known;

/// What one grant has: a token, or the reason why not.
#[derive(Default)]
pub(crate) struct Entry {
    held: ArcSwapOption<Held>,
    state: Mutex<State>,
    /// When it was last used, in nanoseconds.
    used: AtomicU64,
}

#[derive(Default)]
struct State {
    flight: Option<Flying>,
    /// How many fetches were begun.
    begun: u64,
    failed: Option<Failed>,
    /// Whether an operator says that what was wrong is fixed, maybe the secret.
    reset: bool,
    refusals: Refusals,
    /// The last token that a server has refused.
    rejected: Option<Token>,
    /// When the newest token that was refused was obtained.
    floor: Option<UnixTime>,
}

/// What a fetch ends with, for all who wait for it.
type Arrival = watch::Receiver<Option<Result<Token, TokenError>>>;

/// A fetch under way, for those who wait for it.
#[derive(Clone)]
pub(crate) struct Flying {
    pub(crate) arrival: Arrival,
    /// Where it runs.
    pub(crate) runtime: Option<Handle>,
    urgency: Urgency,
    number: u64,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// The token that a server has refused: this one won't do.
    pub(crate) unlike: Option<&'a Token>,
    pub(crate) secret_can_change: bool,
    /// Where a fetch would run.
    pub(crate) runtime: Option<&'a Handle>,
}

/// What is to be done for a token.
pub(crate) enum Step {
    Serve(Token),
    Fail(TokenError),
    Wait(Flying),
    /// Fetch; if a token serves meanwhile, no caller need wait.
    Fetch(Box<Order>, Flying, Option<Token>),
}

/// A fetch to be carried out, once.
pub(crate) struct Order {
    entry: Arc<Entry>,
    arrival: watch::Sender<Option<Result<Token, TokenError>>>,
    /// What is held now.
    pub(crate) held: Option<Arc<Held>>,
    /// What must not be taken from the shared store.
    pub(crate) rejected: Option<Token>,
    /// Nor what was obtained no later than this.
    pub(crate) floor: Option<UnixTime>,
    /// Whether a server has refused what is held.
    pub(crate) suspect: bool,
    /// Whether the secret's provider is to be asked first.
    pub(crate) reset: bool,
    /// The error that stands unless there is another secret than these.
    pub(crate) probe: Option<(TokenError, Vec<Known>)>,
    serves: bool,
    number: u64,
    pub(crate) urgency: Urgency,
    pub(crate) polled: Polled,
}

/// Whether a fetch is being polled. If its order is dropped meanwhile, it unwinds.
#[derive(Clone, Default)]
pub(crate) struct Polled(Arc<AtomicBool>);

impl Polled {
    /// Notes it while `poll` runs.
    pub(crate) fn during<T>(&self, poll: impl FnOnce() -> T) -> T {
        self.0.store(true, Ordering::Relaxed);
        let polled = poll();
        self.0.store(false, Ordering::Relaxed);
        polled
    }
}

impl Entry {
    /// Returns the token if nothing need be done for it.
    pub(crate) fn fresh(&self, now: Instant) -> Option<Token> {
        let held = self.held.load();
        held.as_ref().filter(|held| now < held.soft).map(|held| held.token.clone())
    }

    /// Notes a use, `since` some moment that is the same for all entries.
    pub(crate) fn touch(&self, since: Duration) {
        self.used.store(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn last_used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns `true` if what is known here is more than a token: a failure that stands, or a fetch
    /// under way.
    pub(crate) fn is_busy(&self, now: Instant) -> bool {
        let state = self.lock();
        let flies = state.flight.as_ref().is_some_and(Flying::is_alive);
        flies || state.failed.as_ref().is_some_and(|failed| failed.is_remembered(now))
    }

    /// Decides what is to be done for a token.
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
            polled: Polled::default(),
        };
        Step::Fetch(Box::new(order), flying, serving)
    }

    /// Ends a fetch: keeps the token, or the failure, and wakes all who wait.
    ///
    /// A token that can't be held is handed to those who wait, and to no caller after them.
    pub(crate) fn finish(
        &self,
        order: Order,
        result: Result<(Token, Option<Held>), RefusedFetch>,
        now: Instant,
    ) {
        self.end(&order, result, now);
    }

    fn end(
        &self,
        order: &Order,
        result: Result<(Token, Option<Held>), RefusedFetch>,
        now: Instant,
    ) {
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
                    let before = state.failed.take();
                    state.failed = Some(Failed::after(before, refused, order.serves, now));
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

    /// Returns `true` if a fetch that was given up has brought something after all.
    fn is_news(&self, held: Option<&Held>) -> bool {
        let before = self.held.load();
        held.is_some_and(|held| {
            before.as_ref().is_none_or(|before| before.obtained < held.obtained)
        })
    }

    /// Ends a fetch that found nothing new: the failure stands as it is.
    pub(crate) fn land_unchanged(&self, order: Order, error: TokenError) {
        self.abandon(order.number);
        order.arrival.send_replace(Some(Err(error)));
    }

    /// Gives up a fetch whose runtime isn't run: the next call makes another.
    pub(crate) fn give_up(&self, flying: &Flying) {
        self.abandon(flying.number);
    }

    fn abandon(&self, number: u64) {
        let mut state = self.lock();
        if state.flight.as_ref().is_some_and(|flight| flight.number == number) {
            state.flight = None;
        }
    }

    /// Notes that a server has refused a token. If that is the one held, it is due from now on: it
    /// serves until there is another.
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

    /// Forgets failures and refusals: the next call for a token that is due asks the server.
    pub(crate) fn reset(&self) {
        let mut state = self.lock();
        state.failed = None;
        state.reset = true;
        state.refusals = Refusals::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch in which something panics, the transport, the store or the secret's provider, has failed.
/// One that is dropped with its runtime hasn't, for whatever reason that ends: the next call makes
/// another.
impl Drop for Order {
    fn drop(&mut self) {
        let unwinds = self.polled.0.load(Ordering::Relaxed);
        let landed = self.arrival.borrow().is_some();
        if unwinds && !landed {
            let error = TokenError::new(TokenErrorKind::NoRuntime);
            self.entry.end(self, Err(RefusedFetch { error, secrets: Vec::new() }), monotonic());
        }
    }
}

impl Flying {
    /// Returns `true` unless it ended with its runtime.
    fn is_alive(&self) -> bool {
        self.arrival.has_changed().is_ok()
    }
}
