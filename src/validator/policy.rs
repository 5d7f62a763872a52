use std::sync::Arc;
use std::time::Duration;

use crate::clock::UnixTime;
use crate::jose::{Algorithm, Header};
use crate::refusal::{Detail, Excerpt, Rejection, RejectionKind};
use crate::token::{RawClaims, ScopeSource};

/// A claim that a token may be required to have, beside `iss`, `aud` and `exp`, which it always is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RequiredClaim {
    /// `sub`
    Subject,
    /// `client_id`
    ClientId,
    /// `iat`
    IssuedAt,
    /// `jti`
    JwtId,
}

impl RequiredClaim {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Subject, Self::ClientId, Self::IssuedAt, Self::JwtId];

    const fn name(self) -> &'static str {
        match self {
            Self::Subject => "sub",
            Self::ClientId => "client_id",
            Self::IssuedAt => "iat",
            Self::JwtId => "jti",
        }
    }

    const fn is_in(self, claims: &RawClaims<'_>) -> bool {
        match self {
            Self::Subject => claims.sub.is_some(),
            Self::ClientId => claims.client_id.is_some(),
            Self::IssuedAt => claims.iat.is_some(),
            Self::JwtId => claims.jti.is_some(),
        }
    }
}

/// What a token must say to be accepted.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) issuer: Arc<str>,
    /// Any of these; never empty.
    pub(crate) audiences: Box<[Arc<str>]>,
    pub(crate) algorithms: Box<[Algorithm]>,
    /// RFC 9068 §4: `typ` must be there and must be `at+jwt`.
    pub(crate) typ_required: bool,
    pub(crate) required: Box<[RequiredClaim]>,
    pub(crate) leeway: Duration,
    pub(crate) max_age: Option<Duration>,
    pub(crate) scope_source: ScopeSource,
    pub(crate) max_token_bytes: usize,
}

