use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tokio::runtime::Handle;

use crate::cause::Report;
use crate::jwks::config::KeyLocation;
use crate::jwks::fetch::error::{FetchError, FetchErrorKind};
use crate::jwks::refresher::SharedKeys;
use crate::refusal::{Refusal, Unavailable, UnavailableReason};
use crate::transport::printable;

/// The error of [`Jwks::ready`](crate::jwks::Jwks::ready): no keys came in time.
///
/// `Display` is a sentence: whose keys they are, and where they were looked for. The URL is shown without
/// its query. [`source`](Error::source) is what the last attempt failed with; `Debug` is the sentence with
/// its causes, as `main` prints it.
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
    /// The issuer's metadata, which hasn't been found: where it is first looked for.
    Discovery(String),
}

impl NotReady {
    pub(crate) fn of(shared: &SharedKeys, unavailable: Unavailable) -> Self {
        let control = shared.control();
        let outside = Handle::try_current().is_err().then_some(FetchErrorKind::NoRuntime.into());
        let cause = control.log.last_error.clone().or(outside);
        let found = control.metadata.as_ref().map(|metadata| metadata.jwks_uri.clone());
        drop(control);
        let shown = |uri: &Uri| printable(&uri.to_string());
        let place =
            shared.config.fetching.as_ref().map(|fetching| match (&fetching.target, found) {
                (KeyLocation::Url(url), _) => Place::KeySet(shown(url)),
                (KeyLocation::Discovery(_), Some(url)) => Place::KeySet(shown(&url)),
                (KeyLocation::Discovery(discovery), None) => {
                    Place::Discovery(discovery.first_place().map(shown).unwrap_or_default())
                }
            });
        Self { issuer: Arc::clone(&shared.config.issuer), place, cause, unavailable }
    }

    /// Returns the issuer whose keys didn't come.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the key set's URL without its query, if it is known.
    pub fn url(&self) -> Option<&str> {
        match &self.place {
            Some(Place::KeySet(url)) => Some(url),
            Some(Place::Discovery(_)) | None => None,
        }
    }

    /// Returns the error of the last attempt; `None` if none has ended.
    pub const fn cause(&self) -> Option<&FetchError> {
        self.cause.as_ref()
    }

    /// Returns what is missing.
    pub const fn reason(&self) -> UnavailableReason {
        self.unavailable.reason()
    }

    /// Returns how long to wait before the next try.
    pub const fn retry_after(&self) -> Duration {
        self.unavailable.retry_after()
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (issuer {:?}): ", self.unavailable, printable(&self.issuer))?;
        match &self.place {
            Some(Place::KeySet(url)) => write!(f, "from {url}, ")?,
            Some(Place::Discovery(url)) => write!(f, "by discovery from {url} on, ")?,
            None => {}
        }
        f.write_str(match self.cause {
            Some(_) => "the last attempt failed",
            None => "no attempt has ended yet",
        })
    }
}

impl fmt::Debug for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Report(self))
    }
}

impl Error for NotReady {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

impl From<NotReady> for Refusal {
    fn from(error: NotReady) -> Self {
        error.unavailable.into()
    }
}
