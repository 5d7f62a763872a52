//! Counts each request once, by the decision about it: of the layer, or of a guard or an extractor
//! within. Without the feature `metrics` this compiles to nothing.

#[cfg(feature = "metrics")]
use std::sync::{Arc, Mutex, PoisonError};

use crate::refusal::Refusal;
#[cfg(feature = "metrics")]
use crate::telemetry::count;

/// The decision about a request so far. The last one takes precedence.
#[cfg(feature = "metrics")]
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Outcome {
    /// None: the caller disconnected while the token's verdict was pending.
    Abandoned,
    /// No token is needed.
    Anonymous,
    Accepted,
    Refused {
        result: &'static str,
        reason: &'static str,
    },
}

/// Where the layer, guards and extractors record their decisions.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    #[cfg(feature = "metrics")]
    outcome: Arc<Mutex<Outcome>>,
}

impl Tally {
    /// A guard or an extractor refuses a request that the layer accepted.
    pub(crate) fn refuse(&self, _refusal: &Refusal) {
        #[cfg(feature = "metrics")]
        self.settle(Outcome::of(_refusal));
    }

    /// The layer accepts the request, with a token or without.
    pub(crate) fn let_in(&self, _with_token: bool) {
        #[cfg(feature = "metrics")]
        self.settle(if _with_token { Outcome::Accepted } else { Outcome::Anonymous });
    }
}

#[cfg(feature = "metrics")]
impl Tally {
    fn settle(&self, next: Outcome) {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        // The first refusal is the one that was answered.
        if !matches!(*outcome, Outcome::Refused { .. }) {
            *outcome = next.max(*outcome);
        }
    }

    fn count(&self) {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).count();
    }
}

#[cfg(feature = "metrics")]
impl Outcome {
    fn of(refusal: &Refusal) -> Self {
        let result = match refusal {
            Refusal::Rejection(_) => "refused",
            Refusal::Unavailable(_) => "unavailable",
            Refusal::Misconfigured(_) => "misconfigured",
        };
        Self::Refused { result, reason: refusal.code() }
    }

    fn count(self) {
        let (result, reason) = match self {
            Self::Abandoned => ("abandoned", "none"),
            Self::Anonymous => ("anonymous", "none"),
            Self::Accepted => ("accepted", "none"),
            Self::Refused { result, reason } => (result, reason),
        };
        count!("tower_bearer_requests_total", "result" => result, "reason" => reason);
    }
}

/// Counts the request when its response is ready, or when this is dropped since the caller disconnected.
///
/// Of several layers, the outermost counts.
#[derive(Debug)]
pub(crate) struct Counting {
    tally: Tally,
    #[cfg(feature = "metrics")]
    is_due: bool,
}

impl Counting {
    /// Begins with a request, which an outer layer may count already.
    pub(crate) fn begin(_outer: Option<&Tally>) -> Self {
        #[cfg(feature = "metrics")]
        return Self {
            tally: _outer
                .cloned()
                .unwrap_or_else(|| Tally { outcome: Arc::new(Mutex::new(Outcome::Abandoned)) }),
            is_due: _outer.is_none(),
        };
        #[cfg(not(feature = "metrics"))]
        Self { tally: Tally {} }
    }

    pub(crate) const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Nothing more will be decided.
    pub(crate) fn end(&mut self) {
        #[cfg(feature = "metrics")]
        if std::mem::take(&mut self.is_due) {
            self.tally.count();
        }
    }
}

#[cfg(feature = "metrics")]
impl Drop for Counting {
    fn drop(&mut self) {
        self.end();
    }
}

/// Counts a request that came through no layer.
pub(crate) fn count_without_layer(_refusal: &Refusal) {
    #[cfg(feature = "metrics")]
    Outcome::of(_refusal).count();
}
