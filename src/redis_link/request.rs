//! Sends a command once, to the server that has its key, and follows redirections of a cluster.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, Value};
use tokio::time::Instant;

use crate::clock::monotonic;
use crate::redis_link::access::Connection;
use crate::redis_link::address::ServerAddress;
use crate::redis_link::cluster::Cluster;
use crate::redis_link::failure::{Failure, FailureKind};
use crate::redis_link::link::Link;
use crate::redis_link::map::Node;
use crate::redis_link::servers::Servers;
use crate::redis_link::slots::{SLOTS, slot_of};

/// The bounds of a lifetime in milliseconds: Redis refuses zero, and what overflows its clock.
const TTL_MILLIS: (u64, u64) = (1, 366 * 24 * 60 * 60 * 1000);

/// The longest time after which a request without an answer makes its connection suspect.
const SLOW: Duration = Duration::from_millis(100);

/// Returns the time after which a request with this timeout makes its connection suspect. The wait for the
/// connection is part of the timeout, so that a request may end with less time spent on the answer.
fn patience(timeout: Duration) -> Duration {
    timeout.min(SLOW).mul_f64(0.5)
}

/// How many redirections of a cluster's servers a request follows. One is needed for a slot that has moved,
/// and another one for a slot that is moving.
const MAX_REDIRECTS: usize = 4;

/// How many keys are tried to find one for each server, which misses hardly any with a single slot.
const MAX_KEYS: usize = 32 * 16_384;

/// After how many keys without an unmet server the map is looked at again.
const KEYS_PER_LOOK: usize = 1024;

const UNMET: Failure = Failure::passing(
    FailureKind::Cluster,
    "a server of the cluster has too few slots to be checked",
);

const ASTRAY: Failure = Failure::passing(
    FailureKind::Cluster,
    "the servers of the cluster redirect a request in a circle",
);

/// Sends a command about this key once, and returns its answer or, in time, a failure.
pub(crate) async fn ask<T: FromRedisValue>(
    servers: &Servers,
    key: &str,
    command: &Cmd,
    timeout: Duration,
) -> Result<T, Failure> {
    let exchange = async {
        match servers {
            Servers::One(link) => {
                let connection = link.connection().await?;
                let mut request = Request::new(link, connection, timeout);
                let answer = command.query_async(&mut request.connection.requests).await;
                request.end(answer)
            }
            Servers::Cluster(cluster) => {
                let mut guard = SuspectGuard::new(cluster, timeout);
                let answer = redirected(cluster, slot_of(key), command, timeout).await;
                guard.suspect = Some(match &answer {
                    Ok(_) => false,
                    Err(failure) => failure.connection_lost || failure.kind == FailureKind::Cluster,
                });
                answer
            }
        }
    };
    tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(Failure::SLOW))
}

/// Sends a command to the server that has the slot, and follows redirections. A server that redirects a
/// command hasn't carried it out.
async fn redirected<T: FromRedisValue>(
    cluster: &Arc<Cluster>,
    slot: u16,
    command: &Cmd,
    timeout: Duration,
) -> Result<T, Failure> {
    let (mut node, mut is_moving) = (cluster.owner(slot).await?, false);
    for _ in 0..=MAX_REDIRECTS {
        let connection = reached(cluster, slot, &mut node).await?;
        let mut request = Request::new(&node.link, connection, timeout);
        let requests = &mut request.connection.requests;
        let answer: RedisResult<T> = if is_moving {
            let answer = asking(requests, command.clone()).await;
            answer.and_then(|answer| Ok(T::from_redis_value(answer.extract_error()?)?))
        } else {
            command.query_async(requests).await
        };
        let onward = answer.as_ref().err().and_then(|error| {
            let (address, slot) = error.redirect_node()?;
            is_moving = error.kind() == ErrorKind::Server(ServerErrorKind::Ask);
            Some((node.place.read(address), slot))
        });
        let answer = request.end(answer);
        node = match onward {
            None => return answer,
            Some((Some(place), _)) if is_moving => cluster.moving(&place)?,
            Some((Some(place), slot)) if slot < SLOTS => cluster.moved(slot, &place)?,
            Some(_) => return Err(ASTRAY),
        };
    }
    Err(ASTRAY)
}

/// Returns the connection to the server that has the slot, or to one that has taken over from it.
async fn reached(
    cluster: &Arc<Cluster>,
    slot: u16,
    node: &mut Node,
) -> Result<Connection, Failure> {
    match node.link.connection().await {
        Ok(connection) => Ok(connection),
        Err(failure) => {
            *node = cluster.successor(slot, node).await.ok_or(failure)?;
            node.link.connection().await
        }
    }
}

/// Sends a command to the server that a slot is being moved to.
async fn asking(requests: &mut MultiplexedConnection, command: Cmd) -> RedisResult<Value> {
    let mut both = redis::pipe();
    both.cmd("ASKING").add_command(command).ignore_errors();
    let (permitted, answer): (Value, Value) = both.query_async(requests).await?;
    permitted.extract_error()?;
    Ok(answer)
}

