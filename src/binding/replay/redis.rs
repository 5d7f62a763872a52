use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::cmd;

use crate::binding::replay::store::{ReplayError, ReplayFuture, ReplayStore};
use crate::cause::Reason;
use crate::error::ConfigError;
use crate::redis_link::{Link, RedisTarget, User, ask, millis};

/// A record of used proofs in Redis (or Valkey), which several instances of a service share.
///
/// Each proof is one command, `SET key 1 NX PX …`, over one connection that all requests share. When it
/// fails, it is made anew after a pause of 100 milliseconds that doubles up to a second while the
/// failures go on; until then, proofs can't be recorded, and requests with one are answered with 503.
///
/// The Redis may be one server, a primary behind a name that follows a failover, or a proxy; not a
/// cluster's node. Its `maxmemory-policy` must be `noeviction`, which is the default: with another one, a
/// full Redis forgets proofs before their time, and what it has forgotten can be used again. So don't
/// let it share a Redis with the token client's cache.
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
    link: Arc<Link>,
    timeout: Duration,
    prefix: Arc<str>,
}

impl RedisReplay {
    /// Creates a store from a URL, without connecting. See
    /// [`RedisStore::new`](crate::client::RedisStore::new) for the URLs.
    ///
    /// # Errors
    ///
    /// If the URL can't be used. The error repeats nothing of it.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let link = Link::new(RedisTarget::parse(url)?, User::ReplayRecord);
        // No request waits for longer: see `Dpop::replay_timeout`.
        Ok(Self { link, timeout: Duration::from_secs(1), prefix: "".into() })
    }

    /// Sets what all keys begin with, such as `app:` where the ACL of the Redis permits `~app:*`. By
    /// default nothing is put before the names, which begin with `tower-bearer:dpop:`.
    ///
    /// Instances that share the record have the same prefix.
    #[must_use]
    pub fn key_prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Trusts the certificates in this PEM instead of the system's.
    ///
    /// # Errors
    ///
    /// If there is no certificate in it, or the URL doesn't ask for TLS.
    pub fn root_certificates(mut self, pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        self.link = self.link.with_roots(pem.as_ref())?;
        Ok(self)
    }
}

impl ReplayStore for RedisReplay {
    fn record<'a>(&'a self, key: &'a str, ttl: Duration) -> ReplayFuture<'a> {
        Box::pin(async move {
            let mut command = cmd("SET");
            let key = [&self.prefix, key].concat();
            command.arg(key).arg(1).arg("NX").arg("PX").arg(millis(ttl));
            let answer = ask(&self.link, &command, self.timeout).await;
            answer.map_err(|failure| ReplayError::new(Reason(failure.why.into())))
        })
    }
}

impl fmt::Debug for RedisReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisReplay")
            .field("target", self.link.target())
            .field("key_prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
