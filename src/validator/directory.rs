//! The tenants that are live, and how one becomes so.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use crate::clock::{Clock, monotonic};
use crate::error::{ConfigError, within};
use crate::jwks::Jwks;
use crate::progress::Pending;
use crate::refusal::{Refusal, RejectionKind, Unavailable, UnavailableReason};
use crate::telemetry::event;
use crate::transport::{CONNECT_TIMEOUT, Transport, default_transport};
use crate::validator::issuers::issuer::Issuer;
use crate::validator::issuers::pattern::Pattern;
use crate::validator::issuers::tenants::{Resolver, Tenant, Tenants};
use crate::validator::plan::realm;
use crate::validator::realm::Realm;

/// How many unknown tenants are remembered, and how many may be asked about at a time.
const MAX_UNKNOWN: usize = 1_024;
const MAX_FLIGHTS: usize = 1_024;

/// The tenants of one [`Tenants`].
pub(crate) struct Directory {
    pattern: Pattern,
    resolver: Arc<dyn Resolver>,
    transport: Option<Arc<dyn Transport>>,
    clock: Arc<dyn Clock>,
    max_live: usize,
    idle: Duration,
    remember_unknown: Duration,
    wait: Duration,
    private_addresses: bool,
    /// Whether tokens may be bound to a key.
    proofs: bool,
    first: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: HashMap<Arc<str>, Live>,
    unknown: HashMap<Arc<str>, Instant>,
    /// The unknown ones, the oldest first.
    in_order: VecDeque<Arc<str>>,
    flights: HashMap<Arc<str>, watch::Receiver<Option<Outcome>>>,
    /// When idle ones were last looked for.
    swept: Option<Instant>,
}

struct Live {
    realm: Arc<Realm>,
    used: Instant,
}

/// What is known of a tenant.
pub(crate) enum Found {
    Live(Arc<Realm>),
    Unknown,
    Later(Pending<Arc<Realm>>),
}

/// What the resolver and the first fetch came to.
#[derive(Clone)]
enum Outcome {
    Live(Arc<Realm>),
    Unknown,
    Unavailable,
}

