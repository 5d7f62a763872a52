//! A table of tokens: bounded in number and in bytes, read without a lock.
//!
//! It is set-associative, as a processor's cache is: a hash of the token's end, with a key drawn at
//! random, names one set of 16 places, within which the whole token is compared. That is why it can't be
//! flooded (no lookup reads more than 16 places, whatever is sent), and why a reader neither
//! takes a lock nor writes: many threads with one hot token share nothing but the count of its `Arc`.
//! A full set evicts an entry that wasn't used since its hand last passed (CLOCK), so that
//! tokens that are sent once don't displace those that are sent all the time.
//!
//! It was chosen among a dozen structures, measured by `cache_candidates` in `benches/peers`.
//! `quick_cache` is faster, by a fifth on hits of one thread and three times on inserts, which come
//! after a signature (`benches/README.md`); but it takes a shared lock for each lookup, is one more
//! crate, and has no parts for several issuers. Maps behind locks fall behind once two threads insert,
//! and `moka` costs twice as much. With eight places a set, a full table lost hot tokens where more than
//! eight of them fell into one set; with 16 it is within 7 % of an unbounded map.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(feature = "introspection")]
use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use zeroize::Zeroizing;

use crate::validator::quota::Quota;
use crate::validator::set::{Entry, InsertingOwner, NO_TAG, Set, WAYS};

/// How much of a token's end is hashed: 96 bits of signature, which only the issuer's key can make.
/// A caller cannot choose the hashes of tokens that are accepted, and chosen hashes of other tokens slow
/// down only their own lookups.
const HASHED_BYTES: usize = 16;

/// How many sets are searched for room before a token isn't kept.
const MAX_IN_VAIN: usize = 256;

