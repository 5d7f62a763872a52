//! The record of used proofs in Redis, which several instances share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, cmd};

use crate::binding::replay::store::{ReplayError, ReplayFuture, ReplayStore};
use crate::cause::Reason;
use crate::digest::{hex, random};
use crate::error::ConfigError;
use crate::redis_link::{Failure, Redis, Servers, User, ask, keys_for_each, millis};

/// No request waits longer: see `Dpop::replay_timeout`.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How long each step of [`RedisReplay::check`] may take.
const CHECK: Duration = Duration::from_secs(5);

/// A record of used proofs in Redis (or Valkey), which several instances of a service share.
///
/// [`Redis`] says where it is, and how its connections are kept. Each proof is one command,
/// `SET key 1 NX PX …`. While the server that has its key can't be reached, proofs can't be recorded, and
/// requests with one are answered with 503: in a cluster, those whose keys it has, until its replica takes over.
///
/// The `maxmemory-policy` must be `noeviction`, which is the default: with another one, a full Redis
/// forgets proofs early, and what it has forgotten can be used again. It must therefore not be shared
/// with the token client's cache.
///
/// Redis replicates a write only after it has accepted it. The replica may not know proofs that were used
/// just before a primary was lost: such a proof could be used again while it is valid.
/// [`Dpop::nonces`](crate::dpop::Dpop::nonces) reduce that, and so does `min-replicas-to-write 1` on the
/// servers, with which a primary that is cut off from its replicas accepts nothing.
///
/// ```no_run
/// use tower_bearer::dpop::{Dpop, RedisReplay};
///
/// let replay = RedisReplay::new("rediss://:secret@replay.example:6379/0")?;
/// let dpop = Dpop::accept().public_origins(["https://api.example"]).replay_store(replay);
/// # Ok::<(), tower_bearer::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct RedisReplay {
    servers: Servers,
    prefix: Arc<str>,
}

impl RedisReplay {
    /// Creates a store from a URL or a [`Redis`], without connecting.
    ///
    /// # Errors
    ///
    /// If a URL or a setting can't be used: see [`RedisStore::new`](crate::client::RedisStore::new). The
    /// error repeats nothing of a URL.
    pub fn new(redis: impl Into<Redis>) -> Result<Self, ConfigError> {
        let redis = redis.into();
        let prefix = redis.prefix();
        Ok(Self { servers: redis.open(User::ReplayRecord)?, prefix })
    }

    /// Records a proof that no client made, twice, so that a service can fail at start
    /// if the record is unusable. Each of its steps may take 5 seconds. In a cluster, it does so at each
    /// server that has slots, and every slot must have a server. What it recorded expires after 10 seconds.
    ///
    /// # Errors
    ///
    /// If the Redis can't be reached or refuses the login, the command or the key's name, or doesn't keep
    /// what it is given.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_bearer::client::Redis;
    /// use tower_bearer::dpop::RedisReplay;
    ///
    /// let redis = Redis::cluster(["rediss://replay-0.internal", "rediss://replay-1.internal"]);
    /// let replay = RedisReplay::new(redis)?;
    /// replay.check().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn check(&self) -> Result<(), ReplayError> {
        let name = || Some(format!("tower-bearer:dpop:check:{}", hex(&random::<16>().ok()?)));
        let keys = keys_for_each(&self.servers, &self.prefix, CHECK, name).await.map_err(error)?;
        let life = CHECK.saturating_mul(2);
        let mut kept = !keys.is_empty();
        for key in keys {
            let name = [&self.prefix, &*key].concat();
            let command = record(&name, life);
            for is_first in [true, false] {
                let recorded: bool =
                    ask(&self.servers, &name, &command, CHECK).await.map_err(error)?;
                kept &= recorded == is_first;
            }
        }
        let why = "the Redis doesn't keep what it is given";
        if kept { Ok(()) } else { Err(ReplayError::new(Reason(why.into()))) }
    }
}

fn record(name: &str, ttl: Duration) -> Cmd {
    let mut command = cmd("SET");
    command.arg(name).arg(1).arg("NX").arg("PX").arg(millis(ttl));
    command
}

fn error(failure: Failure) -> ReplayError {
    ReplayError::new(Reason(failure.why.into()))
}

impl ReplayStore for RedisReplay {
    fn record<'a>(&'a self, key: &'a str, ttl: Duration) -> ReplayFuture<'a> {
        Box::pin(async move {
            let name = [&self.prefix, key].concat();
            ask(&self.servers, &name, &record(&name, ttl), TIMEOUT).await.map_err(error)
        })
    }
}

impl fmt::Debug for RedisReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisReplay")
            .field("target", &self.servers)
            .field("key_prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
