//! What is known about `kid`s that have no key, and which of them may cost a fetch.

use std::time::Duration;

use tokio::time::Instant;

use crate::jose::Algorithm;
use crate::jwks::lru::Lru;
use crate::jwks::schedule::after;

/// The memory of kid misses. Bounded in all its parts.
#[derive(Debug)]
pub(crate) struct Misses {
    cooldown: Duration,
    /// The `kid`s that were asked for lately, and when.
    asked: Lru<Instant>,
    /// The `kid`s of keys that the issuer has removed, and when.
    tombstones: Lru<Instant>,
    bucket: Bucket,
    /// When the latest forced fetch that succeeded was started.
    answered: Option<Instant>,
    /// Which keys are waited for by those who wait for the forced fetch that hasn't begun. One more
    /// than the most: too many to say.
    wanted: Vec<(Algorithm, Box<str>)>,
    /// Forced fetches are numbered; those up to `done` have ended.
    demanded: u64,
    /// When the one that was demanded last began; `None` if it hasn't.
    begun: Option<Instant>,
    done: u64,
}

/// What to do about a miss.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ruling {
    /// The key was removed lately: it doesn't exist.
    Tombstone,
    /// The issuer was asked for it since: it doesn't exist.
    NegativeCached,
    /// No fetch is allowed before that time.
    Limited(Instant),
    /// The forced fetch of this number is under way or was demanded already.
    Join(u64),
    /// The forced fetch of this number is to be made.
    Demand(u64),
}

/// A forced fetch that begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Forced {
    pub(crate) number: u64,
    /// Whether it comes so soon after another that a cache on the way is under suspicion.
    pub(crate) second: bool,
}

impl Misses {
    const ASKED: usize = 1_024;
    const TOMBSTONES: usize = 64;
    const WANTED: usize = 16;

    /// For so many cooldowns nobody asks for a key that the issuer was seen to have removed. Then
    /// it is unknown like any other: it may be back after a rollback, or from a server out of step.
    const TOMBSTONE_COOLDOWNS: u32 = 4;

    pub(crate) fn new(cooldown: Duration) -> Self {
        Self {
            cooldown,
            asked: Lru::new(Self::ASKED),
            tombstones: Lru::new(Self::TOMBSTONES),
            bucket: Bucket::new(cooldown),
            answered: None,
            wanted: Vec::new(),
            demanded: 0,
            begun: None,
            done: 0,
        }
    }

    /// Rules on a miss. The server asked us to stay away until `held`.
    pub(crate) fn rule(&mut self, kid: &str, now: Instant, held: Option<Instant>) -> Ruling {
        if self.is_buried(kid, now) {
            return Ruling::Tombstone;
        }
        if self.asked.get(kid).is_some_and(|asked| {
            self.answered.is_some_and(|answered| *asked <= answered)
                && now < after(*asked, self.cooldown)
        }) {
            return Ruling::NegativeCached;
        }
        let pending = self.demanded > self.done;
        // A fetch that has begun may bring the set as it was before this key was added. Only who
        // asked before can rely on it; anybody else needs the next one, if one is allowed.
        if pending
            && self.begun.is_some_and(|begun| self.asked.get(kid).is_some_and(|at| *at <= begun))
        {
            return Ruling::Join(self.demanded);
        }
        let ruling = if pending && self.begun.is_none() {
            Ruling::Join(self.demanded)
        } else {
            let allowed = match held {
                Some(until) => Err(until),
                None => self.bucket.take(kid, now),
            };
            match allowed {
                Ok(()) => {
                    self.demanded = self.demanded.saturating_add(1);
                    self.begun = None;
                    Ruling::Demand(self.demanded)
                }
                Err(_) if pending => Ruling::Join(self.demanded),
                Err(until) => return Ruling::Limited(until),
            }
        };
        self.asked.insert(kid, now);
        ruling
    }

    fn is_buried(&mut self, kid: &str, now: Instant) -> bool {
        let answered = self.answered;
        self.tombstones.get(kid).is_some_and(|removed| {
            // Had that answer brought the key, its tombstone would be gone.
            let missing = answered.map_or(*removed, |answered| answered.max(*removed));
            now < after(missing, self.cooldown.saturating_mul(Self::TOMBSTONE_COOLDOWNS))
        })
    }

    /// Records what key somebody waits for who joined or demanded a fetch.
    pub(crate) fn want(&mut self, algorithm: Algorithm, kid: &str) {
        let is_new = !self.wanted.iter().any(|(alg, known)| *alg == algorithm && **known == *kid);
        if self.begun.is_none() && is_new && self.wanted.len() <= Self::WANTED {
            self.wanted.push((algorithm, kid.into()));
        }
    }

