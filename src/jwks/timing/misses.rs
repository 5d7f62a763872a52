//! What is known about `kid`s without a key, and which of them may cause a fetch.

use std::time::Duration;

use tokio::time::Instant;

use crate::jose::Algorithm;
use crate::jwks::kept::lru::Lru;
use crate::jwks::timing::budget::Budget;
use crate::jwks::timing::schedule::after;

/// What is known about `kid`s without a key. Bounded in all its parts.
#[derive(Debug)]
pub(crate) struct Misses {
    cooldown: Duration,
    /// The `kid`s that were asked for recently.
    asked: Lru<Asked>,
    /// The `kid`s of keys that the issuer has removed, and when.
    tombstones: Lru<Instant>,
    budget: Budget,
    /// When the latest forced fetch that succeeded was started.
    answered: Option<Instant>,
    /// The number of the latest forced fetch that was demanded.
    demanded: u64,
    /// The forced fetch that must be made.
    pending: Option<Pending>,
    /// The forced fetch under way.
    flying: Option<(Pending, Instant)>,
    /// The forced fetches up to this number have ended.
    done: u64,
}

/// The token that asked for a `kid`, and since when.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// A digest of the token. A forged token's `kid` without a key says nothing about the key
    /// of a later token: it may have been published meanwhile.
    token: u64,
    at: Instant,
}

/// A forced fetch.
#[derive(Debug)]
struct Pending {
    number: u64,
    /// The keys that requests wait for. One more than the most means too many to list.
    wanted: Vec<(Algorithm, Box<str>)>,
}

/// What to do about a miss.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MissDecision {
    /// The key was removed recently: it doesn't exist.
    Tombstone,
    /// The issuer was asked for it since this token was first seen: it doesn't exist.
    NegativeCached,
    /// The forced fetch of this number will decide.
    Await {
        number: u64,
        /// Whether the `kid` was asked for recently, for another token.
        again: bool,
        /// When that fetch may begin, if not yet.
        place: Option<Instant>,
    },
    /// The same, but it may not begin before that time, which is too far in the future.
    Limited { number: u64, again: bool, place: Instant },
}

/// A forced fetch that begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Forced {
    pub(crate) number: u64,
    /// Whether it follows another so closely that a cache on the way is suspected.
    pub(crate) second: bool,
}

impl Pending {
    const WANTED: usize = 16;

    fn want(&mut self, algorithm: Algorithm, kid: &str) {
        let is_new = !self.wanted.iter().any(|(alg, known)| *alg == algorithm && **known == *kid);
        if is_new && self.wanted.len() <= Self::WANTED {
            self.wanted.push((algorithm, kid.into()));
        }
    }

    /// Returns `true` if all tokens for which the fetch is made are known, and have their keys.
    fn has_all(&self, has: impl Fn(Algorithm, &str) -> bool) -> bool {
        self.wanted.len() <= Self::WANTED && self.wanted.iter().all(|(alg, kid)| has(*alg, kid))
    }
}

impl Misses {
    const ASKED: usize = 1_024;
    const TOMBSTONES: usize = 64;

    /// For this many cooldowns a key that the issuer was seen to have removed isn't asked for. Then
    /// it is unknown like any other: it may be back after a rollback, or from a server out of step.
    const TOMBSTONE_COOLDOWNS: u32 = 4;

    pub(crate) fn new(cooldown: Duration) -> Self {
        Self {
            cooldown,
            asked: Lru::new(Self::ASKED),
            tombstones: Lru::new(Self::TOMBSTONES),
            budget: Budget::new(cooldown),
            answered: None,
            demanded: 0,
            pending: None,
            flying: None,
            done: 0,
        }
    }

