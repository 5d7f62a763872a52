//! A fetch in a task of its own: it goes on when those who wait for it go away.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use zeroize::Zeroizing;

use crate::client::grant::definition::Grant;
use crate::client::grant::error::{TokenError, TokenErrorKind};
use crate::client::grant::exchange::{Fetched, Gate, fetch};
use crate::client::shared::cache::{Lease, Locked, Sealed, SharedCache};
use crate::client::shared::seal::{Names, Stored};
use crate::client::tokens::cache::{Entry, Order};
use crate::client::tokens::core::Core;
use crate::client::tokens::expiry;
use crate::client::tokens::failed::RefusedFetch;
use crate::client::tokens::held::Held;
use crate::client::tokens::slots::Urgency;
use crate::client::tokens::token::Token;
use crate::clock::{jitter, monotonic};
use crate::credentials::known::Known;
use crate::credentials::provider::{SecretError, SecretErrorKind};
use crate::digest::Digest;
use crate::scope::ScopeSet;
use crate::telemetry::{count, event, observe};

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

/// Returns `false` if tasks in this runtime get no time: it is kept, and not run.
pub(crate) async fn is_run(runtime: &Handle) -> bool {
    let (tell, told) = oneshot::channel();
    runtime.spawn(async move { tell.send(()) });
    // A runtime that has ended has dropped the fetch, which is another matter.
    timeout(Duration::from_secs(1), told).await.is_ok()
}

/// Between two looks at what another process is fetching.
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

/// What the shared cache gave.
enum Consulted {
    /// A token that another process has fetched.
    Found(Held),
    /// Nothing: fetch, with the right to do so, or without where the store doesn't work.
    Nothing(Option<Lease>),
}

