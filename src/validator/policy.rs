//! The policy of an issuer: the rules for a token's header and claims that need no key.

use std::sync::Arc;

use crate::clock::UnixTime;
use crate::jose::{Algorithm, Header};
use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::text::{Excerpt, Excerpts};
use crate::token::{Confirmation, Provable, RawClaims, Sources, TimeRules, TrustDomain};
use crate::validator::audience::is_same_resource;
use crate::validator::template::Template;

/// A claim that a token may be required to have, beside `iss`, `aud` and `exp`, which are always required.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RequiredClaim {
    /// `sub`
    Subject,
    /// The client's id, wherever the [`ClientIdSource`](crate::token::ClientIdSource) finds it.
    ClientId,
    /// `iat`
    IssuedAt,
    /// `jti`
    JwtId,
}

impl RequiredClaim {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Subject, Self::ClientId, Self::IssuedAt, Self::JwtId];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Subject => "sub",
            Self::ClientId => "the client's id, where ValidatorBuilder::client_id_source says",
            Self::IssuedAt => "iat",
            Self::JwtId => "jti",
        }
    }

    pub(crate) fn is_in(self, claims: &RawClaims<'_>, sources: &Sources) -> bool {
        match self {
            Self::Subject => claims.sub.is_some(),
            Self::ClientId => claims.client_id(&sources.client_id).is_some(),
            Self::IssuedAt => claims.times.iat.is_some(),
            Self::JwtId => claims.jti.is_some(),
        }
    }
}

/// Which kind of tokens is accepted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum Profile {
    /// As most servers issue them: `typ` may also be `JWT` or absent.
    #[default]
    Interoperable,
    /// RFC 9068 §4: `typ` must be present and must be `at+jwt`.
    Rfc9068,
    /// JWT-SVIDs of this trust domain, which have no `iss`.
    JwtSvid(TrustDomain),
}

/// What a token must contain to be accepted.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Policy {
    /// Any of these, of which the first is the name of the keys' owner; never empty.
    pub(crate) issuers: Box<[Arc<str>]>,
    /// Any of these; never empty.
    pub(crate) audiences: Arc<[Arc<str>]>,
    /// Whether they are compared as resource identifiers, too.
    pub(crate) are_resources: bool,
    /// The clients whose tokens may lack `aud`.
    pub(crate) without_audience: Box<[Box<str>]>,
    pub(crate) algorithms: Box<[Algorithm]>,
    pub(crate) profile: Profile,
    pub(crate) required: Box<[RequiredClaim]>,
    pub(crate) times: TimeRules,
    pub(crate) sources: Sources,
    pub(crate) max_token_bytes: usize,
    /// The bindings that the service can check.
    pub(crate) provable: Provable,
    /// The issuer is this template, filled in with a tenant.
    pub(crate) template: Option<Template>,
}

impl Policy {
    /// Returns the name of the keys' owner.
    pub(crate) fn name(&self) -> Arc<str> {
        self.issuers.first().cloned().unwrap_or_default()
    }

    /// Returns `true` if the issuer has this spelling.
    pub(crate) fn is_called(&self, issuer: &str) -> bool {
        self.issuers.iter().any(|spelling| **spelling == *issuer)
    }

    /// Returns `true` if tokens name their issuer in `sub`, as JWT-SVIDs do.
    pub(crate) const fn names_issuer_by_sub(&self) -> bool {
        matches!(self.profile, Profile::JwtSvid(_))
    }

    /// Returns `true` if its tokens may have this `iss`.
    pub(crate) fn issues(&self, iss: &str) -> bool {
        match &self.template {
            None => self.is_called(iss),
            Some(template) => template.matches(iss),
        }
    }

    /// Returns `true` if a key with this member `issuer` may have signed the token.
    #[inline]
    pub(crate) fn lets_sign(&self, key_issuer: Option<&str>, claims: &RawClaims<'_>) -> bool {
        let Some(template) = &self.template else { return true };
        template.may_sign(key_issuer, claims.iss.as_deref().unwrap_or_default())
    }

