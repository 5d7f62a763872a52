//! Runs one fetch in its own task, which continues if its callers are dropped, through the shared cache.

use std::future::{Future, poll_fn};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use zeroize::Zeroizing;

use crate::client::dpop::Key;
use crate::client::grant::definition::Grant;
use crate::client::grant::error::{TokenError, TokenErrorKind};
use crate::client::grant::fetch::{Fetched, Gate, fetch};
use crate::client::shared::cache::{Lease, Locked, Sealed, SharedCache};
use crate::client::shared::stored::{Names, Stored};
use crate::client::tokens::cache::{Entry, Order};
use crate::client::tokens::core::Core;
use crate::client::tokens::expiry;
use crate::client::tokens::failed::RefusedFetch;
use crate::client::tokens::held::Held;
use crate::client::tokens::report;
use crate::client::tokens::slots::Urgency;
use crate::client::tokens::token::Token;
use crate::client::tokens::token_binding::TokenBinding;
use crate::clock::{jitter, monotonic};
use crate::credentials::fingerprinted::FingerprintedSecret;
use crate::credentials::provider::{SecretError, SecretErrorKind};
use crate::digest::Parts;
use crate::scope::ScopeSet;
use crate::telemetry::{count, observe};

/// Starts a fetch.
pub(crate) fn start(
    core: &Arc<Core>,
    grant: &Grant,
    entry: &Arc<Entry>,
    order: Order,
    runtime: &Handle,
) {
    let flight = Flight {
        core: Arc::clone(core),
        grant: grant.clone(),
        entry: Arc::clone(entry),
        deadline: after(monotonic(), core.timeout),
        urgency: order.urgency.clone(),
    };
    let polled = order.polled.clone();
    let mut run = Box::pin(flight.run(order));
    runtime.spawn(poll_fn(move |cx| polled.during(|| run.as_mut().poll(cx))));
}

/// Returns `false` if nothing drives this runtime, so that its tasks make no progress.
pub(crate) async fn is_run(runtime: &Handle) -> bool {
    let (tell, told) = oneshot::channel();
    runtime.spawn(async move { tell.send(()) });
    // A runtime that has ended has dropped the fetch, which its waiters see by themselves.
    timeout(Duration::from_secs(1), told).await.is_ok()
}

/// The time between two lookups of a token that another process is fetching.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

fn after(start: Instant, duration: Duration) -> Instant {
    start.checked_add(duration).unwrap_or(start)
}

struct Flight {
    core: Arc<Core>,
    grant: Grant,
    entry: Arc<Entry>,
    deadline: Instant,
    urgency: Urgency,
}

/// The result of consulting the shared cache.
enum Consulted {
    /// There is a token that another process has fetched.
    Found(Held),
    /// There is none: fetch, with a lease, or without where the store doesn't work.
    Nothing(Option<Lease>),
}

impl Flight {
    async fn run(self, mut order: Order) {
        if mem::take(&mut order.reset) {
            self.grant.definition().reset_sources();
        }
        let binding =
            TokenBinding::current(&self.core, self.grant.definition(), self.deadline).await;
        let binding = match binding {
            Ok(binding) => binding,
            Err(error) => return self.failed(order, RefusedFetch::new(error, Vec::new())),
        };
        // The fetch was only due to check what the token is bound to, and that is unchanged.
        let now = monotonic();
        let same = |held: &&Arc<Held>| now < held.due && binding.matches(held);
        let again = order.held.as_ref().filter(same).filter(|_| !order.suspect);
        if let Some(again) = again.map(|held| binding.apply_to((**held).clone(), now))
            && self.entry.finish_confirmed(&mut order, again)
        {
            return;
        }
        let known = match self.secret(&order).await {
            Ok(known) => known,
            Err(None) => {
                let error = order.probe.take().map(|(error, _)| error);
                let error = error.unwrap_or_else(|| TokenError::new(TokenErrorKind::TimedOut));
                return self.entry.finish_unsent(order, error, None);
            }
            Err(Some(error)) => return self.failed(order, RefusedFetch::new(error, Vec::new())),
        };
        let refused = order.probe.take().map(|(_, refused)| refused).unwrap_or_default();
        // Other processes can't use a token that is bound to, or granted for, what only this process has.
        let Some(shared) = self.core.shared.as_ref().filter(|_| self.grant.is_shareable()) else {
            match self.fetch(known, &binding, refused).await {
                Ok(fetched) => {
                    let held = self.hold(&fetched, &binding, None);
                    self.entry.finish(order, Ok((fetched.token, held)), monotonic());
                }
                Err(refused) => self.failed(order, refused),
            }
            return;
        };
        let names = self.names(shared, known.as_ref(), &binding);
        // It stays for other processes until the new token replaces it in the store.
        let stale = order.held.as_ref().filter(|_| order.suspect);
        let stale = stale.and_then(|held| held.sealed.clone());
        let lease = match self.consult(shared, (&names, &binding), &order).await {
            Consulted::Found(held) => {
                count!("tower_bearer_client_cache_hits_total", "cache" => "l2");
                let token = held.token.clone();
                return self.entry.finish(order, Ok((token, Some(held))), monotonic());
            }
            Consulted::Nothing(lease) => lease,
        };
        match self.fetch(known, &binding, refused).await {
            Ok(fetched) => {
                // The fetch may have succeeded with another secret than the first.
                let name = self.names(shared, fetched.known.as_ref(), &binding).value;
                let sealed = seal(shared, &name, &fetched);
                let held = self.hold(&fetched, &binding, sealed.clone());
                let ttl = held.as_ref().map(|held| held.serves_for(monotonic()));
                // Calls that wait needn't wait for the store.
                self.entry.finish(order, Ok((fetched.token, held)), monotonic());
                if let (Some(sealed), Some(ttl)) = (&sealed, ttl) {
                    shared.put(sealed, ttl).await;
                }
                if let Some(stale) = stale {
                    let replaced = sealed.is_some_and(|sealed| sealed.key == stale.key);
                    if !replaced {
                        shared.remove(&stale).await;
                    }
                }
            }
            Err(refused) => self.failed(order, refused),
        }
        if let Some(lease) = lease {
            shared.unlock(&lease).await;
        }
    }

