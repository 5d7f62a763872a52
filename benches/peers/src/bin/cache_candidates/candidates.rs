//! One adapter for each structure, all of them hashing a token's last 16 bytes and comparing it
//! whole.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use foldhash::fast::RandomState;

use crate::draft::{Entry, Locked, Swapped};
use crate::generations::Clear;
use crate::validator::table::Table;

const SHARDS: usize = 64;

/// About what the crate keeps of an accepted token.
#[derive(Clone)]
pub struct Claims {
    #[expect(dead_code, reason = "only its size matters")]
    text: [u8; 272],
    pub expires_at: u64,
    pub generation: u64,
}

impl Claims {
    pub fn new(expires_at: u64, generation: u64) -> Self {
        Self { text: [7; 272], expires_at, generation }
    }
}

/// A hasher that sees a token's last 16 bytes alone, which belong to its signature.
pub struct Tail<H>(H);

#[derive(Clone, Default)]
pub struct TailState<S = RandomState>(S);

impl Tail<()> {
    pub fn seeded() -> TailState {
        TailState::default()
    }
}

impl<S: BuildHasher> BuildHasher for TailState<S> {
    type Hasher = Tail<S::Hasher>;

    fn build_hasher(&self) -> Self::Hasher {
        Tail(self.0.build_hasher())
    }
}

impl<H: Hasher> Hasher for Tail<H> {
    fn write(&mut self, bytes: &[u8]) {
        match bytes.last_chunk::<16>() {
            Some(tail) => self.0.write_u128(u128::from_ne_bytes(*tail)),
            None => self.0.write(bytes),
        }
    }

    // The length of a slice, which is no news.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

/// What is measured: a look-up that hands out shared claims, and the insertion after a miss.
pub trait Cache: Sync {
    type Hit: Deref;

    fn get(&self, token: &[u8]) -> Option<Self::Hit>;
    fn claims(hit: &Self::Hit) -> &Claims;
    fn insert(&self, token: &[u8], claims: Claims);
}

macro_rules! shares_claims {
    () => {
        type Hit = Arc<Claims>;

        fn claims(hit: &Arc<Claims>) -> &Claims {
            hit
        }
    };
}

/// Keeps nothing: the price of the loop.
pub struct Nothing;

impl Cache for Nothing {
    shares_claims!();

    fn get(&self, _: &[u8]) -> Option<Arc<Claims>> {
        None
    }

    fn insert(&self, _: &[u8], _: Claims) {}
}

impl Cache for Table<Arc<Claims>> {
    shares_claims!();

    fn get(&self, token: &[u8]) -> Option<Arc<Claims>> {
        self.find(token, |claims| Some(Arc::clone(claims)))
    }

    fn insert(&self, token: &[u8], claims: Claims) {
        self.insert(token, size_of::<Claims>(), Arc::new(claims), None, |_| false);
    }
}

macro_rules! draft {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> Cache for $type {
            type Hit = Arc<Entry>;

            fn get(&self, token: &[u8]) -> Option<Arc<Entry>> {
                self.get(token)
            }

            fn claims(hit: &Arc<Entry>) -> &Claims {
                &hit.claims
            }

            fn insert(&self, token: &[u8], claims: Claims) {
                self.insert(token, claims);
            }
        }
    };
}

draft!([const WAYS: usize, const CHOICES: usize] Swapped<WAYS, CHOICES>);
draft!([const WAYS: usize] Locked<WAYS>);

type Shard<S> = RwLock<HashMap<Box<[u8]>, Arc<Claims>, TailState<S>>>;

pub struct ShardedMap<S> {
    shards: Box<[Shard<S>]>,
    state: TailState<S>,
}

impl<S: BuildHasher + Clone + Default> Default for ShardedMap<S> {
    fn default() -> Self {
        let state = TailState::default();
        let shard = || RwLock::new(HashMap::with_hasher(TailState::clone(&state)));
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), state }
    }
}

impl<S: BuildHasher> ShardedMap<S> {
    /// The map takes its buckets from the hash's low bits and its tags from the top seven.
    fn shard(&self, token: &[u8]) -> &Shard<S> {
        &self.shards[(self.state.hash_one(token) >> 40) as usize % SHARDS]
    }
}

impl<S: BuildHasher + Send + Sync> Cache for ShardedMap<S> {
    shares_claims!();