    /// Gives up the forced fetch that hasn't begun, and its place, if all who wait for it have their
    /// keys: another fetch has brought them.
    pub(crate) fn arrived(&mut self, has: impl Fn(Algorithm, &str) -> bool) {
        let waits = self.demanded > self.done && self.begun.is_none();
        let known = !self.wanted.is_empty() && self.wanted.len() <= Self::WANTED;
        if waits && known && self.wanted.iter().all(|(algorithm, kid)| has(*algorithm, kid)) {
            self.done = self.demanded;
            self.wanted.clear();
            self.bucket.give_back();
        }
    }

    /// Begins the forced fetch that was demanded, if one was.
    pub(crate) fn begin(&mut self, now: Instant) -> Option<Forced> {
        let number = self.demanded;
        (number > self.done).then(|| {
            self.begun = Some(now);
            self.wanted.clear();
            Forced { number, second: self.bucket.begin(now) }
        })
    }

    /// Records how a fetch ended that no cache may have answered, begun at `begun`.
    pub(crate) fn ended(&mut self, begun: Instant, succeeded: bool) {
        if succeeded {
            self.answered = Some(begun);
        }
    }

    /// Records that the forced fetches up to this number need waiting for no longer.
    pub(crate) fn settle(&mut self, number: u64) {
        self.done = self.done.max(number);
    }

    /// Returns the number of the latest forced fetch that needs waiting for no longer.
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

/// Two forced fetches per window, the second for another `kid` only: a rotation may happen while
/// somebody spends the first on a made-up one. Attempts count, whatever came of them.
#[derive(Debug)]
struct Bucket {
    window: Duration,
    first: Option<Attempt>,
    second: Option<Attempt>,
}

#[derive(Debug)]
struct Attempt {
    at: Instant,
    kid: Box<str>,
}

impl Bucket {
    const fn new(window: Duration) -> Self {
        Self { window, first: None, second: None }
    }

    /// Takes a place, or says when one will be free.
    fn take(&mut self, kid: &str, now: Instant) -> Result<(), Instant> {
        while let Some(first) = &self.first {
            if now < after(first.at, self.window) {
                break;
            }
            self.first = self.second.take();
        }
        let attempt = || Some(Attempt { at: now, kid: kid.into() });
        match (&self.first, &self.second) {
            (None, _) => self.first = attempt(),
            (Some(first), None) if *first.kid != *kid => self.second = attempt(),
            (Some(first), _) => return Err(after(first.at, self.window)),
        }
        Ok(())
    }

    /// Frees the last place, whose fetch won't be made.
    fn give_back(&mut self) {
        if self.second.take().is_none() {
            self.first = None;
        }
    }

