use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, RedisResult};
use tokio::time::Instant;

use crate::clock::monotonic;
use crate::redis_link::failure::Failure;
use crate::redis_link::link::Link;
use crate::redis_link::target::Connection;

/// Redis counts lives in milliseconds, and takes neither none nor what ends after its clock does.
const LIVES: (u64, u64) = (1, 366 * 24 * 60 * 60 * 1000);

/// From when on a request without an answer speaks against its connection.
const SLOW: Duration = Duration::from_millis(100);

/// Sends a command once, and has its answer in time or not at all.
pub(crate) async fn ask<T: FromRedisValue>(
    link: &Arc<Link>,
    command: &Cmd,
    timeout: Duration,
) -> Result<T, Failure> {
    let exchange = async {
        let connection = link.connection().await?;
        let mut request = Request::new(link, connection, timeout);
        let answer = command.query_async(&mut request.connection.requests).await;
        request.end(answer)
    };
    tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(Failure::SLOW))
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
        let patience = timeout.min(SLOW);
        Self { link, connection, began: monotonic(), patience, ended: false }
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

/// A request that is given up on after some time, here or by who made it, takes the connection with
/// it: it may be that nothing comes over it ever again.
impl Drop for Request<'_> {
    fn drop(&mut self) {
        if !self.ended && monotonic().saturating_duration_since(self.began) >= self.patience {
            self.link.lost(&self.connection, Failure::SLOW);
        }
    }
}

/// Returns how long a key is to live, as Redis counts it.
pub(crate) fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(LIVES.0, LIVES.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_what_redis_takes() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_nanos(1)), 1);
        assert_eq!(millis(Duration::from_millis(1500)), 1500);
        assert_eq!(millis(Duration::MAX), LIVES.1);
    }
}
