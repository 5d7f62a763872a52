//! The error of every builder, and the check that a setting is within its bounds.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::ops::RangeInclusive;

use crate::cause::{Cause, Report};

/// The error of an invalid setting.
///
/// Every builder of this crate returns it, before the first request is served. `Display` is a sentence with
/// the remedy; [`source`](Error::source) is the cause, where there is one, such as that of the TLS library.
/// `Debug` is the sentence with its causes, which `main` prints. It never contains a secret. Two are equal if
/// their sentences are.
#[derive(Clone)]
pub struct ConfigError {
    message: Cow<'static, str>,
    cause: Option<Cause>,
}

/// `main` prints the `Debug` of the error that it returns.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Report(self))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as _)
    }
}

impl PartialEq for ConfigError {
    fn eq(&self, other: &Self) -> bool {
        self.message == other.message
    }
}

impl Eq for ConfigError {}

impl ConfigError {
    pub(crate) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), cause: None }
    }

    /// Adds the cause, which must hold no secret.
    #[cfg(any(
        all(feature = "dpop", any(feature = "client", feature = "introspection")),
        feature = "redis",
        feature = "reqwest",
        feature = "test-util"
    ))]
    pub(crate) fn because(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into().into()), ..self }
    }
}

/// Checks that a setting is within its range.
pub(crate) fn within<T: PartialOrd + fmt::Debug>(
    name: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    let (from, to) = (range.start(), range.end());
    Err(ConfigError::new(format!("{name} is {value:?}: use {from:?} to {to:?}")))
}
