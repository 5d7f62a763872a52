//! Finds the tenant of an `iss`: among the live ones, or by asking the resolver and fetching its keys.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock::{Clock, has_timers, monotonic};
use crate::error::{ConfigError, within};
use crate::jwks::Jwks;
use crate::progress::Pending;
use crate::refusal::{Refusal, RejectionKind, Unavailable, UnavailableReason};
use crate::slots::Slots;
use crate::telemetry::{Repeats, event};
use crate::transport::{CONNECT_TIMEOUT, Transport, default_transport};
use crate::validator::issuers::issuer::Issuer;
use crate::validator::issuers::pattern::Pattern;
use crate::validator::issuers::tenants::{Resolver, Tenant, Tenants};
#[cfg(feature = "introspection")]
use crate::validator::key_source::KeySource;
use crate::validator::live::{Known, Landing, Outcome, State};
use crate::validator::plan::realm;
use crate::validator::realm::Realm;
use crate::validator::shared::Common;

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
    common: Common,
    first: Slots,
    state: Mutex<State>,
    warned: Repeats<&'static str>,
}

/// How long a key source may take for one attempt, beyond the time that its tenant waits.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(60);

/// What is known of a tenant.
pub(crate) enum Found {
    Live(Arc<Realm>),
    Unknown,
    Later(Pending<Arc<Realm>>),
}

impl Directory {
    pub(crate) fn new(
        tenants: Tenants,
        clock: &Arc<dyn Clock>,
        common: Common,
    ) -> Result<Self, ConfigError> {
        const DAY: u64 = 24 * 60 * 60;
        let secs = Duration::from_secs;
        within("max_live", tenants.max_live, 1..=10_000)?;
        within("idle", tenants.idle, secs(60)..=secs(7 * DAY))?;
        within("remember_unknown", tenants.remember_unknown, secs(1)..=secs(3_600))?;
        within("wait", tenants.wait, Duration::from_millis(100)..=secs(30))?;
        within("first_fetches", tenants.first_fetches, 1..=64)?;
        let longest = tenants.wait.saturating_mul(2).saturating_add(LONGEST_ATTEMPT);
        // One for all tenants: each transport reads the system's certificates.
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
            common,
            first: Slots::new(tenants.first_fetches, usize::MAX, longest),
            state: Mutex::default(),
            warned: Repeats::new(),
        })
    }

    /// Returns the pattern of the tenants' issuers.
    pub(crate) fn pattern(&self) -> &str {
        self.pattern.text()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds the tenant of an `iss`; `None` if it can't be one of these.
    pub(crate) fn find(self: &Arc<Self>, iss: &str) -> Option<Found> {
        let now = monotonic();
        // Dropping the last handle of a key source takes time, for which others must not wait: it is dropped
        // after the lock.
        let mut gone = Vec::new();
        let mut state = self.state();
        state.sweep(self.idle, now, &mut gone);
        if let Some(realm) = state.using(iss, now) {
            return Some(Found::Live(realm));
        }
        let names = self.pattern.capture(iss)?;
        let unavailable = || Found::Later(Pending::new(std::future::ready(Err(unavailable()))));
        let landing = match state.known(iss, now) {
            Known::Unknown => return Some(Found::Unknown),
            Known::OnItsWay(landing) => landing,
            Known::TooMany => return Some(unavailable()),
            Known::Nothing => {
                let runtime = Handle::try_current().ok().filter(|_| has_timers());
                let Some(runtime) = runtime else { return Some(unavailable()) };
                let issuer: Arc<str> = iss.into();
                let (told, landing) = watch::channel(None);
                let until = now.checked_add(self.longest()).unwrap_or(now);
                let number = state.begin(&issuer, landing.clone(), until);
                drop(state);
                let names = names.into_iter().map(str::to_owned).collect();
                let flight = Flight { directory: Arc::clone(self), issuer, number, told };
                // A runtime that is shutting down drops the task at once, and with it its entry here.
                runtime.spawn(flight.run(names));
                landing
            }
        };
        Some(Found::Later(Pending::new(arrival(landing, self.wait))))
    }

    /// Returns how long the resolution of a tenant may take: the waits for a slot, the resolver and the keys. One
    /// that takes longer is on a runtime that exists but isn't driven.
    const fn longest(&self) -> Duration {
        self.wait.saturating_mul(4)
    }

    /// Returns the live tenant of an `iss`.
    pub(crate) fn live(&self, iss: &str) -> Option<Arc<Realm>> {
        self.state().live(iss)
    }

    /// Forgets a tenant, and invalidates its remembered tokens.
    pub(crate) fn forget(&self, iss: &str) {
        let gone = self.state().forget(iss);
        drop(gone);
    }
}

/// Waits for the result of a flight.
async fn arrival(mut landing: Landing, wait: Duration) -> Result<Arc<Realm>, Refusal> {
    let arrived = timeout(wait, landing.wait_for(Option::is_some)).await;
    // Without an outcome, the resolver panicked.
    let outcome = arrived.ok().and_then(Result::ok).and_then(|outcome| outcome.clone());
    match outcome {
        // Unless it was forgotten while its keys were fetched.
        Some(Outcome::Live(realm)) if !realm.has_ended() => Ok(realm),
        Some(Outcome::Unknown) => Err(RejectionKind::WrongIssuer.into()),
        Some(Outcome::Live(_) | Outcome::Unavailable) | None => Err(unavailable()),
    }
}

