use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::{doubled, monotonic};
use crate::error::ConfigError;
use crate::redis_link::failure::Failure;
use crate::redis_link::target::{Connection, RedisTarget};
use crate::telemetry::event;

/// How long a connection may take to be made. Requests wait for it no longer than for an answer.
const CONNECT: Duration = Duration::from_secs(3);

/// The pause after the first failure; it doubles with each one that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause, and so the longest time that a Redis which is there again goes unused.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The one connection to a Redis: made when it is first needed, and made anew when it was lost,
/// after a pause in which every request fails at once.
#[derive(Debug)]
pub(crate) struct Link {
    target: RedisTarget,
    user: User,
    state: watch::Sender<State>,
}

/// What a Redis is used for, so that its events tell.
#[derive(Clone, Copy, Debug)]
pub(crate) enum User {
    TokenCache,
    #[cfg(feature = "dpop")]
    ReplayRecord,
}

impl User {
    fn connected(self) {
        match self {
            Self::TokenCache => event!(DEBUG, "client_redis_connected"),
            #[cfg(feature = "dpop")]
            Self::ReplayRecord => event!(DEBUG, "dpop_redis_connected"),
        }
    }

    fn lost(self, failure: Failure) {
        let reason = failure.why;
        match self {
            Self::TokenCache => {
                event!(WARN, reason, "client_redis_lost: getting on without it");
            }
            #[cfg(feature = "dpop")]
            Self::ReplayRecord => event!(WARN, reason, "dpop_redis_lost"),
        }
    }
}

struct State {
    /// Since a request was last answered.
    failures: u32,
    now: Now,
}

enum Now {
    /// No connection is tried before this time.
    Down {
        until: Instant,
        reason: Failure,
    },
    Connecting,
    Up(Connection),
}

impl Link {
    pub(crate) fn new(target: RedisTarget, user: User) -> Arc<Self> {
        let now = Now::Down { until: monotonic(), reason: Failure::ENDED };
        Arc::new(Self { target, user, state: watch::Sender::new(State { failures: 0, now }) })
    }

    /// Makes another link, to the same place, that trusts these certificates alone.
    pub(crate) fn with_roots(&self, pem: &[u8]) -> Result<Arc<Self>, ConfigError> {
        Ok(Self::new(self.target.clone().with_roots(pem)?, self.user))
    }

    pub(crate) const fn target(&self) -> &RedisTarget {
        &self.target
    }

    /// Returns the connection, which may have to be waited for.
    pub(crate) async fn connection(self: &Arc<Self>) -> Result<Connection, Failure> {
        let mut states = self.state.subscribe();
        if self.begin() {
            // Who began it may be gone before it is made; others wait for it as well.
            tokio::spawn(Attempt { link: Arc::clone(self), ended: false }.run());
        }
        let settled = states.wait_for(|state| !matches!(state.now, Now::Connecting)).await;
        match settled.as_ref().map(|state| &state.now) {
            Ok(Now::Up(connection)) => Ok(connection.clone()),
            Ok(Now::Down { reason, .. }) => Err(*reason),
            Ok(Now::Connecting) | Err(_) => Err(Failure::ENDED),
        }
    }

    /// Returns `true` if it is the caller who has to connect.
    fn begin(&self) -> bool {
        self.state.send_if_modified(|state| {
            let due = match &state.now {
                Now::Down { until, .. } => *until <= monotonic(),
                // The Redis has hung up while nothing was asked of it.
                Now::Up(connection) => connection.is_closed(),
                Now::Connecting => false,
            };
            if due {
                state.now = Now::Connecting;
            }
            due
        })
    }

    /// A request was answered over this connection.
    pub(crate) fn answered(&self, connection: &Connection) {
        connection.meter.reset();
        self.state.send_if_modified(|state| {
            let changed = state.failures > 0 && state.is_over(connection);
            if changed {
                state.failures = 0;
            }
            changed
        });
    }

    /// A request failed in a way that leaves this connection of no use.
    pub(crate) fn lost(&self, connection: &Connection, reason: Failure) {
        self.state.send_if_modified(|state| {
            let current = state.is_over(connection);
            if current {
                state.fail(reason, self.user);
            }
            current
        });
    }
}

impl State {
    fn is_over(&self, connection: &Connection) -> bool {
        matches!(&self.now, Now::Up(current) if current.is(connection))
    }

    fn fail(&mut self, reason: Failure, user: User) {
        let pause = doubled(FIRST_PAUSE, self.failures, LONGEST_PAUSE);
        let until = monotonic().checked_add(pause).unwrap_or_else(monotonic);
        if self.failures == 0 {
            user.lost(reason);
        }
        self.failures = self.failures.saturating_add(1);
        self.now = Now::Down { until, reason };
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.now {
            Now::Down { .. } => "down",
            Now::Connecting => "connecting",
            Now::Up(_) => "up",
        })
    }
}

/// The making of a connection. However it ends, the link is told.
struct Attempt {
    link: Arc<Link>,
    ended: bool,
}

impl Attempt {
    async fn run(mut self) {
        let made = tokio::time::timeout(CONNECT, self.link.target.connect()).await;
        self.ended = true;
        let user = self.link.user;
        self.link.state.send_modify(|state| match made {
            Ok(Ok(connection)) => {
                user.connected();
                state.now = Now::Up(connection);
            }
            Ok(Err(failure)) => state.fail(failure, user),
            Err(_) => state.fail(Failure::SILENT, user),
        });
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            let user = self.link.user;
            self.link.state.send_modify(|state| state.fail(Failure::ENDED, user));
        }
    }
}
