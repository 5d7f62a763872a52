//! A table of tokens: bounded in number and in bytes, read without a lock.
//!
//! It is set-associative, as a processor's cache is: a hash of the token's end, with a key drawn at
//! random, names one set of 16 places, within which the whole token decides. That is why it can't be
//! flooded (no lookup looks at more than 16 places, whatever is sent), and why a reader neither
//! takes a lock nor writes: many threads with one hot token share nothing but the count of its `Arc`.
//! A set that is full forgets what wasn't asked for since its hand last came by (CLOCK), so that
//! tokens that come once don't drive out those that come all the time.
//!
//! It was chosen among a dozen structures, measured by `cache_candidates` in `benches/peers`.
//! `quick_cache` is faster on one thread, by a fifth on hits and three times on inserts, which come
//! after a signature; but it takes a shared lock for each lookup, and with two threads and a thousand
//! tokens it is no faster on hits. Maps behind locks fall behind once two threads insert, and `moka` costs twice as
//! much. With eight places a set, a full table lost hot tokens where more than eight of them fell
//! into one set; with 16 it is within 7 % of an unbounded map.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use zeroize::Zeroizing;

/// So many that sets hardly ever overflow before the table is full; their tags fill a cache line.
const WAYS: usize = 16;

const NO_TAG: u32 = 0;

/// How much of a token's end is hashed: 96 bits of signature, which only the issuer's key can make.
/// A caller cannot choose the hashes of tokens that are accepted, and chosen hashes of other tokens slow
/// down only their own lookups.
const HASHED_BYTES: usize = 16;

/// What is known of tokens.
pub(crate) struct Table<V> {
    sets: Box<[Set<V>]>,
    hasher: RandomState,
    /// What the entries count for, and those that are just coming.
    held: AtomicUsize,
    max_bytes: usize,
    /// The set from which to make room next, when the bytes are spent.
    hand: AtomicUsize,
}

struct Set<V> {
    /// The other half of each way's hash, so that hardly any token is compared without need; 0 where
    /// there is none.
    tags: [AtomicU32; WAYS],
    /// One bit a way: whether it was asked for since the hand came by.
    used: AtomicU16,
    ways: [ArcSwapOption<Entry<V>>; WAYS],
    /// The position of the hand. A writer of a way holds it; readers never do.
    hand: Mutex<usize>,
}

struct Entry<V> {
    /// Wiped when it is forgotten.
    token: Zeroizing<Box<[u8]>>,
    bytes: usize,
    value: V,
}

