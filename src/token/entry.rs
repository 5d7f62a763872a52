//! The configured issuer that a token depends on, where it is more than the token's `iss`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::token::times::TimeRules;

/// The configured issuer that a token depends on, if its name isn't simply the token's `iss`, or if it
/// may be removed while the service runs.
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

    /// Returns the name of the configuration.
    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the one issuer of tokens with this `iss`, however they spell it.
    pub(crate) const fn identify<'a>(&'a self, iss: &'a Arc<str>) -> &'a Arc<str> {
        if self.is_template { iss } else { &self.name }
    }

    pub(crate) const fn times(&self) -> TimeRules {
        self.times
    }

    /// Ends the trust in all tokens that depend on it.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}
