//! The record of used proofs in the memory of this process.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use std::{hint, thread};

use crate::clock::UnixTime;
use crate::digest::Digest;
use crate::error::{ConfigError, within};
use crate::telemetry::gauge;

/// The number of entries in a bucket. An entry may be in either of two buckets, so that some two thirds of all
/// places are taken before the two of a key are full.
const WAYS: usize = 10;

/// The number of buckets in a page, which has 4 KiB, as the system provides memory.
const BUCKETS: usize = 32;

/// The bytes that a page takes, with its place in the table, and what an allocator adds to it and leaves free
/// before it.
const PAGE_BYTES: usize = size_of::<[Bucket; BUCKETS]>()
    + size_of::<OnceLock<Page>>()
    + size_of::<usize>()
    + align_of::<Bucket>();

/// The bytes per entry of a record that is as full as it gets, rounded down.
const ENTRY_BYTES: usize = 16;

const LEAST_BYTES: usize = 16 * 1_024;
const MOST_BYTES: usize = 4 * 1_024 * 1_024 * 1_024;
const DEFAULT_BYTES: usize = 16 * 1_024 * 1_024;

/// The result of recording a proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Recorded {
    /// It was never seen before.
    Fresh,
    /// It was used before.
    Seen,
    /// There is no room to remember it in, so that it can't be accepted.
    Full,
}

/// The used proofs, in memory of a fixed size. An entry stays until its time is over; a place whose
/// entry has ended is free without any cleanup.
pub(crate) struct Memory {
    /// Each is allocated when it is first needed.
    pages: Box<[OnceLock<Page>]>,
    hasher: RandomState,
    live: Live,
}

type Page = Box<[Bucket; BUCKETS]>;

/// Entries with their lock, in two cache lines of their own: threads with different proofs seldom write to a
/// common line, as they would to a lock or a counter of many buckets.
#[derive(Default)]
#[repr(align(128))]
struct Bucket {
    locked: AtomicBool,
    /// When each entry is forgotten. Zero ended long ago.
    until: [AtomicU32; WAYS],
    /// The beginning of each entry's key.
    keys: [AtomicU64; WAYS],
}

/// A bucket whose lock this thread holds.
struct Locked<'a>(&'a Bucket);

impl Memory {
    /// Reserves this much memory, of which the system provides what is used.
    pub(crate) fn new(bytes: Option<usize>) -> Result<Self, ConfigError> {
        let bytes = bytes.unwrap_or(DEFAULT_BYTES);
        within("replay_bytes", bytes, LEAST_BYTES..=MOST_BYTES)?;
        Ok(Self {
            pages: std::iter::repeat_with(OnceLock::new).take(bytes / PAGE_BYTES).collect(),
            hasher: RandomState::new(),
            live: Live::new(),
        })
    }

    /// Returns the most entries that there is room for.
    pub(crate) const fn room(bytes: Option<usize>) -> usize {
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => DEFAULT_BYTES,
        };
        bytes / ENTRY_BYTES
    }

    /// Records a key until this time, unless it is recorded already.
    pub(crate) fn record(&self, key: &Digest, until: UnixTime, now: UnixTime) -> Recorded {
        let (now, until) = (seconds(now), seconds(until));
        // Where a key goes can't be predicted, so that no client can fill the places of others.
        let hash = self.hasher.hash_one(key);
        let recorded = self.record_at(hash, key, until, now);
        if recorded == Recorded::Fresh {
            if let Some(live) = self.live.count(now) {
                gauge!("tower_bearer_dpop_replay_entries", live.saturating_add(1) as f64);
            }
            self.live.add(until);
        }
        recorded
    }

    fn record_at(&self, hash: u64, key: &Digest, until: u32, now: u32) -> Recorded {
        // The upper half, stretched over the pages; the lower half names two buckets within one page, which is
        // looked up but once then.
        let page = (hash >> 32).wrapping_mul(self.pages.len() as u64) >> 32;
        let Some(page) = self.pages.get(page as usize) else { return Recorded::Full };
        let page = page.get_or_init(Page::default);
        let lower = hash as u32 as usize;
        let (one, further) = (lower % BUCKETS, lower / BUCKETS % (BUCKETS - 1));
        let other = one.saturating_add(further).saturating_add(1) % BUCKETS;
        // Two threads with the same key choose the same two buckets. All lock the lower one first.
        let (Some(low), Some(high)) = (page.get(one.min(other)), page.get(one.max(other))) else {
            return Recorded::Full;
        };
        let (low, high) = (low.lock(), high.lock());
        let key = beginning(key);
        let mut emptiest = (WAYS, None);
        for bucket in [&low.0, &high.0] {
            let (mut live, mut free) = (0_usize, None);
            for (until, known) in bucket.until.iter().zip(&bucket.keys) {
                if until.load(Ordering::Relaxed) < now {
                    free = Some((until, known));
                } else if known.load(Ordering::Relaxed) == key {
                    return Recorded::Seen;
                } else {
                    live = live.saturating_add(1);
                }
            }
            if live < emptiest.0 {
                emptiest = (live, free);
            }
        }
        // The emptier one: both fill alike.
        let Some((place, known)) = emptiest.1 else { return Recorded::Full };
        place.store(until, Ordering::Relaxed);
        known.store(key, Ordering::Relaxed);
        Recorded::Fresh
    }
}

