//! A bound for maps that have none of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::candidates::{Cache, Claims};

pub trait Clear {
    fn clear(&self);
}

/// The least code that bounds a map: a young and an old generation. What is found in the old one
/// moves to the young one; when that is full, the old one is emptied and they change places.
pub struct Generations<M> {
    maps: [M; 2],
    young: AtomicUsize,
    inserted: AtomicUsize,
    each: usize,
}

impl<M> Generations<M> {
    pub fn new(each: usize, map: impl Fn() -> M) -> Self {
        Self {
            maps: [map(), map()],
            young: AtomicUsize::new(0),
            inserted: AtomicUsize::new(0),
            each,
        }
    }
}

impl<M: Cache<Hit = Arc<Claims>> + Clear> Cache for Generations<M> {
    type Hit = Arc<Claims>;

    fn claims(hit: &Arc<Claims>) -> &Claims {
        hit
    }

    fn get(&self, token: &[u8]) -> Option<Arc<Claims>> {
        let young = self.young.load(Relaxed);
        if let Some(claims) = self.maps[young].get(token) {
            return Some(claims);
        }
        let claims = self.maps[1 - young].get(token)?;
        self.insert(token, Claims::clone(&claims));
        Some(claims)
    }

    fn insert(&self, token: &[u8], claims: Claims) {
        let mut young = self.young.load(Relaxed);
        if self.inserted.fetch_add(1, Relaxed) + 1 == self.each {
            young = 1 - young;
            self.maps[young].clear();
            self.young.store(young, Relaxed);
            self.inserted.store(0, Relaxed);
        }
        self.maps[young].insert(token, claims);
    }
}
