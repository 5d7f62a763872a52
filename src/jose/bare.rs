//! Verifies a JWS without a validator, for the published test vectors.

use crate::jose::alg::{Algorithm, HmacAlgorithm};
use crate::jose::backend::choice::Backend;
use crate::jose::compact::{Compact, decode_segment};
use crate::jose::header::Header;
use crate::jose::hmac::HmacKey;
use crate::jose::jwk::parse_jwk_set;
use crate::secret::Secret;

/// As many as a configured set may have.
const MAX_KEYS: usize = 1_000;

/// Verifies a JWS that need not be a JWT, with the keys of a set, and returns its payload; `None` if
/// any of it is refused.
///
/// This is the layer below the validator, for the published test vectors of JOSE.
pub fn verify_jws(jwks: &str, jws: &str, backend: Backend) -> Option<Vec<u8>> {
    let compact = Compact::split(jws.as_bytes()).ok()?;
    let header = decode_segment(compact.header).ok()?;
    let header = Header::parse(&header).ok()?;
    let algorithm = Algorithm::from_name(&header.alg)?;
    let payload = decode_segment(compact.payload).ok()?;
    let signature = decode_segment(compact.signature).ok()?;
    let set = parse_jwk_set(jwks.as_bytes(), MAX_KEYS, backend).ok()?;
    let named = |kid: Option<&str>| header.kid.is_none() || kid == header.kid.as_deref();
    let mut named = set.keys.iter().filter(|key| named(key.kid()));
    named.any(|key| key.verify(algorithm, compact.signing_input, &signature)).then_some(payload)
}

/// Verifies a JWS with a shared secret, and returns its payload; `None` if any of it is refused, or
/// the secret is too short for the algorithm.
pub fn verify_hmac_jws(
    algorithm: HmacAlgorithm,
    secret: &[u8],
    jws: &str,
    backend: Backend,
) -> Option<Vec<u8>> {
    let compact = Compact::split(jws.as_bytes()).ok()?;
    let header = decode_segment(compact.header).ok()?;
    let header = Header::parse(&header).ok()?;
    let payload = decode_segment(compact.payload).ok()?;
    let tag = decode_segment(compact.signature).ok()?;
    let key = HmacKey::new(algorithm, Secret::new(secret), backend).ok()?;
    (header.alg == algorithm.name() && key.verify(compact.signing_input, &tag)).then_some(payload)
}

/// Returns `true` if a signature is valid under the one key of a set.
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

/// Returns how many keys of a set are used and how many are not; `None` if it isn't a set.
pub fn count_keys(jwks: &[u8], backend: Backend) -> Option<(usize, usize)> {
    let set = parse_jwk_set(jwks, MAX_KEYS, backend).ok()?;
    Some((set.keys.len(), set.ignored.len()))
}
