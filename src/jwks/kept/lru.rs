//! A bounded map that evicts the least recently used entry.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A map of bounded size that evicts the least recently used entry.
#[derive(Debug)]
pub(crate) struct Lru<V> {
    capacity: usize,
    entries: HashMap<Arc<str>, Entry<V>>,
    by_use: BTreeMap<u64, Arc<str>>,
    uses: u64,
}

#[derive(Debug)]
struct Entry<V> {
    used: u64,
    value: V,
}

impl<V> Lru<V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, entries: HashMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    /// Returns the value, which counts as a use.
    pub(crate) fn get(&mut self, key: &str) -> Option<&V> {
        let (key, _) = self.entries.get_key_value(key)?;
        let key = Arc::clone(key);
        let used = self.next_use(&key);
        let entry = self.entries.get_mut(&key)?;
        self.by_use.remove(&entry.used);
        entry.used = used;
        Some(&entry.value)
    }

    /// Inserts a value, replacing the one before.
    pub(crate) fn insert(&mut self, key: &str, value: V) {
        self.remove(key);
        while self.entries.len() >= self.capacity {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            self.entries.remove(&oldest);
        }
        let key = Arc::from(key);
        let used = self.next_use(&key);
        self.entries.insert(key, Entry { used, value });
    }

    pub(crate) fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_use.remove(&entry.used);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.by_use.clear();
    }

    fn next_use(&mut self, key: &Arc<str>) -> u64 {
        self.uses = self.uses.wrapping_add(1);
        self.by_use.insert(self.uses, Arc::clone(key));
        self.uses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_what_was_used_longest_ago() {
        let mut lru = Lru::new(2);
        lru.insert("a", 1);
        lru.insert("b", 2);
        assert_eq!(lru.get("a"), Some(&1));
        lru.insert("c", 3);
        assert_eq!(lru.get("b"), None);
        assert_eq!(lru.get("a"), Some(&1));
        assert_eq!(lru.entries.len(), 2);
    }

    #[test]
    fn replacing_and_removing_leave_nothing_behind() {
        let mut lru = Lru::new(2);
        for value in 0..10 {
            lru.insert("a", value);
            lru.get("a");
        }
        assert_eq!(lru.get("a"), Some(&9));
        assert_eq!((lru.entries.len(), lru.by_use.len()), (1, 1));
        lru.remove("a");
        assert_eq!((lru.entries.len(), lru.by_use.len()), (0, 0));
        lru.insert("b", 1);
        lru.clear();
        assert_eq!((lru.entries.len(), lru.by_use.len()), (0, 0));
    }

    #[test]
    fn never_grows_beyond_its_capacity() {
        let mut lru = Lru::new(64);
        for n in 0..10_000 {
            lru.insert(&n.to_string(), n);
            assert!(lru.entries.len() <= 64 && lru.by_use.len() == lru.entries.len());
        }
    }
}
