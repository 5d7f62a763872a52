//! A token store in Redis or Valkey.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Value, cmd};

use crate::cause::Reason;
use crate::client::shared::store::{StoreError, StoreErrorKind, StoreFuture, TokenStore};
use crate::digest::{hex, random};
use crate::error::ConfigError;
use crate::redis_link::{
    COMMAND_FORBIDDEN, Failure, FailureKind, MAX_VALUE, Redis, Servers, User, ask, keys_for_each,
    millis,
};

/// How long each step of [`RedisStore::check`] may take.
const CHECK: Duration = Duration::from_secs(5);

/// Deletes a key only if it has this value, atomically. The whole script is sent each time: Redis caches it,
/// and a Redis that was restarted needs no `SCRIPT LOAD`.
const DELETE_IF: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// A cache in Redis (or Valkey), which several processes share.
///
/// [`Redis`] sets the address, and describes how connections are kept up. A Redis that is slow or down delays
/// a request by at most the [timeout](Self::timeout), and most requests not at all; once it is up again, it is
/// used within a second. No command is sent twice, and an empty value counts as no value.
///
/// Each command is about one key. The commands are `GETRANGE`, `SET`, `EVAL` and, from within the script,
/// `GET` and `DEL`. Set its `maxmemory-policy` to an `allkeys-…` one: with the default, a full Redis stores
/// no more tokens until some have expired.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
/// use tower_bearer::client::{Redis, RedisStore};
///
/// let one = RedisStore::new("rediss://:secret@cache.example:6379/0")?
///     .timeout(Duration::from_millis(100));
/// let sentinels = ["rediss://sentinel-0.example", "rediss://sentinel-1.example"];
/// let followed = RedisStore::new(Redis::sentinel("mymaster", sentinels))?;
/// # Ok::<(), tower_bearer::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct RedisStore {
    servers: Servers,
    timeout: Duration,
    prefix: Arc<str>,
}

impl RedisStore {
    /// Creates a store from a URL or a [`Redis`], without connecting. TLS trusts the system's
    /// certificates if no others are set, and always checks the server's.
    ///
    /// # Errors
    ///
    /// If a URL can't be read, has a fragment (`#insecure` among them) or an unknown parameter; if URLs
    /// or settings don't fit together; if a certificate can't be used; or if it asks for TLS and there is
    /// no provider of it. The error repeats nothing of a URL.
    pub fn new(redis: impl Into<Redis>) -> Result<Self, ConfigError> {
        let redis = redis.into();
        let prefix = redis.prefix();
        let servers = redis.open(User::TokenCache)?;
        Ok(Self { servers, timeout: Duration::from_millis(150), prefix })
    }

    /// Sets how long a request may take, the wait for a connection included. It is 150 milliseconds
    /// by default. A token client waits for 200 milliseconds at most.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs each operation of a token client once, on a separate key, so that a service can fail at
    /// start if the cache is unusable. Each of its steps may take 5 seconds. In a cluster, it does so at
    /// each server that has slots, and each slot must be assigned to a server.
    ///
    /// A token client works without its store, so calling this is optional.
    ///
    /// # Errors
    ///
    /// If the Redis can't be reached or refuses the login, a command or the key's name.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_bearer::client::{Redis, RedisStore};
    ///
    /// let redis = Redis::server("redis://svc:secret@cache.example").key_prefix("app:");
    /// let store = RedisStore::new(redis)?;
    /// store.check().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn check(&self) -> Result<(), StoreError> {
        let name = || Some(format!("tower-bearer:check:{}", hex(&random::<16>().ok()?)));
        let keys = keys_for_each(&self.servers, &self.prefix, CHECK, name).await.map_err(error)?;
        if keys.is_empty() {
            return Err(StoreError::new(StoreErrorKind::Other));
        }
        for key in keys {
            self.check_with(&key).await?;
        }
        Ok(())
    }

    async fn check_with(&self, key: &str) -> Result<(), StoreError> {
        let patient = Self { timeout: CHECK, ..self.clone() };
        let life = CHECK.saturating_mul(2);
        let taken = patient.lock(key, "check", life).await?;
        patient.put(key, b"check".to_vec(), life).await?;
        let found = patient.get(key).await?;
        patient.remove(key, b"check").await?;
        let left = patient.get(key).await?;
        if taken && found.as_deref() == Some(b"check") && left.is_none() {
            return Ok(());
        }
        let why = Reason("the Redis doesn't return the value that was stored".into());
        Err(StoreError::new(StoreErrorKind::Other).with_source(why))
    }

    /// Sends a command about the key of this name once, and returns its answer or, in time, an error.
    async fn ask<T: FromRedisValue>(&self, name: &str, command: &Cmd) -> Result<T, StoreError> {
        ask(&self.servers, name, command, self.timeout).await.map_err(error)
    }

    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    async fn delete_if(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let name = self.name(key);
        let mut command = cmd("EVAL");
        command.arg(DELETE_IF).arg(1).arg(&name).arg(value);
        let _how_many: u64 = self.ask(&name, &command).await?;
        Ok(())
    }
}

