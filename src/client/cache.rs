//! One token: kept while it serves, replaced before it doesn't, fetched once however many wait.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::backoff;
use crate::client::digest::jitter;
use crate::client::error::{TokenError, TokenErrorKind};
use crate::client::expiry::Ages;
use crate::client::secret_source::Known;
use crate::client::shared::Sealed;
use crate::client::token::Token;
use crate::clock::{UnixTime, monotonic};

/// A token that servers refuse is replaced no more often than this: if the new one is refused as
/// well, the token isn't what is wrong.
const COOLDOWN: Duration = Duration::from_secs(30);

/// While the secret is refused, its provider is asked this often whether there is a new one.
const PROBE: Duration = Duration::from_secs(1);

/// What one grant has: a token, or the reason why not.
#[derive(Default)]
pub(crate) struct Entry {
    held: ArcSwapOption<Held>,
    state: Mutex<State>,
    /// When it was last used, in nanoseconds.
    used: AtomicU64,
}

/// A token, and when it is due.
pub(crate) struct Held {
    pub(crate) token: Token,
    pub(crate) obtained: UnixTime,
    soft: Instant,
    hard: Instant,
    sealed: Option<Sealed>,
}

#[derive(Default)]
struct State {
    flight: Option<Arrival>,
    failed: Option<Failed>,
    /// The last token that a server has refused.
    rejected: Option<(Token, Instant)>,
    /// When the newest token that was refused was obtained.
    floor: Option<UnixTime>,
    /// What is still to be taken out of the shared store.
    stale: Option<Sealed>,
}

struct Failed {
    error: TokenError,
    /// How often in a row.
    count: u32,
    until: Instant,
    /// Nobody noticed: a token served meanwhile.
    unnoticed: bool,
    /// The secrets that were refused.
    refused: Vec<Known>,
    probed: Instant,
}

/// What a fetch ends with, for all who wait for it.
type Arrival = watch::Receiver<Option<Result<Token, TokenError>>>;

/// What is to be done for a token.
pub(crate) enum Step {
    Serve(Token),
    Fail(TokenError),
    Wait(Arrival),
    /// Fetch; if a token serves meanwhile, nobody need wait.
    Fetch(Box<Order>, Arrival, Option<Token>),
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
    /// What is to be taken out of the shared store.
    pub(crate) stale: Option<Sealed>,
    /// The error that stands unless there is another secret than these.
    pub(crate) probe: Option<(TokenError, Vec<Known>)>,
    serves: bool,
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

/// A fetch that failed.
pub(crate) struct Refused {
    pub(crate) error: TokenError,
    /// The secrets that were refused.
    pub(crate) secrets: Vec<Known>,
}

/// What a server's refusal of a token means for the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Invalidation {
    /// Another token is to be had, or is there.
    AskAgain,
    /// It was replaced just now, to no avail.
    Pointless,
}

impl Held {
    /// Holds a token of this age; `None` if it serves no more.
    pub(crate) fn new(
        token: Token,
        age: Duration,
        lifetime: Duration,
        now: Instant,
        obtained: UnixTime,
        sealed: Option<Sealed>,
    ) -> Option<Self> {
        let ages = Ages::of(lifetime, jitter())?;
        let hard = ages.hard.checked_sub(age).filter(|left| !left.is_zero())?;
        let soft = ages.soft.saturating_sub(age);
        let (soft, hard) = (now.checked_add(soft)?, now.checked_add(hard)?);
        Some(Self { token, obtained, soft, hard, sealed })
    }

