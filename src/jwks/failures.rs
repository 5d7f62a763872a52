//! Logs failed attempts to fetch keys, repeated failures less often.

use std::time::Duration;

#[cfg(feature = "tracing")]
use crate::cause::Report;
use crate::clock::monotonic;
use crate::jose::IgnoredKey;
use crate::jwks::fetch::error::{FetchError, FetchErrorKind};
use crate::jwks::keys_at::KeysAt;
use crate::telemetry::{Repeats, event};
#[cfg(feature = "tracing")]
use crate::text::one_line;

/// The most characters of an error and its causes.
#[cfg(feature = "tracing")]
const MAX_ERROR: usize = 500;

/// The details of a failed attempt, beside its error.
#[cfg_attr(not(feature = "tracing"), allow(dead_code))]
pub(crate) struct Failed {
    pub(crate) place: Option<KeysAt>,
    pub(crate) ignored: Option<String>,
}

/// The failures since the last success. A failure that goes on is logged less often.
pub(crate) struct Failures(Repeats<FetchErrorKind>);

impl Failures {
    pub(crate) const fn new() -> Self {
        Self(Repeats::new())
    }

    pub(crate) fn reset(&self) {
        self.0.reset();
    }

    pub(crate) fn tell(&self, _issuer: &str, error: &FetchError, failed: &Failed, took: Duration) {
        let Some(_times) = self.0.record(error.kind(), monotonic()) else { return };
        let Failed { place: _place, ignored: _ignored } = failed;
        event!(
            WARN,
            issuer = _issuer,
            code = error.code(),
            error = %one_line(&Report(error).to_string(), MAX_ERROR),
            url = _place.as_ref().map(KeysAt::url),
            ignored = _ignored.as_deref(),
            times = _times,
            took_ms = took.as_millis(),
            "jwks_fetch_failed: {}",
            _place.as_ref().map_or_else(|| error.remedy().into(), |place| place.remedy(error))
        );
        #[cfg(not(feature = "tracing"))]
        let _ = took;
    }
}

/// Returns why keys are ignored, with their `kid`s; `None` for no keys.
pub(crate) fn listed(keys: &[IgnoredKey]) -> Option<String> {
    let one = |key: &IgnoredKey| match &key.kid {
        Some(kid) => format!("{} ({kid})", key.reason),
        None => key.reason.to_string(),
    };
    (!keys.is_empty()).then(|| keys.iter().map(one).collect::<Vec<_>>().join(", "))
}
