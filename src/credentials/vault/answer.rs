//! Reads Vault's answers: secrets, and the tokens of logins and renewals.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use zeroize::Zeroize as _;

use crate::cause::Reason;
use crate::credentials::field::{NO_FIELD, field, only_field, text};
use crate::credentials::provider::{SecretError, SecretErrorKind};
use crate::credentials::text::trim;
use crate::json;
use crate::secret::Secret;

/// The longest token that is accepted.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    data: Option<Version<'a>>,
}

/// A version of a secret. Answers of the store's version 1 lack this layer.
#[derive(Deserialize)]
struct Version<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    metadata: Option<IgnoredAny>,
}

/// Returns the secret in an answer of the key-value store.
pub(crate) fn secret(answer: Bytes, name: Option<&str>) -> Result<Secret, SecretError> {
    let secret = secret_in(&answer, name);
    wipe(answer);
    secret
}

fn secret_in(answer: &[u8], name: Option<&str>) -> Result<Secret, SecretError> {
    let read: Read<'_> = json::parse(answer).map_err(|_| cut_off())?;
    let version = read.data.filter(|version| version.metadata.is_some());
    let version = version.ok_or_else(|| {
        SecretError::malformed("it isn't an answer of the key-value store's version 2")
    })?;
    let fields = version.data.ok_or(SecretError::new(SecretErrorKind::NotFound))?;
    let fields = fields.get().as_bytes();
    let secret = match name {
        Some(name) => field(fields, name).ok_or_else(|| SecretError::malformed(NO_FIELD)),
        None => only_field(fields).ok_or_else(|| {
            SecretError::malformed(
                "it doesn't have exactly one field with a string: if it has several, name one",
            )
        }),
    }?;
    if secret.expose().is_empty() {
        return Err(SecretError::malformed("it is empty"));
    }
    Ok(secret)
}

/// The token of a login or a renewal.
pub(crate) struct Lease {
    pub(crate) token: HeaderValue,
    /// Its lifetime; `None` if it doesn't expire.
    pub(crate) lifetime: Option<Duration>,
    pub(crate) renewable: bool,
}

#[derive(Deserialize)]
struct Login<'a> {
    #[serde(borrow)]
    auth: Option<Auth<'a>>,
}

#[derive(Deserialize)]
struct Auth<'a> {
    /// It is read last, into a type that is wiped: a string of an answer that is refused wouldn't be.
    #[serde(borrow)]
    client_token: &'a RawValue,
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

/// Returns the token in an answer to a login or a renewal.
pub(crate) fn lease(answer: Bytes) -> Result<Lease, SecretError> {
    let lease = lease_in(&answer);
    wipe(answer);
    lease
}

fn lease_in(answer: &[u8]) -> Result<Lease, SecretError> {
    let login: Login<'_> = json::parse(answer).map_err(|_| cut_off())?;
    let auth = login.auth.ok_or_else(cut_off)?;
    let token = text(auth.client_token)
        .and_then(token)
        .ok_or_else(|| SecretError::malformed("Vault's answer to the login has no token"))?;
    let lifetime = (auth.lease_duration > 0).then(|| Duration::from_secs(auth.lease_duration));
    Ok(Lease { token, lifetime, renewable: auth.renewable })
}

/// Returns the header value of a token; `None` if the text can't be a token.
pub(crate) fn token(token: Secret) -> Option<HeaderValue> {
    let token = trim(token);
    let text = token.expose();
    let fits = !text.is_empty() && text.len() <= MAX_TOKEN_BYTES;
    let mut field = HeaderValue::from_bytes(text)
        .ok()
        .filter(|_| fits && text.iter().all(u8::is_ascii_graphic))?;
    field.set_sensitive(true);
    Some(field)
}

/// Wipes an answer, unless the transport has kept a part of it.
fn wipe(answer: Bytes) {
    if let Ok(mut answer) = answer.try_into_mut() {
        answer.as_mut().zeroize();
    }
}

/// The error of a truncated answer, or a proxy's page: a retry may succeed.
fn cut_off() -> SecretError {
    let reason = Reason("Vault's answer can't be read".into());
    SecretError::new(SecretErrorKind::Unavailable).with_source(reason)
}
