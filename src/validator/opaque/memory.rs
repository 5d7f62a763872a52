use std::sync::{Arc, OnceLock};

use crate::clock::UnixTime;
use crate::digest::Digest;
use crate::introspection::Flights;
use crate::refusal::{Refusal, Rejection};
use crate::token::Verified;
use crate::validator::opaque::asked::{Lease, Term};
use crate::validator::table::Table;

/// How many refused tokens are remembered, and how many bytes of them. Everybody can make some, so they
/// are apart from the accepted ones.
const REFUSED_ENTRIES: usize = 4_096;
const REFUSED_BYTES: usize = 4 * 1_024 * 1_024;

/// What an accepted token's claims hold beyond the answer's length and the places of its audiences.
const CLAIMS_BYTES: usize = 512;

/// Makes room for what issuers answer, once one is asked.
pub(crate) struct Remembering<C> {
    memory: OnceLock<Memory<C>>,
    max_entries: usize,
    max_bytes: usize,
}

impl<C: Send + Sync + 'static> Remembering<C> {
    #[inline]
    pub(crate) fn memory(&self) -> &Memory<C> {
        self.memory.get_or_init(|| Memory::new(self.max_entries, self.max_bytes))
    }
}

impl<C> Remembering<C> {
    /// Remembers this many accepted tokens, which may hold this many bytes.
    pub(crate) const fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self { memory: OnceLock::new(), max_entries, max_bytes }
    }
}

/// What was decided about tokens once their issuer was asked, and what is being asked. Tokens are
/// known by their digests: they themselves aren't kept.
pub(crate) struct Memory<C> {
    accepted: Table<Known<Arc<Verified<C>>>>,
    refused: Table<Known<Rejection>>,
    pub(crate) flights: Flights<Result<Arc<Verified<C>>, Refusal>>,
}

struct Known<T> {
    lease: Lease,
    what: T,
}

impl<C: Send + Sync + 'static> Memory<C> {
    /// Remembers this many accepted tokens, which may hold this many bytes; none if it is 0, and then
    /// no refused ones either.
    fn new(max_entries: usize, max_bytes: usize) -> Self {
        let refused = if max_entries == 0 { 0 } else { REFUSED_ENTRIES };
        Self {
            accepted: Table::new(max_entries, max_bytes),
            refused: Table::new(refused, REFUSED_BYTES),
            flights: Flights::default(),
        }
    }

    /// Returns a token that was accepted, if that still holds, and whether it is to be asked about
    /// anew meanwhile.
    #[inline]
    pub(crate) fn accepted(
        &self,
        key: &Digest,
        now: UnixTime,
        term: Term,
    ) -> Option<(Arc<Verified<C>>, bool)> {
        self.accepted.find(key, |known| {
            let holds = known.lease.holds(now, term);
            holds.then(|| (Arc::clone(&known.what), known.lease.is_to_be_renewed(now)))
        })
    }

    /// Returns a token that was accepted a while ago, for when its issuer can't be asked.
    pub(crate) fn stale(
        &self,
        key: &Digest,
        now: UnixTime,
        term: Term,
    ) -> Option<Arc<Verified<C>>> {
        self.accepted
            .find(key, |known| known.lease.holds_stale(now, term).then(|| Arc::clone(&known.what)))
    }

    /// Returns why a token was refused, if that still holds.
    pub(crate) fn refused(&self, key: &Digest, now: UnixTime, term: Term) -> Option<Rejection> {
        self.refused.find(key, |known| known.lease.holds(now, term).then(|| known.what.clone()))
    }

    /// Remembers a token that was accepted by an answer of this many bytes, whose application claims
    /// hold this many bytes outside of themselves.
    pub(crate) fn accept(
        &self,
        key: &Digest,
        lease: Lease,
        (answer, held): (usize, usize),
        what: &Arc<Verified<C>>,
    ) {
        if lease.is_empty() {
            return self.forget(key);
        }
        let claims = [answer, what.claims.places_bytes(), CLAIMS_BYTES, size_of::<C>()];
        let bytes = claims.into_iter().fold(held, usize::saturating_add);
        self.accepted.insert(key, bytes, Known { lease, what: Arc::clone(what) });
    }

    /// Remembers that a token was refused, in place of that it was accepted before.
    pub(crate) fn refuse(&self, key: &Digest, lease: Lease, rejection: &Rejection) {
        self.accepted.remove(key);
        if !lease.is_empty() {
            self.refused.insert(key, 0, Known { lease, what: rejection.clone() });
        }
    }

    pub(crate) fn forget(&self, key: &Digest) {
        self.accepted.remove(key);
        self.refused.remove(key);
    }
}
