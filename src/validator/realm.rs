//! One configured issuer: reads its tokens, checks them against its policy, and their signatures with its keys.

use std::borrow::Cow;
use std::sync::Arc;

use crate::clock::{Clock, UnixTime};
use crate::jose::{Algorithm, Compact, Header};
use crate::jwks::{Candidates, Jwks, KeySet, KeysState, LoadedKeys};
use crate::progress::Progress;
use crate::refusal::{Detail, Excerpt, Refusal, Rejection, RejectionKind};
use crate::scope::ScopeSet;
use crate::token::{Claims, Entry, Evidence, RawClaims};
use crate::validator::cache::Term;
#[cfg(feature = "introspection")]
use crate::validator::opaque::Asked;
use crate::validator::opened::Opened;
use crate::validator::policy::Policy;
#[cfg(feature = "introspection")]
use crate::validator::quota::Quotas;
use crate::validator::standing::{ITS_ONLY_GENERATION, Standing, Watch};
use crate::validator::table::Table;
use crate::validator::trust::Trust;

/// How many headers are remembered: an issuer sends a few for each key. If all of them end alike,
/// because `kid` comes first, they share one set of the table: then it is 16.
const HEADERS: usize = 64;
const HEADER_BYTES: usize = 64 * 1_024;

/// One configured issuer.
#[derive(Debug)]
pub(crate) struct Realm {
    pub(crate) policy: Policy,
    pub(crate) trust: Trust,
    /// The encoded headers of tokens that were accepted: an issuer sends the same few repeatedly,
    /// and the policy's decision about one depends on nothing else.
    headers: Table<Arc<CheckedHeader<'static>>>,
    pub(crate) watch: Watch,
    /// What its tokens depend on beside the keys, if it is one of several or has several spellings.
    pub(crate) entry: Option<Arc<Entry>>,
    /// The state that remembered tokens refer to; `None` if there is no other issuer.
    standing: Option<Arc<Standing>>,
    /// How the issuer is asked about tokens, if it is.
    #[cfg(feature = "introspection")]
    pub(crate) asked: Option<Asked>,
}

/// The content of a header that met the policy.
#[derive(Debug)]
struct CheckedHeader<'a> {
    /// `None` for the shared secret's, which is then the only one.
    algorithm: Option<Algorithm>,
    kid: Option<Cow<'a, str>>,
    /// Whether `typ` says access token.
    typed: bool,
}

/// A header that met the policy: a remembered one, or one that was read.
enum Head<'a> {
    Known(Arc<CheckedHeader<'static>>),
    New(CheckedHeader<'a>),
}

/// A token whose header and claims met the policy, and whose signature isn't checked yet.
pub(crate) struct UnverifiedToken<'a, 'c> {
    head: Head<'a>,
    encoded_header: &'a [u8],
    signing_input: &'a [u8],
    signature: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) claims: &'c RawClaims<'a>,
    /// The time that its claims were checked at.
    pub(crate) now: UnixTime,
}

/// The parts of an [`UnverifiedToken`] that are kept while it waits for its key.
pub(crate) struct Waiting {
    head: Arc<CheckedHeader<'static>>,
    signing_input: Box<[u8]>,
    signature: Box<[u8]>,
    payload: Box<[u8]>,
}

/// The result of a signature check.
pub(crate) struct SignatureCheck<'a> {
    pub(crate) is_valid: bool,
    pub(crate) evidence: Evidence<'a>,
    /// How long that is valid.
    pub(crate) term: Term,
}

impl Realm {
    /// Creates the only issuer of a validator.
    pub(crate) fn only(policy: Policy, trust: Trust) -> Self {
        let several = policy.issuers.len() > 1;
        let entry = several.then(|| Arc::new(Entry::new(policy.name(), policy.times, false)));
        let headers = Table::new(HEADERS, HEADER_BYTES);
        Self {
            watch: trust.watch(),
            policy,
            trust,
            headers,
            entry,
            standing: None,
            #[cfg(feature = "introspection")]
            asked: None,
        }
    }

    /// Creates one of several issuers.
    pub(crate) fn among_others(policy: Policy, trust: Trust) -> Self {
        let is_template = policy.template.is_some();
        let entry = Arc::new(Entry::new(policy.name(), policy.times, is_template));
        let standing = Standing::new(Arc::clone(&entry), trust.watch());
        Self { standing: Some(Arc::new(standing)), entry: Some(entry), ..Self::only(policy, trust) }
    }