impl Bucket {
    /// Waits for the lock, and holds it until the returned value is dropped.
    ///
    /// Taking it is an acquire and returning it a release: the next holder sees what was written under it, and the
    /// entries themselves need no ordering.
    #[inline]
    fn lock(&self) -> Locked<'_> {
        if self.locked.swap(true, Ordering::Acquire) {
            self.wait();
        }
        Locked(self)
    }

    /// It is held for some tens of nanoseconds, unless the thread that holds it was interrupted.
    #[cold]
    fn wait(&self) {
        let mut tries = 0_u32;
        while self.locked.load(Ordering::Relaxed) || self.locked.swap(true, Ordering::Acquire) {
            match tries {
                ..100 => hint::spin_loop(),
                100..200 => thread::yield_now(),
                // The holder may be a thread of lower priority, which never runs while this one does.
                200.. => thread::sleep(Duration::from_micros(50)),
            }
            tries = tries.saturating_add(1);
        }
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.locked.store(false, Ordering::Release);
    }
}

/// How many seconds ahead the end of an entry is counted: longer than any proof is remembered.
const HORIZON: usize = 1_024;

/// Each thread has a counter of its own, so that threads don't write to the same cache lines; more threads than
/// these share some.
const COUNTERS: usize = 16;

/// How many entries there are, by when they end. It is for the metric only, and may miss some.
struct Live {
    ending: Box<[[AtomicU32; HORIZON]]>,
    /// When the entries were last counted.
    counted: AtomicU32,
}

impl Live {
    fn new() -> Self {
        let counter = || [const { AtomicU32::new(0) }; HORIZON];
        let ending = std::iter::repeat_with(counter).take(COUNTERS).collect();
        Self { ending, counted: AtomicU32::new(0) }
    }

    /// Adds an entry.
    fn add(&self, until: u32) {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % COUNTERS;
        }
        let mine = MINE.try_with(|mine| *mine).unwrap_or_default();
        let counter = self.ending.get(mine).and_then(|it| it.get(until as usize % HORIZON));
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns how many entries there are, if a second has passed since they were last counted.
    fn count(&self, now: u32) -> Option<usize> {
        let (last, order) = (self.counted.load(Ordering::Relaxed), Ordering::Relaxed);
        let is_first = now > last && self.counted.compare_exchange(last, now, order, order).is_ok();
        is_first.then(|| self.count_from(last, now))
    }

    /// Removes the counts of entries that have ended since then, and adds up the others. Entries that other threads
    /// add meanwhile may be missed if none came for a long time before.
    #[cold]
    fn count_from(&self, last: u32, now: u32) -> usize {
        let ended = last..now.min(last.saturating_add(HORIZON as u32));
        let mut count = 0_usize;
        for counters in &self.ending {
            for second in ended.clone() {
                if let Some(counter) = counters.get(second as usize % HORIZON) {
                    counter.store(0, Ordering::Relaxed);
                }
            }
            let live = counters.iter().map(|it| it.load(Ordering::Relaxed) as usize);
            count = live.fold(count, usize::saturating_add);
        }
        count
    }
}

/// Returns the beginning of a key: 64 bits.
fn beginning(key: &Digest) -> u64 {
    key.first_chunk().map_or(0, |first| u64::from_ne_bytes(*first))
}

