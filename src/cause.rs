//! The cause of an error, and an error with all its causes as one sentence.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The cause of an error.
pub(crate) type Cause = Arc<dyn Error + Send + Sync>;

/// A cause that is only a sentence.
#[derive(thiserror::Error)]
#[error("{0}")]
pub(crate) struct Reason(pub(crate) Cow<'static, str>);

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes an error and its causes as one sentence.
///
/// As `Debug` of an error, it is what `main` prints of an error that it returns.
pub(crate) struct Report<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