    /// Returns the secret for the first attempt, if the client has one.
    async fn secret(
        &self,
        order: &Order,
    ) -> Result<Option<FingerprintedSecret>, Option<TokenError>> {
        let Some(source) = self.grant.definition().auth.source() else { return Ok(None) };
        if let Some((_, refused)) = &order.probe {
            let other = source.other_than(refused, self.core.limits.timeout);
            let other = timeout_at(self.deadline, other).await.ok().flatten();
            return other.map(Some).ok_or(None);
        }
        let known = timeout_at(self.deadline, source.current(self.core.limits.timeout)).await;
        let known = known.unwrap_or(Err(SecretError::new(SecretErrorKind::Unavailable)));
        known.map(Some).map_err(|error| Some(TokenError::credentials(error)))
    }

    async fn fetch(
        &self,
        known: Option<FingerprintedSecret>,
        binding: &TokenBinding,
        refused: Vec<FingerprintedSecret>,
    ) -> Result<Fetched, RefusedFetch> {
        let started = monotonic();
        let gate =
            Gate { urgency: &self.urgency, deadline: self.deadline, callers: self.entry.callers() };
        let key = binding.key.as_ref();
        let fetching = fetch(&self.core, &self.grant, known, key, refused, gate);
        let result = within(self.deadline, fetching).await;
        if result.as_ref().err().is_none_or(|refused| !refused.is_unsent) {
            observe!(
                "tower_bearer_client_fetch_duration_seconds",
                monotonic().saturating_duration_since(started).as_secs_f64()
            );
        }
        if result.is_ok() {
            report::ended(&self.grant, "ok");
        }
        result
    }

    fn failed(&self, order: Order, mut refused: RefusedFetch) {
        refused.error = refused.error.about(self.grant.party());
        if refused.is_unsent {
            let until = refused.error.retry_after().map(|wait| after(monotonic(), wait));
            return self.entry.finish_unsent(order, refused.error, until);
        }
        let callers = self.entry.callers();
        if let Some((callers, begun)) = callers.zip(order.begun) {
            callers.note(&refused.error, begun, monotonic());
        }
        report::failed(&self.grant, &refused.error, callers);
        self.entry.finish(order, Err(refused), monotonic());
    }

    /// Names the token of this grant, as obtained with this secret and bound to this key.
    fn names(
        &self,
        shared: &SharedCache,
        known: Option<&FingerprintedSecret>,
        binding: &TokenBinding,
    ) -> Names {
        let holder = self.grant.definition().auth.holder(known);
        let of_both =
            |key: &Arc<Key>| Parts::new("bound").part(holder).part(key.thumbprint()).finish();
        shared.names(self.grant.distinction(), &binding.key.as_ref().map_or(holder, of_both))
    }