fn unavailable() -> Refusal {
    Unavailable::new(UnavailableReason::TenantUnavailable, Duration::from_secs(1)).into()
}

/// The resolution of one tenant. It continues if the request that began it is dropped; its
/// time is bounded.
struct Flight {
    directory: Arc<Directory>,
    issuer: Arc<str>,
    number: u64,
    told: watch::Sender<Option<Outcome>>,
}

impl Flight {
    async fn run(self, names: Vec<String>) {
        let directory = Arc::clone(&self.directory);
        let slot = timeout(directory.wait, directory.first.enter()).await;
        let outcome = match &slot {
            Ok(Some(_)) => self.fly(names).await,
            Ok(None) | Err(_) => Outcome::Unavailable,
        };
        // Waiting requests are notified before others begin again.
        self.told.send_replace(Some(outcome.clone()));
        drop(self);
        // A fetch that hangs keeps its place among the first fetches until it has ended.
        if let Outcome::Live(realm) = outcome
            && let Some(jwks) = realm.jwks()
        {
            jwks.attempted().await;
        }
        drop(slot);
    }

    async fn fly(&self, names: Vec<String>) -> Outcome {
        let Directory { resolver, wait, warned, .. } = &*self.directory;
        // Anyone can send a token of a tenant that can't be resolved.
        let times = |what| warned.record(what, monotonic());
        let tenant = Tenant::new(Arc::clone(&self.issuer), names);
        let resolved = match timeout(*wait, async { resolver.resolve(tenant).await }).await {
            Ok(Ok(resolved)) => resolved,
            Ok(Err(_error)) => {
                if let Some(_times) = times("failed") {
                    event!(WARN, error = ?_error, times = _times, "tenant_resolver: the resolver failed");
                }
                return Outcome::Unavailable;
            }
            Err(_) => {
                if let Some(_times) = times("late") {
                    event!(WARN, times = _times, "tenant_resolver: the resolver takes too long");
                }
                return Outcome::Unavailable;
            }
        };
        let Some(issuer) = resolved else {
            return if self.is_unknown() { Outcome::Unknown } else { Outcome::Unavailable };
        };
        match self.build(issuer) {
            Ok(realm) => {
                if !self.settle(&realm) {
                    return Outcome::Unavailable;
                }
                // Whether or not the keys have arrived: waiting requests learn the reason from them.
                if let Some(jwks) = realm.jwks() {
                    let _ = jwks.ready(*wait).await;
                }
                Outcome::Live(realm)
            }
            Err(_error) => {
                if let Some(_times) = times("unusable") {
                    event!(
                        ERROR,
                        reason = %_error,
                        times = _times,
                        "tenant_resolver: what it returned can't be used"
                    );
                }
                Outcome::Unavailable
            }
        }
    }

    /// Makes the tenant live, unless it was forgotten meanwhile: the resolver's answer may be out of
    /// date.
    fn settle(&self, realm: &Arc<Realm>) -> bool {
        let Directory { max_live, .. } = *self.directory;
        let mut gone = Vec::new();
        let flight = (&self.issuer, self.number);
        self.directory.state().settle(flight, realm, (max_live, monotonic()), &mut gone)
    }

    /// Remembers that there is no such tenant, unless that was forgotten meanwhile.
    fn is_unknown(&self) -> bool {
        let now = monotonic();
        let until = now.checked_add(self.directory.remember_unknown).unwrap_or(now);
        self.directory.state().remember_unknown((&self.issuer, self.number), until)
    }

    fn build(&self, issuer: Issuer) -> Result<Arc<Realm>, ConfigError> {
        let Directory { transport, private_addresses, common, clock, .. } = &*self.directory;
        let mut settings = issuer.settings;
        let asked = &*self.issuer;
        if settings.template.is_some()
            || settings.issuer != asked && !settings.more_issuers.iter().any(|it| it == asked)
        {
            return Err(ConfigError::new(
                "the resolver returned another issuer than it was asked for",
            ));
        }
        #[cfg(feature = "introspection")]
        if settings.introspection.is_some()
            || settings.keys.as_ref().and_then(KeySource::introspection).is_some()
        {
            return Err(ConfigError::new(
                "the resolver returned an issuer that is asked about tokens: list it with \
                 Validator::issuers, since a token that isn't a JWT doesn't name its issuer",
            ));
        }
        // The address may come from any tenant.
        let keys = settings.keys.unwrap_or_else(|| Jwks::discover(&settings.issuer).into());
        settings.keys = Some(keys.for_a_tenant(transport.as_ref(), *private_addresses)?);
        settings.common = *common;
        realm(settings, clock, None)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.directory.state().end(&self.issuer, self.number);
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("pattern", self.pattern.text())
            .field("live", &self.state().count())
            .finish_non_exhaustive()
    }
}
