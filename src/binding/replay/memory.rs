use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::clock::UnixTime;
use crate::digest::Digest;
use crate::error::{ConfigError, within};
use crate::telemetry::gauge;

/// Locks, so that threads seldom meet.
const SHARDS: usize = 64;

/// How many entries lie side by side. An entry may lie in either of two lines: so nearly all places
/// are taken before a line overflows.
const LINE: usize = 16;

const ENTRY_BYTES: usize = size_of::<Entry>();

const LEAST_BYTES: usize = SHARDS * LINE * ENTRY_BYTES;
const MOST_BYTES: usize = 4 * 1_024 * 1_024 * 1_024;
const DEFAULT_BYTES: usize = 16 * 1_024 * 1_024;

/// How many seconds ahead an entry's end is counted: longer than any proof is remembered.
const HORIZON: usize = 1_024;

/// What became of a proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Recorded {
    /// It was never seen before.
    Fresh,
    /// It was used before.
    Seen,
    /// There is no room to remember it in, so that it can't be accepted.
    Full,
}

/// When it is forgotten, and a part of a key. All zeros are an entry that ended long ago: so the
/// system gives the memory only when it is used.
type Entry = [u32; 4];

/// The proofs that were used, in memory of a fixed size. An entry stays until its time is over; a
/// place whose entry has ended is free without anything being done.
pub(crate) struct Memory {
    shards: Box<[Mutex<Box<[Entry]>>]>,
    hasher: RandomState,
    live: Live,
}

/// How many entries there are, by when they end. It is for the operator only, and may be off by a few
/// while several threads count.
struct Live {
    now: AtomicU32,
    count: AtomicUsize,
    ending: Box<[AtomicU32]>,
}

impl Memory {
    /// Takes this much memory, of which the system gives what is used.
    pub(crate) fn new(bytes: Option<usize>) -> Result<Self, ConfigError> {
        let bytes = bytes.unwrap_or(DEFAULT_BYTES);
        within("replay_bytes", bytes, LEAST_BYTES..=MOST_BYTES)?;
        let lines = (bytes / LEAST_BYTES).max(1);
        let shard = || Mutex::new(vec![[0; 4]; lines.saturating_mul(LINE)].into());
        Ok(Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher: RandomState::new(),
            live: Live::new(),
        })
    }

    /// Records a key until this time, unless it is there.
    pub(crate) fn record(&self, key: &Digest, until: UnixTime, now: UnixTime) -> Recorded {
        let (now, until) = (seconds(now), seconds(until));
        // Where a key goes can't be foreseen, so that nobody can fill the places of others.
        let hash = self.hasher.hash_one(key);
        let recorded = self.record_at(hash, key, until, now);
        if recorded == Recorded::Fresh {
            let live = self.live.add(until, now);
            if let Some(live) = live {
                gauge!("tower_bearer_dpop_replay_entries", live as f64);
            }
        }
        recorded
    }

    fn record_at(&self, hash: u64, key: &Digest, until: u32, now: u32) -> Recorded {
        let [shard, one, other] = [hash as usize, (hash >> 16) as usize, (hash >> 40) as usize];
        let Some(shard) = self.shards.get(shard % SHARDS) else { return Recorded::Full };
        let [a, b, c] = words(key);
        let mut entries = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = (entries.len() / LINE).max(1);
        let [one, other] = [one, other]
            .map(|hash| hash.checked_rem(lines).unwrap_or_default().saturating_mul(LINE));
        let mut free = [None; 2];
        let mut live = [0_usize; 2];
        for (line, (free, live)) in [one, other].into_iter().zip(free.iter_mut().zip(&mut live)) {
            for (at, entry) in (line..).zip(entries.iter().skip(line).take(LINE)) {
                let [until, known @ ..] = entry;
                if *until < now {
                    *free = Some(at);
                } else if *known == [a, b, c] {
                    return Recorded::Seen;
                } else {
                    *live = live.saturating_add(1);
                }
            }
        }
        // The emptier line: both fill alike.
        let [(first, one), (second, other)] = [(free[0], live[0]), (free[1], live[1])];
        let place = if one <= other { first.or(second) } else { second.or(first) };
        match place.and_then(|at| entries.get_mut(at)) {
            Some(entry) => {
                *entry = [until, a, b, c];
                Recorded::Fresh
            }
            None => Recorded::Full,
        }
    }
}

