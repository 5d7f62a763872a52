use crate::jose::alg::{Algorithm, Backend};
use crate::jose::compact::{Compact, decode_segment};
use crate::jose::header::Header;
use crate::jose::hmac::{HmacAlgorithm, HmacKey};
use crate::jose::jwk::parse_jwk_set;
use crate::refusal::RejectionKind;
use crate::secret::Secret;

/// As many as a configured set may have.
const MAX_KEYS: usize = 1_000;

/// Verifies a JWS that need not be a JWT, with the keys of a set, and returns its payload.
///
/// This is what stands below the validator, bare, for the published test vectors of JOSE.
///
/// # Errors
///
/// As the validator refuses, as far as the claims play no part in it.
pub fn verify_jws(jwks: &str, jws: &str, backend: Backend) -> Result<Vec<u8>, RejectionKind> {
    let compact = Compact::split(jws.as_bytes())?;
    let header = decode_segment(compact.header)?;
    let header = Header::parse(&header).map_err(|rejection| rejection.kind())?;
    let algorithm = Algorithm::from_name(&header.alg).ok_or(RejectionKind::UnsupportedAlgorithm)?;
    let payload = decode_segment(compact.payload)?;
    let signature = decode_segment(compact.signature)?;
    let set =
        parse_jwk_set(jwks.as_bytes(), MAX_KEYS, backend).map_err(|_| RejectionKind::UnknownKey)?;
    let named = |kid: Option<&str>| header.kid.is_none() || kid == header.kid.as_deref();
    let mut fitting =
        set.keys.iter().filter(|key| named(key.kid()) && key.fits(algorithm)).peekable();
    if fitting.peek().is_none() {
        return Err(RejectionKind::UnknownKey);
    }
    if fitting.any(|key| key.verify(algorithm, compact.signing_input, &signature)) {
        Ok(payload)
    } else {
        Err(RejectionKind::BadSignature)
    }
}

/// Verifies a JWS with a shared secret, and returns its payload.
///
/// # Errors
///
/// As [`verify_jws`]; `UnknownKey` if the secret is too short for the algorithm.
pub fn verify_hmac_jws(
    algorithm: HmacAlgorithm,
    secret: &[u8],
    jws: &str,
    backend: Backend,
) -> Result<Vec<u8>, RejectionKind> {
    let compact = Compact::split(jws.as_bytes())?;
    let header = decode_segment(compact.header)?;
    let header = Header::parse(&header).map_err(|rejection| rejection.kind())?;
    if header.alg != algorithm.name() {
        return Err(RejectionKind::UnsupportedAlgorithm);
    }
    let payload = decode_segment(compact.payload)?;
    let tag = decode_segment(compact.signature)?;
    let key = HmacKey::new(algorithm, Secret::new(secret), backend)
        .map_err(|_| RejectionKind::UnknownKey)?;
    if key.verify(compact.signing_input, &tag) {
        Ok(payload)
    } else {
        Err(RejectionKind::BadSignature)
    }
}

/// Tells whether a signature holds under the one key of a set.
pub fn verify_raw(
    jwks: &str,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
    backend: Backend,
) -> bool {
    parse_jwk_set(jwks.as_bytes(), MAX_KEYS, backend)
        .is_ok_and(|set| set.keys.iter().any(|key| key.verify(algorithm, message, signature)))
}

/// Returns how many keys of a set are used and how many are not; `None` if it is no set.
pub fn count_keys(jwks: &[u8], backend: Backend) -> Option<(usize, usize)> {
    let set = parse_jwk_set(jwks, MAX_KEYS, backend).ok()?;
    Some((set.keys.len(), set.ignored.len()))
}