impl<V> Table<V> {
    /// Creates a table for this many entries, rounded up to a multiple of 16, and this many
    /// bytes. An entry counts for its token, for itself, and for what [`insert`](Self::insert) is
    /// told.
    pub(crate) fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self {
            sets: (0..max_entries.div_ceil(WAYS)).map(|_| Set::default()).collect(),
            hasher: RandomState::default(),
            held: AtomicUsize::new(0),
            max_bytes,
            hand: AtomicUsize::new(0),
        }
    }

    /// Finds what `judge` makes of what is known of a token.
    pub(crate) fn find<R>(&self, token: &[u8], judge: impl FnOnce(&V) -> Option<R>) -> Option<R> {
        let (set, tag) = self.place(token)?;
        for (way, (its_tag, held)) in set.tags.iter().zip(&set.ways).enumerate() {
            if its_tag.load(Ordering::Relaxed) != tag {
                continue;
            }
            if let Some(entry) = &*held.load()
                && **entry.token == *token
            {
                let found = judge(&entry.value)?;
                set.use_again(way);
                return Some(found);
            }
        }
        None
    }

    /// Keeps what is known of a token, in place of what was known of it, if there is room. `bytes`
    /// is what the value holds beyond its own size.
    pub(crate) fn insert(&self, token: &[u8], bytes: usize, value: V) {
        let bytes =
            [size_of::<Entry<V>>(), token.len()].into_iter().fold(bytes, usize::saturating_add);
        let Some((set, tag)) = self.place(token) else { return };
        if bytes > self.max_bytes || !self.make_room(bytes) {
            return;
        }
        let entry = Entry { token: Zeroizing::new(token.into()), bytes, value };
        let mut hand = set.lock();
        let way = set.way_of(token, tag).unwrap_or_else(|| set.advance(&mut hand));
        let gone = set.put(way, Some(Arc::new(entry)), tag);
        drop(hand);
        self.release(gone);
    }

    /// Forgets a token.
    #[cfg(feature = "introspection")]
    pub(crate) fn remove(&self, token: &[u8]) {
        let Some((set, tag)) = self.place(token) else { return };
        let hand = set.lock();
        // It may be that there is none, and this is another's place, or an empty one.
        let way = set.way_of(token, tag).filter(|way| {
            let held = set.ways.get(*way).and_then(ArcSwapOption::load_full);
            held.is_some_and(|entry| **entry.token == *token)
        });
        let gone = way.and_then(|way| set.put(way, None, NO_TAG));
        drop(hand);
        self.release(gone);
    }

    fn place(&self, token: &[u8]) -> Option<(&Set<V>, u32)> {
        let mut hasher = self.hasher.build_hasher();
        match token.last_chunk::<HASHED_BYTES>() {
            Some(end) => hasher.write_u128(u128::from_ne_bytes(*end)),
            None => hasher.write(token),
        }
        let hash = hasher.finish();
        // The upper half, stretched over the sets.
        let sets = u64::try_from(self.sets.len()).ok()?;
        let at = (hash >> 32).wrapping_mul(sets) >> 32;
        #[allow(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
        let tag = (hash as u32).max(NO_TAG + 1);
        Some((self.sets.get(usize::try_from(at).ok()?)?, tag))
    }

    /// Counts these bytes as held, and forgets others if they are too many. Says whether there is
    /// room for them.
    fn make_room(&self, bytes: usize) -> bool {
        let mut held = self.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        // Twice around finds everything: the first time may only see that it was used.
        for _ in 0..self.sets.len().saturating_mul(2 * WAYS) {
            if held <= self.max_bytes {
                return true;
            }
            let at = self.hand.fetch_add(1, Ordering::Relaxed).checked_rem(self.sets.len());
            let Some(set) = at.and_then(|at| self.sets.get(at)) else { break };
            // Where bytes are scarce and places aren't, most sets are empty.
            if (0..WAYS).all(|way| set.is_empty(way)) {
                continue;
            }
            let mut hand = set.lock();
            let way = set.advance(&mut hand);
            let gone = set.put(way, None, NO_TAG);
            drop(hand);
            held = self.release(gone);
        }
        if held <= self.max_bytes {
            return true;
        }
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        false
    }

    /// Returns what is held without `gone`.
    fn release(&self, gone: Option<Arc<Entry<V>>>) -> usize {
        let bytes = gone.map_or(0, |gone| gone.bytes);
        self.held.fetch_sub(bytes, Ordering::Relaxed).saturating_sub(bytes)
    }
}

