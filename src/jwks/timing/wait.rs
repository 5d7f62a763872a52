//! Returns the keys for a token whose key is unknown: at once, or after one bounded wait.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cause::Cause;
use crate::clock::{has_timers, monotonic};
use crate::jose::Algorithm;
use crate::jwks::fetch::error::{FetchError, FetchErrorKind};
use crate::jwks::health::State;
use crate::jwks::kept::store::{KeysState, LoadedKeys};
use crate::jwks::refresher::SharedKeys;
use crate::jwks::timing::awaited::{Awaited, reason};
use crate::jwks::timing::control::{Attempts, SHORTEST_WAIT, wait_until};
use crate::jwks::timing::misses::MissDecision;
use crate::jwks::timing::schedule::after;
use crate::progress::{Pending, Progress};
use crate::refusal::{Unavailable, UnavailableReason};

impl SharedKeys {
    /// See [`Jwks::miss`](crate::jwks::Jwks::miss).
    pub(crate) fn miss(
        self: &Arc<Self>,
        seen: LoadedKeys,
        (algorithm, kid): (Algorithm, &str),
        token: [&[u8]; 2],
    ) -> Progress<LoadedKeys> {
        if self.config.fetching.is_none() {
            return Progress::Ready(Ok(seen));
        }
        if !self.ensure_running() {
            return self.refused(UnavailableReason::RefreshFailed, Duration::ZERO);
        }
        let token = self.digests.hash_one(token);
        let now = monotonic();
        let patience = after(now, self.config.request_wait);
        let mut control = self.control();
        if control.closed {
            return self.refused(UnavailableReason::ShutDown, Duration::ZERO);
        }
        let loaded = self.store.load(now);
        let generation = loaded.keys().generation();
        // A set that arrived since the caller's look may have the key. If it doesn't, that says nothing: it
        // was requested before this token arrived.
        if generation != seen.keys().generation() && loaded.keys().has(algorithm, kid) {
            return Progress::Ready(Ok(loaded));
        }
        let held = control.schedule.held(now);
        let before = control.due(now);
        let decision = control.misses.rule((algorithm, kid), token, now, patience, held);
        let hastened = control.due(now) != before;
        let flying = control.flying.map(|flying| flying.sequence);
        drop(control);
        if hastened {
            self.wake();
        }
        let (number, again, late, gives_up) = match decision {
            MissDecision::Tombstone => {
                self.report.kid_miss("tombstone");
                return Progress::Ready(Ok(loaded));
            }
            MissDecision::NegativeCached => {
                self.report.kid_miss("negative_cached");
                return Progress::Ready(Ok(loaded));
            }
            MissDecision::Await { number, again, place } => (number, again, place.is_some(), None),
            MissDecision::Limited { number, again, place } => match flying {
                // It may bring the key, though only the next one can show that there is none.
                Some(sequence) => (number, again, true, Some(sequence)),
                None => {
                    self.report.kid_miss("rate_limited");
                    return self.refused(UnavailableReason::RateLimited, wait_until(place, now));
                }
            },
        };
        self.wake();
        let (kid, key) = (kid.into(), algorithm);
        let target =
            Awaited::Key { algorithm: key, kid, generation, number, gives_up, again, late };
        self.wait_for(target, now)
    }

    /// See [`Jwks::wait_cold`](crate::jwks::Jwks::wait_cold).
    pub(crate) fn wait_cold(self: &Arc<Self>) -> Progress<LoadedKeys> {
        let running = self.ensure_running();
        let now = monotonic();
        // Keys are swapped under this lock. If they arrived just now, the next attempt is far away.
        let mut control = self.control();
        let state = self.store.load(now).state();
        if !running || state == KeysState::ShutDown {
            return self.refused(reason(state), Duration::ZERO);
        }
        control.schedule.start(now, state == KeysState::Cold);
        let waits = state == KeysState::Serving
            || control.flying.is_some()
            || control.schedule.next().is_none_or(|next| next <= now);
        if !waits {
            return self.refused(reason(state), control.retry_after(now));
        }
        let target = Awaited::Keys { after: self.progress.borrow().ended };
        drop(control);
        self.wake();
        self.wait_for(target, now)
    }

    /// Refuses with the error of the last attempt, if it failed.
    fn unavailable(&self, reason: UnavailableReason, wait: Duration) -> Unavailable {
        let error = self.progress.borrow().error.clone();
        let error = error.filter(|_| reason != UnavailableReason::ShutDown);
        Unavailable::new(reason, wait).because(error.map(|error| Arc::new(error) as Cause))
    }

    fn refused(&self, reason: UnavailableReason, wait: Duration) -> Progress<LoadedKeys> {
        Progress::Ready(Err(self.unavailable(reason, wait.max(SHORTEST_WAIT)).into()))
    }