impl Policy {
    /// Holds the header's `typ` against the profile.
    ///
    /// RFC 9068 §4 wants `at+jwt`. Most servers send `JWT` or nothing, which the default accepts;
    /// a type that says what else the token is (`dpop+jwt`, `logout+jwt`) is always refused.
    pub(crate) fn check_type(&self, header: &Header<'_>) -> Result<(), Rejection> {
        let accepted = match header.media_type() {
            Some(typ) if typ.eq_ignore_ascii_case("at+jwt") => true,
            Some(typ) => !self.typ_required && typ.eq_ignore_ascii_case("jwt"),
            None => !self.typ_required,
        };
        if accepted {
            return Ok(());
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

    /// Holds the claims against the policy, in an order in which no key is needed.
    pub(crate) fn check_claims(
        &self,
        claims: &RawClaims<'_>,
        now: UnixTime,
    ) -> Result<(), Rejection> {
        let (Some(iss), Some(aud), Some(exp)) = (&claims.iss, &claims.aud, claims.exp) else {
            let missing = match (&claims.iss, &claims.aud) {
                (None, _) => "iss",
                (_, None) => "aud",
                _ => "exp",
            };
            return Err(missing_claim(missing));
        };
        if let Some(missing) = self.required.iter().find(|required| !required.is_in(claims)) {
            return Err(missing_claim(missing.name()));
        }
        self.check_issuer(iss)?;
        self.check_times(claims, exp, now)?;
        if !aud.iter().any(|aud| self.audiences.iter().any(|ours| **ours == *aud)) {
            let detail = Detail::Compared {
                expected: self.audiences.first().cloned().unwrap_or_default(),
                presented: Excerpt::new(aud.iter().next().unwrap_or_default()),
            };
            return Err(Rejection::with(RejectionKind::WrongAudience, detail));
        }
        if claims.id_token {
            return Err(RejectionKind::IdToken.into());
        }
        // RFC 9449 §7.2, RFC 8705 §3: a bound token must not be accepted as a mere bearer token.
        if claims.confirmation {
            return Err(Rejection::with(RejectionKind::SenderConstrained, Detail::Claim("cnf")));
        }
        Ok(())
    }

    /// RFC 9068 §4: the same, code point by code point; a trailing slash makes another issuer.
    fn check_issuer(&self, iss: &str) -> Result<(), Rejection> {
        if *iss == *self.issuer {
            return Ok(());
        }
        let detail =
            Detail::Compared { expected: Arc::clone(&self.issuer), presented: Excerpt::new(iss) };
        Err(Rejection::with(RejectionKind::WrongIssuer, detail))
    }

    /// Returns from when and until when these claims pass, as far as time is concerned: what
    /// [`check_claims`](Self::check_claims) accepts between, the end excluded.
    pub(crate) fn term(&self, claims: &RawClaims<'_>) -> (UnixTime, UnixTime) {
        let begins = claims.nbf.map_or(UnixTime::MIN, |nbf| nbf.minus(self.leeway));
        let expires = claims.exp.unwrap_or(UnixTime::MIN).plus(self.leeway);
        let Some((max_age, iat)) = self.max_age.zip(claims.iat) else { return (begins, expires) };
        let from = iat.minus(self.leeway).max(begins);
        let until = iat.plus(max_age).plus(self.leeway).min(expires);
        (from, until)
    }

    fn check_times(
        &self,
        claims: &RawClaims<'_>,
        exp: UnixTime,
        now: UnixTime,
    ) -> Result<(), Rejection> {
        // RFC 7519 §4.1.4: not "on or after" that time.
        if now >= exp.plus(self.leeway) {
            let detail = Detail::Time { claim: "exp", value: exp, now };
            return Err(Rejection::with(RejectionKind::Expired, detail));
        }
        if let Some(nbf) = claims.nbf
            && now < nbf.minus(self.leeway)
        {
            let detail = Detail::Time { claim: "nbf", value: nbf, now };
            return Err(Rejection::with(RejectionKind::NotYetValid, detail));
        }
        if let Some(max_age) = self.max_age {
            let iat = claims.iat.ok_or(missing_claim("iat"))?;
            let detail = Detail::Time { claim: "iat", value: iat, now };
            // RFC 7519 §4.1.6 refuses none for this; but such a token would never grow too old.
            if now < iat.minus(self.leeway) {
                return Err(Rejection::with(RejectionKind::NotYetValid, detail));
            }
            if now > iat.plus(max_age).plus(self.leeway) {
                return Err(Rejection::with(RejectionKind::TooOld, detail));
            }
        }
        Ok(())
    }
}

pub(crate) fn unsupported_algorithm(header: &Header<'_>) -> Rejection {
    let presented = Detail::Presented(Excerpt::new(&header.alg));
    Rejection::with(RejectionKind::UnsupportedAlgorithm, presented)
}

const fn missing_claim(claim: &'static str) -> Rejection {
    Rejection::with(RejectionKind::MissingClaim, Detail::Claim(claim))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(leeway: u64, max_age: Option<u64>) -> Policy {
        Policy {
            issuer: "i".into(),
            audiences: Box::new(["a".into()]),
            algorithms: Box::default(),
            typ_required: false,
            required: Box::default(),
            leeway: Duration::from_secs(leeway),
            max_age: max_age.map(Duration::from_secs),
            scope_source: ScopeSource::standard(),
            max_token_bytes: 0,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        // What is remembered must be what would be decided anew.
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
            let claims = RawClaims::parse(json.as_bytes(), &policy.scope_source).unwrap();
            let now = UnixTime::from_secs(now);
            let (from, until) = policy.term(&claims);
            // The last moment at which a token isn't too old is the one that isn't remembered.
            if now != until || policy.max_age.is_none() {
                let passes = policy.check_claims(&claims, now).is_ok();
                prop_assert_eq!(passes, from <= now && now < until);
            }
        }
    }
}