    /// Returns `true` if it was removed from the list of issuers.
    pub(crate) fn has_ended(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.has_ended())
    }

    /// Returns `true` if a remembered token of it was recalled since this was last asked.
    pub(crate) fn was_used(&self) -> bool {
        self.standing.as_ref().is_some_and(|standing| standing.was_used())
    }

    /// Returns its part of the memory that several issuers share, if there are several.
    #[cfg(feature = "introspection")]
    pub(crate) fn quotas(&self) -> Option<&Quotas> {
        self.standing.as_ref().map(|standing| &standing.quotas)
    }

    /// Ends the trust in all of its tokens.
    pub(crate) fn end(&self) {
        if let Some(entry) = &self.entry {
            entry.end();
        }
    }

    /// Returns the key source; `None` for a shared secret.
    pub(crate) const fn jwks(&self) -> Option<&Jwks> {
        match &self.trust {
            Trust::Jwks { keys, .. } => Some(keys),
            Trust::SharedSecret(_) => None,
            #[cfg(feature = "introspection")]
            Trust::Introspection => None,
        }
    }

    /// Decodes a token and reads its claims, into memory that the caller provides, and checks them against
    /// the policy. Cheap checks come first, so that a token that can't be valid costs neither a signature
    /// nor a fetch, and allocates nothing.
    #[inline]
    pub(crate) fn read<'a, 'c>(
        &self,
        mut token: Opened<'a>,
        claims: &'c mut RawClaims<'a>,
        clock: &dyn Clock,
    ) -> Result<UnverifiedToken<'a, 'c>, Rejection> {
        let Compact { header: encoded_header, signing_input, .. } = token.compact;
        let known = self.headers.find(encoded_header, |known| Some(Arc::clone(known)));
        let head = match known {
            Some(known) => Head::Known(known),
            None => Head::New(self.check_header(Header::parse(token.header()?)?)?),
        };
        let payload = token.claims()?;
        if !token.claims_were_read {
            claims.read(payload, &self.policy.sources)?;
        }
        let now = clock.now();
        self.policy.check_claims(claims, head.get().typed, now)?;
        if let Some(template) = &self.policy.template {
            template.check(claims.iss.as_deref().unwrap_or_default(), payload)?;
        }
        let signature = token.signature()?;
        Ok(UnverifiedToken { head, encoded_header, signing_input, signature, payload, claims, now })
    }

    /// Continues with a token that has waited. Only its times may be decided differently by now.
    pub(crate) fn resume<'a, 'c>(
        &self,
        waiting: &'a Waiting,
        claims: &'c mut RawClaims<'a>,
        now: UnixTime,
    ) -> Result<UnverifiedToken<'a, 'c>, Rejection> {
        let Waiting { head, signing_input, signature, payload } = waiting;
        claims.read(payload, &self.policy.sources)?;
        self.policy.times.check(claims.times, now)?;
        let head = Head::Known(Arc::clone(head));
        Ok(UnverifiedToken {
            head,
            encoded_header: &[],
            signing_input,
            signature,
            payload,
            claims,
            now,
        })
    }

    /// Checks a header against the policy.
    fn check_header<'a>(&self, header: Header<'a>) -> Result<CheckedHeader<'a>, Rejection> {
        let typed = self.policy.check_type(&header)?;
        let algorithm = self.trust.check_algorithm(&self.policy, &header)?;
        Ok(CheckedHeader { algorithm, kid: header.kid, typed })
    }

    /// Checks a token's signature. If a key for it may still arrive, it waits for the keys, and
    /// [`check_with`](Self::check_with) continues.
    #[inline]
    pub(crate) fn check<'a>(
        &self,
        token: &'a UnverifiedToken<'_, '_>,
    ) -> Progress<LoadedKeys, Result<SignatureCheck<'a>, Refusal>> {
        let jwks = match &self.trust {
            Trust::Jwks { keys, .. } => keys,
            Trust::SharedSecret(key) => {
                let is_valid = key.verify(token.signing_input, token.signature);
                let evidence = Evidence::SharedSecret { algorithm: key.algorithm() };
                let (from, until) = self.policy.times.term(token.claims.times);
                let term = self.term(from, until, ITS_ONLY_GENERATION);
                return Progress::Ready(Ok(SignatureCheck { is_valid, evidence, term }));
            }
            #[cfg(feature = "introspection")]
            Trust::Introspection => {
                return Progress::Ready(Err(RejectionKind::BadSignature.into()));
            }
        };
        let loaded = jwks.load(token.now);
        let keys = if loaded.state() == KeysState::Serving {
            let checked = self.check_with(&loaded, token);
            match (&checked, token.head.get().key()) {
                (Err(rejection), Some(key)) if rejection.kind() == RejectionKind::UnknownKey => {
                    jwks.miss(loaded, key, [token.signing_input, token.signature])
                }
                _ => return Progress::Ready(checked.map_err(Refusal::from)),
            }
        } else {
            jwks.wait_cold()
        };
        match keys {
            Progress::Ready(keys) => {
                Progress::Ready(keys.and_then(|keys| Ok(self.check_with(&keys, token)?)))
            }
            Progress::Pending(keys) => Progress::Pending(keys),
        }
    }

    /// Checks a token's signature with these keys of the issuer, of which the header may name one.
    #[inline]
    pub(crate) fn check_with<'a>(
        &self,
        keys: &LoadedKeys,
        token: &'a UnverifiedToken<'_, '_>,
    ) -> Result<SignatureCheck<'a>, Rejection> {
        let CheckedHeader { algorithm, kid, .. } = token.head.get();
        let (algorithm, kid) = (algorithm.ok_or(RejectionKind::BadSignature)?, kid.as_deref());
        let fitting = match keys.candidates(algorithm, kid) {
            Candidates::Fitting(fitting) => fitting,
            Candidates::TooMany => return Err(RejectionKind::AmbiguousKey.into()),
            Candidates::None => return Err(unknown_key(keys.keys(), algorithm, kid)),
        };
        let (from, until) = self.policy.times.term(token.claims.times);
        let until = keys.serve_for().map_or(until, |lasts| token.now.plus(lasts).min(until));
        Ok(SignatureCheck {
            is_valid: fitting
                .iter()
                .filter(|key| self.policy.lets_sign(key.issuer(), token.claims))
                .any(|key| key.verify(algorithm, token.signing_input, token.signature)),
            evidence: Evidence::Signature { algorithm, key_id: kid },
            term: self.term(from, until, keys.keys().generation()),
        })
    }

    fn term(&self, from: UnixTime, until: UnixTime, generation: u64) -> Term {
        Term { from, until, generation, standing: self.standing.clone() }
    }

    /// Remembers the header of a verified token.
    #[inline]
    pub(crate) fn remember_header(&self, token: &UnverifiedToken<'_, '_>) {
        let Head::New(header) = &token.head else { return };
        let bytes = header.kid.as_ref().map_or(0, |kid| kid.len());
        let header = Arc::new(header.to_owned());
        self.headers.insert(token.encoded_header, bytes, header, None, |_| false);
    }

    /// Builds the owned claims of a verified token.
    #[inline]
    pub(crate) fn claims(
        &self,
        claims: &RawClaims<'_>,
        scopes: ScopeSet,
        evidence: Evidence<'_>,
    ) -> Claims {
        let client_id = claims.client_id(&self.policy.sources.client_id);
        let (issuer, entry) = (self.policy.issuer_of(claims), self.entry.clone());
        Claims::new(issuer, entry, claims, client_id, scopes, evidence)
    }
}

