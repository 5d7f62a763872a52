//! Writes and signs one DPoP proof (RFC 9449 §4.2).

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use bytes::Bytes;
use http::HeaderValue;
use serde::Serialize;

use crate::client::dpop::side::Target;
use crate::clock::UnixTime;
use crate::credentials::provider::SecretError;
use crate::digest::random;
use crate::jose::{OwnKey, serialize};

/// There are no other claims, since some servers refuse what they don't expect.
#[derive(Serialize)]
struct Claims<'a> {
    jti: String,
    htm: &'a str,
    htu: String,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ath: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
}

/// Makes a proof for one use.
pub(crate) fn make(
    key: &OwnKey,
    algorithm: &str,
    target: Target<'_>,
    ath: Option<&str>,
    nonce: Option<&str>,
    now: UnixTime,
) -> Result<HeaderValue, SecretError> {
    let malformed = |what: &'static str| SecretError::malformed(what);
    let random = random::<16>().map_err(|_| malformed("no random numbers are available"))?;
    let claims = Claims {
        jti: BASE64_URL_SAFE_NO_PAD.encode(random),
        htm: target.method.as_str(),
        htu: target.origin.url_of(target.path),
        iat: now.as_secs(),
        ath,
        nonce,
    };
    let header = format!(r#"{{"typ":"dpop+jwt","alg":"{algorithm}","jwk":{}}}"#, key.jwk());
    let claims =
        serde_json::to_vec(&claims).map_err(|_| malformed("the proof can't be written"))?;
    let proof = serialize(header.as_bytes(), &claims, |input| key.sign(input))
        .map_err(|_| malformed("the DPoP key can't sign"))?;
    let mut proof = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(proof.as_bytes()))
        .map_err(|_| malformed("the proof can't be sent"))?;
    proof.set_sensitive(true);
    Ok(proof)
}