    fn hold(
        &self,
        fetched: &Fetched,
        binding: &TokenBinding,
        sealed: Option<Sealed>,
    ) -> Option<Held> {
        let now = monotonic();
        let age = now.saturating_duration_since(fetched.asked);
        let token = fetched.token.clone();
        let held = Held::new(token, age, fetched.lifetime?, now, fetched.obtained, sealed)?;
        let held = if fetched.is_last { held.until_the_end() } else { held };
        Some(binding.apply_to(held, now))
    }

    /// Looks for a token that another process has fetched, or waits for it to do so, for a bounded time.
    async fn consult(
        &self,
        shared: &SharedCache,
        (names, binding): (&Names, &TokenBinding),
        order: &Order,
    ) -> Consulted {
        let find = async || self.find(shared, &names.value, binding, order).await;
        if let Some(held) = find().await {
            return Consulted::Found(held);
        }
        if self.entry.callers().is_some_and(|callers| callers.look(monotonic()).is_err()) {
            return Consulted::Nothing(None);
        }
        // Long enough for the other's fetch, and leaves time for a fetch by this process.
        let end = self.deadline.checked_sub(self.core.limits.timeout).unwrap_or(self.deadline);
        let mut pause = Duration::from_millis(25);
        loop {
            match shared.lock(&names.lock, self.core.timeout).await {
                Locked::Taken(lease) => {
                    // The other process may have finished before the lock was taken.
                    let Some(held) = find().await else {
                        return Consulted::Nothing(Some(lease));
                    };
                    shared.unlock(&lease).await;
                    return Consulted::Found(held);
                }
                Locked::Busy if monotonic() < end => {}
                Locked::Busy | Locked::Unknown => return Consulted::Nothing(None),
            }
            sleep(pause.mul_f64(1.0 + jitter())).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            if let Some(held) = find().await {
                return Consulted::Found(held);
            }
        }
    }

    /// Returns the token of the shared cache, if it is newer than the held one and no server refused it.
    async fn find(
        &self,
        shared: &SharedCache,
        name: &str,
        binding: &TokenBinding,
        order: &Order,
    ) -> Option<Held> {
        let (stored, sealed) = shared.get(name).await?;
        let (now, wall) = (monotonic(), self.core.clock.now());
        // A token from the future has an unknown age; a small difference is within the margin.
        if stored.obtained.saturating_since(wall) > expiry::margin(stored.lifetime) {
            return None;
        }
        let age = wall.saturating_since(stored.obtained);
        // It is used no longer than the caller's token that this process has.
        let caller = self.grant.caller().and_then(|caller| caller.expires);
        let for_caller = caller.map(|expires| age.saturating_add(expires.saturating_since(wall)));
        let is_last = for_caller.is_some_and(|longest| longest <= stored.lifetime);
        let lifetime = for_caller.into_iter().fold(stored.lifetime, Duration::min);
        let left = lifetime.saturating_sub(age);
        let scopes = stored.scopes.as_deref().map(ScopeSet::parse);
        let begin = now.checked_sub(age).unwrap_or(now);
        let (text, end) = (stored.access_token.as_bytes(), after(now, left));
        let token =
            Token::new(text, scopes, begin, end, binding.key.clone().filter(|_| stored.is_bound))?;
        let is_ours = order
            .held
            .as_ref()
            .is_some_and(|held| held.token.is_same(&token) || stored.obtained <= held.obtained);
        let is_rejected = order.rejected.as_ref().is_some_and(|it| it.is_same(&token));
        let is_older = order.floor.is_some_and(|floor| stored.obtained <= floor);
        if is_ours || is_rejected || is_older {
            return None;
        }
        let held = Held::new(token, age, lifetime, now, stored.obtained, Some(sealed))?;
        let held = if is_last { held.until_the_end() } else { held };
        Some(binding.apply_to(held, now))
    }
}

fn seal(shared: &SharedCache, name: &str, fetched: &Fetched) -> Option<Sealed> {
    let stored = Stored {
        access_token: Zeroizing::new(fetched.token.expose_secret().to_owned()),
        scopes: fetched.token.granted_scopes().map(ToString::to_string),
        obtained: fetched.obtained,
        lifetime: fetched.lifetime?,
        is_bound: fetched.token.bound().is_some(),
    };
    shared.seal(name, &stored)
}

async fn within(
    deadline: Instant,
    fetching: impl Future<Output = Result<Fetched, RefusedFetch>>,
) -> Result<Fetched, RefusedFetch> {
    timeout_at(deadline, fetching).await.unwrap_or_else(|_| {
        Err(RefusedFetch::new(TokenError::new(TokenErrorKind::TimedOut), Vec::new()))
    })
}
