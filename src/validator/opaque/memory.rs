//! Remembers decisions that follow from an issuer's answers, by the digest of the token.

use std::sync::{Arc, OnceLock};

use crate::clock::UnixTime;
use crate::digest::Digest;
use crate::introspection::Flights;
use crate::refusal::{Refusal, Rejection};
use crate::token::Verified;
use crate::validator::opaque::asked::{Lease, Term};
use crate::validator::quota::Quotas;
use crate::validator::table::Table;

/// How many refused tokens are remembered, and how many bytes of them. Any caller can cause some, so their
/// bounds are separate from those of the accepted ones.
const REFUSED_ENTRIES: usize = 4_096;
const REFUSED_BYTES: usize = 4 * 1_024 * 1_024;

/// The size of an accepted token's claims beyond the answer's length and the places of its audiences.
const CLAIMS_BYTES: usize = 512;

/// The memory for answers, which is allocated once an issuer is asked.
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

/// The decisions about tokens after their issuer was asked, and the questions under way. Tokens are
/// known by their digests: they themselves aren't kept.
pub(crate) struct Memory<C> {
    accepted: Table<Known<Arc<Verified<C>>>>,
    refused: Table<Known<Rejection>>,
    pub(crate) flights: Flights<Decided<C>>,
}

pub(crate) type Decided<C> = Result<Arc<Verified<C>>, Refusal>;

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

    /// Returns what was decided about a token, if that is still valid, and whether it must be asked about
    /// again meanwhile.
    #[inline]
    pub(crate) fn decided(
        &self,
        key: &Digest,
        now: UnixTime,
        term: Term,
    ) -> Option<(Decided<C>, bool)> {
        let accepted = self.accepted.find(key, |known| {
            let holds = known.lease.holds(now, term);
            holds.then(|| (Ok(Arc::clone(&known.what)), known.lease.is_to_be_renewed(now)))
        });
        accepted.or_else(|| {
            let holds = |known: &Known<Rejection>| known.lease.holds(now, term);
            self.refused
                .find(key, |known| holds(known).then(|| (Err(known.what.clone().into()), false)))
        })
    }

    /// Returns a token that was accepted earlier, for when its issuer can't be asked.
    pub(crate) fn stale(
        &self,
        key: &Digest,
        now: UnixTime,
        term: Term,
    ) -> Option<Arc<Verified<C>>> {
        self.accepted
            .find(key, |known| known.lease.holds_stale(now, term).then(|| Arc::clone(&known.what)))
    }

    /// Remembers a token that was accepted by an answer of this many bytes, whose application claims
    /// hold this many bytes outside of themselves.
    pub(crate) fn accept(
        &self,
        key: &Digest,
        lease: Lease,
        (answer, held): (usize, usize),
        what: &Arc<Verified<C>>,
        keeping: Keeping<'_>,
    ) {
        if lease.is_empty() {
            return self.forget(key);
        }
        let claims = [answer, what.claims.places_bytes(), CLAIMS_BYTES, size_of::<C>()];
        let held = held.saturating_add(what.proving_bytes());
        let bytes = claims.into_iter().fold(held, usize::saturating_add);
        let quota = keeping.quotas.map(|quotas| &quotas.answers);
        let known = Known { lease, what: Arc::clone(what) };
        let is_over = |known: &Known<_>| known.lease.is_over(keeping.now);
        self.accepted.insert(key, bytes, known, quota, is_over);
    }

    /// Remembers that a token was refused, replacing that it was accepted before.
    pub(crate) fn refuse(
        &self,
        key: &Digest,
        lease: Lease,
        rejection: &Rejection,
        keeping: Keeping<'_>,
    ) {
        self.accepted.remove(key);
        if !lease.is_empty() {
            let quota = keeping.quotas.map(|quotas| &quotas.denials);
            let known = Known { lease, what: rejection.clone() };
            let is_over = |known: &Known<_>| known.lease.is_over(keeping.now);
            self.refused.insert(key, 0, known, quota, is_over);
        }
    }

    pub(crate) fn forget(&self, key: &Digest) {
        self.accepted.remove(key);
        self.refused.remove(key);
    }
}

/// When a decision is kept, and within which quotas, if there are several issuers.
#[derive(Clone, Copy)]
pub(crate) struct Keeping<'a> {
    pub(crate) now: UnixTime,
    pub(crate) quotas: Option<&'a Quotas>,
}
