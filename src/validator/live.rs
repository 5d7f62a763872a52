//! The state of tenants: live, being resolved, or unknown.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::token::Entry;
use crate::validator::realm::Realm;

/// How many unknown tenants are remembered, and how many may be resolved at a time.
const MAX_UNKNOWN: usize = 1_024;
const MAX_FLIGHTS: usize = 1_024;

/// How many tenants that are no longer live can still be forgotten. Tokens of older ones become invalid.
const MAX_FORMER: usize = 4_096;

/// The result of the resolver and the first fetch.
#[derive(Clone)]
pub(crate) enum Outcome {
    Live(Arc<Realm>),
    Unknown,
    Unavailable,
}

/// The result of a flight, once it has one.
pub(crate) type Landing = watch::Receiver<Option<Outcome>>;

#[derive(Default)]
pub(crate) struct State {
    live: HashMap<Arc<str>, Live>,
    unknown: HashMap<Arc<str>, Instant>,
    /// The unknown ones, the oldest first.
    in_order: VecDeque<Arc<str>>,
    flights: HashMap<Arc<str>, Flight>,
    flown: u64,
    /// Those that were evicted, the oldest first: tokens of them may still be remembered.
    former: VecDeque<(Arc<str>, Weak<Entry>)>,
    /// When idle ones were last removed.
    swept: Option<Instant>,
}

struct Live {
    realm: Arc<Realm>,
    used: Instant,
}

struct Flight {
    number: u64,
    landing: Landing,
    /// Until when it is waited for.
    until: Instant,
}

/// The state of a tenant that isn't live.
pub(crate) enum Known {
    Unknown,
    /// It is being resolved.
    OnItsWay(Landing),
    /// Too many others are being resolved.
    TooMany,
    /// Nothing.
    Nothing,
}

impl State {
    pub(crate) fn count(&self) -> usize {
        self.live.len()
    }

    /// Returns the live tenant of an `iss`, and marks it as used.
    pub(crate) fn using(&mut self, iss: &str, now: Instant) -> Option<Arc<Realm>> {
        let live = self.live.get_mut(iss)?;
        live.used = now;
        Some(Arc::clone(&live.realm))
    }

    /// Returns the live tenant of an `iss`.
    pub(crate) fn live(&self, iss: &str) -> Option<Arc<Realm>> {
        self.live.get(iss).map(|live| Arc::clone(&live.realm))
    }

    /// Returns the state of the tenant of an `iss` that isn't live.
    pub(crate) fn known(&mut self, iss: &str, now: Instant) -> Known {
        if self.unknown.get(iss).is_some_and(|until| now < *until) {
            return Known::Unknown;
        }
        if self.flights.len() >= MAX_FLIGHTS {
            self.flights.retain(|_, flight| now < flight.until);
        }
        match self.flights.get(iss) {
            Some(flight) if now < flight.until => Known::OnItsWay(flight.landing.clone()),
            Some(_) => Known::Nothing,
            None if self.flights.len() >= MAX_FLIGHTS => Known::TooMany,
            None => Known::Nothing,
        }
    }

    /// Notes that a tenant is being resolved, until that time at most, and returns the flight's number.
    pub(crate) fn begin(&mut self, issuer: &Arc<str>, landing: Landing, until: Instant) -> u64 {
        self.flown = self.flown.wrapping_add(1);
        let flight = Flight { number: self.flown, landing, until };
        self.flights.insert(Arc::clone(issuer), flight);
        self.flown
    }

    /// Returns `true` unless the tenant was forgotten since this flight began.
    fn is_under_way(&self, issuer: &str, number: u64) -> bool {
        self.flights.get(issuer).is_some_and(|flight| flight.number == number)
    }

    pub(crate) fn end(&mut self, issuer: &str, number: u64) {
        if self.is_under_way(issuer, number) {
            self.flights.remove(issuer);
        }
    }

    /// Makes a tenant live, in place of the least recently used one if there are too many. Returns `true` if
    /// it is live: not if it was forgotten meanwhile.
    ///
    /// What is evicted goes to `gone`, to be dropped without the lock.
    pub(crate) fn settle(
        &mut self,
        (issuer, number): (&Arc<str>, u64),
        realm: &Arc<Realm>,
        (max_live, now): (usize, Instant),
        gone: &mut Vec<Arc<Realm>>,
    ) -> bool {
        if !self.is_under_way(issuer, number) {
            return false;
        }
        while self.live.len() >= max_live {
            self.note_uses(now);
            let oldest = self.live.iter().min_by_key(|(_, live)| live.used);
            let Some(oldest) = oldest.map(|(issuer, _)| Arc::clone(issuer)) else { break };
            if let Some(live) = self.live.remove(&oldest) {
                self.retire(oldest, live, gone);
            }
        }
        let live = Live { realm: Arc::clone(realm), used: now };
        if let Some(before) = self.live.insert(Arc::clone(issuer), live) {
            self.retire(Arc::clone(issuer), before, gone);
        }
        true
    }

