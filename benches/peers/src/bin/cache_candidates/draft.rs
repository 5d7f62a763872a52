//! Set-associative tables with a visited bit: stand-ins until the crate has its own.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwapOption;

use crate::candidates::{Claims, Tail, TailState};

pub struct Entry {
    token: Box<[u8]>,
    pub claims: Claims,
}

/// An entry's short fingerprint in its set; 0 is an empty way.
fn tag(hash: u64) -> u8 {
    (hash as u8).max(1)
}

/// The first unvisited way from the hand on; visited ones are passed over once.
fn victim(ways: usize, hand: &AtomicU8, visited: &AtomicU16) -> usize {
    let mut way = usize::from(hand.load(Relaxed)) % ways;
    for _ in 0..ways {
        let bit = 1 << way;
        if visited.fetch_and(!bit, Relaxed) & bit == 0 {
            break;
        }
        way = (way + 1) % ways;
    }
    hand.store(((way + 1) % ways) as u8, Relaxed);
    way
}

fn visit(way: usize, visited: &AtomicU16) {
    let bit = 1 << way;
    if visited.load(Relaxed) & bit == 0 {
        visited.fetch_or(bit, Relaxed);
    }
}

#[repr(align(64))]
struct Set<const WAYS: usize> {
    tags: [AtomicU8; WAYS],
    visited: AtomicU16,
    hand: AtomicU8,
    ways: [ArcSwapOption<Entry>; WAYS],
}

impl<const WAYS: usize> Default for Set<WAYS> {
    fn default() -> Self {
        Self {
            tags: [const { AtomicU8::new(0) }; WAYS],
            visited: AtomicU16::default(),
            hand: AtomicU8::default(),
            ways: [const { ArcSwapOption::const_empty() }; WAYS],
        }
    }
}

impl<const WAYS: usize> Set<WAYS> {
    fn get(&self, tag: u8, token: &[u8]) -> Option<Arc<Entry>> {
        for (way, slot) in self.ways.iter().enumerate() {
            if self.tags[way].load(Relaxed) != tag {
                continue;
            }
            let guard = slot.load();
            if let Some(entry) = guard.as_ref().filter(|entry| *entry.token == *token) {
                visit(way, &self.visited);
                return Some(Arc::clone(entry));
            }
        }
        None
    }

    fn free(&self) -> Option<usize> {
        self.tags.iter().position(|tag| tag.load(Relaxed) == 0)
    }

    fn insert(&self, tag: u8, token: &[u8], claims: Claims) {
        let way = self.free().unwrap_or_else(|| victim(WAYS, &self.hand, &self.visited));
        self.tags[way].store(tag, Relaxed);
        self.ways[way].store(Some(Arc::new(Entry { token: token.into(), claims })));
    }
}

/// Lock-free: each way is an `ArcSwapOption`. With `CHOICES` = 2 a token may be in either of two
/// sets, which evens them out.
pub struct Swapped<const WAYS: usize, const CHOICES: usize> {
    sets: Box<[Set<WAYS>]>,
    state: TailState,
}

impl<const WAYS: usize, const CHOICES: usize> Swapped<WAYS, CHOICES> {
    pub fn new(entries: usize) -> Self {
        let sets = (0..entries.div_ceil(WAYS)).map(|_| Set::default()).collect();
        Self { sets, state: Tail::seeded() }
    }

    fn set(&self, hash: u64, choice: usize) -> &Set<WAYS> {
        let hash = if choice == 0 { hash } else { hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) };
        &self.sets[((u128::from(hash) * self.sets.len() as u128) >> 64) as usize]
    }

    pub fn get(&self, token: &[u8]) -> Option<Arc<Entry>> {
        let hash = self.state.hash_one(token);
        (0..CHOICES).find_map(|choice| self.set(hash, choice).get(tag(hash), token))
    }

    pub fn insert(&self, token: &[u8], claims: Claims) {
        let hash = self.state.hash_one(token);
        let visited = |set: &Set<WAYS>| set.visited.load(Relaxed).count_ones();
        let crowd = |choice: &usize| {
            let set = self.set(hash, *choice);
            (set.free().is_none(), visited(set))
        };
        let choice = (0..CHOICES).min_by_key(crowd).unwrap_or(0);
        self.set(hash, choice).insert(tag(hash), token, claims);
    }
}

struct Inner<const WAYS: usize> {
    tags: [u8; WAYS],
    visited: AtomicU16,
    hand: AtomicU8,
    ways: [Option<Arc<Entry>>; WAYS],
}

/// A reader-writer lock for each set.
pub struct Locked<const WAYS: usize> {
    sets: Box<[RwLock<Inner<WAYS>>]>,
    state: TailState,
}

impl<const WAYS: usize> Locked<WAYS> {
    pub fn new(entries: usize) -> Self {
        let set = || {
            RwLock::new(Inner {
                tags: [0; WAYS],
                visited: AtomicU16::default(),
                hand: AtomicU8::default(),
                ways: [const { None }; WAYS],
            })
        };
        let sets = (0..entries.div_ceil(WAYS)).map(|_| set()).collect();
        Self { sets, state: Tail::seeded() }
    }

    fn set(&self, hash: u64) -> &RwLock<Inner<WAYS>> {
        &self.sets[((u128::from(hash) * self.sets.len() as u128) >> 64) as usize]
    }

    pub fn get(&self, token: &[u8]) -> Option<Arc<Entry>> {
        let hash = self.state.hash_one(token);
        let set = self.set(hash).read().unwrap_or_else(PoisonError::into_inner);
        for (way, slot) in set.ways.iter().enumerate() {
            if set.tags[way] != tag(hash) {
                continue;
            }
            if let Some(entry) = slot.as_ref().filter(|entry| *entry.token == *token) {
                visit(way, &set.visited);
                return Some(Arc::clone(entry));
            }
        }
        None
    }

    pub fn insert(&self, token: &[u8], claims: Claims) {
        let hash = self.state.hash_one(token);
        let mut entry = Some(Arc::new(Entry { token: token.into(), claims }));
        {
            let mut set = self.set(hash).write().unwrap_or_else(PoisonError::into_inner);
            let free = set.tags.iter().position(|tag| *tag == 0);
            let way = free.unwrap_or_else(|| victim(WAYS, &set.hand, &set.visited));
            set.tags[way] = tag(hash);
            std::mem::swap(&mut set.ways[way], &mut entry);
        }
        drop(entry);
    }
}
