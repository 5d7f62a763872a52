//! How often unknown `kid`s may cause a fetch: a function of past events and of `now`.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::jwks::timing::schedule::after;

/// When forced fetches may begin. Made-up `kid`s can't be distinguished from those of a rotation, so the time from
/// one fetch to the next is how long a flood can hide one.
///
/// Two policies: at first, bursts of fetches at [`BURST_INTERVAL`](Self::BURST_INTERVAL), then at
/// [`FLOOD_INTERVAL`](Self::FLOOD_INTERVAL), within [`WINDOWS_AT_FIRST`](Self::WINDOWS_AT_FIRST); once a flood has
/// lasted a minute, pairs of fetches within
/// [`WINDOWS_IN_A_LASTING_FLOOD`](Self::WINDOWS_IN_A_LASTING_FLOOD). Under any load, at most 10 fetches begin in any
/// 30 seconds, at most 4 once a flood has lasted a minute, and the next one is never more than 9.5 seconds away.
#[derive(Debug)]
pub(crate) struct Budget {
    /// A flood is over when no unknown `kid` arrived for this long.
    quiet: Duration,
    /// When the latest fetches began, which count whatever their result.
    starts: VecDeque<Instant>,
    /// When an unknown `kid` last wanted a fetch.
    last_miss: Option<Instant>,
    /// When the flood began.
    flood: Option<Instant>,
    /// When the flood last began again after a pause, and how many fetches began since.
    burst: Option<Instant>,
    in_burst: u32,
    /// Whether the flood has lasted a minute.
    lasting: bool,
    /// Whether a fetch brought no new key since the flood began.
    fruitless: bool,
    /// How many fetches have failed in a row.
    failures: u32,
    /// Whether the latest took so long that little is left of ten seconds.
    slow: bool,
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Budget {
    /// This and an answer within half a second fit into the default `request_wait`, so that no token of a new key
    /// is refused at first. Eight fetches at this interval, two fewer than 30 seconds may have, take longer than
    /// [`BURST`](Self::BURST).
    const BURST_INTERVAL: Duration = millis(1_430);
    /// Five fetches at this interval take more than 30 seconds. An answer that takes two seconds still leaves a
    /// rotation hidden for less than ten.
    const FLOOD_INTERVAL: Duration = millis(7_600);
    /// The interval before the second fetch of a burst in a flood that has lasted.
    const PAIR_INTERVAL: Duration = millis(1_800);
    /// How long a prompt answer takes at most.
    const PROMPT: Duration = millis(500);
    /// The interval while the issuer doesn't answer. A fetch that hangs when the issuer recovers
    /// leaves a rotation hidden for as long.
    const FAILING: Duration = millis(9_000);

    /// The shortest pause that ends a flood: a token every so often must not start a new one each time.
    const QUIET: Duration = millis(30_000);
    const BURST: Duration = millis(10_000);
    const PAUSE: Duration = millis(12_000);
    const LASTING: Duration = millis(60_000);

    /// How long after the start before last, after that before it and so on a fetch may begin.
    /// The last pair keeps the promised rate; those before it ensure that keeping it never
    /// leads to a long gap.
    const WINDOWS_AT_FIRST: &[(usize, Duration)] =
        &[(8, millis(14_900)), (9, millis(22_500)), (10, WINDOW)];
    const WINDOWS_IN_A_LASTING_FLOOD: &[(usize, Duration)] =
        &[(2, millis(11_240)), (3, millis(20_670)), (4, WINDOW)];

    pub(crate) fn new(quiet: Duration) -> Self {
        Self {
            quiet: quiet.max(Self::QUIET),
            starts: VecDeque::new(),
            last_miss: None,
            flood: None,
            burst: None,
            in_burst: 0,
            lasting: false,
            fruitless: false,
            failures: 0,
            slow: false,
        }
    }

    /// Records that an unknown `kid` wants a fetch.
    pub(crate) fn miss(&mut self, now: Instant) {
        let paused = |pause| self.last_miss.is_none_or(|last| after(last, pause) <= now);
        let (is_over, is_calm) = (paused(self.quiet), paused(Self::PAUSE));
        if is_over {
            self.flood = Some(now);
            self.lasting = false;
            self.fruitless = false;
        }
        if is_over || is_calm {
            self.burst = Some(now);
            self.in_burst = 0;
        }
        self.last_miss = Some(now);
        if !self.lasting && self.flood.is_some_and(|flood| after(flood, Self::LASTING) <= now) {
            self.lasting = true;
            // Fetches that were allowed before don't count against the new flood.
            self.starts.drain(..self.starts.len().saturating_sub(1));
        }
    }

    /// Returns when the next fetch may begin; `None` if at any time.
    pub(crate) fn earliest_start(&self) -> Option<Instant> {
        let last = *self.starts.back()?;
        let rules =
            if self.lasting { Self::WINDOWS_IN_A_LASTING_FLOOD } else { Self::WINDOWS_AT_FIRST };
        let windows = rules.iter().filter_map(|(nth, distance)| {
            let index = self.starts.len().checked_sub(*nth)?;
            self.starts.get(index).map(|start| after(*start, *distance))
        });
        let distance = self.distance(last).max(self.backoff());
        windows.chain([after(last, distance)]).max()
    }

    fn distance(&self, last: Instant) -> Duration {
        let Some(burst) = self.burst else { return Self::BURST_INTERVAL };
        if !self.lasting {
            return if last < after(burst, Self::BURST) {
                Self::BURST_INTERVAL
            } else {
                Self::FLOOD_INTERVAL
            };
        }
        if self.in_burst == 1 && !self.slow { Self::PAIR_INTERVAL } else { Self::FLOOD_INTERVAL }
    }

    /// A single failure may be an accident.
    fn backoff(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(8);
        Self::BURST_INTERVAL.saturating_mul(1 << doublings).min(Self::FAILING)
    }

    /// Records that a fetch begins. Returns `true` if it follows another closely.
    pub(crate) fn begin(&mut self, now: Instant) -> bool {
        let closely = self.starts.back().is_some_and(|last| now < after(*last, Self::BURST));
        if self.starts.len() >= MOST {
            self.starts.pop_front();
        }
        self.starts.push_back(now);
        self.in_burst = self.in_burst.saturating_add(1);
        closely
    }

    /// Takes back the latest [`begin`](Self::begin): the fetch was lost with its runtime.
    pub(crate) fn abandon(&mut self) {
        self.starts.pop_back();
        self.in_burst = self.in_burst.saturating_sub(1);
    }

    /// Records how a fetch ended: `None` if it failed, else whether it brought the key of every
    /// `kid` that it was made for. As long as each does, there is no flood.
    pub(crate) fn ended(&mut self, brought_all: Option<bool>, now: Instant) {
        self.slow = self.starts.back().is_some_and(|begun| after(*begun, Self::PROMPT) < now);
        self.failures = if brought_all.is_some() { 0 } else { self.failures.saturating_add(1) };
        self.fruitless |= brought_all != Some(true);
        if !self.fruitless {
            self.last_miss = None;
        }
    }
}

/// The most fetches in any window, which is a little longer than the promised 30 seconds.
const MOST: usize = 10;
const WINDOW: Duration = millis(30_100);

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(30);