impl Directory {
    pub(crate) fn new(
        tenants: Tenants,
        clock: &Arc<dyn Clock>,
        proofs: bool,
    ) -> Result<Self, ConfigError> {
        const DAY: u64 = 24 * 60 * 60;
        let secs = Duration::from_secs;
        within("max_live", tenants.max_live, 1..=10_000)?;
        within("idle", tenants.idle, secs(60)..=secs(7 * DAY))?;
        within("remember_unknown", tenants.remember_unknown, secs(1)..=secs(3_600))?;
        within("wait", tenants.wait, Duration::from_millis(100)..=secs(30))?;
        within("first_fetches", tenants.first_fetches, 1..=64)?;
        // One for all: each reads the system's certificates.
        let transport = tenants.transport.or_else(|| default_transport(CONNECT_TIMEOUT).ok());
        Ok(Self {
            pattern: Pattern::parse(&tenants.pattern)?,
            resolver: tenants.resolver,
            transport,
            clock: Arc::clone(clock),
            max_live: tenants.max_live,
            idle: tenants.idle,
            remember_unknown: tenants.remember_unknown,
            wait: tenants.wait,
            private_addresses: tenants.private_addresses,
            proofs,
            first: Arc::new(Semaphore::new(tenants.first_fetches)),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds the tenant of an `iss`; `None` if it can't be one of these.
    pub(crate) fn find(self: &Arc<Self>, iss: &str) -> Option<Found> {
        let now = monotonic();
        let mut gone = Vec::new();
        let mut state = self.state();
        state.sweep(self.idle, now, &mut gone);
        if let Some(live) = state.live.get_mut(iss) {
            live.used = now;
            return Some(Found::Live(Arc::clone(&live.realm)));
        }
        let names = self.pattern.capture(iss)?;
        if state.unknown.get(iss).is_some_and(|until| now < *until) {
            return Some(Found::Unknown);
        }
        let unavailable = || Found::Later(Pending::new(std::future::ready(Err(unavailable()))));
        let outcome = match state.flights.get(iss) {
            Some(outcome) => outcome.clone(),
            None if state.flights.len() >= MAX_FLIGHTS => return Some(unavailable()),
            None => {
                let Ok(runtime) = Handle::try_current() else { return Some(unavailable()) };
                let issuer: Arc<str> = iss.into();
                let (told, outcome) = watch::channel(None);
                state.flights.insert(Arc::clone(&issuer), outcome.clone());
                let names = names.into_iter().map(str::to_owned).collect();
                let flight = Flight { directory: Arc::clone(self), issuer, told };
                runtime.spawn(flight.run(names));
                outcome
            }
        };
        drop(state);
        Some(Found::Later(Pending::new(arrival(outcome, self.wait))))
    }

    /// Returns the live tenant of an `iss`.
    pub(crate) fn live(&self, iss: &str) -> Option<Arc<Realm>> {
        self.state().live.get(iss).map(|live| Arc::clone(&live.realm))
    }

    /// Forgets a tenant, and ends what was remembered of its tokens.
    pub(crate) fn forget(&self, iss: &str) {
        let mut state = self.state();
        state.unknown.remove(iss);
        let gone = state.live.remove(iss);
        drop(state);
        if let Some(gone) = gone {
            gone.realm.end();
        }
    }

    /// Makes a tenant live, in place of the least recently used one if there are too many.
    fn settle(&self, issuer: &Arc<str>, realm: &Arc<Realm>) {
        let now = monotonic();
        let mut gone = Vec::new();
        let mut state = self.state();
        while state.live.len() >= self.max_live {
            state.note_uses(now);
            let oldest = state.live.iter().min_by_key(|(_, live)| live.used);
            let Some(oldest) = oldest.map(|(issuer, _)| Arc::clone(issuer)) else { break };
            gone.extend(state.live.remove(&oldest));
        }
        let live = Live { realm: Arc::clone(realm), used: now };
        gone.extend(state.live.insert(Arc::clone(issuer), live));
        // What ends with the last handle of a key source isn't for others to wait for.
        drop(state);
    }

    fn remember_unknown(&self, issuer: &Arc<str>) {
        let now = monotonic();
        let mut state = self.state();
        let until = now.checked_add(self.remember_unknown).unwrap_or(now);
        if state.unknown.insert(Arc::clone(issuer), until).is_none() {
            state.in_order.push_back(Arc::clone(issuer));
        }
        while state.in_order.len() > MAX_UNKNOWN {
            let Some(oldest) = state.in_order.pop_front() else { break };
            state.unknown.remove(&oldest);
        }
    }
}

impl State {
    /// Notes which tenants remembered tokens came from meanwhile.
    fn note_uses(&mut self, now: Instant) {
        for live in self.live.values_mut() {
            if live.realm.was_used() {
                live.used = now;
            }
        }
    }

    /// Takes those out that were idle for so long, now and then.
    fn sweep(&mut self, idle: Duration, now: Instant, gone: &mut Vec<Live>) {
        let between = idle.checked_div(8).unwrap_or(idle);
        let due = self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= between);
        if !due {
            return;
        }
        self.swept = Some(now);
        self.note_uses(now);
        let is_idle = |live: &Live| now.saturating_duration_since(live.used) >= idle;
        gone.extend(self.live.extract_if(|_, live| is_idle(live)).map(|(_, live)| live));
    }
}

/// Waits for what a flight comes to.
async fn arrival(
    mut outcome: watch::Receiver<Option<Outcome>>,
    wait: Duration,
) -> Result<Arc<Realm>, Refusal> {
    let arrived = timeout(wait, outcome.wait_for(Option::is_some)).await;
    // Without an outcome, the resolver panicked.
    let outcome = arrived.ok().and_then(Result::ok).and_then(|outcome| outcome.clone());
    match outcome {
        Some(Outcome::Live(realm)) => Ok(realm),
        Some(Outcome::Unknown) => Err(RejectionKind::WrongIssuer.into()),
        Some(Outcome::Unavailable) | None => Err(unavailable()),
    }
}

fn unavailable() -> Refusal {
    Unavailable::new(UnavailableReason::TenantUnavailable, Duration::from_secs(1)).into()
}

/// One tenant on its way to be live. It goes on though the request that began it has gone away; its
/// time is bounded.
struct Flight {
    directory: Arc<Directory>,
    issuer: Arc<str>,
    told: watch::Sender<Option<Outcome>>,
}

impl Flight {
    async fn run(self, names: Vec<String>) {
        let outcome = self.fly(names).await;
        // Those who wait are told before others begin anew.
        self.told.send_replace(Some(outcome));
    }

    async fn fly(&self, names: Vec<String>) -> Outcome {
        let Directory { resolver, first, wait, .. } = &*self.directory;
        let Ok(Ok(_permit)) = timeout(*wait, first.acquire()).await else {
            return Outcome::Unavailable;
        };
        let tenant = Tenant::new(Arc::clone(&self.issuer), names);
        let resolved = match timeout(*wait, async { resolver.resolve(tenant).await }).await {
            Ok(Ok(resolved)) => resolved,
            Ok(Err(_error)) => {
                event!(WARN, error = ?_error, "tenant_resolver: the resolver failed");
                return Outcome::Unavailable;
            }
            Err(_) => {
                event!(WARN, "tenant_resolver: the resolver takes too long");
                return Outcome::Unavailable;
            }
        };
        let Some(issuer) = resolved else {
            self.directory.remember_unknown(&self.issuer);
            return Outcome::Unknown;
        };
        match self.build(issuer) {
            Ok(realm) => {
                self.directory.settle(&self.issuer, &realm);
                // Whether or not the keys are there then: those who wait are told by them why.
                if let Some(jwks) = realm.jwks() {
                    let _ = jwks.ready(*wait).await;
                }
                Outcome::Live(realm)
            }
            Err(_error) => {
                event!(ERROR, reason = %_error, "tenant_resolver: what it returned can't be used");
                Outcome::Unavailable
            }
        }
    }

    fn build(&self, issuer: Issuer) -> Result<Arc<Realm>, ConfigError> {
        let Directory { transport, private_addresses, proofs, clock, .. } = &*self.directory;
        let mut settings = issuer.settings;
        let asked = &*self.issuer;
        if settings.template.is_some()
            || settings.issuer != asked && !settings.more_issuers.iter().any(|it| it == asked)
        {
            return Err(ConfigError::new(
                "the resolver returned another issuer than it was asked for",
            ));
        }
        // The address may be anybody's.
        let keys = settings.keys.unwrap_or_else(|| Jwks::discover(&settings.issuer).into());
        settings.keys = Some(keys.for_a_tenant(transport.as_ref(), *private_addresses));
        settings.proofs = *proofs;
        realm(settings, clock, None)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.directory.state().flights.remove(&self.issuer);
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("pattern", self.pattern.text())
            .field("live", &self.state().live.len())
            .finish_non_exhaustive()
    }
}
