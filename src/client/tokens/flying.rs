//! A fetch under way, as calls that wait for it see it.

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::client::grant::error::TokenError;
use crate::client::tokens::slots::Urgency;
use crate::client::tokens::token::Token;

/// The result of a fetch, for all calls that wait for it.
type Arrival = watch::Receiver<Option<Result<Token, TokenError>>>;

/// A fetch under way.
#[derive(Clone)]
pub(crate) struct Flying {
    pub(crate) arrival: Arrival,
    /// The runtime that it runs in.
    pub(crate) runtime: Option<Handle>,
    pub(crate) urgency: Urgency,
    pub(crate) number: u64,
}

impl Flying {
    /// Returns `true` unless it was dropped with its runtime.
    pub(crate) fn is_alive(&self) -> bool {
        self.arrival.has_changed().is_ok()
    }
}