    /// Has unknown `kid`s come at these times, in seconds, and returns when fetches began.
    fn flood(budget: &mut Budget, times: impl Iterator<Item = f64>, fails: bool) -> Vec<f64> {
        let zero = crate::clock::monotonic();
        let ended = (!fails).then_some(false);
        let mut waiting = false;
        let mut starts = Vec::new();
        for time in times {
            let now = zero + Duration::from_secs_f64(time);
            // The fetch that the ones before wait for.
            if waiting && let Some(place) = budget.earliest_start().filter(|place| *place <= now) {
                budget.begin(place);
                budget.ended(ended, place);
                starts.push((place - zero).as_secs_f64());
            }
            budget.miss(now);
            waiting = budget.earliest_start().is_some_and(|place| place > now);
            if !waiting {
                budget.begin(now);
                budget.ended(ended, now);
                starts.push(time);
            }
        }
        starts
    }

    /// Returns the most starts in any 30 seconds that begin at `from` or later.
    fn most(starts: &[f64], from: f64) -> usize {
        let begins = starts.iter().filter(|start| **start >= from);
        let counts = begins.map(|begin| {
            starts.iter().filter(|start| (*begin..=begin + 30.0).contains(*start)).count()
        });
        counts.max().unwrap_or_default()
    }

    fn widest(starts: &[f64]) -> f64 {
        starts.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
    }