    /// Remembers that there is no such tenant. Returns `true` if that is still valid.
    pub(crate) fn remember_unknown(
        &mut self,
        (issuer, number): (&Arc<str>, u64),
        until: Instant,
    ) -> bool {
        if !self.is_under_way(issuer, number) {
            return false;
        }
        if self.unknown.insert(Arc::clone(issuer), until).is_none() {
            self.in_order.push_back(Arc::clone(issuer));
        }
        while self.in_order.len() > MAX_UNKNOWN {
            let Some(oldest) = self.in_order.pop_front() else { break };
            self.unknown.remove(&oldest);
        }
        true
    }

    /// Forgets a tenant: that there is none, or that it is live, or being resolved. Its remembered tokens become
    /// invalid, also if it is no longer live. Returns what to drop without the lock.
    pub(crate) fn forget(&mut self, iss: &str) -> Option<Arc<Realm>> {
        if self.unknown.remove(iss).is_some() {
            self.in_order.retain(|issuer| **issuer != *iss);
        }
        self.flights.remove(iss);
        self.former.retain(|(issuer, entry)| {
            let entry = entry.upgrade();
            let is_it = **issuer == *iss;
            if let Some(entry) = entry.as_ref().filter(|_| is_it) {
                entry.end();
            }
            entry.is_some() && !is_it
        });
        let gone = self.live.remove(iss)?;
        gone.realm.end();
        Some(gone.realm)
    }

    /// Keeps of an evicted tenant what invalidates its remembered tokens.
    fn retire(&mut self, issuer: Arc<str>, live: Live, gone: &mut Vec<Arc<Realm>>) {
        if let Some(entry) = &live.realm.entry {
            if self.former.len() >= MAX_FORMER {
                self.tidy_up();
            }
            self.former.push_back((issuer, Arc::downgrade(entry)));
        }
        gone.push(live.realm);
    }

    /// Bounds the tenants that are no longer live: remembered tokens of the oldest become invalid.
    fn tidy_up(&mut self) {
        self.former.retain(|(_, entry)| entry.strong_count() > 0);
        while self.former.len() > MAX_FORMER / 4 * 3 {
            let oldest = self.former.pop_front().and_then(|(_, entry)| entry.upgrade());
            oldest.iter().for_each(|entry| entry.end());
        }
    }

    /// Marks the tenants as used whose remembered tokens were recalled meanwhile.
    fn note_uses(&mut self, now: Instant) {
        for live in self.live.values_mut() {
            if live.realm.was_used() {
                live.used = now;
            }
        }
    }

    /// Removes tenants that were idle for this long, now and then.
    pub(crate) fn sweep(&mut self, idle: Duration, now: Instant, gone: &mut Vec<Arc<Realm>>) {
        let between = idle.checked_div(8).unwrap_or(idle);
        let due = self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= between);
        if !due {
            return;
        }
        self.swept = Some(now);
        self.note_uses(now);
        let is_idle = |live: &Live| now.saturating_duration_since(live.used) >= idle;
        let swept: Vec<_> = self.live.extract_if(|_, live| is_idle(live)).collect();
        swept.into_iter().for_each(|(issuer, live)| self.retire(issuer, live, gone));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_that_was_forgotten_and_is_unknown_again_has_its_whole_time() {
        let (mut state, now) = (State::default(), crate::clock::monotonic());
        let unknown = |state: &mut State, name: &str| {
            let issuer: Arc<str> = name.into();
            let (_told, landing) = watch::channel(None);
            let number = state.begin(&issuer, landing, now + Duration::from_secs(9));
            assert!(state.remember_unknown((&issuer, number), now + Duration::from_secs(60)));
            state.end(&issuer, number);
        };
        unknown(&mut state, "x");
        assert!(state.forget("x").is_none());
        unknown(&mut state, "x");
        for other in 1..MAX_UNKNOWN {
            unknown(&mut state, &other.to_string());
        }
        assert!(matches!(state.known("x", now), Known::Unknown));
        unknown(&mut state, "one more");
        assert!(matches!(state.known("x", now), Known::Nothing));
    }

    #[test]
    fn resolutions_are_bounded_and_those_past_their_time_do_not_count() {
        let (mut state, now) = (State::default(), crate::clock::monotonic());
        let until = now + Duration::from_secs(1);
        for number in 0..MAX_FLIGHTS {
            state.begin(&number.to_string().into(), watch::channel(None).1, until);
        }
        assert!(matches!(state.known("0", now), Known::OnItsWay(_)));
        assert!(matches!(state.known("x", now), Known::TooMany));
        assert!(matches!(state.known("x", until), Known::Nothing));
    }
}
