//! What all fetches of one token client share: transport, clock, caches and limits.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::grant::discovery::Discoveries;
use crate::client::shared::cache::SharedCache;
use crate::client::tokens::slots::Slots;
use crate::clock::Clock;
use crate::transport::{Limits, Transport};

/// The parts of a client that all its fetches use.
pub(crate) struct Core {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shared: Option<SharedCache>,
    pub(crate) discoveries: Discoveries,
    pub(crate) slots: Slots,
    /// The limits of one HTTP exchange.
    pub(crate) limits: Limits,
    /// The timeout of one fetch, with all its exchanges.
    pub(crate) timeout: Duration,
    /// The moment from which uses of entries are counted.
    pub(crate) started: Instant,
}