impl<V> Set<V> {
    /// Notes that a way was asked for. Most of the time that is known, and nothing is written.
    fn use_again(&self, way: usize) {
        let bit = bit(way);
        if self.used.load(Ordering::Relaxed) & bit == 0 {
            self.used.fetch_or(bit, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the way that has this token, or else one that has none.
    fn way_of(&self, token: &[u8], tag: u32) -> Option<usize> {
        let mut empty = None;
        for (way, (its_tag, held)) in self.tags.iter().zip(&self.ways).enumerate() {
            let its_tag = its_tag.load(Ordering::Relaxed);
            if its_tag == tag && held.load().as_ref().is_some_and(|it| **it.token == *token) {
                return Some(way);
            }
            if its_tag == NO_TAG {
                empty = empty.or(Some(way));
            }
        }
        empty
    }

    fn is_empty(&self, way: usize) -> bool {
        self.tags.get(way).is_none_or(|tag| tag.load(Ordering::Relaxed) == NO_TAG)
    }

    /// Chooses the way to make room in: the next one that wasn't asked for since the hand came by.
    fn advance(&self, hand: &mut usize) -> usize {
        let mut way = *hand;
        for _ in 0..WAYS {
            way = *hand;
            *hand = way.wrapping_add(1) % WAYS;
            let bit = bit(way);
            let used = self.used.fetch_and(!bit, Ordering::Relaxed) & bit != 0;
            if !used && !self.is_empty(way) {
                break;
            }
        }
        way
    }

    fn put(&self, way: usize, entry: Option<Arc<Entry<V>>>, tag: u32) -> Option<Arc<Entry<V>>> {
        let (ways, tags) = (self.ways.get(way)?, self.tags.get(way)?);
        let gone = ways.swap(entry);
        tags.store(tag, Ordering::Relaxed);
        self.used.fetch_and(!bit(way), Ordering::Relaxed);
        gone
    }
}

const fn bit(way: usize) -> u16 {
    1 << (way % WAYS)
}

impl<V> Default for Set<V> {
    fn default() -> Self {
        Self {
            tags: Default::default(),
            used: AtomicU16::new(0),
            ways: Default::default(),
            hand: Mutex::new(0),
        }
    }
}

impl<V> fmt::Debug for Table<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("max_entries", &self.sets.len().saturating_mul(WAYS))
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    impl<V> Table<V> {
        fn entries(&self) -> Vec<Arc<Entry<V>>> {
            let ways = self.sets.iter().flat_map(|set| &set.ways);
            ways.filter_map(ArcSwapOption::load_full).collect()
        }

        fn bytes(&self) -> usize {
            self.entries().iter().map(|entry| entry.bytes).sum()
        }

        fn held(&self) -> usize {
            self.held.load(Ordering::Relaxed)
        }
    }

    const EMPTY: usize = size_of::<Entry<usize>>();

    /// Tokens end in signatures, which have nothing in common.
    fn token(number: usize) -> Vec<u8> {
        let mixed = (number as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        format!("{mixed:032x}{mixed:032x}").into_bytes()
    }

    fn get(table: &Table<usize>, token: &[u8]) -> Option<usize> {
        table.find(token, |value| Some(*value))
    }

    #[test]
    fn the_whole_token_decides() {
        let table = Table::new(64, 100_000);
        let mut known = [b'a'; 100];
        table.insert(&known, 0, 1);
        assert_eq!(get(&table, &known), Some(1));
        // The last 16 bytes, which alone are hashed, stay as they are.
        for at in 0..84 {
            known[at] = b'b';
            assert_eq!(get(&table, &known), None, "{at}");
            known[at] = b'a';
        }
        assert_eq!(get(&table, &known[1..]), None, "a token that is its end");
        assert_eq!(get(&table, &[&b"a"[..], &known].concat()), None, "a token that it ends");
        assert_eq!(get(&table, b""), None);
        assert_eq!(get(&table, &known), Some(1));
        // Another one with its end, and so with its hash, takes a place of its own.
        let other = [&b"b"[..], &known].concat();
        table.insert(&other, 0, 2);
        assert_eq!((get(&table, &other), get(&table, &known)), (Some(2), Some(1)));
    }

    #[test]
    fn short_tokens_are_hashed_whole() {
        let table = Table::new(64, 100_000);
        for (value, token) in [&b""[..], b"a", b"ab"].into_iter().enumerate() {
            table.insert(token, 0, value);
        }
        assert_eq!(get(&table, b"a"), Some(1));
        assert_eq!(get(&table, b"ab"), Some(2));
        assert_eq!(get(&table, b"b"), None);
    }

    #[test]
    fn what_is_no_longer_right_is_not_found_and_replaced_in_its_place() {
        let table = Table::new(16, 100_000);
        table.insert(b"a", 0, 1);
        assert_eq!(table.find(b"a", |_| None::<()>), None);
        assert_eq!(table.sets[0].used.load(Ordering::Relaxed), 0, "that is no use");
        table.insert(b"a", 0, 2);
        assert_eq!(get(&table, b"a"), Some(2));
        assert_eq!((table.entries().len(), table.held()), (1, table.bytes()));
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        for (max, most) in [(0, 0), (1, 16), (16, 16), (60, 64)] {
            let table = Table::new(max, usize::MAX);
            for number in 0..2_000 {
                table.insert(&token(number), 0, number);
            }
            assert_eq!(table.entries().len(), most, "{max}");
            assert_eq!(table.held(), table.bytes());
        }
    }

    #[test]
    fn the_number_of_bytes_is_bounded() {
        let max = 10 * (EMPTY + 164);
        let table = Table::new(1_000, max);
        for number in 0..2_000 {
            table.insert(&token(number), 100, number);
            assert!(table.bytes() <= max);
        }
        assert_eq!((table.held(), table.entries().len()), (table.bytes(), 10));
        assert_eq!(get(&table, &token(1_999)), Some(1_999), "the last one is there");

        // One as large as all: the others make room for it, used or not.
        for number in 0..2_000 {
            get(&table, &token(number));
        }
        table.insert(b"large", max - EMPTY - 5, 1);
        assert_eq!(get(&table, b"large"), Some(1));
        assert_eq!((table.held(), table.entries().len()), (max, 1));
        // And one larger than that is let go.
        table.insert(b"larger", max - EMPTY - 5, 1);
        assert_eq!((get(&table, b"larger"), get(&table, b"large")), (None, Some(1)));
        table.insert(b"immense", usize::MAX, 1);
        assert_eq!((get(&table, b"immense"), table.held()), (None, max));
    }

    /// While others are just coming with all that there is room for.
    #[test]
    fn what_finds_no_room_counts_for_nothing() {
        let table = Table::new(16, 1_000);
        table.held.store(1_000, Ordering::Relaxed);
        table.insert(b"a", 0, 1);
        assert_eq!((get(&table, b"a"), table.held()), (None, 1_000));
        table.held.store(0, Ordering::Relaxed);
        table.insert(b"a", 0, 1);
        assert_eq!((get(&table, b"a"), table.held()), (Some(1), table.bytes()));
    }

    #[test]
    fn room_is_found_fast_among_many_places_that_are_empty() {
        let table = Table::new(16_000, EMPTY + 64);
        for number in 0..100 {
            let before = table.hand.load(Ordering::Relaxed);
            table.insert(&token(number), 0, number);
            let looked_at = table.hand.load(Ordering::Relaxed) - before;
            // Twice around, since it was used.
            assert!(looked_at <= 2 * table.sets.len() + 1, "{looked_at} sets for one entry");
            assert_eq!((get(&table, &token(number)), table.entries().len()), (Some(number), 1));
        }
    }

    #[test]
    fn what_comes_once_doesnt_drive_out_what_comes_all_the_time() {
        let table = Table::new(256, usize::MAX);
        for hot in 0..32 {
            table.insert(&token(hot), 0, hot);
        }
        let mut missed = 0;
        for once in 1_000..50_000 {
            let hot = token(once % 32);
            if get(&table, &hot).is_none() {
                missed += 1;
                table.insert(&hot, 0, 0);
            }
            table.insert(&token(once), 0, once);
        }
        assert!(missed < 490, "{missed} of 49 000 lookups of 32 tokens missed");
    }

    #[test]
    fn readers_and_writers_of_many_threads_see_only_what_belongs_together() {
        let table = Table::new(64, 64 * (EMPTY + 64) / 2);
        thread::scope(|scope| {
            for start in 0..4 {
                let table = &table;
                scope.spawn(move || {
                    for step in 0..5_000 {
                        let number = (start * 37 + step * 7) % 200;
                        if let Some(found) = get(table, &token(number)) {
                            assert_eq!(found, number);
                        } else {
                            table.insert(&token(number), 0, number);
                        }
                    }
                });
            }
        });
        assert!(table.held() <= table.max_bytes);
        assert_eq!(table.held(), table.bytes());
        let mut kept: Vec<usize> = table.entries().iter().map(|entry| entry.value).collect();
        let all = kept.len();
        kept.sort_unstable();
        kept.dedup();
        assert_eq!(kept.len(), all, "each token is there once");
    }
}