impl CheckedHeader<'_> {
    /// Returns the one key that the header names.
    fn key(&self) -> Option<(Algorithm, &str)> {
        self.algorithm.zip(self.kid.as_deref())
    }

    fn to_owned(&self) -> CheckedHeader<'static> {
        let kid = self.kid.as_deref().map(|kid| Cow::Owned(kid.to_owned()));
        CheckedHeader { algorithm: self.algorithm, kid, typed: self.typed }
    }
}

impl<'a> Head<'a> {
    fn get(&self) -> &CheckedHeader<'a> {
        match self {
            Self::Known(known) => known,
            Self::New(new) => new,
        }
    }
}

impl UnverifiedToken<'_, '_> {
    /// Returns what is kept during a wait.
    pub(crate) fn wait(&self) -> Waiting {
        let head = match &self.head {
            Head::Known(known) => Arc::clone(known),
            Head::New(new) => Arc::new(new.to_owned()),
        };
        Waiting {
            head,
            signing_input: self.signing_input.into(),
            signature: self.signature.into(),
            payload: self.payload.into(),
        }
    }
}

/// Allocates nothing: such tokens cost the sender nothing.
pub(crate) fn unknown_key(keys: &KeySet, algorithm: Algorithm, kid: Option<&str>) -> Rejection {
    let known = Arc::clone(keys.listed());
    let kid = kid.map(Excerpt::new);
    let detail = Detail::Key { kid, algorithm: algorithm.name(), known };
    Rejection::with(RejectionKind::UnknownKey, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Realm {
        pub(crate) fn knows_header(&self, encoded: &[u8]) -> bool {
            self.headers.find(encoded, |_| Some(())).is_some()
        }
    }
}
