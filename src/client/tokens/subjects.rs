//! The cache entries of callers, bounded.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::client::tokens::cache::Entry;
use crate::client::tokens::callers::Callers;
use crate::client::tokens::token::Token;
use crate::digest::Digest;
use crate::telemetry::{change, count};

/// An entry for each recently used caller's token.
pub(crate) struct Subjects {
    capacity: usize,
    callers: Arc<Callers>,
    entries: RwLock<HashMap<Digest, Arc<Entry>>>,
}

impl Subjects {
    pub(crate) fn new(capacity: usize, callers: Arc<Callers>) -> Self {
        Self { capacity, callers, entries: RwLock::default() }
    }

    /// Returns the token if it isn't due yet, and records the use.
    pub(crate) fn fresh(&self, caller: &Digest, since: Duration, now: Instant) -> Option<Token> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(caller)?;
        entry.touch(since);
        entry.fresh(now)
    }

    /// Returns the token while it may be used, due or not, and records the use.
    pub(crate) fn usable(&self, caller: &Digest, since: Duration, now: Instant) -> Option<Token> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(caller)?;
        entry.touch(since);
        entry.usable(now)
    }

    /// Returns the entry of a caller, and creates it if there is none.
    pub(crate) fn entry(&self, caller: &Digest, since: Duration) -> Arc<Entry> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(caller) {
            entry.touch(since);
            return Arc::clone(entry);
        }
        self.make_room(&mut entries);
        let entry = Arc::new(Entry::for_caller(Arc::clone(&self.callers)));
        entry.touch(since);
        entries.insert(*caller, Arc::clone(&entry));
        change!("tower_bearer_client_cache_entries", 1.0);
        entry
    }

    /// Evicts the least recently used eighth, so that not every new entry scans all others.
    fn make_room(&self, entries: &mut HashMap<Digest, Arc<Entry>>) {
        if entries.len() < self.capacity {
            return;
        }
        let mut used: Vec<(u64, Digest)> =
            entries.iter().map(|(caller, entry)| (entry.last_used(), *caller)).collect();
        let removed = self.capacity.div_ceil(8).min(used.len());
        let last = removed.saturating_sub(1);
        let (oldest, at, _) = used.select_nth_unstable(last);
        for (_, caller) in oldest.iter().chain([&*at]) {
            entries.remove(caller);
            count!("tower_bearer_client_cache_evictions_total");
            change!("tower_bearer_client_cache_entries", -1.0);
        }
    }

    /// Discards the failures of all entries.
    pub(crate) fn reset(&self) {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.values().for_each(|entry| entry.reset());
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Subjects {
    fn drop(&mut self) {
        let entries = self.entries.get_mut().unwrap_or_else(PoisonError::into_inner);
        let count = u32::try_from(entries.len()).map_or(f64::MAX, f64::from);
        change!("tower_bearer_client_cache_entries", -count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn tx6_the_least_recently_used_make_room_an_eighth_at_a_time() {
        let subjects = Subjects::new(16, Arc::default());
        let caller = |n: u8| [n; 32];
        for n in 0..16 {
            subjects.entry(&caller(n), SECOND * u32::from(n));
        }
        // The first is used again.
        subjects.entry(&caller(0), SECOND * 100);
        assert_eq!(subjects.len(), 16);
        let before = subjects.entry(&caller(0), SECOND * 101);
        subjects.entry(&caller(16), SECOND * 102);
        assert_eq!(subjects.len(), 15);
        assert!(Arc::ptr_eq(&before, &subjects.entry(&caller(0), SECOND * 103)));
        let entries = subjects.entries.read().unwrap();
        assert!(!entries.contains_key(&caller(1)) && !entries.contains_key(&caller(2)));
        assert!(entries.contains_key(&caller(3)) && entries.contains_key(&caller(16)));
    }

    #[test]
    fn tx6_a_cache_of_one_holds_one() {
        let subjects = Subjects::new(1, Arc::default());
        for n in 0..5 {
            subjects.entry(&[n; 32], SECOND);
            assert_eq!(subjects.len(), 1);
        }
    }
}
