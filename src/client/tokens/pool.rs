//! The cache entries of grants, bounded in all and for each tenant.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::client::grant::definition::Grant;
use crate::client::tokens::cache::Entry;
use crate::digest::Digest;
use crate::telemetry::{change, count};

/// An entry for each recently used grant.
pub(crate) struct Pool {
    capacity: usize,
    per_tenant: usize,
    entries: RwLock<Entries>,
}

#[derive(Default)]
struct Entries {
    kept: HashMap<Digest, Kept>,
    /// Entries that were evicted during a fetch or shortly after a failure: without them, more grants than
    /// there is room for would fetch again and again.
    evicted: HashMap<Digest, Arc<Entry>>,
}

/// The least number of evicted entries that are remembered; otherwise four for each that is kept.
const FEWEST_EVICTED: usize = 4_096;

struct Kept {
    entry: Arc<Entry>,
    tenant: Digest,
}

impl Pool {
    pub(crate) fn new(capacity: usize, per_tenant: usize) -> Self {
        Self { capacity, per_tenant, entries: RwLock::default() }
    }

    /// Returns the entry of a grant, and creates it if there is none.
    pub(crate) fn entry(&self, grant: &Grant, since: Duration, now: Instant) -> Arc<Entry> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = entries.kept.get(grant.key()) {
            kept.entry.touch(since);
            return Arc::clone(&kept.entry);
        }
        drop(entries);
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = entries.kept.get(grant.key()) {
            return Arc::clone(&kept.entry);
        }
        let known = entries.evicted.remove(grant.key());
        self.make_room(&mut entries, grant.tenant(), now);
        let entry = known.unwrap_or_default();
        entry.touch(since);
        let kept = Kept { entry: Arc::clone(&entry), tenant: *grant.tenant() };
        entries.kept.insert(*grant.key(), kept);
        change!("tower_bearer_client_cache_entries", 1.0);
        entry
    }

    /// Evicts the least recently used entry: of the same tenant, if its quota is used up, else of all.
    ///
    /// It scans all entries, but only when a token is about to be fetched.
    fn make_room(&self, entries: &mut Entries, tenant: &Digest, now: Instant) {
        let own = entries.kept.values().filter(|kept| kept.tenant == *tenant).count();
        let of_tenant = own >= self.per_tenant;
        if !of_tenant && entries.kept.len() < self.capacity {
            return;
        }
        let oldest = entries
            .kept
            .iter()
            .filter(|(_, kept)| !of_tenant || kept.tenant == *tenant)
            .min_by_key(|(_, kept)| kept.entry.last_used())
            .map(|(key, _)| *key);
        let Some((key, kept)) = oldest.and_then(|key| entries.kept.remove_entry(&key)) else {
            return;
        };
        change!("tower_bearer_client_cache_entries", -1.0);
        count!("tower_bearer_client_cache_evictions_total");
        if kept.entry.is_busy(now) {
            self.remember(&mut entries.evicted, key, kept.entry, now);
        }
    }

    fn remember(
        &self,
        evicted: &mut HashMap<Digest, Arc<Entry>>,
        key: Digest,
        entry: Arc<Entry>,
        now: Instant,
    ) {
        let most = self.capacity.saturating_mul(4).max(FEWEST_EVICTED);
        if evicted.len() >= most {
            evicted.retain(|_, entry| entry.is_busy(now));
        }
        if evicted.len() >= most {
            let oldest = evicted.iter().min_by_key(|(_, entry)| entry.last_used());
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                evicted.remove(&oldest);
            }
        }
        evicted.insert(key, entry);
    }

    /// Discards the failures of all entries.
    pub(crate) fn reset(&self) {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.kept.values().for_each(|kept| kept.entry.reset());
        entries.evicted.values().for_each(|entry| entry.reset());
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).kept.len()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let entries = self.entries.get_mut().unwrap_or_else(PoisonError::into_inner);
        let count = u32::try_from(entries.kept.len()).map_or(f64::MAX, f64::from);
        change!("tower_bearer_client_cache_entries", -count);
    }
}

#[cfg(test)]
mod tests {
    use crate::clock::monotonic;
    use crate::credentials::authentication::ClientAuth;

    use super::*;

    fn grant(tenant: &str, scope: &str) -> Grant {
        Grant::endpoint("https://as.example/token", ClientAuth::basic("me", "secret"))
            .tenant(tenant)
            .scope(scope)
            .build()
            .unwrap()
    }

    struct Test(Pool, u64);

    impl Test {
        fn entry(&mut self, tenant: &str, scope: &str) -> Arc<Entry> {
            self.1 += 1;
            self.0.entry(&grant(tenant, scope), Duration::from_secs(self.1), monotonic())
        }

        fn has(&self, tenant: &str, scope: &str) -> bool {
            self.0.entries.read().unwrap().kept.contains_key(grant(tenant, scope).key())
        }
    }

    // E7
    #[test]
    fn e7_the_least_recently_used_goes_first() {
        let mut test = Test(Pool::new(3, 3), 0);
        let first = test.entry("a", "1");
        test.entry("a", "2");
        test.entry("a", "3");
        assert!(Arc::ptr_eq(&first, &test.entry("a", "1")));
        test.entry("a", "4");
        assert_eq!(test.0.len(), 3);
        assert!(!test.has("a", "2"));
        assert!(test.has("a", "1") && test.has("a", "3") && test.has("a", "4"));
    }

    // E7
    #[test]
    fn e7_a_tenant_evicts_its_own_and_not_the_rest() {
        let mut test = Test(Pool::new(10, 3), 0);
        test.entry("quiet", "1");
        for n in 0..100 {
            test.entry("noisy", &n.to_string());
        }
        assert_eq!(test.0.len(), 4);
        assert!(test.has("quiet", "1"));
        assert!((97..100).all(|n| test.has("noisy", &n.to_string())));
    }

    // E7
    #[test]
    fn e7_the_whole_is_bounded_whatever_the_tenants() {
        let mut test = Test(Pool::new(10, 3), 0);
        for n in 0..1_000 {
            test.entry(&n.to_string(), "1");
        }
        assert_eq!(test.0.len(), 10);
        assert!((990..1_000).all(|n| test.has(&n.to_string(), "1")));
    }
}
