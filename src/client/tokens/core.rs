use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::grant::discovery::Discoveries;
use crate::client::shared::cache::SharedCache;
use crate::client::tokens::slots::Slots;
use crate::clock::Clock;
use crate::transport::{Limits, Transport};

/// What all fetches of one client need.
pub(crate) struct Core {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shared: Option<SharedCache>,
    pub(crate) discoveries: Discoveries,
    pub(crate) slots: Slots,
    /// Of one exchange.
    pub(crate) limits: Limits,
    /// Of one fetch, with all its exchanges.
    pub(crate) timeout: Duration,
    /// What uses are dated from.
    pub(crate) started: Instant,
}
