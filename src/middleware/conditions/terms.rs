//! What a decision depends on beside its rule: the implied scopes, the clock and the leeway.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::scope::Implications;

/// What decisions of a layer depend on beside its rules.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) implications: Implications,
    pub(crate) clock: Arc<dyn Clock>,
    /// How far other clocks may be off.
    pub(crate) leeway: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        let clock = Arc::new(SystemClock);
        Self { implications: Implications::default(), clock, leeway: Duration::ZERO }
    }
}

impl Deref for Terms {
    type Target = Implications;

    fn deref(&self) -> &Implications {
        &self.implications
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms").field("implications", &self.implications).finish_non_exhaustive()
    }
}