/// Marks the map as possibly outdated unless the request is answered, or its caller gives it up early.
struct SuspectGuard<'a> {
    cluster: &'a Cluster,
    began: Instant,
    patience: Duration,
    suspect: Option<bool>,
}

impl<'a> SuspectGuard<'a> {
    fn new(cluster: &'a Cluster, timeout: Duration) -> Self {
        Self { cluster, began: monotonic(), patience: patience(timeout), suspect: None }
    }
}

impl Drop for SuspectGuard<'_> {
    fn drop(&mut self) {
        let waited = || monotonic().saturating_duration_since(self.began) >= self.patience;
        if self.suspect.unwrap_or_else(waited) {
            self.cluster.suspect();
        }
    }
}

/// Returns keys such that each server has at least one, to check all servers. With a prefix that puts all
/// keys into one slot, one key is sufficient.
pub(crate) async fn keys_for_each(
    servers: &Servers,
    prefix: &str,
    timeout: Duration,
    key: impl Fn() -> Option<String>,
) -> Result<Vec<String>, Failure> {
    let Servers::Cluster(cluster) = servers else { return Ok(key().into_iter().collect()) };
    let owners = || async {
        tokio::time::timeout(timeout, cluster.owners()).await.unwrap_or(Err(Failure::SILENT))
    };
    owners().await?;
    let is_one_slot = slot_of(&format!("{prefix}a")) == slot_of(&format!("{prefix}b"));
    let (mut keys, mut met): (_, Vec<ServerAddress>) = (Vec::new(), Vec::new());
    for tried in 1..=MAX_KEYS {
        let Some(key) = key() else { break };
        let slot = slot_of(&format!("{prefix}{key}"));
        let mut node = cluster.owner(slot).await?;
        if !met.contains(&node.place) {
            // `ASKING`, which is needed while slots move, must be permitted, too.
            let permitted = async {
                let mut connection = reached(cluster, slot, &mut node).await?;
                let answer = asking(&mut connection.requests, redis::cmd("HELLO")).await;
                answer.map(drop).map_err(|error| Failure::of(&error))
            };
            tokio::time::timeout(timeout, permitted).await.unwrap_or(Err(Failure::SLOW))?;
            met.push(node.place);
            keys.push(key);
        } else if !tried.is_multiple_of(KEYS_PER_LOOK) {
            continue;
        }
        // The map may have changed meanwhile: a server that lost its slots can't be met any more.
        if is_one_slot || owners().await?.iter().all(|owner| met.contains(owner)) {
            return Ok(keys);
        }
    }
    if keys.is_empty() { Ok(keys) } else { Err(UNMET) }
}

/// A request under way.
struct Request<'a> {
    link: &'a Link,
    connection: Connection,
    began: Instant,
    patience: Duration,
    ended: bool,
}

impl<'a> Request<'a> {
    fn new(link: &'a Link, connection: Connection, timeout: Duration) -> Self {
        Self { link, connection, began: monotonic(), patience: patience(timeout), ended: false }
    }

    fn end<T>(mut self, answer: RedisResult<T>) -> Result<T, Failure> {
        self.ended = true;
        let answer = answer.map_err(|error| Failure::of(&error));
        match &answer {
            Err(failure) if failure.connection_lost => self.link.lost(&self.connection, *failure),
            _ => self.link.answered(&self.connection),
        }
        answer
    }
}

/// A request that is given up after some time, here or by its caller, closes the connection: it may never
/// answer again.
impl Drop for Request<'_> {
    fn drop(&mut self) {
        if !self.ended && monotonic().saturating_duration_since(self.began) >= self.patience {
            self.link.lost(&self.connection, Failure::SLOW);
        }
    }
}

/// Returns the lifetime of a key in milliseconds.
pub(crate) fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(TTL_MILLIS.0, TTL_MILLIS.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis_link::{Redis, User};

    // Otherwise a dead connection would be used again and again.
    #[test]
    fn a_request_that_times_out_speaks_against_its_connection_however_soon_that_is() {
        for (timeout, expected) in [(1_000, 500), (20_000, 10_000), (10_000_000, 50_000)] {
            let found = patience(Duration::from_micros(timeout));
            assert_eq!(found, Duration::from_micros(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_given_up_on_soon_says_nothing_about_a_cluster() {
        let Servers::Cluster(cluster) =
            Redis::cluster(["redis://a"]).open(User::TokenCache).unwrap()
        else {
            panic!("it is one");
        };
        let timeout = Duration::from_secs(1);
        for (waits, answered, expected) in
            [(49, None, false), (50, Some(false), false), (50, None, true), (0, Some(true), true)]
        {
            cluster.trust();
            let mut guard = SuspectGuard::new(&cluster, timeout);
            tokio::time::advance(Duration::from_millis(waits)).await;
            guard.suspect = answered;
            drop(guard);
            assert_eq!(cluster.is_suspect(), expected, "{waits} ms, {answered:?}");
        }
    }

    #[test]
    fn lives_are_what_redis_takes() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_nanos(1)), 1);
        assert_eq!(millis(Duration::from_millis(1500)), 1500);
        assert_eq!(millis(Duration::MAX), TTL_MILLIS.1);
    }
}