/// A table of values by token.
pub(crate) struct Table<V> {
    sets: Box<[Set<V>]>,
    hasher: RandomState,
    /// The size of the entries, including those that are being inserted.
    held: AtomicUsize,
    max_bytes: usize,
    /// The set to evict from next, when the bytes are used up.
    hand: AtomicUsize,
    /// How many issuers have entries, where there are several.
    owners: AtomicUsize,
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
            owners: AtomicUsize::new(0),
        }
    }

    /// Returns what `judge` makes of a token's value.
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

    /// Keeps a token's value, replacing the one before, if there is room. `bytes` is what the value
    /// holds beyond its own size.
    ///
    /// If several issuers share the table, `quota` is that of the token's, which has an equal part of
    /// the table: see [`Quota`]. Values that `is_dead` are then evicted first.
    pub(crate) fn insert(
        &self,
        token: &[u8],
        bytes: usize,
        value: V,
        quota: Option<&Arc<Quota>>,
        is_dead: impl Fn(&V) -> bool,
    ) {
        let bytes =
            [size_of::<Entry<V>>(), token.len()].into_iter().fold(bytes, usize::saturating_add);
        let Some((set, tag)) = self.place(token) else { return };
        if bytes > self.most_for_one(quota.is_some()) {
            return;
        }
        if let Some(owner) = quota
            && owner.add(bytes)
        {
            self.owners.fetch_add(1, Ordering::Relaxed);
        }
        let inserting = || quota.map(|owner| self.inserting(owner, &is_dead));
        let held = self.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let token = Zeroizing::new(token.into());
        let entry = Entry { token, bytes, owner: quota.cloned(), value };
        if held > self.max_bytes && !self.make_room(held, &inserting) {
            self.release(Some(&entry));
            return;
        }
        let mut hand = set.lock();
        let way = set.way_of(&entry.token, tag).unwrap_or_else(|| match inserting() {
            None => set.advance(&mut hand),
            Some(inserting) => set.way_to_evict(&mut hand, &inserting),
        });
        let gone = set.put(way, Some(Arc::new(entry)), tag);
        drop(hand);
        self.release(gone.as_deref());
    }

    /// Returns how many bytes one entry may have. Among several owners, an entry larger than one's part is
    /// kept only while nothing else need be evicted for it.
    fn most_for_one(&self, among_several: bool) -> usize {
        if !among_several {
            return self.max_bytes;
        }
        let free = self.max_bytes.saturating_sub(self.held.load(Ordering::Relaxed));
        free.max(self.bytes_each())
    }

    fn bytes_each(&self) -> usize {
        let owners = self.owners.load(Ordering::Relaxed).max(1);
        self.max_bytes.checked_div(owners).unwrap_or_default()
    }

    #[inline(never)]
    fn inserting<'a>(
        &self,
        owner: &'a Arc<Quota>,
        is_dead: &'a dyn Fn(&V) -> bool,
    ) -> InsertingOwner<'a, V> {
        let owners = self.owners.load(Ordering::Relaxed).max(1);
        let ways_each = WAYS.checked_div(owners).unwrap_or_default().max(1);
        InsertingOwner { owner, is_dead, ways_each, bytes_each: self.bytes_each() }
    }

    /// Evicts until what is held fits. Returns `true` if it does.
    #[inline(never)]
    fn make_room<'a>(
        &self,
        mut held: usize,
        inserting: &dyn Fn() -> Option<InsertingOwner<'a, V>>,
    ) -> bool {
        // Two rounds find everything: the first may only clear the marks. Among several owners,
        // a request doesn't go around a large table for that.
        let most = if inserting().is_some() { MAX_IN_VAIN } else { usize::MAX };
        let patience = self.sets.len().saturating_mul(2).min(most);
        let mut in_vain = 0_usize;
        while held > self.max_bytes {
            if in_vain > patience {
                return false;
            }
            in_vain = in_vain.saturating_add(1);
            let at = self.hand.fetch_add(1, Ordering::Relaxed).checked_rem(self.sets.len());
            let Some(set) = at.and_then(|at| self.sets.get(at)) else { return false };
            // If bytes are scarce and places aren't, most sets are empty.
            if (0..WAYS).all(|way| set.is_empty(way)) {
                continue;
            }
            let mut hand = set.lock();
            let way = match inserting() {
                None => Some(set.advance(&mut hand)),
                Some(inserting) => set.way_to_free(&mut hand, &inserting),
            };
            let gone = way.and_then(|way| set.put(way, None, NO_TAG));
            drop(hand);
            if gone.is_some() {
                in_vain = 0;
            }
            held = self.release(gone.as_deref());
        }
        true
    }

    /// Removes a token.
    #[cfg(feature = "introspection")]
    pub(crate) fn remove(&self, token: &[u8]) {
        let Some((set, tag)) = self.place(token) else { return };
        let hand = set.lock();
        // There may be no such token, and this may be another's place, or an empty one.
        let way = set.way_of(token, tag).filter(|way| {
            let held = set.ways.get(*way).and_then(ArcSwapOption::load_full);
            held.is_some_and(|entry| **entry.token == *token)
        });
        let gone = way.and_then(|way| set.put(way, None, NO_TAG));
        drop(hand);
        self.release(gone.as_deref());
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

    /// Returns what is held without `gone`.
    fn release(&self, gone: Option<&Entry<V>>) -> usize {
        let bytes = gone.map_or(0, |gone| gone.bytes);
        if let Some(owner) = gone.and_then(|gone| gone.owner.as_ref())
            && owner.take(bytes)
        {
            self.owners.fetch_sub(1, Ordering::Relaxed);
        }
        self.held.fetch_sub(bytes, Ordering::Relaxed).saturating_sub(bytes)
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

    use arc_swap::ArcSwapOption;

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

    fn insert(table: &Table<usize>, token: &[u8], bytes: usize, value: usize) {
        table.insert(token, bytes, value, None, |_| false);
    }

    fn get(table: &Table<usize>, token: &[u8]) -> Option<usize> {
        table.find(token, |value| Some(*value))
    }

    #[test]
    fn the_whole_token_decides() {
        let table = Table::new(64, 100_000);
        let mut known = [b'a'; 100];
        insert(&table, &known, 0, 1);
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
        insert(&table, &other, 0, 2);
        assert_eq!((get(&table, &other), get(&table, &known)), (Some(2), Some(1)));
    }

    #[test]
    fn short_tokens_are_hashed_whole() {
        let table = Table::new(64, 100_000);
        for (value, token) in [&b""[..], b"a", b"ab"].into_iter().enumerate() {
            insert(&table, token, 0, value);
        }
        assert_eq!(get(&table, b"a"), Some(1));
        assert_eq!(get(&table, b"ab"), Some(2));
        assert_eq!(get(&table, b"b"), None);
    }

    #[test]
    fn what_is_no_longer_right_is_not_found_and_replaced_in_its_place() {
        let table = Table::new(16, 100_000);
        insert(&table, b"a", 0, 1);
        assert_eq!(table.find(b"a", |_| None::<()>), None);
        assert_eq!(table.sets[0].used.load(Ordering::Relaxed), 0, "that is no use");
        insert(&table, b"a", 0, 2);
        assert_eq!(get(&table, b"a"), Some(2));
        assert_eq!((table.entries().len(), table.held()), (1, table.bytes()));
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        for (max, most) in [(0, 0), (1, 16), (16, 16), (60, 64)] {
            let table = Table::new(max, usize::MAX);
            for number in 0..2_000 {
                insert(&table, &token(number), 0, number);
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
            insert(&table, &token(number), 100, number);
            assert!(table.bytes() <= max);
        }
        assert_eq!((table.held(), table.entries().len()), (table.bytes(), 10));
        assert_eq!(get(&table, &token(1_999)), Some(1_999), "the last one is there");

        // One as large as all: the others make room for it, used or not.
        for number in 0..2_000 {
            get(&table, &token(number));
        }
        insert(&table, b"large", max - EMPTY - 5, 1);
        assert_eq!(get(&table, b"large"), Some(1));
        assert_eq!((table.held(), table.entries().len()), (max, 1));
        // And one larger than that is let go.
        insert(&table, b"larger", max - EMPTY - 5, 1);
        assert_eq!((get(&table, b"larger"), get(&table, b"large")), (None, Some(1)));
        insert(&table, b"immense", usize::MAX, 1);
        assert_eq!((get(&table, b"immense"), table.held()), (None, max));
    }

    /// While others are just coming with all that there is room for.
    #[test]
    fn what_finds_no_room_counts_for_nothing() {
        let table = Table::new(16, 1_000);
        table.held.store(1_000, Ordering::Relaxed);
        insert(&table, b"a", 0, 1);
        assert_eq!((get(&table, b"a"), table.held()), (None, 1_000));
        table.held.store(0, Ordering::Relaxed);
        insert(&table, b"a", 0, 1);
        assert_eq!((get(&table, b"a"), table.held()), (Some(1), table.bytes()));
    }

    #[test]
    fn room_is_found_fast_among_many_places_that_are_empty() {
        let table = Table::new(16_000, EMPTY + 64);
        for number in 0..100 {
            let before = table.hand.load(Ordering::Relaxed);
            insert(&table, &token(number), 0, number);
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
            insert(&table, &token(hot), 0, hot);
        }
        let mut missed = 0;
        for once in 1_000..50_000 {
            let hot = token(once % 32);
            if get(&table, &hot).is_none() {
                missed += 1;
                insert(&table, &hot, 0, 0);
            }
            insert(&table, &token(once), 0, once);
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
                            insert(table, &token(number), 0, number);
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

    fn insert_for(table: &Table<usize>, owner: &Arc<Quota>, number: usize, bytes: usize) {
        table.insert(&token(number), bytes, number, Some(owner), |value| *value == DEAD);
    }

    const DEAD: usize = 7_777_777;

    fn held_by(table: &Table<usize>, quota: &Arc<Quota>) -> usize {
        let is_its = |entry: &&Arc<Entry<usize>>| {
            entry.owner.as_ref().is_some_and(|owner| Arc::ptr_eq(owner, quota))
        };
        table.entries().iter().filter(is_its).count()
    }

    #[test]
    fn n7_each_of_several_has_an_equal_part_of_the_places_whoever_floods() {
        for owners in [2, 3, 5, 16] {
            let table = Table::new(64, usize::MAX);
            let quotas: Vec<Arc<Quota>> = (0..owners).map(|_| Arc::default()).collect();
            // One after the other floods, with tokens in use.
            for (place, quota) in quotas.iter().enumerate() {
                for number in 0..2_000 {
                    insert_for(&table, quota, place * 10_000 + number, 0);
                    get(&table, &token(place * 10_000 + number));
                }
            }
            let part = 4 * (16 / owners);
            for quota in &quotas {
                assert!(held_by(&table, quota) >= part, "{owners}: {}", held_by(&table, quota));
            }
            assert_eq!(table.entries().len(), 64);
            assert_eq!(table.owners.load(Ordering::Relaxed), owners);
        }
    }

    #[test]
    fn n7_more_owners_than_places_have_one_place_a_set() {
        let table = Table::new(16, usize::MAX);
        let quotas: Vec<Arc<Quota>> = (0..40).map(|_| Arc::default()).collect();
        for (place, quota) in quotas.iter().enumerate().take(16) {
            insert_for(&table, quota, place, 0);
        }
        for number in 1_000..3_000 {
            insert_for(&table, &quotas[0], number, 0);
            get(&table, &token(number));
        }
        assert!(quotas[..16].iter().all(|quota| held_by(&table, quota) == 1));
        // One that comes later isn't kept out.
        insert_for(&table, &quotas[39], 5_000, 0);
        assert_eq!(held_by(&table, &quotas[39]), 1);
    }

    #[test]
    fn n7_each_of_several_has_an_equal_part_of_the_bytes() {
        let max = 40 * (EMPTY + 64);
        let table = Table::new(1_600, max);
        let [one, two]: [Arc<Quota>; 2] = Default::default();
        for number in 0..20 {
            insert_for(&table, &two, number, 0);
        }
        for number in 100..2_000 {
            insert_for(&table, &one, number, 0);
            get(&table, &token(number));
            assert!(table.bytes() <= max);
        }
        assert_eq!((held_by(&table, &one), held_by(&table, &two)), (20, 20));
        // Large ones of one owner drive out its own, and one that is larger than its part isn't kept.
        insert_for(&table, &one, 3_000, 10 * (EMPTY + 64));
        assert_eq!((get(&table, &token(3_000)), held_by(&table, &two)), (Some(3_000), 20));
        let before = (held_by(&table, &one), table.hand.load(Ordering::Relaxed));
        insert_for(&table, &one, 3_001, 30 * (EMPTY + 64));
        assert_eq!((get(&table, &token(3_001)), held_by(&table, &two)), (None, 20));
        // Nothing of its owner's goes for it, and nothing is looked for.
        assert_eq!(before, (held_by(&table, &one), table.hand.load(Ordering::Relaxed)));
        assert_eq!(table.held(), table.bytes());
        assert_eq!(one.bytes() + two.bytes(), table.held());
    }

    #[test]
    fn n7_what_no_longer_holds_goes_first_whosever_it_is() {
        let table = Table::new(16, usize::MAX);
        let [one, two]: [Arc<Quota>; 2] = Default::default();
        for number in 0..16 {
            let value = if number < 8 { DEAD } else { number };
            let owner = if number < 8 { &two } else { &one };
            table.insert(&token(number), 0, value, Some(owner), |_| false);
        }
        for number in 100..108 {
            insert_for(&table, &one, number, 0);
        }
        assert_eq!((held_by(&table, &one), held_by(&table, &two)), (16, 0));
        assert_eq!(table.owners.load(Ordering::Relaxed), 1);
        for number in (8..16).chain(100..108) {
            assert_eq!(get(&table, &token(number)), Some(number));
        }
    }
}