    /// Decides about a miss: a token with this digest, for whose `algorithm` and `kid` there is no key.
    /// A request waits until `patience` at most; the issuer's `Retry-After` ends at `held`.
    pub(crate) fn rule(
        &mut self,
        (algorithm, kid): (Algorithm, &str),
        token: u64,
        now: Instant,
        patience: Instant,
        held: Option<Instant>,
    ) -> MissDecision {
        if self.was_removed(kid, now) {
            return MissDecision::Tombstone;
        }
        let (cooldown, answered) = (self.cooldown, self.answered);
        let asked = self.asked.get(kid).copied().filter(|asked| now < after(asked.at, cooldown));
        let was_answered = |asked: &Asked| answered.is_some_and(|answered| asked.at <= answered);
        let again = asked.as_ref().is_some_and(was_answered);
        let same = asked.filter(|asked| asked.token == token);
        if same.as_ref().is_some_and(was_answered) {
            return MissDecision::NegativeCached;
        }
        // A fetch under way may bring the set as it was before this key was added. Only a
        // token that was seen before it can rely on it.
        if let (Some((flying, begun)), Some(asked)) = (&self.flying, same)
            && asked.at <= *begun
        {
            return MissDecision::Await { number: flying.number, again, place: None };
        }
        self.budget.miss(now);
        if same.is_none() {
            self.asked.insert(kid, Asked { token, at: now });
        }
        let place = self.earliest_start(held).filter(|place| now < *place);
        let demanded = &mut self.demanded;
        let pending = self.pending.get_or_insert_with(|| {
            *demanded = demanded.saturating_add(1);
            Pending { number: *demanded, wanted: Vec::new() }
        });
        pending.want(algorithm, kid);
        let number = pending.number;
        match place {
            Some(place) if patience < place => MissDecision::Limited { number, again, place },
            place => MissDecision::Await { number, again, place },
        }
    }

    fn was_removed(&mut self, kid: &str, now: Instant) -> bool {
        let answered = self.answered;
        self.tombstones.get(kid).is_some_and(|removed| {
            // If that answer had brought the key, its tombstone would be gone.
            let missing = answered.map_or(*removed, |answered| answered.max(*removed));
            now < after(missing, self.cooldown.saturating_mul(Self::TOMBSTONE_COOLDOWNS))
        })
    }

    /// Returns when the next forced fetch may begin; `None` if at any time.
    pub(crate) fn earliest_start(&self, held: Option<Instant>) -> Option<Instant> {
        self.budget.earliest_start().max(held)
    }

    /// Returns when the forced fetch that was demanded is due, if one was.
    pub(crate) fn due(&self, now: Instant, held: Option<Instant>) -> Option<Instant> {
        self.pending.as_ref().map(|_| self.earliest_start(held).unwrap_or(now))
    }

    /// Drops the forced fetch that hasn't begun if all tokens that wait for it have their keys: another
    /// fetch has brought them.
    pub(crate) fn arrived(&mut self, has: impl Fn(Algorithm, &str) -> bool) {
        if let Some(pending) = self.pending.take_if(|pending| pending.has_all(has)) {
            self.done = pending.number;
        }
    }

    /// Begins the forced fetch that was demanded, if one was and its time has come.
    pub(crate) fn begin(&mut self, now: Instant, held: Option<Instant>) -> Option<Forced> {
        if self.due(now, held).is_none_or(|due| now < due) {
            return None;
        }
        let pending = self.pending.take()?;
        let number = pending.number;
        self.flying = Some((pending, now));
        Some(Forced { number, second: self.budget.begin(now) })
    }

    /// Records how a fetch ended that bypassed all caches, begun at `begun`.
    pub(crate) fn ended(&mut self, begun: Instant, succeeded: bool) {
        if succeeded {
            self.answered = Some(begun);
        }
    }

    /// Records that the forced fetch under way has ended: with these keys, or with none.
    pub(crate) fn settle(&mut self, has: Option<impl Fn(Algorithm, &str) -> bool>, now: Instant) {
        let Some((flown, _)) = self.flying.take() else { return };
        self.done = self.done.max(flown.number);
        let brought_all = has.map(|has| {
            // Tokens that arrived meanwhile count, too.
            flown.has_all(&has) && self.pending.as_ref().is_none_or(|next| next.has_all(&has))
        });
        self.budget.ended(brought_all, now);
    }

    /// Records that the forced fetch under way was lost: it must be made again.
    pub(crate) fn abandon(&mut self) {
        let Some((lost, _)) = self.flying.take() else { return };
        self.budget.abandon();
        match &mut self.pending {
            Some(pending) => pending.wanted.extend(lost.wanted),
            pending => *pending = Some(lost),
        }
    }

