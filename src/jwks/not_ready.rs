//! The error of waiting for the first keys: whose they are, where they were looked for, and the last failure.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::cause::Report;
use crate::jwks::fetch::error::{FetchError, FetchErrorKind};
use crate::jwks::keys_at::KeysAt;
use crate::jwks::refresher::SharedKeys;
use crate::refusal::{Refusal, Unavailable, UnavailableReason};
use crate::transport::printable;

/// The error of [`Jwks::ready`](crate::jwks::Jwks::ready): no keys arrived in time.
///
/// `Display` is a sentence: whose keys they are, and where they were looked for. The URL is shown without
/// its query. [`source`](Error::source) is the error of the last attempt; `Debug` is the sentence with
/// its causes, as `main` prints it.
#[derive(Clone, Eq, PartialEq)]
pub struct NotReady {
    issuer: Arc<str>,
    /// `None` if the keys are part of the configuration.
    place: Option<KeysAt>,
    cause: Option<FetchError>,
    unavailable: Unavailable,
}

impl NotReady {
    pub(crate) fn of(shared: &SharedKeys, unavailable: Unavailable) -> Self {
        let control = shared.control();
        let outside = Handle::try_current().is_err().then_some(FetchErrorKind::NoRuntime.into());
        let cause = control.log.last_error.clone().or(outside);
        let place = KeysAt::at(&shared.config, control.metadata.as_ref());
        drop(control);
        Self { issuer: Arc::clone(&shared.config.issuer), place, cause, unavailable }
    }

    /// Returns the sentence with its causes, for a line of the log that has said this already.
    pub(crate) fn for_log(mut self, said: Option<UnavailableReason>) -> String {
        self.place = self.place.map(KeysAt::for_log);
        if said != Some(self.reason()) {
            return Report(&self).to_string();
        }
        let issuer = printable(&self.issuer);
        match &self.cause {
            Some(cause) => format!("issuer {issuer:?}: {}: {}", self.state(), Report(cause)),
            None => format!("issuer {issuer:?}: {}", self.state()),
        }
    }

    /// Returns where the keys were looked for, and how far that has come.
    fn state(&self) -> String {
        let state = match self.cause {
            Some(_) => "the last attempt failed",
            None => "no attempt has ended yet",
        };
        match &self.place {
            Some(place) => format!("{place}, {state}"),
            None => state.to_owned(),
        }
    }

    /// Returns the issuer whose keys didn't arrive.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the key set's URL without its query, if it is known.
    pub fn url(&self) -> Option<&str> {
        self.place.as_ref().filter(|place| place.is_key_set()).map(KeysAt::url)
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
        let issuer = printable(&self.issuer);
        write!(f, "{} (issuer {issuer:?}): {}", self.unavailable, self.state())
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
