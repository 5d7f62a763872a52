use std::fmt;
use std::sync::Arc;

use crate::jwks::fetch_error::FetchError;
use crate::refusal::{Refusal, Unavailable};

/// No keys came within the time that [`Jwks::ready`](crate::jwks::Jwks::ready) was given.
///
/// `Display` and `Debug` are a sentence: whose keys they are, where they were looked for, and what
/// the last attempt failed with. The URL is shown without its query.
#[derive(Clone, Eq, PartialEq)]
pub struct NotReady {
    issuer: Arc<str>,
    /// `None` if the keys are part of the configuration.
    place: Option<Place>,
    cause: Option<FetchError>,
    unavailable: Unavailable,
}

/// Where keys were looked for.
#[derive(Clone, Eq, PartialEq)]
pub(crate) enum Place {
    KeySet(String),
    /// The issuer's metadata, which hasn't been found.
    Discovery,
}

impl NotReady {
    pub(crate) fn new(
        issuer: &str,
        place: Option<Place>,
        cause: Option<FetchError>,
        unavailable: Unavailable,
    ) -> Self {
        Self { issuer: issuer.into(), place, cause, unavailable }
    }

    /// Returns the issuer whose keys didn't come.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the key set's URL without its query, if it is known.
    pub fn url(&self) -> Option<&str> {
        match &self.place {
            Some(Place::KeySet(url)) => Some(url),
            Some(Place::Discovery) | None => None,
        }
    }

    /// Returns what the last attempt failed with; `None` if none has ended.
    pub const fn cause(&self) -> Option<FetchError> {
        self.cause
    }

    /// Returns what requests with tokens of the issuer are answered meanwhile.
    pub const fn unavailable(&self) -> Unavailable {
        self.unavailable
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (issuer {:?}): ", self.unavailable, self.issuer)?;
        match &self.place {
            Some(Place::KeySet(url)) => write!(f, "from {url}, ")?,
            Some(Place::Discovery) => f.write_str("from its metadata, by discovery, ")?,
            None => {}
        }
        match self.cause {
            Some(cause) => write!(f, "the last attempt failed: {} ({cause})", cause.summary()),
            None => f.write_str("no attempt has ended yet"),
        }
    }
}

impl fmt::Debug for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for NotReady {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

impl From<NotReady> for Refusal {
    fn from(error: NotReady) -> Self {
        error.unavailable.into()
    }
}