/// Returns whole seconds, rounded down; what is beyond 32 bits lies in the next century.
fn seconds(time: UnixTime) -> u32 {
    u32::try_from(time.as_secs().max(1)).unwrap_or(u32::MAX)
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Barrier};

    use super::*;
    use crate::digest::sha256;

    const NOW: i64 = 1_800_000_000;

    fn key(number: usize) -> Digest {
        sha256([&number.to_be_bytes()])
    }

    fn at(seconds: i64) -> UnixTime {
        UnixTime::from_secs(NOW + seconds)
    }

    fn of_bytes(bytes: usize) -> Memory {
        Memory::new(Some(bytes)).unwrap()
    }

    #[test]
    fn d58_an_entry_lives_until_its_last_second() {
        let memory = Memory::new(None).unwrap();
        assert_eq!(memory.record(&key(1), at(70), at(0)), Recorded::Fresh);
        assert_eq!(memory.record(&key(2), at(70), at(0)), Recorded::Fresh);
        for second in [0, 1, 69, 70] {
            assert_eq!(memory.record(&key(1), at(99), at(second)), Recorded::Seen, "{second}");
        }
        assert_eq!(memory.record(&key(1), at(150), at(71)), Recorded::Fresh);
        assert_eq!(memory.record(&key(1), at(150), at(71)), Recorded::Seen);
    }

    #[test]
    fn d59_the_memory_is_fixed_and_its_bound_is_that_of_the_setting() {
        assert_eq!((size_of::<Bucket>(), align_of::<Bucket>()), (128, 128));
        for bytes in [LEAST_BYTES, 1 << 20, DEFAULT_BYTES, 100_000] {
            let memory = of_bytes(bytes);
            let taken = memory.pages.len() * PAGE_BYTES;
            assert!(taken <= bytes && taken > bytes / 2, "{bytes} {taken}");
            assert!(memory.pages.len() * BUCKETS * WAYS * 3 / 4 < Memory::room(Some(bytes)));
        }
        for bytes in [0, LEAST_BYTES - 1, MOST_BYTES + 1] {
            assert!(Memory::new(Some(bytes)).is_err(), "{bytes}");
        }
    }

    #[test]
    fn d59_memory_is_taken_when_it_is_used() {
        let memory = Memory::new(None).unwrap();
        let taken = || memory.pages.iter().filter(|page| page.get().is_some()).count();
        assert_eq!(taken(), 0);
        for number in 0..100 {
            assert_eq!(memory.record(&key(number), at(70), at(0)), Recorded::Fresh);
        }
        assert!((1..=100).contains(&taken()), "{}", taken());
    }

    #[test]
    fn d60_a_full_store_says_so_and_forgets_nothing_before_its_time() {
        let memory = of_bytes(1 << 20);
        let places = memory.pages.len() * BUCKETS * WAYS;
        let mut kept = Vec::new();
        let mut full = 0;
        for number in 0..places * 2 {
            match memory.record(&key(number), at(70), at(0)) {
                Recorded::Fresh => kept.push(number),
                Recorded::Full => full += 1,
                Recorded::Seen => panic!("{number} is new"),
            }
            if number == places * 6 / 10 {
                assert_eq!(full, 0, "six of ten places are taken without a refusal");
            }
        }
        assert!(full > 0 && kept.len() <= places, "{full} {}", kept.len());
        for number in &kept {
            assert_eq!(memory.record(&key(*number), at(70), at(70)), Recorded::Seen, "{number}");
        }
        // When their time is over, all is free at once.
        for number in 0..places / 2 {
            assert_eq!(memory.record(&key(number), at(150), at(71)), Recorded::Fresh, "{number}");
        }
    }

    // At random, with a clock that goes back too, and with more keys than there are places.
    #[test]
    fn d54_d58_d60_it_says_what_a_simple_map_says() {
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let memory = of_bytes(LEAST_BYTES);
        let mut model: HashMap<usize, i64> = HashMap::new();
        let (mut now, mut latest) = (0_i64, 0_i64);
        let mut came = [0; 3];
        for _ in 0..200_000 {
            now += match random(100) {
                ..97 => 0,
                97 => -1,
                _ => 1,
            };
            let number = random(2_000) as usize;
            let until = now + random(100) as i64;
            latest = latest.max(now);
            let recorded = memory.record(&key(number), at(until), at(now));
            let is_seen = recorded == Recorded::Seen;
            match model.get(&number) {
                Some(known) if *known >= latest => assert!(is_seen, "{number} at {now}"),
                // It had ended, and the clock was set back: something else may be in its place by now.
                Some(known) if *known >= now => {}
                _ => assert!(!is_seen, "{number} at {now}"),
            }
            if recorded == Recorded::Fresh {
                model.insert(number, until);
            }
            came[recorded as usize] += 1;
        }
        assert!(came.iter().all(|it| *it > 1_000), "{came:?}");
    }

    #[test]
    fn d54_of_100_threads_with_one_proof_one_is_the_first() {
        let memory = Memory::new(None).unwrap();
        let start = Barrier::new(100);
        let fresh: [AtomicUsize; 20] = Default::default();
        thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| {
                    for (number, fresh) in fresh.iter().enumerate() {
                        start.wait();
                        if memory.record(&key(number), at(70), at(0)) == Recorded::Fresh {
                            fresh.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(fresh.map(AtomicUsize::into_inner), [1; 20]);
    }

    /// Lets two threads do something for each of many numbers, mostly at the same moment.
    fn at_once(numbers: usize, act: impl Fn(usize, usize) + Sync) {
        let arrived = AtomicUsize::new(0);
        thread::scope(|scope| {
            for thread in 0..2 {
                let (arrived, act) = (&arrived, &act);
                scope.spawn(move || {
                    for number in 0..numbers {
                        arrived.fetch_add(1, Ordering::Relaxed);
                        // The other one may not be running.
                        let both = || arrived.load(Ordering::Relaxed) > 2 * number + 1;
                        _ = (0..10_000).any(|_| both());
                        act(number, thread);
                    }
                });
            }
        });
    }

    #[test]
    fn d54_of_two_at_the_same_moment_one_is_the_first() {
        const PROOFS: usize = 20_000;
        let memory = of_bytes(1 << 20);
        let fresh: Vec<_> = (0..PROOFS).map(|_| AtomicUsize::new(0)).collect();
        at_once(PROOFS, |number, _| {
            if memory.record(&key(number), at(70), at(0)) == Recorded::Fresh {
                fresh[number].fetch_add(1, Ordering::Relaxed);
            }
        });
        assert!(fresh.iter().all(|it| it.load(Ordering::Relaxed) == 1));
    }

    // Neither writes over what the other one writes, where one of their two buckets is the same; nor waits for
    // the other one forever, where both are.
    #[test]
    fn d54_d60_of_two_at_the_same_moment_both_are_kept() {
        const A_PAGE: usize = BUCKETS / 3;
        let memory = of_bytes(2 << 20);
        let pages = memory.pages.len();
        let record = |round: usize, [one, other]: [usize; 2], number: usize| {
            let page = ((round / A_PAGE) << 32).div_ceil(pages) << 32;
            let [one, other] = [one, other].map(|it| round % A_PAGE * 3 + it);
            let hash = page + one + BUCKETS * ((other + BUCKETS - one - 1) % BUCKETS);
            memory.record_at(hash as u64, &key(number), 2, 1)
        };
        let rounds = pages * A_PAGE;
        // So the last one of three buckets is the emptiest, and is where both go.
        for (round, number) in (0..rounds).flat_map(|round| [(round, 0), (round, 1)]) {
            assert_eq!(record(round, [0, 1], number), Recorded::Fresh);
        }
        let its = |round: usize, thread: usize| {
            let buckets = match (thread, round % 2) {
                (0, _) => [0, 2],
                (_, 0) => [1, 2],
                (_, _) => [2, 0],
            };
            (buckets, 2 * round + thread + 2)
        };
        at_once(rounds, |round, thread| {
            let (buckets, number) = its(round, thread);
            assert_eq!(record(round, buckets, number), Recorded::Fresh);
        });
        for (round, thread) in (0..rounds).flat_map(|round| [(round, 0), (round, 1)]) {
            let (buckets, number) = its(round, thread);
            assert_eq!(record(round, buckets, number), Recorded::Seen, "{round} {thread}");
        }
    }

    #[test]
    fn d54_who_comes_to_a_bucket_waits_for_who_is_at_it() {
        let (bucket, came) = (Arc::new(Bucket::default()), Arc::new(AtomicBool::new(false)));
        let held = bucket.lock();
        let waiting = {
            let (bucket, came) = (Arc::clone(&bucket), Arc::clone(&came));
            thread::spawn(move || {
                let _held = bucket.lock();
                came.store(true, Ordering::Relaxed);
            })
        };
        for _ in 0..10_000 {
            assert!(!came.load(Ordering::Relaxed));
            thread::yield_now();
        }
        drop(held);
        waiting.join().unwrap();
        assert!(came.load(Ordering::Relaxed) && !bucket.locked.load(Ordering::Relaxed));
    }

    #[test]
    fn d63_entries_are_counted_until_they_end() {
        let live = Live::new();
        assert_eq!(live.count(1_000), Some(0));
        live.add(1_070);
        thread::scope(|scope| _ = scope.spawn(|| live.add(1_071)));
        assert_eq!(live.count(1_000), None, "once a second is often enough");
        assert_eq!(live.count(1_070), Some(2));
        live.add(1_100);
        assert_eq!(live.count(1_071), Some(2), "one ended, one came");
        assert_eq!(live.count(1_070), None, "a clock that was set back");
        assert_eq!(live.count(1_101), Some(0));
        live.add(1_200);
        assert_eq!(live.count(9_000), Some(0), "a long time later");
        live.add(9_070);
        assert_eq!(live.count(9_001), Some(1));
    }

    #[test]
    fn d63_all_that_is_recorded_is_counted() {
        let memory = Memory::new(None).unwrap();
        for number in 0..1_000 {
            for _ in 0..2 {
                memory.record(&key(number), at(70), at(0));
            }
        }
        let second = |it: i64| seconds(at(it));
        assert_eq!(memory.live.count(second(70)), Some(1_000));
        assert_eq!(memory.live.count(second(71)), Some(0));
    }
}