    #[test]
    fn a_flood_is_given_few_places_and_never_far_apart() {
        for rate in [1.0, 20.0, 1_000.0] {
            let kids = (0..(300.0 * rate) as u32).map(|n| f64::from(n) / rate);
            let starts = flood(&mut Budget::new(QUIET), kids, false);
            assert!(most(&starts, 0.0) <= 10 && most(&starts, 30.0) <= 4, "{starts:?}");
            assert!(widest(&starts) < 9.5, "{starts:?}");
            let narrow = starts.iter().take_while(|start| **start < 10.0).count();
            assert!(widest(&starts[..=narrow]) <= 1.5, "{starts:?}");
        }
    }

    #[test]
    fn no_pattern_of_pauses_gets_more_places_or_leads_to_a_long_gap() {
        for on in [0.5, 3.0, 9.0, 11.0, 25.0] {
            for off in [1.0, 7.0, 11.9, 12.1, 20.0, 29.9, 30.1, 45.0] {
                let mut kids: Vec<f64> = Vec::new();
                for round in 0..20 {
                    let begin = f64::from(round) * (on + off);
                    kids.extend((0..(on * 50.0) as u32).map(|n| begin + f64::from(n) / 50.0));
                }
                let starts = flood(&mut Budget::new(QUIET), kids.into_iter(), false);
                assert!(most(&starts, 0.0) <= 10, "{on} {off}: {starts:?}");
                if off < 30.0 {
                    assert!(most(&starts, 60.0) <= 4, "{on} {off}: {starts:?}");
                }
                // Where nothing is asked for nothing is fetched.
                assert!(widest(&starts) < off + 9.6, "{on} {off}: {starts:?}");
            }
        }
    }

    #[test]
    fn rare_kids_leave_the_next_place_near() {
        let mut budget = Budget::new(QUIET);
        let starts = flood(&mut budget, (0..60).map(|n| f64::from(n) / 0.07), false);
        assert_eq!(starts.len(), 60);
        let last = *budget.starts.back().unwrap();
        assert!(budget.earliest_start().unwrap() <= last + Duration::from_secs(2));
    }

    #[test]
    fn an_issuer_that_fails_is_asked_less_often() {
        let kids = || (0..6_000).map(|n| f64::from(n) / 20.0);
        let fails = flood(&mut Budget::new(QUIET), kids(), true);
        let answers = flood(&mut Budget::new(QUIET), kids(), false);
        assert!(fails.len() + 5 < answers.len(), "{} {}", fails.len(), answers.len());
        assert!(widest(&fails) < 9.5 && most(&fails, 0.0) <= 6, "{fails:?}");
    }

    #[test]
    fn the_budget_is_whole_again_after_a_quiet_time_or_if_there_was_no_flood() {
        let kids = || (0..2_000).map(|n| f64::from(n) / 20.0);
        let mut budget = Budget::new(QUIET);
        flood(&mut budget, kids(), false);
        assert!(budget.lasting);
        let last = budget.last_miss.unwrap();
        budget.miss(last + QUIET);
        assert!(!budget.lasting);
        budget.begin(last + QUIET);
        assert_eq!(budget.earliest_start(), Some(last + QUIET + Budget::BURST_INTERVAL));

        budget.ended(Some(true), last);
        budget.miss(last + QUIET + Duration::from_secs(1));
        let flood = |budget: &Budget| budget.flood.unwrap() - last - QUIET;
        assert_eq!(flood(&budget), Duration::from_secs(1));
        budget.ended(Some(false), last);
        budget.ended(Some(true), last);
        budget.miss(last + QUIET + Duration::from_secs(2));
        assert_eq!(flood(&budget), Duration::from_secs(1), "one was fruitless");
    }
}
