use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::token::times::TimeRules;

/// The configured issuer that a token rests on, where its name isn't simply the token's `iss`, or it
/// may be taken off the list while the service runs.
#[derive(Debug)]
pub(crate) struct Entry {
    name: Arc<str>,
    times: TimeRules,
    /// The name stands for many issuers.
    is_template: bool,
    ended: AtomicBool,
}

impl Entry {
    pub(crate) const fn new(name: Arc<str>, times: TimeRules, is_template: bool) -> Self {
        Self { name, times, is_template, ended: AtomicBool::new(false) }
    }

    /// Returns what the entry is configured as.
    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the one issuer of tokens that say `iss`, however they spell it.
    pub(crate) const fn identify<'a>(&'a self, iss: &'a Arc<str>) -> &'a Arc<str> {
        if self.is_template { iss } else { &self.name }
    }

    pub(crate) const fn times(&self) -> TimeRules {
        self.times
    }

    /// Ends the trust in all tokens that rest on it.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}