    /// Moves the last place to the time when its fetch really begins; says whether it is a second.
    fn begin(&mut self, now: Instant) -> bool {
        let second = self.second.is_some();
        if let Some(last) = self.second.as_mut().or(self.first.as_mut()) {
            last.at = now;
        }
        second
    }
}

#[cfg(test)]
mod tests {
    use std::iter::{empty, once};

    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    fn now() -> Instant {
        crate::clock::monotonic()
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// Runs the demanded fetch to its end.
    fn fetch(misses: &mut Misses, now: Instant, succeeds: bool) -> Forced {
        let forced = misses.begin(now).unwrap();
        misses.ended(now, succeeds);
        misses.settle(forced.number);
        forced
    }

    #[test]
    fn one_kid_costs_one_fetch_per_window() {
        let now = now();
        let mut misses = Misses::new(WINDOW);
        assert_eq!(misses.rule("a", now, None), Ruling::Demand(1));
        assert_eq!(misses.rule("a", now, None), Ruling::Join(1));
        assert_eq!(misses.rule("b", now, None), Ruling::Join(1));
        assert_eq!(fetch(&mut misses, now, true), Forced { number: 1, second: false });
        assert_eq!(misses.rule("a", now + secs(29), None), Ruling::NegativeCached);
        assert_eq!(misses.rule("a", now + secs(30), None), Ruling::Demand(2));
    }

    #[test]
    fn a_failed_fetch_answers_nothing_but_counts() {
        let now = now();
        let mut misses = Misses::new(WINDOW);
        misses.rule("a", now, None);
        fetch(&mut misses, now, false);
        assert_eq!(misses.rule("a", now + secs(1), None), Ruling::Limited(now + WINDOW));
        assert_eq!(misses.rule("b", now + secs(1), None), Ruling::Demand(2));
        assert_eq!(fetch(&mut misses, now + secs(1), false), Forced { number: 2, second: true });
        assert_eq!(misses.rule("c", now + secs(2), None), Ruling::Limited(now + WINDOW));
        assert_eq!(misses.rule("c", now + secs(30), None), Ruling::Demand(3));
        fetch(&mut misses, now + secs(30), false);
        assert_eq!(misses.rule("d", now + secs(30), None), Ruling::Limited(now + secs(31)));
    }

    #[test]
    fn the_window_counts_from_when_the_fetch_begins() {
        let now = now();
        let mut misses = Misses::new(WINDOW);
        misses.rule("a", now, None);
        fetch(&mut misses, now + secs(5), false);
        assert_eq!(misses.rule("a", now + secs(34), None), Ruling::Limited(now + secs(35)));
        assert_eq!(misses.rule("a", now + secs(35), None), Ruling::Demand(2));
    }

    #[test]
    fn who_comes_while_the_fetch_is_under_way_gets_the_next_one() {
        let now = now();
        let mut misses = Misses::new(WINDOW);
        misses.rule("a", now, None);
        let forced = misses.begin(now).unwrap();
        assert_eq!(misses.rule("a", now + secs(1), None), Ruling::Join(1));
        assert_eq!(misses.rule("late", now + secs(1), None), Ruling::Demand(2));
        assert_eq!(misses.rule("later", now + secs(1), None), Ruling::Join(2));
        misses.ended(now, true);
        misses.settle(forced.number);
        assert_eq!(fetch(&mut misses, now + secs(2), true), Forced { number: 2, second: true });
        assert_eq!(misses.rule("late", now + secs(3), None), Ruling::NegativeCached);
        assert_eq!(misses.rule("later", now + secs(3), None), Ruling::NegativeCached);
    }

    #[test]
    fn without_another_fetch_the_one_under_way_has_to_do() {
        let now = now();
        let mut misses = Misses::new(WINDOW);
        misses.rule("a", now, None);
        fetch(&mut misses, now, true);
        misses.rule("b", now, None);
        let forced = misses.begin(now).unwrap();
        assert_eq!(misses.rule("late", now + secs(1), None), Ruling::Join(2));
        misses.ended(now, true);
        misses.settle(forced.number);
        assert_eq!(misses.rule("late", now + secs(2), None), Ruling::Limited(now + WINDOW));
    }

    #[test]
    fn a_server_that_asks_for_rest_gets_it() {
        let now = now();
        let mut misses = Misses::new(WINDOW);
        let held = Some(now + secs(9));
        assert_eq!(misses.rule("a", now, held), Ruling::Limited(now + secs(9)));
        assert_eq!(misses.begin(now), None);
        assert_eq!(misses.rule("a", now + secs(9), None), Ruling::Demand(1));
    }

    #[test]
    fn a_removed_key_is_remembered_until_it_comes_back() {
        let now = now();
        let mut misses = Misses::new(WINDOW);
        misses.replaced(once("old"), once("new"), now);
        assert_eq!(misses.rule("old", now, None), Ruling::Tombstone);
        misses.replaced(empty(), once("old"), now);
        assert_eq!(misses.rule("old", now, None), Ruling::Demand(1));
    }

    #[test]
    fn a_removed_key_is_asked_for_again_four_cooldowns_after_it_was_last_seen_missing() {
        let now = now();
        let mut misses = Misses::new(WINDOW);
        misses.replaced(once("old"), once("new"), now);
        assert_eq!(misses.rule("old", now + secs(119), None), Ruling::Tombstone);
        assert_eq!(misses.rule("old", now + secs(120), None), Ruling::Demand(1));
        fetch(&mut misses, now + secs(120), true);
        assert_eq!(misses.rule("old", now + secs(239), None), Ruling::Tombstone);

        // Whoever the issuer was asked for, it was seen not to have this one.
        assert_eq!(misses.rule("made-up", now + secs(200), None), Ruling::Demand(2));
        fetch(&mut misses, now + secs(200), true);
        assert_eq!(misses.rule("old", now + secs(319), None), Ruling::Tombstone);

        // A fetch that failed has shown nothing.
        assert_eq!(misses.rule("old", now + secs(320), None), Ruling::Demand(3));
        fetch(&mut misses, now + secs(320), false);
        let limited = Ruling::Limited(now + secs(350));
        assert_eq!(misses.rule("old", now + secs(321), None), limited);
        assert_eq!(misses.rule("old", now + secs(350), None), Ruling::Demand(4));
    }

    /// Has somebody ask for a key, which leads to a fetch.
    fn ask(misses: &mut Misses, algorithm: Algorithm, kid: &str, now: Instant) -> Ruling {
        let ruling = misses.rule(kid, now, None);
        assert!(matches!(ruling, Ruling::Demand(_) | Ruling::Join(_)), "{ruling:?}");
        misses.want(algorithm, kid);
        ruling
    }

    #[test]
    fn a_fetch_is_made_unless_another_has_brought_the_keys_of_all_who_wait_for_it() {
        use Algorithm::{ES256, EdDSA};
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
            let mut misses = Misses::new(WINDOW);
            for (algorithm, kid) in wanted {
                ask(&mut misses, *algorithm, kid, now);
            }
            misses.arrived(|algorithm, kid| brought.contains(&(algorithm, kid)));
            assert_eq!(misses.settled(), u64::from(spared), "{wanted:?} {brought:?}");
            assert_eq!(misses.begin(now).is_none(), spared);
            if spared {
                // It has cost no place: two are left.
                assert_eq!(misses.rule("c", now, None), Ruling::Demand(2));
                assert_eq!(fetch(&mut misses, now, false), Forced { number: 2, second: false });
                assert_eq!(misses.rule("d", now, None), Ruling::Demand(3));
                assert_eq!(fetch(&mut misses, now, false), Forced { number: 3, second: true });
            }
        }
    }