    /// Returns the first audience.
    pub(crate) fn audience(&self) -> Arc<str> {
        self.audiences.first().cloned().unwrap_or_default()
    }

    /// Checks the header's `typ` against the profile, and returns whether it says access token.
    ///
    /// RFC 9068 §4 requires `at+jwt`. Most servers send `JWT` or nothing, which the default accepts;
    /// a type that names another kind of token (`dpop+jwt`, `logout+jwt`) is always refused.
    pub(crate) fn check_type(&self, header: &Header<'_>) -> Result<bool, Rejection> {
        let typ = header.media_type();
        let is = |expected: &str| typ.is_some_and(|typ| typ.eq_ignore_ascii_case(expected));
        let typed = is("at+jwt");
        let accepted = match self.profile {
            Profile::Interoperable => typed || typ.is_none() || is("jwt"),
            Profile::Rfc9068 => typed,
            // JWT-SVID §2.3.
            Profile::JwtSvid(_) => typ.is_none() || is("jwt") || is("jose"),
        };
        if accepted {
            return Ok(typed);
        }
        let presented = Excerpt::new(header.typ.as_deref().unwrap_or_default());
        Err(Rejection::with(RejectionKind::WrongType, Detail::Presented(presented)))
    }

    /// Returns the accepted algorithm that the header names (RFC 8725 §3.1).
    pub(crate) fn check_algorithm(&self, header: &Header<'_>) -> Result<Algorithm, Rejection> {
        Algorithm::from_name(&header.alg)
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or_else(|| unsupported_algorithm(header))
    }

    /// Checks the claims against the policy, in an order in which no key is needed. `typed` is what
    /// [`check_type`](Self::check_type) returned.
    pub(crate) fn check_claims(
        &self,
        claims: &RawClaims<'_>,
        typed: bool,
        now: UnixTime,
    ) -> Result<(), Rejection> {
        self.check_presence(claims)?;
        self.check_issuer(claims)?;
        self.times.check(claims.times, now)?;
        self.check_audience(claims)?;
        if let Some(rejection) = claims.mark.as_ref().and_then(|mark| mark.refusal(typed)) {
            return Err(rejection);
        }
        self.check_confirmation(claims)
    }

    /// Refuses a token whose binding this service can't check.
    pub(crate) fn check_confirmation(&self, claims: &RawClaims<'_>) -> Result<(), Rejection> {
        match &claims.confirmation {
            Confirmation::None => Ok(()),
            Confirmation::Bound(binding) if self.provable.covers(binding) => Ok(()),
            // RFC 9449 §7.2, RFC 8705 §3: a bound token must not be accepted as a mere bearer token.
            Confirmation::Bound(_) | Confirmation::Other => {
                Err(Rejection::with(RejectionKind::SenderConstrained, Detail::Claim("cnf")))
            }
        }
    }

    pub(crate) fn check_presence(&self, claims: &RawClaims<'_>) -> Result<(), Rejection> {
        let named = match self.profile {
            Profile::JwtSvid(_) if claims.sub.is_none() => return Err(missing_claim("sub")),
            Profile::JwtSvid(_) => true,
            Profile::Interoperable | Profile::Rfc9068 => claims.iss.is_some(),
        };
        if !named {
            return Err(missing_claim("iss"));
        }
        if claims.aud.is_none() && self.without_audience.is_empty() {
            return Err(missing_claim("aud"));
        }
        if claims.times.exp.is_none() {
            return Err(missing_claim("exp"));
        }
        match self.required.iter().find(|required| !required.is_in(claims, &self.sources)) {
            Some(missing) => Err(missing_claim(missing.name())),
            None => Ok(()),
        }
    }

    pub(crate) fn check_audience(&self, claims: &RawClaims<'_>) -> Result<(), Rejection> {
        let Some(aud) = &claims.aud else {
            let client = claims.client_id(&self.sources.client_id);
            return match client.filter(|id| self.without_audience.iter().any(|it| **it == **id)) {
                Some(_) => Ok(()),
                None => Err(missing_claim("aud")),
            };
        };
        if aud.iter().any(|aud| self.is_for(aud)) {
            return Ok(());
        }
        let detail = Detail::Audience {
            expected: Arc::clone(&self.audiences),
            presented: Excerpts::new(aud.iter()),
        };
        Err(Rejection::with(RejectionKind::WrongAudience, detail))
    }

