use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::cause::Report;
use crate::jwks::fetch::error::{FetchError, FetchErrorKind};
use crate::jwks::place::Place;
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

impl NotReady {
    pub(crate) fn of(shared: &SharedKeys, unavailable: Unavailable) -> Self {
        let control = shared.control();
        let outside = Handle::try_current().is_err().then_some(FetchErrorKind::NoRuntime.into());
        let cause = control.log.last_error.clone().or(outside);
        let place = Place::at(&shared.config, control.metadata.as_ref());
        drop(control);
        Self { issuer: Arc::clone(&shared.config.issuer), place, cause, unavailable }
    }

    /// Returns the sentence with its causes, for the log.
    pub(crate) fn for_log(mut self) -> String {
        self.place = self.place.map(|place| place.for_log());
        Report(&self).to_string()
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
        if let Some(place) = &self.place {
            write!(f, "{place}, ")?;
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
