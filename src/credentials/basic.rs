//! HTTP Basic authentication of a client, with the encodings that servers expect.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::credentials::form::{Space, encode_into};
use crate::credentials::provider::{SecretError, SecretErrorKind};

/// How identifier and secret are encoded before they are joined for HTTP Basic.
///
/// It makes a difference to characters other than letters, digits and `*-._`, and servers
/// disagree about it. If a secret with such characters is refused, choose another encoding, or
/// [`ClientAuth::body`](crate::client::ClientAuth::body).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BasicEncoding {
    /// Form-encoded, a space as `+`, as RFC 6749 §2.3.1 requires.
    #[default]
    Form,
    /// Percent-encoded, a space as `%20`, for servers that don't decode a `+`.
    Percent,
    /// Not encoded, for servers that decode nothing.
    Raw,
}

/// Returns `Basic` and the base64 of identifier, colon and secret (RFC 7617 §2).
pub(crate) fn basic(
    id: &str,
    secret: &[u8],
    encoding: BasicEncoding,
) -> Result<HeaderValue, SecretError> {
    let longest = id.len().saturating_add(secret.len()).saturating_mul(3).saturating_add(1);
    let mut pair = Zeroizing::new(Vec::with_capacity(longest));
    let encode = |pair: &mut Vec<u8>, text: &[u8]| match encoding {
        BasicEncoding::Form => encode_into(pair, text, Space::Plus),
        BasicEncoding::Percent => encode_into(pair, text, Space::Percent20),
        BasicEncoding::Raw => pair.extend_from_slice(text),
    };
    encode(&mut pair, id.as_bytes());
    pair.push(b':');
    encode(&mut pair, secret);
    // Four characters for every three bytes, rounded up, after "Basic ".
    let mut value =
        String::with_capacity(pair.len().div_ceil(3).saturating_mul(4).saturating_add(6));
    value.push_str("Basic ");
    BASE64_STANDARD.encode_string(&*pair, &mut value);
    let value = Bytes::from_owner(Zeroizing::new(value.into_bytes()));
    let mut value = HeaderValue::from_maybe_shared(value)
        .map_err(|_| SecretError::new(SecretErrorKind::Malformed))?;
    value.set_sensitive(true);
    Ok(value)
}