impl Live {
    fn new() -> Self {
        let ending = std::iter::repeat_with(AtomicU32::default).take(HORIZON).collect();
        Self { now: AtomicU32::new(0), count: AtomicUsize::new(0), ending }
    }

    /// Adds an entry. Returns how many there are, if a second has passed since that was last asked.
    fn add(&self, until: u32, now: u32) -> Option<usize> {
        let slot = |second: u32| self.ending.get(second as usize % HORIZON);
        let last = self.now.load(Ordering::Relaxed);
        let passed = now.saturating_sub(last);
        let order = Ordering::Relaxed;
        let is_first = passed > 0 && self.now.compare_exchange(last, now, order, order).is_ok();
        if is_first {
            // No entry ends later than half of the horizon after it came.
            let seconds = (0..passed.min(HORIZON as u32 / 2)).filter_map(|it| last.checked_add(it));
            let ended = seconds.filter_map(slot).map(|it| it.swap(0, order) as usize);
            self.count.fetch_sub(ended.fold(0, usize::saturating_add), order);
        }
        if let Some(ending) = slot(until) {
            ending.fetch_add(1, order);
            self.count.fetch_add(1, order);
        }
        is_first.then(|| self.count.load(order))
    }
}

/// Returns the beginning of a key: 96 bits.
fn words(key: &Digest) -> [u32; 3] {
    let (words, _) = key.as_chunks::<4>();
    let word = |at: usize| words.get(at).map_or(0, |word| u32::from_ne_bytes(*word));
    [word(0), word(1), word(2)]
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::digest::sha256;

    const NOW: i64 = 1_800_000_000;

    fn key(number: usize) -> Digest {
        sha256([&number.to_be_bytes()])
    }

    fn at(seconds: i64) -> UnixTime {
        UnixTime::from_secs(NOW + seconds)
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
        assert_eq!(ENTRY_BYTES, 16);
        for bytes in [LEAST_BYTES, 1 << 20, DEFAULT_BYTES, 100_000] {
            let memory = Memory::new(Some(bytes)).unwrap();
            let taken: usize =
                memory.shards.iter().map(|it| it.lock().unwrap().len() * ENTRY_BYTES).sum();
            assert!(taken <= bytes && taken > bytes / 2, "{bytes} {taken}");
        }
        for bytes in [0, LEAST_BYTES - 1, MOST_BYTES + 1] {
            assert!(Memory::new(Some(bytes)).is_err(), "{bytes}");
        }
    }

    #[test]
    fn d60_a_full_store_says_so_and_forgets_nothing_before_its_time() {
        let memory = Memory::new(Some(1 << 20)).unwrap();
        let places = (1 << 20) / ENTRY_BYTES;
        let mut kept = Vec::new();
        let mut full = 0;
        for number in 0..places * 2 {
            match memory.record(&key(number), at(70), at(0)) {
                Recorded::Fresh => kept.push(number),
                Recorded::Full => full += 1,
                Recorded::Seen => panic!("{number} is new"),
            }
            if number == places * 3 / 4 {
                assert_eq!(full, 0, "three quarters fit without a refusal");
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

    #[test]
    fn d54_of_many_threads_with_one_proof_one_is_the_first() {
        let memory = Memory::new(None).unwrap();
        for number in 0..50 {
            let fresh = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        if memory.record(&key(number), at(70), at(0)) == Recorded::Fresh {
                            fresh.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            });
            assert_eq!(fresh.into_inner(), 1);
        }
    }

    #[test]
    fn d63_entries_are_counted_until_they_end() {
        let live = Live::new();
        let count = || live.count.load(Ordering::Relaxed);
        assert_eq!(live.add(1_070, 1_000), Some(1));
        assert_eq!(live.add(1_071, 1_000), None, "once a second is often enough");
        assert_eq!(count(), 2);
        assert_eq!(live.add(1_100, 1_070), Some(3));
        assert_eq!(live.add(1_100, 1_071), Some(3), "one ended, one came");
        assert_eq!(live.add(9_000, 8_990), Some(1), "a long time later");
        live.add(8_999, 8_000);
        assert_eq!(count(), 2, "a clock that was set back");
    }
}