impl TokenStore for RedisStore {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let name = self.name(key);
            let mut command = cmd("GETRANGE");
            // One byte more than the limit distinguishes values that are too large.
            command.arg(&name).arg(0).arg(MAX_VALUE);
            let value: Vec<u8> = self.ask(&name, &command).await?;
            match value.len() {
                // Redis returns this for a key that doesn't exist.
                0 => Ok(None),
                1..=MAX_VALUE => Ok(Some(value)),
                _ => Err(StoreError::new(StoreErrorKind::Other)),
            }
        })
    }

    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, ttl: Duration) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            if value.len() > MAX_VALUE {
                return Err(StoreError::new(StoreErrorKind::Other));
            }
            let name = self.name(key);
            let mut command = cmd("SET");
            command.arg(&name).arg(value).arg("PX").arg(millis(ttl));
            match self.ask(&name, &command).await? {
                Value::Okay => Ok(()),
                _ => Err(StoreError::new(StoreErrorKind::Other)),
            }
        })
    }

    fn remove<'a>(&'a self, key: &'a str, value: &'a [u8]) -> StoreFuture<'a, ()> {
        Box::pin(self.delete_if(key, value))
    }

    fn lock<'a>(&'a self, key: &'a str, owner: &'a str, ttl: Duration) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let name = self.name(key);
            let mut command = cmd("SET");
            command.arg(&name).arg(owner).arg("NX").arg("PX").arg(millis(ttl));
            self.ask(&name, &command).await
        })
    }

    fn unlock<'a>(&'a self, key: &'a str, owner: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(self.delete_if(key, owner.as_bytes()))
    }
}

