use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

/// The error of a setting that can't work.
///
/// Every builder of this crate returns it, before the first request is served. Its `Display` and `Debug`
/// are a sentence with the remedy, which `main` prints. It never contains a secret.
#[derive(Clone, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    message: Cow<'static, str>,
}

/// `main` prints the `Debug` of the error that it returns.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ConfigError {
    pub(crate) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into() }
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
