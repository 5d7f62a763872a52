//! A key set in the form that another process can start from.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;
use crate::error::ConfigError;
use crate::json;
use crate::jwks::kept::store::KeySetAnswer;
use crate::transport::printable;

/// A key set to start from, before the issuer has answered: see
/// [`Start::Seeded`](crate::jwks::Start::Seeded).
///
/// [`Jwks::snapshot`](crate::jwks::Jwks::snapshot) takes one. The caller decides where it is stored.
/// Anyone who can write there can forge tokens: protect it like configuration.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    issuer: String,
    url: String,
    fetched_at: f64,
    jwks: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
}

/// Without the keys, and without what may be secret in the address.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("issuer", &self.issuer)
            .field("url", &printable(&self.url))
            .field("fetched_at", &self.fetched_at)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(crate) fn of(issuer: &str, origin: &KeySetAnswer) -> Option<Self> {
        let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
        Some(Self {
            issuer: issuer.to_owned(),
            url: origin.url.to_string(),
            fetched_at: origin.fetched_at.as_secs_f64(),
            jwks: std::str::from_utf8(&origin.body).ok()?.to_owned(),
            etag: origin.etag.as_ref().and_then(text),
            last_modified: origin.last_modified.as_ref().and_then(text),
        })
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    ///
    /// If it is something else.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let snapshot: Self = json::parse(json.as_bytes()).map_err(|_| unreadable())?;
        UnixTime::from_secs_f64(snapshot.fetched_at).ok_or_else(unreadable)?;
        Ok(snapshot)
    }

    /// Returns the snapshot as JSON.
    pub fn to_json(&self) -> String {
        // Strings and a finite number always serialize.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns the issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the address that they were fetched from.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns when they were last known to be the issuer's.
    pub fn fetched_at(&self) -> UnixTime {
        UnixTime::from_secs_f64(self.fetched_at).unwrap_or_default()
    }

    pub(crate) fn jwks(&self) -> &str {
        &self.jwks
    }

    pub(crate) fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    pub(crate) fn last_modified(&self) -> Option<&str> {
        self.last_modified.as_deref()
    }
}

fn unreadable() -> ConfigError {
    ConfigError::new("the snapshot can't be read: start without it, or take another one")
}
