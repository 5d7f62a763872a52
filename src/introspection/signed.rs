//! Verifies signed responses (RFC 9701 §5).

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::clock::UnixTime;
use crate::introspection::answer::{Answer, read};
use crate::introspection::error::IntrospectionError;
use crate::introspection::error_kind::IntrospectionErrorKind;
use crate::introspection::request::SIGNED;
use crate::jose::{Algorithm, Compact, Header, JoseError, decode_segment};
use crate::json;
use crate::jwks::{Candidates, Jwks, KeysState, LoadedKeys};
use crate::transport::text;

/// The greatest age of a signed answer, which is made for one request.
const MAX_AGE: Duration = Duration::from_secs(60);

/// The settings that signed answers are verified with.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) jwks: Jwks,
    pub(crate) algorithms: Box<[Algorithm]>,
    /// The identifier of this service at the authorization server.
    pub(crate) audience: Box<str>,
    /// How far the server's clock may be ahead.
    pub(crate) leeway: Duration,
}

#[derive(Deserialize)]
struct Members<'a> {
    iss: Option<String>,
    aud: Option<OneOrMany>,
    iat: Option<f64>,
    #[serde(borrow)]
    token_introspection: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Signed {
    /// Reads a signed answer, which may wait for the issuer's keys.
    ///
    /// # Errors
    ///
    /// If it isn't signed by this issuer, for this service, within the last minute; or if it isn't an answer.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        issuer: &str,
        now: UnixTime,
    ) -> Result<Answer, IntrospectionError> {
        let media_type = text(headers, &CONTENT_TYPE).and_then(|value| value.split(';').next());
        if !media_type.unwrap_or_default().trim().eq_ignore_ascii_case(SIGNED) {
            return Err(IntrospectionErrorKind::NotSigned.into());
        }
        let compact = Compact::split(body.trim_ascii()).map_err(fault)?;
        let header = decode_segment(compact.header).map_err(fault)?;
        let header = Header::parse(&header).map_err(fault)?;
        if !header
            .media_type()
            .is_some_and(|typ| typ.eq_ignore_ascii_case("token-introspection+jwt"))
        {
            return Err(IntrospectionErrorKind::WrongType.into());
        }
        let algorithm = Algorithm::from_name(&header.alg)
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or(IntrospectionErrorKind::Algorithm)?;
        if !self.is_genuine(&compact, algorithm, header.kid.as_deref(), now).await? {
            return Err(IntrospectionErrorKind::Signature.into());
        }
        let payload = decode_segment(compact.payload).map_err(fault)?;
        let members: Members<'_> =
            json::parse(&payload).map_err(|_| IntrospectionErrorKind::NotJson)?;
        self.check(&members, issuer, now)?;
        let said = members.token_introspection.ok_or(IntrospectionErrorKind::NoVerdict)?;
        Ok(read(said.get().as_bytes(), issuer)?)
    }

    fn check(
        &self,
        members: &Members<'_>,
        issuer: &str,
        now: UnixTime,
    ) -> Result<(), IntrospectionErrorKind> {
        if members.iss.as_deref() != Some(issuer) {
            return Err(IntrospectionErrorKind::WrongIssuer);
        }
        let is_ours = match &members.aud {
            Some(OneOrMany::One(one)) => **one == *self.audience,
            Some(OneOrMany::Many(many)) => many.iter().any(|aud| **aud == *self.audience),
            None => false,
        };
        if !is_ours {
            return Err(IntrospectionErrorKind::WrongAudience);
        }
        let made = members.iat.and_then(UnixTime::from_secs_f64);
        let is_fresh = |made: UnixTime| made.plus(MAX_AGE) >= now && made <= now.plus(self.leeway);
        if made.is_some_and(is_fresh) { Ok(()) } else { Err(IntrospectionErrorKind::NotFresh) }
    }

    /// Checks the signature with the issuer's keys, which may have to be fetched.
    async fn is_genuine(
        &self,
        compact: &Compact<'_>,
        algorithm: Algorithm,
        kid: Option<&str>,
        now: UnixTime,
    ) -> Result<bool, IntrospectionError> {
        let signature = decode_segment(compact.signature).map_err(fault)?;
        let check = |keys: &LoadedKeys| match keys.candidates(algorithm, kid) {
            Candidates::Fitting(fitting) => Some(
                fitting.iter().any(|key| key.verify(algorithm, compact.signing_input, &signature)),
            ),
            Candidates::None => None,
            Candidates::TooMany => Some(false),
        };
        let loaded = self.jwks.load(now);
        let keys = if loaded.state() == KeysState::Serving {
            match (check(&loaded), kid) {
                (Some(genuine), _) => return Ok(genuine),
                (None, None) => return Ok(false),
                (None, Some(kid)) => {
                    self.jwks.miss(loaded, (algorithm, kid), [compact.signing_input, &signature])
                }
            }
        } else {
            self.jwks.wait_cold()
        };
        let keys = keys.settled().await;
        let keys = keys.map_err(|refusal| {
            IntrospectionError::because(IntrospectionErrorKind::Keys, Some(Arc::new(refusal)))
        })?;
        Ok(check(&keys).unwrap_or(false))
    }
}

fn fault(error: JoseError) -> IntrospectionErrorKind {
    match error {
        JoseError::Encrypted | JoseError::Nested => IntrospectionErrorKind::Encrypted,
        JoseError::Malformed | JoseError::MalformedHeader(_) => IntrospectionErrorKind::NotSigned,
        JoseError::Critical(_) => IntrospectionErrorKind::WrongType,
    }
}
