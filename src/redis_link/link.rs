//! The connection to one server: established when it is needed, shared, and replaced after a failure.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::{doubled, monotonic};
use crate::redis_link::access::{Access, Connection, Login, MAX_UNANSWERED};
use crate::redis_link::address::ServerAddress;
use crate::redis_link::failure::Failure;
use crate::redis_link::outage::{Outage, Share};
use crate::redis_link::sentinel::Sentinels;

/// How long connecting may take. Requests wait for it no longer than for an answer.
pub(crate) const CONNECT: Duration = Duration::from_secs(3);

/// An attempt that takes longer is on a runtime that isn't driven: another request may connect.
pub(crate) const LONGEST_ATTEMPT: Duration = CONNECT.saturating_add(Duration::from_secs(1));

/// The pause after the first failure; it doubles with each one that follows.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause, and so the longest time for which a Redis that is up again isn't used.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The connection to one server: established when it is first needed, and again after it was lost,
/// following a pause in which every request fails at once.
pub(crate) struct Link {
    target: Target,
    access: Arc<Access>,
    outage: Arc<Outage>,
    state: watch::Sender<State>,
}

/// Where the server is.
pub(crate) enum Target {
    Fixed(ServerAddress),
    Primary(Arc<Sentinels>),
}

struct State {
    /// Failures since a request was last answered.
    failures: u32,
    share: Option<Share>,
    now: Now,
}

enum Now {
    /// There is no connection, and none is tried before this time.
    Down {
        until: Instant,
        reason: Failure,
    },
    Connecting {
        since: Instant,
    },
    Up(Connection),
}

impl Link {
    pub(crate) fn new(target: Target, access: Arc<Access>, outage: Arc<Outage>) -> Arc<Self> {
        let now = Now::Down { until: monotonic(), reason: Failure::ENDED };
        let state = watch::Sender::new(State { failures: 0, share: None, now });
        Arc::new(Self { target, access, outage, state })
    }

    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn has_tls(&self) -> bool {
        self.access.tls.is_some()
    }

    /// Returns the connection, and waits for it if need be.
    pub(crate) async fn connection(self: &Arc<Self>) -> Result<Connection, Failure> {
        let mut states = self.state.subscribe();
        if let Some(since) = self.begin() {
            // It is made in a task, since other requests wait for it even if this one is dropped.
            tokio::spawn(Attempt { link: Arc::clone(self), since, ended: false }.run());
        }
        let settled = states.wait_for(|state| !matches!(state.now, Now::Connecting { .. })).await;
        match settled.as_ref().map(|state| &state.now) {
            Ok(Now::Up(connection)) => Ok(connection.clone()),
            Ok(Now::Down { reason, .. }) => Err(*reason),
            Ok(Now::Connecting { .. }) | Err(_) => Err(Failure::ENDED),
        }
    }

    /// Returns the time, which identifies the attempt, if the caller has to connect.
    fn begin(&self) -> Option<Instant> {
        let now = monotonic();
        let begins = self.state.send_if_modified(|state| {
            let due = match &state.now {
                Now::Down { until, .. } => *until <= now,
                // The Redis has closed the idle connection.
                Now::Up(connection) => connection.is_closed(),
                Now::Connecting { since } => {
                    now.saturating_duration_since(*since) >= LONGEST_ATTEMPT
                }
            };
            if due {
                state.now = Now::Connecting { since: now };
            }
            due
        });
        begins.then_some(now)
    }

    /// Records that a request was answered over this connection.
    pub(crate) fn answered(&self, connection: &Connection) {
        connection.meter.reset();
        self.state.send_if_modified(|state| {
            let changed = state.failures > 0 && state.is_over(connection);
            if changed {
                state.failures = 0;
                state.share = None;
            }
            changed
        });
    }

    /// Records a failure after which this connection can't be used any more.
    pub(crate) fn lost(&self, connection: &Connection, reason: Failure) {
        self.state.send_if_modified(|state| {
            let current = state.is_over(connection);
            if current {
                state.fail(reason, &self.outage);
            }
            current
        });
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        match &self.target {
            Target::Fixed(place) => {
                let mut login = self.access.ready().await?;
                let enter = |login: Login| async move {
                    self.access.connect(place, &login, MAX_UNANSWERED).await
                };
                self.access.attempt(&mut login, CONNECT, enter).await
            }
            Target::Primary(sentinels) => sentinels.connect(&self.access).await,
        }
    }
}

impl State {
    fn is_over(&self, connection: &Connection) -> bool {
        matches!(&self.now, Now::Up(current) if current.is(connection))
    }

    /// Returns `true` while the attempt that began then is awaited.
    fn awaits(&self, attempt: Instant) -> bool {
        matches!(self.now, Now::Connecting { since } if since == attempt)
    }

    fn fail(&mut self, reason: Failure, outage: &Arc<Outage>) {
        let pause = doubled(FIRST_PAUSE, self.failures, LONGEST_PAUSE);
        let until = monotonic().checked_add(pause).unwrap_or_else(monotonic);
        self.share.get_or_insert_with(|| outage.join(reason));
        self.failures = self.failures.saturating_add(1);
        self.now = Now::Down { until, reason };
    }
}

/// An attempt to connect. However it ends, the link is notified.
struct Attempt {
    link: Arc<Link>,
    since: Instant,
    ended: bool,
}

impl Attempt {
    async fn run(mut self) {
        let made = tokio::time::timeout(CONNECT, self.link.connect()).await;
        self.ended = true;
        self.tell(made.unwrap_or(Err(Failure::SILENT)));
    }

    fn tell(&self, made: Result<Connection, Failure>) {
        let outage = &self.link.outage;
        self.link.state.send_if_modified(|state| {
            let awaited = state.awaits(self.since);
            match made {
                _ if !awaited => {}
                Ok(connection) => {
                    outage.connected();
                    state.now = Now::Up(connection);
                }
                Err(failure) => state.fail(failure, outage),
            }
            awaited
        });
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            self.tell(Err(Failure::ENDED));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::{Builder, Runtime};
    use tokio_test::task;

    use super::*;
    use crate::redis_link::address::Address;
    use crate::redis_link::outage::User;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    }

    #[test]
    fn an_attempt_on_a_runtime_that_is_kept_and_not_run_is_passed_over() {
        // Nobody listens there.
        let Address { place, login, .. } = Address::parse("redis://127.0.0.1:1", 1).unwrap();
        let access = Access { tls: None, login, user: None };
        let link = Link::new(Target::Fixed(place), Arc::new(access), Outage::new(User::TokenCache));
        let (kept, other) = (runtime(), runtime());
        kept.block_on(async {
            assert!(task::spawn(link.connection()).poll().is_pending());
        });
        other.block_on(async {
            let mut waits = task::spawn(link.connection());
            assert!(waits.poll().is_pending());
            tokio::time::advance(CONNECT).await;
            assert!(waits.poll().is_pending());
            tokio::time::advance(LONGEST_ATTEMPT).await;
            assert!(link.connection().await.is_err());
            assert!(waits.await.is_err());
        });
        let failures = || link.state.borrow().failures;
        assert_eq!(failures(), 1);
        drop(kept);
        assert_eq!(failures(), 1, "it isn't awaited any more");
    }
}