impl Flight {
    async fn run(self, mut order: Order) {
        let known = match self.secret(&order).await {
            Ok(known) => known,
            Err(None) => {
                let error = order.probe.take().map(|(error, _)| error);
                let error = error.unwrap_or_else(|| TokenError::new(TokenErrorKind::TimedOut));
                return self.entry.land_unchanged(order, error);
            }
            Err(Some(error)) => {
                let refused = RefusedFetch { error, secrets: Vec::new() };
                return self.failed(order, refused);
            }
        };
        let refused = order.probe.take().map(|(_, refused)| refused).unwrap_or_default();
        // A token that is bound to this process's certificate is no good to others, nor theirs here.
        let by_certificate = self.grant.definition().by_certificate;
        let Some(shared) = self.core.shared.as_ref().filter(|_| !by_certificate) else {
            match self.fetch(known, refused).await {
                Ok(fetched) => {
                    let held = self.hold(&fetched, None);
                    self.entry.finish(order, Ok((fetched.token, held)), monotonic());
                }
                Err(refused) => self.failed(order, refused),
            }
            return;
        };
        let fingerprint = known.as_ref().map(|known| *known.fingerprint()).unwrap_or_default();
        let names = self.names(shared, &fingerprint);
        // It serves others until there is another, which takes its place in the store.
        let stale = order.held.as_ref().filter(|_| order.suspect);
        let stale = stale.and_then(|held| held.sealed.clone());
        let lease = match self.consult(shared, &names, &order).await {
            Consulted::Found(held) => {
                count!("tower_bearer_client_cache_hits_total", "cache" => "l2");
                let token = held.token.clone();
                return self.entry.finish(order, Ok((token, Some(held))), monotonic());
            }
            Consulted::Nothing(lease) => lease,
        };
        match self.fetch(known, refused).await {
            Ok(fetched) => {
                // Another secret than the one at first may have been the right one.
                let key = self.names(shared, &fetched.fingerprint()).value;
                let sealed = seal(shared, &key, &fetched);
                let held = self.hold(&fetched, sealed.clone());
                let ttl = held.as_ref().map(|held| held.serves_for(monotonic()));
                // Those who wait needn't wait for the store.
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

    /// Returns the secret to begin with, if the client has one.
    async fn secret(&self, order: &Order) -> Result<Option<Known>, Option<TokenError>> {
        let Some(source) = self.grant.definition().auth.source() else { return Ok(None) };
        if order.reset {
            source.reset();
        }
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
        known: Option<Known>,
        refused: Vec<Known>,
    ) -> Result<Fetched, RefusedFetch> {
        let started = monotonic();
        let gate = Gate { urgency: &self.urgency, deadline: self.deadline };
        let fetching = fetch(&self.core, self.grant.definition(), known, refused, gate);
        let result = within(self.deadline, fetching).await;
        observe!(
            "tower_bearer_client_fetch_duration_seconds",
            monotonic().saturating_duration_since(started).as_secs_f64()
        );
        if result.is_ok() {
            count!("tower_bearer_client_fetches_total", "result" => "ok");
        }
        result
    }

    fn failed(&self, order: Order, mut refused: RefusedFetch) {
        refused.error = refused.error.about(self.grant.party());
        let error = &refused.error;
        count!("tower_bearer_client_fetches_total", "result" => error.label());
        event!(
            WARN,
            host = self.grant.host(),
            client_id = self.grant.client_id(),
            tenant = error.tenant(),
            issuer = error.issuer(),
            endpoint = error.token_endpoint(),
            permanent = error.is_permanent(),
            error = %crate::cause::Report(error),
            "client_retrieval_failed: no token could be had"
        );
        self.entry.finish(order, Err(refused), monotonic());
    }

    fn names(&self, shared: &SharedCache, fingerprint: &Digest) -> Names {
        shared.names(self.grant.distinction(), fingerprint)
    }

    fn hold(&self, fetched: &Fetched, sealed: Option<Sealed>) -> Option<Held> {
        let now = monotonic();
        let age = now.saturating_duration_since(fetched.asked);
        let token = fetched.token.clone();
        Held::new(token, age, fetched.lifetime?, now, fetched.obtained, sealed)
    }

    /// Looks for the token that another process has fetched, or is fetching, for a bounded time.
    async fn consult(&self, shared: &SharedCache, names: &Names, order: &Order) -> Consulted {
        if let Some(held) = self.find(shared, names, order).await {
            return Consulted::Found(held);
        }
        // Long enough for the other's fetch, and leaving time for one of our own.
        let end = self.deadline.checked_sub(self.core.limits.timeout).unwrap_or(self.deadline);
        let mut pause = Duration::from_millis(25);
        loop {
            match shared.lock(&names.lock, self.core.timeout).await {
                Locked::Taken(lease) => {
                    // The other may have been done in between.
                    let Some(held) = self.find(shared, names, order).await else {
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
            if let Some(held) = self.find(shared, names, order).await {
                return Consulted::Found(held);
            }
        }
    }

    /// Returns the token of the shared cache, if it is newer than ours and no server refused it.
    async fn find(&self, shared: &SharedCache, names: &Names, order: &Order) -> Option<Held> {
        let (stored, sealed) = shared.get(&names.value).await?;
        let (now, wall) = (monotonic(), self.core.clock.now());
        // The age of a token from the future is unknown; a small difference is within the margin.
        if stored.obtained.saturating_since(wall) > expiry::margin(stored.lifetime) {
            return None;
        }
        let age = wall.saturating_since(stored.obtained);
        let left = stored.lifetime.saturating_sub(age);
        let scopes = stored.scopes.as_deref().map(ScopeSet::parse);
        let begin = now.checked_sub(age).unwrap_or(now);
        let token = Token::new(stored.access_token.as_bytes(), scopes, begin, after(now, left))?;
        let is_ours = order
            .held
            .as_ref()
            .is_some_and(|held| held.token.is_same(&token) || stored.obtained <= held.obtained);
        let is_rejected = order.rejected.as_ref().is_some_and(|it| it.is_same(&token));
        let is_older = order.floor.is_some_and(|floor| stored.obtained <= floor);
        if is_ours || is_rejected || is_older {
            return None;
        }
        Held::new(token, age, stored.lifetime, now, stored.obtained, Some(sealed))
    }
}

fn seal(shared: &SharedCache, key: &str, fetched: &Fetched) -> Option<Sealed> {
    let stored = Stored {
        access_token: Zeroizing::new(fetched.token.expose_secret().to_owned()),
        scopes: fetched.token.granted_scopes().map(ToString::to_string),
        obtained: fetched.obtained,
        lifetime: fetched.lifetime?,
    };
    shared.seal(key, &stored)
}

async fn within(
    deadline: Instant,
    fetching: impl Future<Output = Result<Fetched, RefusedFetch>>,
) -> Result<Fetched, RefusedFetch> {
    timeout_at(deadline, fetching).await.unwrap_or_else(|_| {
        Err(RefusedFetch { error: TokenError::new(TokenErrorKind::TimedOut), secrets: Vec::new() })
    })
}