    fn get(&self, token: &[u8]) -> Option<Arc<Claims>> {
        self.shard(token).read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    fn insert(&self, token: &[u8], claims: Claims) {
        let entry = (token.into(), Arc::new(claims));
        let mut shard = self.shard(token).write().unwrap_or_else(PoisonError::into_inner);
        shard.insert(entry.0, entry.1);
    }
}

impl<S: BuildHasher + Send + Sync> Clear for ShardedMap<S> {
    fn clear(&self) {
        for shard in &self.shards {
            shard.write().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

type Lru = lru::LruCache<Box<[u8]>, Arc<Claims>, TailState>;

pub struct ShardedLru {
    shards: Box<[Mutex<Lru>]>,
    state: TailState,
}

impl ShardedLru {
    pub fn new(entries: usize) -> Self {
        let state = Tail::seeded();
        let each = NonZeroUsize::new(entries / SHARDS).expect("at least one entry in a shard");
        let shard = || Mutex::new(Lru::with_hasher(each, state.clone()));
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), state }
    }

    fn shard(&self, token: &[u8]) -> &Mutex<Lru> {
        &self.shards[(self.state.hash_one(token) >> 40) as usize % SHARDS]
    }
}

impl Cache for ShardedLru {
    shares_claims!();

    fn get(&self, token: &[u8]) -> Option<Arc<Claims>> {
        self.shard(token).lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    fn insert(&self, token: &[u8], claims: Claims) {
        let entry = (token.into(), Arc::new(claims));
        let evicted =
            self.shard(token).lock().unwrap_or_else(PoisonError::into_inner).push(entry.0, entry.1);
        drop(evicted);
    }
}

pub type Moka = moka::sync::Cache<Box<[u8]>, Arc<Claims>, TailState>;

pub fn moka(entries: usize) -> Moka {
    moka::sync::Cache::builder().max_capacity(entries as u64).build_with_hasher(Tail::seeded())
}

impl Cache for Moka {
    shares_claims!();

    fn get(&self, token: &[u8]) -> Option<Arc<Claims>> {
        self.get(token)
    }

    fn insert(&self, token: &[u8], claims: Claims) {
        self.insert(token.into(), Arc::new(claims));
    }
}

pub type Quick =
    quick_cache::sync::Cache<Box<[u8]>, Arc<Claims>, quick_cache::UnitWeighter, TailState>;

pub fn quick(entries: usize) -> Quick {
    Quick::with(
        entries,
        entries as u64,
        quick_cache::UnitWeighter,
        Tail::seeded(),
        quick_cache::sync::DefaultLifecycle::default(),
    )
}

impl Cache for Quick {
    shares_claims!();

    fn get(&self, token: &[u8]) -> Option<Arc<Claims>> {
        self.get(token)
    }

    fn insert(&self, token: &[u8], claims: Claims) {
        self.insert(token.into(), Arc::new(claims));
    }
}

/// `scc`'s bounded table: 32-way buckets, each with its own order of use.
pub type Scc = scc::HashCache<Box<[u8]>, Arc<Claims>, TailState>;

pub fn scc(entries: usize) -> Scc {
    Scc::with_capacity_and_hasher(entries, entries, Tail::seeded())
}

impl Cache for Scc {
    shares_claims!();

    fn get(&self, token: &[u8]) -> Option<Arc<Claims>> {
        self.get_sync(token).map(|entry| Arc::clone(entry.get()))
    }

    fn insert(&self, token: &[u8], claims: Claims) {
        drop(self.put_sync(token.into(), Arc::new(claims)));
    }
}

pub type Dash = dashmap::DashMap<Box<[u8]>, Arc<Claims>, TailState>;

pub fn dash() -> Dash {
    Dash::with_hasher_and_shard_amount(Tail::seeded(), SHARDS)
}

impl Cache for Dash {
    shares_claims!();

    fn get(&self, token: &[u8]) -> Option<Arc<Claims>> {
        self.get(token).map(|entry| Arc::clone(entry.value()))
    }

    fn insert(&self, token: &[u8], claims: Claims) {
        self.insert(token.into(), Arc::new(claims));
    }
}

impl Clear for Dash {
    fn clear(&self) {
        self.clear();
    }
}

pub type Papaya = papaya::HashMap<Box<[u8]>, Arc<Claims>, TailState>;

pub fn papaya() -> Papaya {
    Papaya::with_hasher(Tail::seeded())
}

impl Cache for Papaya {
    shares_claims!();

    fn get(&self, token: &[u8]) -> Option<Arc<Claims>> {
        self.pin().get(token).cloned()
    }

    fn insert(&self, token: &[u8], claims: Claims) {
        self.pin().insert(token.into(), Arc::new(claims));
    }
}

impl Clear for Papaya {
    fn clear(&self) {
        self.pin().clear();
    }
}