    /// Waits for a refresh, no longer than a request may. Dropping the wait cancels nothing.
    fn wait_for(self: &Arc<Self>, target: Awaited, now: Instant) -> Progress<LoadedKeys> {
        let shared = Arc::clone(self);
        let mut progress = shared.progress.subscribe();
        let deadline = after(now, shared.config.request_wait);
        Progress::Pending(Pending::new(async move {
            let _waiting = Waiting::begin(&shared);
            // The task may be in another runtime than the request.
            if !has_timers() {
                let reason = UnavailableReason::RefreshFailed;
                return Err(shared.unavailable(reason, SHORTEST_WAIT).into());
            }
            let waiting = async {
                loop {
                    let now = progress.borrow_and_update().clone();
                    if let Some(outcome) = target.outcome(&shared, now) {
                        return outcome;
                    }
                    // The task may have ended, with its runtime.
                    shared.ensure_running();
                    if progress.changed().await.is_err() {
                        return Err(UnavailableReason::ShutDown);
                    }
                }
            };
            let outcome = tokio::time::timeout_at(deadline, waiting)
                .await
                .unwrap_or_else(|_| Err(target.timed_out()));
            target.count(&shared, &outcome);
            match outcome {
                Ok(loaded) => {
                    if loaded.exact_state() == State::Stale {
                        shared.report.stale_served();
                    }
                    Ok(loaded)
                }
                Err(reason) => Err(shared.unavailable(reason, target.retry_after(&shared)).into()),
            }
        }))
    }

    /// See [`Jwks::ready`](crate::jwks::Jwks::ready).
    pub(crate) async fn ready(self: &Arc<Self>, deadline: Duration) -> Result<(), Unavailable> {
        let running = self.ensure_running() && has_timers();
        let mut progress = self.progress.subscribe();
        let state = || self.store.load(monotonic()).state();
        let waiting = async {
            loop {
                // Before the state is read: whatever comes after this wakes.
                let closed = progress.borrow_and_update().closed;
                if closed || state() == KeysState::Serving {
                    break;
                }
                self.ensure_running();
                if progress.changed().await.is_err() {
                    break;
                }
            }
        };
        if running && state() != KeysState::Serving {
            self.control().schedule.start(monotonic(), state() == KeysState::Cold);
            self.wake();
            let _ = tokio::time::timeout(deadline, waiting).await;
        }
        match state() {
            KeysState::Serving => Ok(()),
            state => {
                let wait = self.control().retry_after(monotonic());
                Err(self.unavailable(reason(state), wait))
            }
        }
    }

    /// See [`Jwks::attempted`](crate::jwks::Jwks::attempted).
    pub(crate) async fn attempted(&self) {
        let serves = self.store.load(monotonic()).state() == KeysState::Serving;
        if serves || self.config.fetching.is_none() {
            return;
        }
        let is_over = |it: &Attempts| it.ended > 0 || it.closed || it.stopped;
        let _ = self.progress.subscribe().wait_for(is_over).await;
    }

    /// See [`Jwks::refresh`](crate::jwks::Jwks::refresh).
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<(), FetchError> {
        if self.config.fetching.is_none() {
            return Ok(());
        }
        if !self.ensure_running() {
            return Err(FetchErrorKind::NoRuntime.into());
        }
        let mut progress = self.progress.subscribe();
        let wanted = {
            let mut control = self.control();
            control.refresh = true;
            control.sequence.saturating_add(1)
        };
        self.wake();
        loop {
            let Attempts { ended, error, closed, .. } = progress.borrow_and_update().clone();
            if ended >= wanted {
                return error.map_or(Ok(()), Err);
            }
            // The task may have ended, with its runtime.
            if closed || !self.ensure_running() || progress.changed().await.is_err() {
                return Err(FetchErrorKind::ShutDown.into());
            }
        }
    }

    /// See [`Jwks::shutdown`](crate::jwks::Jwks::shutdown).
    pub(crate) async fn shutdown(&self) {
        self.close();
        let _ = self.progress.subscribe().wait_for(|progress| progress.stopped).await;
    }
}

/// Counts a waiter for as long as it waits.
struct Waiting<'a>(&'a SharedKeys);

impl<'a> Waiting<'a> {
    fn begin(shared: &'a SharedKeys) -> Self {
        shared.report.waits();
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.report.waits_no_longer();
    }
}

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::jwks::Jwks;
    use crate::testing::{ScriptedAnswer, ScriptedTransport, TestKey};

    fn set(kid: &str) -> ScriptedAnswer {
        let jwk = TestKey::generate(Algorithm::EdDSA).with_kid(kid).public_jwk();
        ScriptedAnswer::json(format!("{{\"keys\":[{jwk}]}}"))
    }

    async fn jwks(transport: &ScriptedTransport) -> Jwks {
        let builder = Jwks::url("https://issuer.test", "https://issuer.test/jwks");
        let jwks = builder.transport(transport.clone()).build().unwrap();
        jwks.ready(Duration::from_secs(9)).await.unwrap();
        jwks
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_came_since_the_look_are_looked_at_before_anything_is_fetched() {
        let transport = ScriptedTransport::new();
        transport.push(set("a"));
        transport.push(set("b"));
        let jwks = jwks(&transport).await;
        let load = || jwks.load(SystemClock.now());
        let seen = load();
        let generation = load().keys().generation();
        jwks.refresh().await.unwrap();
        assert_ne!(load().keys().generation(), generation);
        let Progress::Ready(Ok(now)) = jwks.miss(seen, (Algorithm::EdDSA, "b"), [b"b", b""]) else {
            panic!("they are there")
        };
        assert!(now.keys().has(Algorithm::EdDSA, "b"));
        assert_eq!(transport.request_count(), 2);

        let Progress::Pending(wait) = jwks.miss(load(), (Algorithm::EdDSA, "c"), [b"c", b""])
        else {
            panic!("no wait")
        };
        assert!(wait.await.is_err(), "the transport has no further answer");
        assert_eq!(transport.request_count(), 3);
    }
}
