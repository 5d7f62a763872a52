//! One set of a table: the few places that a token may be in.

use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use zeroize::Zeroizing;

use crate::validator::quota::Quota;

/// Enough that sets rarely overflow before the table is full; their tags fill a cache line.
pub(crate) const WAYS: usize = 16;

pub(crate) const NO_TAG: u32 = 0;

pub(crate) struct Set<V> {
    /// The other half of each way's hash, so that tokens are rarely compared in vain; 0 for an empty
    /// way.
    pub(crate) tags: [AtomicU32; WAYS],
    /// One bit per way: whether it was used since the hand last passed it.
    pub(crate) used: AtomicU16,
    pub(crate) ways: [ArcSwapOption<Entry<V>>; WAYS],
    /// The position of the hand, as in the CLOCK algorithm. A writer of a way holds it; readers never do.
    hand: Mutex<usize>,
}

pub(crate) struct Entry<V> {
    /// Wiped when it is dropped.
    pub(crate) token: Zeroizing<Box<[u8]>>,
    pub(crate) bytes: usize,
    /// Its owner, if there are several.
    pub(crate) owner: Option<Arc<Quota>>,
    pub(crate) value: V,
}

impl<V> Entry<V> {
    fn is_of(&self, owner: &Arc<Quota>) -> bool {
        self.owner.as_ref().is_some_and(|it| Arc::ptr_eq(it, owner))
    }
}

/// One of several owners that inserts, and how much each may hold.
pub(crate) struct InsertingOwner<'a, V> {
    pub(crate) owner: &'a Arc<Quota>,
    /// Returns `true` if a value is no longer valid.
    pub(crate) is_dead: &'a dyn Fn(&V) -> bool,
    /// The part of each owner: places of a set, and bytes.
    pub(crate) ways_each: usize,
    pub(crate) bytes_each: usize,
}

impl<V> Set<V> {
    /// Marks a way as used. Usually it is already marked, and nothing is written.
    #[inline]
    pub(crate) fn use_again(&self, way: usize) {
        let bit = bit(way);
        if self.used.load(Ordering::Relaxed) & bit == 0 {
            self.used.fetch_or(bit, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, usize> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the way that has this token, or else an empty one.
    #[inline]
    pub(crate) fn way_of(&self, token: &[u8], tag: u32) -> Option<usize> {
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

    pub(crate) fn is_empty(&self, way: usize) -> bool {
        self.tags.get(way).is_none_or(|tag| tag.load(Ordering::Relaxed) == NO_TAG)
    }

    /// Chooses the way to evict: the next one that wasn't used since the hand last passed it.
    #[inline]
    pub(crate) fn advance(&self, hand: &mut usize) -> usize {
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

    /// The same, of a set without an empty way, for one of several owners: values that are no longer valid
    /// are evicted first; then an owner that has reached its part evicts one of its own, and otherwise one of
    /// an owner that exceeds its part.
    pub(crate) fn way_to_evict(
        &self,
        hand: &mut usize,
        inserting: &InsertingOwner<'_, V>,
    ) -> usize {
        let held = self.ways.each_ref().map(ArcSwapOption::load_full);
        let of =
            |owner: &Arc<Quota>| held.iter().flatten().filter(|entry| entry.is_of(owner)).count();
        let own = of(inserting.owner) >= inserting.ways_each;
        let may_go = |entry: &Entry<V>| match &entry.owner {
            _ if own => entry.is_of(inserting.owner),
            owner => owner.as_ref().is_none_or(|owner| of(owner) > inserting.ways_each),
        };
        let dead = held
            .iter()
            .position(|it| it.as_ref().is_some_and(|entry| (inserting.is_dead)(&entry.value)));
        let found = dead.or_else(|| self.advance_among(hand, &held, &may_go));
        found
            .or_else(|| self.advance_among(hand, &held, &may_go))
            .unwrap_or_else(|| self.advance(hand))
    }

    /// Chooses a way to free bytes from, if there is one: of the inserting owner's own if it has reached its part.
    pub(crate) fn way_to_free(
        &self,
        hand: &mut usize,
        inserting: &InsertingOwner<'_, V>,
    ) -> Option<usize> {
        let held = self.ways.each_ref().map(ArcSwapOption::load_full);
        let own = inserting.owner.bytes() > inserting.bytes_each;
        let may_go = |entry: &Entry<V>| match &entry.owner {
            _ if (inserting.is_dead)(&entry.value) => true,
            _ if own => entry.is_of(inserting.owner),
            owner => owner.as_ref().is_none_or(|owner| owner.bytes() > inserting.bytes_each),
        };
        self.advance_among(hand, &held, &may_go)
    }

    /// Chooses the next of these ways that wasn't used since the hand last passed it; `None` if all were,
    /// whose marks are then cleared.
    fn advance_among(
        &self,
        hand: &mut usize,
        held: &[Option<Arc<Entry<V>>>; WAYS],
        may_go: &dyn Fn(&Entry<V>) -> bool,
    ) -> Option<usize> {
        for step in 0..WAYS {
            let way = hand.wrapping_add(step) % WAYS;
            let entry = held.get(way).and_then(Option::as_ref);
            if !entry.is_some_and(|entry| may_go(entry)) {
                continue;
            }
            let bit = bit(way);
            if self.used.fetch_and(!bit, Ordering::Relaxed) & bit == 0 {
                *hand = way.wrapping_add(1) % WAYS;
                return Some(way);
            }
        }
        None
    }

    #[inline]
    pub(crate) fn put(
        &self,
        way: usize,
        entry: Option<Arc<Entry<V>>>,
        tag: u32,
    ) -> Option<Arc<Entry<V>>> {
        let (ways, tags) = (self.ways.get(way)?, self.tags.get(way)?);
        let gone = ways.swap(entry);
        tags.store(tag, Ordering::Relaxed);
        self.used.fetch_and(!bit(way), Ordering::Relaxed);
        gone
    }
}

#[inline]
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