    /// Returns `true` if this audience is the service's.
    #[inline]
    pub(crate) fn is_for(&self, aud: &str) -> bool {
        self.audiences.iter().any(|ours| **ours == *aud)
            || self.are_resources && self.audiences.iter().any(|ours| is_same_resource(ours, aud))
    }

    /// RFC 9068 §4: the same, code point by code point; a trailing slash makes another issuer.
    pub(crate) fn check_issuer(&self, claims: &RawClaims<'_>) -> Result<(), Rejection> {
        let iss = match &self.profile {
            Profile::JwtSvid(domain) => {
                return domain.check_subject(claims.sub.as_deref().unwrap_or_default());
            }
            Profile::Interoperable | Profile::Rfc9068 => claims.iss.as_deref().unwrap_or_default(),
        };
        if self.issues(iss) {
            return Ok(());
        }
        let detail = Detail::Compared { expected: self.name(), presented: Excerpt::new(iss) };
        Err(Rejection::with(RejectionKind::WrongIssuer, detail))
    }

    /// Returns the issuer of claims that were accepted, in the spelling of the token.
    pub(crate) fn issuer_of(&self, claims: &RawClaims<'_>) -> Arc<str> {
        if let ([only], None) = (&*self.issuers, &self.template) {
            return Arc::clone(only);
        }
        let said = match self.profile {
            Profile::JwtSvid(_) => None,
            Profile::Interoperable | Profile::Rfc9068 => claims.iss.as_deref(),
        };
        if self.template.is_some() {
            return said.unwrap_or_default().into();
        }
        let found = self.issuers.iter().find(|issuer| Some(&***issuer) == said);
        found.or(self.issuers.first()).cloned().unwrap_or_default()
    }
}

pub(crate) fn unsupported_algorithm(header: &Header<'_>) -> Rejection {
    let presented = Detail::Presented(Excerpt::new(&header.alg));
    Rejection::with(RejectionKind::UnsupportedAlgorithm, presented)
}

pub(crate) const fn missing_claim(claim: &'static str) -> Rejection {
    Rejection::with(RejectionKind::MissingClaim, Detail::Claim(claim))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn policy(leeway: u64, max_age: Option<u64>) -> Policy {
        Policy {
            issuers: Box::new(["i".into()]),
            audiences: ["a".into()].into(),
            are_resources: false,
            without_audience: Box::default(),
            algorithms: Box::default(),
            profile: Profile::Interoperable,
            required: Box::default(),
            times: TimeRules {
                past_iat: false,
                leeway: Duration::from_secs(leeway),
                max_age: max_age.map(Duration::from_secs),
            },
            sources: Sources::default(),
            max_token_bytes: 0,
            provable: Provable::default(),
            template: None,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        // The remembered decision must be the one that would be made again.
        #[test]
        fn claims_pass_within_their_term_and_at_no_other_time(
            exp in 0..12_u8,
            nbf in proptest::option::of(0..12_u8),
            iat in 0..12_u8,
            leeway in 0..4_u64,
            max_age in proptest::option::of(0..6_u64),
            now in 0..16_i64,
        ) {
            let nbf = nbf.map(|nbf| format!(r#","nbf":{nbf}"#)).unwrap_or_default();
            let json = format!(r#"{{"iss":"i","aud":"a","exp":{exp},"iat":{iat}{nbf}}}"#);
            let policy = policy(leeway, max_age);
            let claims = RawClaims::parse(json.as_bytes(), &policy.sources).unwrap();
            let now = UnixTime::from_secs(now);
            let (from, until) = policy.times.term(claims.times);
            // The last moment at which a token isn't too old is the one that isn't remembered.
            if now != until || policy.times.max_age.is_none() {
                let passes = policy.check_claims(&claims, false, now).is_ok();
                prop_assert_eq!(passes, from <= now && now < until);
            }
        }
    }
}
