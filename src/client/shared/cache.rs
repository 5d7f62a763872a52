//! Calls to the store that several processes share: each is bounded in time, and a failed one only means
//! that the client works without the store.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

#[cfg(not(feature = "shared-cache"))]
use crate::client::shared::absent::Seal;
#[cfg(feature = "shared-cache")]
use crate::client::shared::seal::Seal;
use crate::client::shared::store::{StoreError, StoreErrorKind, TokenStore};
use crate::client::shared::stored::{Names, Stored};
use crate::clock::monotonic;
use crate::digest::{Digest, hex, random};
use crate::json;
use crate::telemetry::{count, event};

/// How long one call may take.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long a store that failed isn't called.
const REST: Duration = Duration::from_secs(1);

/// A [`TokenStore`], and the key that its values are encrypted with.
pub(crate) struct SharedCache {
    store: Box<dyn TokenStore>,
    seal: Seal,
    rests_until: Mutex<Option<Instant>>,
}

/// A value as the store has it, which is needed to remove it.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
}

/// The right to fetch, which only one process has at a time, as long as the store works.
pub(crate) struct Lease {
    key: String,
    owner: String,
}

/// The result of asking for a [`Lease`].
pub(crate) enum Locked {
    Taken(Lease),
    /// Another process has it.
    Busy,
    /// The store doesn't work.
    Unknown,
}

impl SharedCache {
    pub(crate) fn new(store: Box<dyn TokenStore>, seal: Seal) -> Self {
        Self { store, seal, rests_until: Mutex::new(None) }
    }

    pub(crate) fn names(&self, distinction: &Digest, fingerprint: &Digest) -> Names {
        self.seal.names(distinction, fingerprint)
    }

    /// Returns the token under this key, and its value in the store.
    pub(crate) async fn get(&self, key: &str) -> Option<(Stored, Sealed)> {
        let value = self.call("get", self.store.get(key)).await??;
        let stored = self.seal.open(key, &value);
        if stored.is_none() {
            count!("tower_bearer_client_store_failures_total", "call" => "open");
            event!(
                WARN,
                "client_store_failed: a value of the shared cache can't be decrypted with this key"
            );
        }
        Some((stored?, Sealed { key: key.into(), value }))
    }

    /// Encrypts a token for the store; `None` if other processes couldn't use it.
    pub(crate) fn seal(&self, key: &str, stored: &Stored) -> Option<Sealed> {
        // A process that knows the name has the key that the token is bound to.
        if !stored.is_bound && is_bound(stored.access_token.as_bytes()) {
            return None;
        }
        Some(Sealed { key: key.into(), value: self.seal.seal(key, stored)? })
    }

    pub(crate) async fn put(&self, sealed: &Sealed, ttl: Duration) {
        self.call("put", self.store.put(&sealed.key, sealed.value.clone(), ttl)).await;
    }

    pub(crate) async fn remove(&self, sealed: &Sealed) {
        self.call("remove", self.store.remove(&sealed.key, &sealed.value)).await;
    }

    /// Asks for the right to fetch, for as long as a fetch may take.
    pub(crate) async fn lock(&self, key: &str, ttl: Duration) -> Locked {
        let Ok(owner) = random::<16>() else { return Locked::Unknown };
        let owner = hex(&owner);
        match self.call("lock", self.store.lock(key, &owner, ttl)).await {
            Some(true) => Locked::Taken(Lease { key: key.into(), owner }),
            Some(false) => Locked::Busy,
            None => Locked::Unknown,
        }
    }

    pub(crate) async fn unlock(&self, lease: &Lease) {
        self.call("unlock", self.store.unlock(&lease.key, &lease.owner)).await;
    }

    /// Makes a call, unless one has failed a moment ago; `None` if it fails.
    async fn call<T>(
        &self,
        call: &'static str,
        future: impl Future<Output = Result<T, StoreError>>,
    ) -> Option<T> {
        let resting = *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.is_some_and(|until| monotonic() < until) {
            return None;
        }
        let timed_out = Err(StoreError::new(StoreErrorKind::Timeout));
        let error = match timeout(PATIENCE, future).await.unwrap_or(timed_out) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        count!("tower_bearer_client_store_failures_total", "call" => call);
        event!(WARN, call, error = %crate::cause::Report(&error), "client_store_failed: continuing without the shared cache");
        // A full store can still be read.
        if error.kind() != StoreErrorKind::Full {
            let until = monotonic().checked_add(REST);
            *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
        }
        None
    }
}

/// Returns `true` for a JWT that is bound to a key or certificate (`cnf`, RFC 7800 §3.1), which only the
/// process that requested it has.
fn is_bound(token: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Claims {
        cnf: Option<IgnoredAny>,
    }
    let payload = token.split(|byte| *byte == b'.').nth(1);
    let payload = payload.and_then(|payload| BASE64_URL_SAFE_NO_PAD.decode(payload).ok());
    let payload = Zeroizing::new(payload.unwrap_or_default());
    // An object that can't be read strictly may be bound.
    payload.trim_ascii_start().starts_with(b"{")
        && json::parse(&payload).map_or(true, |claims: Claims| claims.cnf.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fc7_a_bound_token_says_so() {
        let jwt = |claims: &str| format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims));
        for bound in [
            r#"{"cnf":{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}}"#,
            r#"{"sub":"a","cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}"#,
            r#"{"cnf":{}}"#,
        ] {
            assert!(is_bound(jwt(bound).as_bytes()), "{bound}");
        }
        for free in ["{}", r#"{"cnf":null}"#, r#"{"act":{"cnf":{}}}"#, "[{}]", "x"] {
            assert!(!is_bound(jwt(free).as_bytes()), "{free}");
        }
        for opaque in ["", "t1", ".", "a.b.c", "a.e30"] {
            assert!(!is_bound(opaque.as_bytes()), "{opaque}");
        }
    }
}
