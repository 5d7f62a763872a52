//! The tokens of many tenants, bounded.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::client::cache::Entry;
use crate::client::digest::Digest;
use crate::client::grant::Grant;
use crate::telemetry::{count, gauge};

/// An entry for each grant that was used of late.
pub(crate) struct Pool {
    capacity: usize,
    per_tenant: usize,
    entries: RwLock<HashMap<Digest, Kept>>,
}

struct Kept {
    entry: Arc<Entry>,
    tenant: Digest,
}

impl Pool {
    pub(crate) fn new(capacity: usize, per_tenant: usize) -> Self {
        Self { capacity, per_tenant, entries: RwLock::default() }
    }

    /// Returns the entry of a grant, if need be a new one.
    pub(crate) fn entry(&self, grant: &Grant, since: Duration) -> Arc<Entry> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = entries.get(grant.key()) {
            kept.entry.touch(since);
            return Arc::clone(&kept.entry);
        }
        drop(entries);
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = entries.get(grant.key()) {
            return Arc::clone(&kept.entry);
        }
        self.make_room(&mut entries, grant.tenant());
        let entry = Arc::new(Entry::default());
        entry.touch(since);
        let kept = Kept { entry: Arc::clone(&entry), tenant: *grant.tenant() };
        entries.insert(*grant.key(), kept);
        gauge!("client_cache_entries", gauge_of(entries.len()));
        entry
    }

    /// Removes what was unused for longest: of the same tenant, if it has its quota, else of all.
    ///
    /// It looks at all entries, but only where a token is about to be fetched.
    fn make_room(&self, entries: &mut HashMap<Digest, Kept>, tenant: &Digest) {
        let own = entries.values().filter(|kept| kept.tenant == *tenant).count();
        let of_tenant = own >= self.per_tenant;
        if !of_tenant && entries.len() < self.capacity {
            return;
        }
        let oldest = entries
            .iter()
            .filter(|(_, kept)| !of_tenant || kept.tenant == *tenant)
            .min_by_key(|(_, kept)| kept.entry.last_used())
            .map(|(key, _)| *key);
        if let Some(oldest) = oldest {
            entries.remove(&oldest);
            count!("client_cache_evicted_total");
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[allow(clippy::cast_precision_loss, reason = "no cache has 2^52 entries")]
fn gauge_of(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use crate::client::authentication::ClientAuth;

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
            self.0.entry(&grant(tenant, scope), Duration::from_secs(self.1))
        }

        fn has(&self, tenant: &str, scope: &str) -> bool {
            self.0.entries.read().unwrap().contains_key(grant(tenant, scope).key())
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