    /// Returns the number of the latest forced fetch that needn't be waited for any longer.
    pub(crate) const fn settled(&self) -> u64 {
        self.done
    }

    /// Records that the set was replaced by one with other keys.
    pub(crate) fn replaced<'a>(
        &mut self,
        removed: impl Iterator<Item = &'a str>,
        present: impl Iterator<Item = &'a str>,
        now: Instant,
    ) {
        self.asked.clear();
        for kid in removed {
            self.tombstones.insert(kid, now);
        }
        for kid in present {
            self.tombstones.remove(kid);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter::{empty, once};

    use Algorithm::{ES256, EdDSA};

    use super::*;

    const COOLDOWN: Duration = Duration::from_secs(30);
    const NEXT: Duration = Duration::from_millis(1_430);

    fn now() -> Instant {
        crate::clock::monotonic()
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// Has a token with this `kid` come, which may wait for two seconds.
    fn ask(misses: &mut Misses, kid: &str, token: u64, now: Instant) -> MissDecision {
        misses.rule((EdDSA, kid), token, now, now + secs(2), None)
    }

    fn to_await(number: u64) -> MissDecision {
        MissDecision::Await { number, again: false, place: None }
    }

    fn later(number: u64, place: Instant) -> MissDecision {
        MissDecision::Await { number, again: false, place: Some(place) }
    }

    fn begin(misses: &mut Misses, now: Instant) -> Forced {
        misses.begin(now, None).unwrap()
    }

    fn end(misses: &mut Misses, begun: Instant, brings: Option<&[&str]>) {
        misses.ended(begun, brings.is_some());
        misses.settle(brings.map(|kids| |_: Algorithm, kid: &str| kids.contains(&kid)), begun);
    }

    /// Runs the demanded fetch to its end.
    fn fetch(misses: &mut Misses, now: Instant, succeeds: bool) -> Forced {
        let forced = begin(misses, now);
        end(misses, now, succeeds.then_some(&[]));
        forced
    }

    #[test]
    fn a_token_costs_one_fetch_per_cooldown() {
        let now = now();
        let mut misses = Misses::new(COOLDOWN);
        assert_eq!(ask(&mut misses, "a", 1, now), to_await(1));
        assert_eq!(ask(&mut misses, "a", 1, now), to_await(1));
        assert_eq!(ask(&mut misses, "b", 2, now), to_await(1));
        assert_eq!(fetch(&mut misses, now, true), Forced { number: 1, second: false });
        assert_eq!(ask(&mut misses, "a", 1, now + secs(29)), MissDecision::NegativeCached);
        assert_eq!(ask(&mut misses, "a", 1, now + secs(30)), to_await(2));
    }

    #[test]
    fn fa5_what_was_found_out_for_a_forged_token_is_not_held_against_another() {
        let now = now();
        let mut misses = Misses::new(COOLDOWN);
        ask(&mut misses, "predicted", 1, now);
        fetch(&mut misses, now, true);
        let again = MissDecision::Await { number: 2, again: true, place: Some(now + NEXT) };
        assert_eq!(ask(&mut misses, "predicted", 2, now + secs(1)), again);
        assert_eq!(misses.begin(now + secs(1), None), None, "not yet");
        assert_eq!(fetch(&mut misses, now + NEXT, true), Forced { number: 2, second: true });
        assert_eq!(ask(&mut misses, "predicted", 2, now + secs(2)), MissDecision::NegativeCached);
    }

    #[test]
    fn a_failed_fetch_answers_nothing_but_counts() {
        let now = now();
        let mut misses = Misses::new(COOLDOWN);
        ask(&mut misses, "a", 1, now);
        fetch(&mut misses, now, false);
        assert_eq!(ask(&mut misses, "a", 1, now + secs(1)), later(2, now + NEXT));
        assert_eq!(ask(&mut misses, "b", 2, now + secs(1)), later(2, now + NEXT));
        fetch(&mut misses, now + secs(2), false);
        let third = now + secs(2) + NEXT * 2;
        let limited = MissDecision::Limited { number: 3, again: false, place: third };
        assert_eq!(ask(&mut misses, "a", 1, now + secs(2)), limited);
        assert_eq!(misses.due(now + secs(2), None), Some(third), "it is made all the same");
        assert_eq!(ask(&mut misses, "c", 3, now + secs(4)), later(3, third));
    }

    #[test]
    fn who_comes_while_the_fetch_is_under_way_gets_the_next_one() {
        let now = now();
        let mut misses = Misses::new(COOLDOWN);
        ask(&mut misses, "a", 1, now);
        begin(&mut misses, now);
        assert_eq!(ask(&mut misses, "a", 1, now + secs(1)), to_await(1));
        assert_eq!(ask(&mut misses, "late", 2, now + secs(1)), later(2, now + NEXT));
        assert_eq!(ask(&mut misses, "a", 3, now + secs(1)), later(2, now + NEXT));
        end(&mut misses, now, Some(&[]));
        assert_eq!(misses.settled(), 1);
        assert_eq!(fetch(&mut misses, now + secs(2), true), Forced { number: 2, second: true });
        assert_eq!(ask(&mut misses, "late", 2, now + secs(3)), MissDecision::NegativeCached);
    }

    #[test]
    fn a_server_that_asks_for_rest_gets_it() {
        let now = now();
        let mut misses = Misses::new(COOLDOWN);
        let held = Some(now + secs(9));
        let decision = misses.rule((EdDSA, "a"), 1, now, now + secs(2), held);
        assert_eq!(
            decision,
            MissDecision::Limited { number: 1, again: false, place: now + secs(9) }
        );
        assert_eq!(misses.begin(now, held), None);
        assert_eq!(misses.due(now, held), held);
        assert_eq!(begin(&mut misses, now + secs(9)).number, 1);
    }

    #[test]
    fn a_removed_key_is_remembered_until_it_comes_back() {
        let now = now();
        let mut misses = Misses::new(COOLDOWN);
        misses.replaced(once("old"), once("new"), now);
        assert_eq!(ask(&mut misses, "old", 1, now), MissDecision::Tombstone);
        misses.replaced(empty(), once("old"), now);
        assert_eq!(ask(&mut misses, "old", 1, now), to_await(1));
    }

    #[test]
    fn a_removed_key_is_asked_for_again_four_cooldowns_after_it_was_last_seen_missing() {
        let now = now();
        let mut misses = Misses::new(COOLDOWN);
        misses.replaced(once("old"), once("new"), now);
        assert_eq!(ask(&mut misses, "old", 1, now + secs(119)), MissDecision::Tombstone);
        assert_eq!(ask(&mut misses, "old", 1, now + secs(120)), to_await(1));
        fetch(&mut misses, now + secs(120), true);
        assert_eq!(ask(&mut misses, "old", 1, now + secs(239)), MissDecision::Tombstone);

        // Whatever the issuer was asked for, it was seen not to have this one.
        assert_eq!(ask(&mut misses, "made-up", 2, now + secs(200)), to_await(2));
        fetch(&mut misses, now + secs(200), true);
        assert_eq!(ask(&mut misses, "old", 1, now + secs(319)), MissDecision::Tombstone);

        // A fetch that failed has shown nothing.
        assert_eq!(ask(&mut misses, "old", 1, now + secs(320)), to_await(3));
        fetch(&mut misses, now + secs(320), false);
        assert_eq!(ask(&mut misses, "old", 1, now + secs(322)), to_await(4));
    }

    #[test]
    fn a_fetch_is_made_unless_another_has_brought_the_keys_of_all_who_wait_for_it() {
        type Keys = &'static [(Algorithm, &'static str)];
        let cases: [(Keys, Keys, bool); 6] = [
            (&[(EdDSA, "a")], &[(EdDSA, "a"), (EdDSA, "x")], true),
            (&[(EdDSA, "a"), (ES256, "b"), (EdDSA, "a")], &[(ES256, "b"), (EdDSA, "a")], true),
            (&[(EdDSA, "a")], &[], false),
            // Known is the `kid`, but not for this `alg`.
            (&[(EdDSA, "a")], &[(ES256, "a")], false),
            (&[(EdDSA, "a"), (EdDSA, "made-up")], &[(EdDSA, "a")], false),
            (&[(EdDSA, "made-up"), (EdDSA, "a")], &[(EdDSA, "a")], false),
        ];
        for (wanted, brought, spared) in cases {
            let now = now();
            let mut misses = Misses::new(COOLDOWN);
            for (token, key) in wanted.iter().enumerate() {
                misses.rule(*key, token as u64, now, now, None);
            }
            misses.arrived(|algorithm, kid| brought.contains(&(algorithm, kid)));
            assert_eq!(misses.settled(), u64::from(spared), "{wanted:?} {brought:?}");
            assert_eq!(misses.begin(now, None).is_none(), spared);
            if spared {
                assert_eq!(ask(&mut misses, "c", 9, now), to_await(2), "it has cost no place");
            }
        }
    }

    #[test]
    fn who_waits_for_a_fetch_that_has_begun_has_no_say_about_the_next() {
        let now = now();
        let mut misses = Misses::new(COOLDOWN);
        ask(&mut misses, "a", 1, now);
        begin(&mut misses, now);
        misses.arrived(|_, _| true);
        assert_eq!(misses.settled(), 0, "it is under way");
        assert_eq!(ask(&mut misses, "b", 2, now + secs(2)), to_await(2));
        end(&mut misses, now, Some(&["b"]));
        misses.arrived(|_, kid| kid == "b");
        assert_eq!(misses.settled(), 2);
    }

    #[test]
    fn too_many_to_remember_get_their_fetch() {
        for (kids, spared) in [(Pending::WANTED, true), (Pending::WANTED + 1, false), (99, false)] {
            let now = now();
            let mut misses = Misses::new(COOLDOWN);
            for kid in 0..kids {
                ask(&mut misses, &kid.to_string(), kid as u64, now);
            }
            let wanted = misses.pending.as_ref().map(|pending| pending.wanted.len());
            assert!(wanted <= Some(Pending::WANTED + 1));
            misses.arrived(|_, _| true);
            assert_eq!(misses.begin(now, None).is_none(), spared, "{kids}");
        }
    }

    #[test]
    fn a_fetch_that_was_lost_is_made_again_for_all_who_waited() {
        let now = now();
        let mut misses = Misses::new(COOLDOWN);
        ask(&mut misses, "a", 1, now);
        begin(&mut misses, now);
        ask(&mut misses, "b", 2, now + secs(1));
        misses.abandon();
        misses.arrived(|_, kid| kid == "b");
        assert_eq!(misses.settled(), 0, "one is still waited for");
        assert_eq!(begin(&mut misses, now + secs(1)).number, 2);
        end(&mut misses, now + secs(1), Some(&[]));
        assert_eq!(misses.settled(), 2);
    }

    #[test]
    fn other_keys_clear_the_negative_cache() {
        let now = now();
        let mut misses = Misses::new(COOLDOWN);
        ask(&mut misses, "a", 1, now);
        fetch(&mut misses, now, true);
        assert_eq!(ask(&mut misses, "a", 1, now), MissDecision::NegativeCached);
        misses.replaced(empty(), empty(), now);
        assert_eq!(ask(&mut misses, "a", 1, now), later(2, now + NEXT));
    }

    #[test]
    fn a_flood_is_remembered_within_a_bound_and_leaves_no_one_out() {
        let start = now();
        let mut misses = Misses::new(COOLDOWN);
        let mut fetches = 0;
        for n in 0..100_000_u64 {
            let now = start + Duration::from_millis(n);
            let decision = ask(&mut misses, &n.to_string(), n, now);
            let number = match decision {
                MissDecision::Await { number, .. } | MissDecision::Limited { number, .. } => number,
                other => panic!("{other:?}"),
            };
            assert_eq!(number, misses.settled() + 1, "the next fetch is for each of them");
            if misses.due(now, None).is_some_and(|due| due <= now) {
                fetch(&mut misses, now, n % 2 == 0);
                fetches += 1;
            }
        }
        assert!((15..=22).contains(&fetches), "{fetches}");
    }
}