fn error(failure: Failure) -> StoreError {
    let kind = match failure.kind {
        FailureKind::Timeout => StoreErrorKind::Timeout,
        FailureKind::Unavailable => StoreErrorKind::Unavailable,
        FailureKind::Full => StoreErrorKind::Full,
        FailureKind::Authentication => StoreErrorKind::Authentication,
        FailureKind::Permission => StoreErrorKind::Permission,
        FailureKind::Tls => StoreErrorKind::Tls,
        FailureKind::Cluster => StoreErrorKind::Cluster,
        FailureKind::Other => StoreErrorKind::Other,
    };
    let why = match failure.why {
        COMMAND_FORBIDDEN => {
            "the ACL of the Redis must permit GETRANGE, SET, EVAL, GET and DEL, and in a cluster \
             CLUSTER SLOTS and ASKING"
        }
        why => why,
    };
    StoreError::new(kind).with_source(Reason(why.into()))
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("target", &self.servers)
            .field("timeout", &self.timeout)
            .field("key_prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::clock::monotonic;

    /// What a Redis says that has the value `value` for every key.
    const WELL: &[u8] = b"$5\r\nvalue\r\n";

    /// A Redis that accepts every login and gives its answers in turn, the last one for ever.
    struct Scripted {
        store: RedisStore,
        connections: Arc<AtomicUsize>,
        sent: Arc<AtomicUsize>,
    }

    impl Scripted {
        async fn new<const N: usize>(answers: [&[u8]; N]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("redis://{}", listener.local_addr().unwrap());
            let store = RedisStore::new(&url).unwrap().timeout(Duration::from_secs(1));
            let answers = answers.iter().rev().map(|answer| answer.to_vec()).collect();
            let answers = Arc::new(Mutex::new(answers));
            let counts = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
            let [connections, sent] = counts.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    connections.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(serve(stream, Arc::clone(&answers), Arc::clone(&sent)));
                }
            });
            let [connections, sent] = counts;
            Self { store, connections, sent }
        }

        /// Awaits an error, which has to come in time.
        async fn failure(&self) -> StoreErrorKind {
            let began = monotonic();
            let kind = self.store.get("key").await.unwrap_err().kind();
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
            kind
        }

        fn connections(&self) -> usize {
            self.connections.load(Ordering::Relaxed)
        }
    }

    type Answers = Arc<Mutex<Vec<Vec<u8>>>>;

    async fn serve(mut stream: TcpStream, answers: Answers, sent: Arc<AtomicUsize>) {
        let mut buffer = vec![0; 65_536];
        let mut login = true;
        while matches!(stream.read(&mut buffer).await, Ok(1..)) {
            let answer = match std::mem::take(&mut login) {
                true => b"+OK\r\n+OK\r\n".to_vec(),
                false => {
                    let mut answers = answers.lock().unwrap();
                    if answers.len() > 1 { answers.pop() } else { answers.last().cloned() }.unwrap()
                }
            };
            let endless = answer.starts_with(b"$999999999");
            while stream.write_all(&answer).await.is_ok() {
                sent.fetch_add(answer.len(), Ordering::Relaxed);
                if !endless {
                    break;
                }
            }
        }
    }

    #[tokio::test]
    async fn errors_are_told_apart() {
        use StoreErrorKind::{Authentication, Cluster, Full, Other, Permission, Unavailable};
        let cases: [(&[u8], StoreErrorKind, usize); 15] = [
            (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", Full, 1),
            (b"-LOADING Redis is loading the dataset in memory\r\n", Unavailable, 1),
            (b"-MISCONF Errors writing to disk\r\n", Unavailable, 1),
            (b"-NOREPLICAS Not enough good replicas to write.\r\n", Unavailable, 1),
            (b"-BUSY Redis is busy running a script.\r\n", Unavailable, 1),
            (b"-CLUSTERDOWN The cluster is down\r\n", Cluster, 1),
            (b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n", Cluster, 1),
            (b"-MOVED 3999 127.0.0.1:6381\r\n", Cluster, 1),
            (b"-READONLY You can't write against a read only replica.\r\n", Unavailable, 2),
            (b"-MASTERDOWN Link with MASTER is down\r\n", Unavailable, 2),
            (b"-NOAUTH Authentication required.\r\n", Authentication, 2),
            (b"-NOPERM User svc has no permissions to run the 'get' command\r\n", Permission, 1),
            (b"-WRONGTYPE Operation against a key\r\n", Other, 1),
            (b"-ERR unknown command\r\n", Other, 1),
            (b"-\r\n", Other, 1),
        ];
        for (answer, kind, connections) in cases {
            let text = String::from_utf8_lossy(answer);
            let redis = Scripted::new([answer, WELL]).await;
            assert_eq!(redis.failure().await, kind, "{text}");
            tokio::time::sleep(Duration::from_millis(110)).await;
            assert_eq!(redis.store.get("key").await, Ok(Some(b"value".to_vec())), "{text}");
            assert_eq!(redis.connections(), connections, "{text}");
        }
    }

    #[tokio::test]
    async fn nonsense_is_an_error_in_time_and_costs_the_connection() {
        let deep = b"*1\r\n".repeat(1000);
        let cases: [&[u8]; 17] = [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"\r\n",
            b"\0\0\0\0",
            b"$5\r\nval",
            b"$5\r\nvalue--",
            b"$x\r\n",
            b"$9223372036854775807\r\nvalue\r\n",
            b"$99999999999999999999999\r\nvalue\r\n",
            b"*9223372036854775807\r\n",
            b"*2147483647\r\n:1\r\n",
            b"%9223372036854775807\r\n",
            b"~4611686018427387904\r\n",
            b"|4611686018427387904\r\n",
            b"+\xff\xfe\r\n",
            b"*1\r\n+OK\r\n",
            b"%1\r\n+a\r\n+b\r\n",
            &deep,
        ];
        for answer in cases {
            let text = String::from_utf8_lossy(answer);
            let redis = Scripted::new([answer, WELL]).await;
            let kind = redis.failure().await;
            assert!(matches!(kind, StoreErrorKind::Other | StoreErrorKind::Timeout), "{text}");
            tokio::time::sleep(Duration::from_millis(110)).await;
            assert_eq!(redis.store.get("key").await, Ok(Some(b"value".to_vec())), "{text}");
            assert_eq!(redis.connections(), 2, "{text}");
        }
    }

    #[tokio::test]
    async fn an_endless_answer_is_not_kept() {
        let endless = [b"$999999999\r\n".as_slice(), &[b'x'; 65_536]].concat();
        let redis = Scripted::new([&endless, WELL]).await;
        let kind = redis.failure().await;
        assert!(matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Timeout), "{kind:?}");
        tokio::time::sleep(Duration::from_millis(110)).await;
        assert_eq!(redis.store.get("key").await, Ok(Some(b"value".to_vec())));
        // What was taken, and what the sockets hold.
        let sent = redis.sent.load(Ordering::Relaxed);
        assert!(sent < 32 * 1024 * 1024, "{sent}");
    }

    #[tokio::test]
    async fn an_answer_that_means_nothing_is_no_success() {
        for answer in [b"$-1\r\n".as_slice(), b":1\r\n", b"+QUEUED\r\n", b"*0\r\n"] {
            let text = String::from_utf8_lossy(answer);
            let redis = Scripted::new([answer, WELL]).await;
            let put = redis.store.put("key", b"value".to_vec(), Duration::from_secs(1)).await;
            assert_eq!(put, Err(StoreError::new(StoreErrorKind::Other)), "{text}");
        }
        let redis = Scripted::new([b"+OK\r\n"]).await;
        assert_eq!(redis.store.put("key", vec![1], Duration::from_secs(1)).await, Ok(()));
    }
}
