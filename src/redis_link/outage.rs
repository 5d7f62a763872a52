//! Logs the outage of a Redis once, however many of its servers are down.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::redis_link::failure::Failure;
use crate::telemetry::event;

/// What a Redis is used for, which decides the names of its events.
#[derive(Clone, Copy, Debug)]
pub(crate) enum User {
    TokenCache,
    #[cfg(feature = "dpop")]
    ReplayRecord,
}

/// The number of servers that can't be used: there is one event for all that fail together.
pub(crate) struct Outage {
    user: User,
    down: AtomicUsize,
}

/// One server's part in an outage.
pub(crate) struct Share(Arc<Outage>);

impl Outage {
    pub(crate) fn new(user: User) -> Arc<Self> {
        Arc::new(Self { user, down: AtomicUsize::new(0) })
    }

    /// Counts a server that can't be used until the share is dropped.
    pub(crate) fn join(self: &Arc<Self>, failure: Failure) -> Share {
        if self.down.fetch_add(1, Ordering::Relaxed) == 0 {
            let reason = failure.why;
            match self.user {
                User::TokenCache => {
                    event!(WARN, reason, "client_redis_lost: continuing without it");
                }
                #[cfg(feature = "dpop")]
                User::ReplayRecord => event!(WARN, reason, "dpop_redis_lost"),
            }
        }
        Share(Arc::clone(self))
    }

    pub(crate) fn connected(&self) {
        match self.user {
            User::TokenCache => event!(DEBUG, "client_redis_connected"),
            #[cfg(feature = "dpop")]
            User::ReplayRecord => event!(DEBUG, "dpop_redis_connected"),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.down.fetch_sub(1, Ordering::Relaxed);
    }
}