    #[test]
    fn who_waits_for_a_fetch_that_has_begun_has_no_say_about_the_next() {
        let now = now();
        let mut misses = Misses::new(WINDOW);
        ask(&mut misses, Algorithm::EdDSA, "a", now);
        let first = misses.begin(now).unwrap();
        misses.arrived(|_, _| true);
        assert_eq!(misses.settled(), 0, "it is under way");
        assert_eq!(ask(&mut misses, Algorithm::EdDSA, "b", now + secs(1)), Ruling::Demand(2));
        misses.settle(first.number);
        misses.arrived(|_, kid| kid == "b");
        assert_eq!(misses.settled(), 2);
        assert_eq!(misses.rule("c", now + secs(2), None), Ruling::Demand(3), "the second place");
    }

    #[test]
    fn too_many_to_remember_get_their_fetch() {
        for (kids, spared) in [(Misses::WANTED, true), (Misses::WANTED + 1, false), (99, false)] {
            let now = now();
            let mut misses = Misses::new(WINDOW);
            for kid in 0..kids {
                ask(&mut misses, Algorithm::EdDSA, &kid.to_string(), now);
            }
            assert!(misses.wanted.len() <= Misses::WANTED + 1);
            misses.arrived(|_, _| true);
            assert_eq!(misses.begin(now).is_none(), spared, "{kids}");
        }
    }

    #[test]
    fn a_flood_of_removed_kids_gets_no_more_fetches_than_one_of_made_up_ones() {
        for (answers, expected) in [(false, 12), (true, 2)] {
            let start = now();
            let kids: Vec<String> = (0..60).map(|n| n.to_string()).collect();
            let mut misses = Misses::new(WINDOW);
            misses.replaced(kids.iter().map(String::as_str), empty(), start);
            let mut fetches = 0;
            for (n, kid) in kids.iter().cycle().take(100_000).enumerate() {
                let now = start + secs(120) + Duration::from_micros(n as u64 * 1_790);
                if let Ruling::Demand(_) = misses.rule(kid, now, None) {
                    fetches += 1;
                    fetch(&mut misses, now, answers);
                }
            }
            assert_eq!(fetches, expected, "179 s in windows of 30 s, or of 120 s");
        }
    }

    #[test]
    fn other_keys_clear_the_negative_cache() {
        let now = now();
        let mut misses = Misses::new(WINDOW);
        misses.rule("a", now, None);
        fetch(&mut misses, now, true);
        assert_eq!(misses.rule("a", now, None), Ruling::NegativeCached);
        misses.replaced(empty(), empty(), now);
        assert_eq!(misses.rule("a", now, None), Ruling::Limited(now + WINDOW));
        assert_eq!(misses.rule("b", now, None), Ruling::Demand(2));
    }

    #[test]
    fn a_flood_of_kids_gets_two_fetches_per_window() {
        let start = now();
        let mut misses = Misses::new(WINDOW);
        let mut fetches = 0;
        for n in 0..100_000_u32 {
            let now = start + Duration::from_millis(u64::from(n) * 3);
            if let Ruling::Demand(_) = misses.rule(&n.to_string(), now, None) {
                fetches += 1;
                fetch(&mut misses, now, n % 2 == 0);
            }
        }
        assert_eq!(fetches, 20, "300 s in windows of 30 s");
    }
}