    pub(crate) fn serves_for(&self, now: Instant) -> Duration {
        self.hard.saturating_duration_since(now)
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

    /// Decides what is to be done for a token.
    pub(crate) fn next(self: &Arc<Self>, now: Instant, secret_can_change: bool) -> Step {
        let mut state = self.lock();
        let held = self.held.load_full();
        let serving = held.as_ref().filter(|held| now < held.hard).map(|held| held.token.clone());
        if let Some(held) = held.as_ref().filter(|held| now < held.soft) {
            return Step::Serve(held.token.clone());
        }
        if let Some(flight) = state.flight.as_ref().filter(|flight| flight.has_changed().is_ok()) {
            return match serving {
                Some(token) => Step::Serve(token),
                None => Step::Wait(flight.clone()),
            };
        }
        let mut probe = None;
        if let Some(failed) = state.failed.as_mut().filter(|failed| !failed.is_over(now, &serving))
        {
            if !(secret_can_change && serving.is_none() && failed.may_probe(now)) {
                return serving.map_or_else(|| Step::Fail(failed.error.clone()), Step::Serve);
            }
            probe = Some((failed.error.clone(), failed.refused.clone()));
        }
        let (sender, arrival) = watch::channel(None);
        state.flight = Some(arrival.clone());
        let order = Order {
            entry: Arc::clone(self),
            arrival: sender,
            held,
            rejected: state.rejected.as_ref().map(|(token, _)| token.clone()),
            floor: state.floor,
            stale: state.stale.take(),
            probe,
            serves: serving.is_some(),
            polled: Polled::default(),
        };
        Step::Fetch(Box::new(order), arrival, serving)
    }

    /// Ends a fetch: keeps the token, or the failure, and wakes all who wait.
    ///
    /// A token that can't be held is handed to those who wait, and to nobody after them.
    pub(crate) fn land(
        &self,
        order: Order,
        result: Result<(Token, Option<Held>), Refused>,
        now: Instant,
    ) {
        self.end(&order, result, now);
    }

    fn end(&self, order: &Order, result: Result<(Token, Option<Held>), Refused>, now: Instant) {
        let mut state = self.lock();
        let result = match result {
            Ok((token, held)) => {
                state.failed = None;
                self.held.store(held.map(Arc::new));
                Ok(token)
            }
            Err(refused) => {
                let error = refused.error.clone();
                state.fail(refused, order.serves, now);
                Err(error)
            }
        };
        state.flight = None;
        drop(state);
        order.arrival.send_replace(Some(result));
    }

    /// Ends a fetch that found nothing new: the failure stands as it is.
    pub(crate) fn land_unchanged(&self, order: Order, error: TokenError) {
        self.lock().flight = None;
        order.arrival.send_replace(Some(Err(error)));
    }

    /// Drops the token if it is still this one, unless that was done just now (E11).
    pub(crate) fn invalidate(&self, token: &Token, now: Instant) -> Invalidation {
        let mut state = self.lock();
        let held = self.held.load_full();
        if held.as_ref().is_some_and(|held| !held.token.is_same(token)) {
            return Invalidation::AskAgain;
        }
        if let Some((rejected, at)) = &state.rejected {
            if held.is_none() && rejected.is_same(token) {
                return Invalidation::AskAgain;
            }
            if now.saturating_duration_since(*at) < COOLDOWN {
                return Invalidation::Pointless;
            }
        }
        self.held.store(None);
        state.rejected = Some((token.clone(), now));
        if let Some(held) = &held {
            state.floor = Some(state.floor.map_or(held.obtained, |floor| floor.max(held.obtained)));
        }
        // If there is none, an earlier one may still have to be taken out.
        if let Some(sealed) = held.and_then(|held| held.sealed.clone()) {
            state.stale = Some(sealed);
        }
        Invalidation::AskAgain
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
            self.entry.end(self, Err(Refused { error, secrets: Vec::new() }), monotonic());
        }
    }
}

impl State {
    fn fail(&mut self, refused: Refused, unnoticed: bool, now: Instant) {
        let before = self.failed.as_ref().filter(|failed| failed.unnoticed == unnoticed);
        let count = before.map_or(1, |failed| failed.count.saturating_add(1));
        let rest = backoff::rest(refused.error.cause(), count, jitter());
        self.failed = Some(Failed {
            error: refused.error,
            count,
            until: now.checked_add(rest).unwrap_or(now),
            unnoticed,
            refused: refused.secrets,
            probed: now,
        });
    }
}

impl Failed {
    /// Tells whether the server may be asked again.
    fn is_over(&self, now: Instant, serving: &Option<Token>) -> bool {
        // While a token served, there was time to wait; now somebody needs one. What the server
        // asked for is kept nevertheless.
        let urgent = self.unnoticed && serving.is_none() && self.error.retry_after().is_none();
        urgent || now >= self.until
    }

    /// Tells whether it is time to see if there is another secret, and notes that it was.
    fn may_probe(&mut self, now: Instant) -> bool {
        let may =
            self.error.blames_credentials() && now.saturating_duration_since(self.probed) >= PROBE;
        if may {
            self.probed = now;
        }
        may
    }
}
