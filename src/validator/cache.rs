use crate::clock::UnixTime;
use crate::refusal::Rejection;
use crate::token::AccessToken;
use crate::validator::check::Checked;
use crate::validator::table::Table;

/// How many refused tokens are remembered, and how many bytes of them. Everybody can make some, so
/// it is little, and apart from the accepted ones.
const REFUSED_ENTRIES: usize = 512;
const REFUSED_BYTES: usize = 1_024 * 1_024;

/// What an accepted token's claims hold beyond its own length.
const CLAIMS_BYTES: usize = 512;

/// What was decided about tokens once their signatures were checked, so that they needn't be again.
///
/// It belongs to one validator, whose policy and application claims never change: what was accepted
/// once is refused later only with time or with other keys, and what was refused accepted only with
/// other keys.
#[derive(Debug)]
pub(crate) struct Cache<C> {
    accepted: Table<Known<AccessToken<C>>>,
    refused: Table<Known<Rejection>>,
}

/// What is known of a token, as long as it holds.
struct Known<T> {
    term: Term,
    what: T,
}

/// While a decision about a token holds: not before `from`, before `until`, and with the keys of
/// this generation. At other times the token may be refused for another reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    pub(crate) from: UnixTime,
    pub(crate) until: UnixTime,
    pub(crate) generation: u64,
}

impl Term {
    fn holds(&self, now: UnixTime, generation: u64) -> bool {
        self.generation == generation && self.from <= now && now < self.until
    }
}

impl<C> Cache<C> {
    /// Creates a cache of this many accepted tokens, which may hold this many bytes.
    pub(crate) fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self {
            accepted: Table::new(max_entries, max_bytes),
            refused: Table::new(REFUSED_ENTRIES, REFUSED_BYTES),
        }
    }

    /// Returns what was decided about a token, if it still holds.
    pub(crate) fn recall(
        &self,
        token: &[u8],
        now: UnixTime,
        generation: u64,
    ) -> Option<Checked<C>> {
        fn if_it_holds<T: Clone>(known: &Known<T>, now: UnixTime, generation: u64) -> Option<T> {
            known.term.holds(now, generation).then(|| known.what.clone())
        }
        let accepted = self.accepted.find(token, |known| if_it_holds(known, now, generation));
        if let Some(accepted) = accepted {
            return Some(Ok(accepted));
        }
        let refused = self.refused.find(token, |known| if_it_holds(known, now, generation));
        refused.map(|rejection| Err(rejection.into()))
    }

    /// Remembers what was decided with a token's signature known.
    pub(crate) fn remember(
        &self,
        token: &[u8],
        term: Term,
        decided: &Result<AccessToken<C>, Rejection>,
    ) {
        match decided {
            Ok(accepted) => {
                // What the claims say is no longer than the token, in ours and in the application's.
                let claims = token.len().saturating_add(CLAIMS_BYTES + size_of::<C>());
                self.accepted.insert(token, claims, Known { term, what: accepted.clone() });
            }
            Err(rejection) => {
                self.refused.insert(token, 0, Known { term, what: rejection.clone() });
            }
        }
    }
}
