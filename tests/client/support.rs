//! What the tests share.

#[cfg(feature = "tracing")]
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "../support/log.rs"]
mod log;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tower_bearer::client::{
    ClientAuth, Grant, GrantBuilder, StoreError, StoreErrorKind, StoreFuture, Token, TokenClient,
    TokenSource, TokenStore,
};
use tower_bearer::testing::{ManualClock, ScriptedAnswer, ScriptedTransport, TestIssuer};
use tower_bearer::{Secret, UnixTime};

#[cfg(feature = "tracing")]
pub(crate) use self::log::{LevelFilter, Log};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A grant for the embedded issuer's usual client.
pub(crate) fn grant_of(issuer: &TestIssuer) -> GrantBuilder {
    Grant::endpoint(&issuer.token_endpoint(), usual_auth()).allow_loopback_http()
}

pub(crate) fn usual_auth() -> ClientAuth {
    ClientAuth::basic(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET)
}

/// A grant for a server that is only scripted.
pub(crate) fn scripted_grant() -> GrantBuilder {
    Grant::endpoint("https://as.test/token", ClientAuth::basic("me", "s3cret"))
}

pub(crate) fn client(transport: &ScriptedTransport) -> TokenClient {
    TokenClient::builder().transport(transport.clone()).build().unwrap()
}

pub(crate) fn source(transport: &ScriptedTransport) -> TokenSource {
    client(transport).source(&scripted_grant().build().unwrap())
}

/// An answer with this token.
pub(crate) fn granted(token: &str, expires_in: u64) -> ScriptedAnswer {
    ScriptedAnswer::json(format!(
        r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{expires_in}}}"#
    ))
}

/// A server that grants `t1`, `t2` and so on.
pub(crate) fn counting(expires_in: u64) -> ScriptedTransport {
    let count = AtomicU64::new(0);
    ScriptedTransport::from_fn(move |_| {
        let n = count.fetch_add(1, Ordering::Relaxed) + 1;
        granted(&format!("t{n}"), expires_in)
    })
}

pub(crate) fn refused(status: u16, error: &str) -> ScriptedAnswer {
    let mut response = http::Response::new(Bytes::from(format!(r#"{{"error":"{error}"}}"#)));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    ScriptedAnswer::new(response)
}

pub(crate) async fn token(source: &TokenSource) -> String {
    source.token().await.unwrap().expose_secret().to_owned()
}

/// A server that refuses tokens.
pub(crate) const ORIGIN: &str = "https://orders.test";

/// The token after this one was refused.
pub(crate) async fn renewed(source: &TokenSource, refused: &Token) -> Option<String> {
    source.renew(refused, ORIGIN).await.map(|token| token.expose_secret().to_owned())
}

/// Lets every task go on until all of them wait.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn form(request: &Request<Bytes>) -> HashMap<String, String> {
    let body = str::from_utf8(request.body()).unwrap();
    body.split('&')
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

pub(crate) fn store_key() -> Secret {
    Secret::new("0123456789abcdef0123456789abcdef")
}

/// A store in memory, with switches.
#[derive(Clone, Default)]
pub(crate) struct MemoryStore(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    values: HashMap<String, (Vec<u8>, Duration)>,
    locks: HashMap<String, String>,
    mode: Mode,
    calls: Vec<&'static str>,
    locked: bool,
    sticky: bool,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Mode {
    #[default]
    Works,
    Gone,
    Hangs,
    /// Reads, and writes nothing.
    Full,
}

impl MemoryStore {
    pub(crate) fn set(&self, mode: Mode) {
        self.0.lock().unwrap().mode = mode;
    }

    pub(crate) fn values(&self) -> HashMap<String, (Vec<u8>, Duration)> {
        self.0.lock().unwrap().values.clone()
    }

    pub(crate) fn edit(&self, change: impl FnOnce(&mut HashMap<String, (Vec<u8>, Duration)>)) {
        change(&mut self.0.lock().unwrap().values);
    }

    pub(crate) fn locks(&self) -> usize {
        self.0.lock().unwrap().locks.len()
    }

    /// Locks whatever is asked for, as a process that died would have.
    pub(crate) fn lock_all(&self) {
        let mut inner = self.0.lock().unwrap();
        let keys: Vec<String> = inner.values.keys().cloned().collect();
        for key in keys {
            inner.locks.insert(key.replace(":token:", ":lock:"), "someone".into());
        }
    }

    /// Lets every lock run out.
    pub(crate) fn expire_locks(&self) {
        self.0.lock().unwrap().locks.clear();
    }

    /// Gives nobody a lock.
    pub(crate) fn lock_everything(&self) {
        self.0.lock().unwrap().locked = true;
    }

    /// Loses what is asked to be removed, as a replica does that lags behind.
    pub(crate) fn remove_nothing(&self) {
        self.0.lock().unwrap().sticky = true;
    }

    pub(crate) fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }

    fn act<'a, T: Send + 'a>(
        &'a self,
        call: &'static str,
        writes: bool,
        act: impl FnOnce(&mut Inner) -> T + Send + 'a,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move {
            let mode = {
                let mut inner = self.0.lock().unwrap();
                inner.calls.push(call);
                inner.mode
            };
            // A round trip.
            tokio::time::sleep(Duration::from_millis(1)).await;
            match mode {
                Mode::Gone => Err(StoreError::new(StoreErrorKind::Unavailable)),
                Mode::Hangs => std::future::pending().await,
                Mode::Full if writes => Err(StoreError::new(StoreErrorKind::Full)),
                Mode::Works | Mode::Full => Ok(act(&mut self.0.lock().unwrap())),
            }
        })
    }
}

impl TokenStore for MemoryStore {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        self.act("get", false, move |inner| inner.values.get(key).map(|(value, _)| value.clone()))
    }

    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, ttl: Duration) -> StoreFuture<'a, ()> {
        self.act("put", true, move |inner| {
            inner.values.insert(key.to_owned(), (value, ttl));
        })
    }

    fn remove<'a>(&'a self, key: &'a str, value: &'a [u8]) -> StoreFuture<'a, ()> {
        self.act("remove", false, move |inner| {
            if !inner.sticky && inner.values.get(key).is_some_and(|(held, _)| held == value) {
                inner.values.remove(key);
            }
        })
    }

    fn lock<'a>(&'a self, key: &'a str, owner: &'a str, _: Duration) -> StoreFuture<'a, bool> {
        self.act("lock", true, move |inner| {
            if inner.locked || inner.locks.contains_key(key) {
                return false;
            }
            inner.locks.insert(key.to_owned(), owner.to_owned());
            true
        })
    }

    fn unlock<'a>(&'a self, key: &'a str, owner: &'a str) -> StoreFuture<'a, ()> {
        self.act("unlock", false, move |inner| {
            if inner.locks.get(key).is_some_and(|holder| holder == owner) {
                inner.locks.remove(key);
            }
        })
    }
}

/// One of several processes that share a store, at one wall clock.
pub(crate) fn process(
    transport: &ScriptedTransport,
    store: &MemoryStore,
    clock: &ManualClock,
) -> TokenSource {
    let client = TokenClient::builder()
        .transport(transport.clone())
        .clock(clock.clone())
        .shared(store.clone(), store_key())
        .build()
        .unwrap();
    client.source(&scripted_grant().build().unwrap())
}

pub(crate) fn running_clock() -> ManualClock {
    ManualClock::running(UnixTime::from_secs(1_800_000_000))
}
