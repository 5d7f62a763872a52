use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::jwks::store::LoadedKeys;
use crate::refusal::Unavailable;

/// The keys of one issuer, and the task that keeps them fresh.
#[derive(Clone, Debug)]
pub struct Jwks {}

/// What to do about a token whose key isn't there.
#[derive(Debug)]
pub(crate) enum Miss {
    /// The key doesn't exist: 401 `UnknownKey`.
    Absent,
    /// Nobody can tell: 503.
    Unavailable(Unavailable),
    /// A refresh is under way: await it, `load` again, and take that answer as it is.
    Wait(KeyWait),
}

/// Waits for a refresh, no longer than a request may. Dropping it cancels nothing.
pub(crate) struct KeyWait(Pin<Box<dyn Future<Output = Result<(), Unavailable>> + Send>>);

impl std::fmt::Debug for KeyWait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyWait")
    }
}

impl Future for KeyWait {
    type Output = Result<(), Unavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

#[allow(clippy::todo, dead_code, reason = "signatures first")]
impl Jwks {
    /// Returns the generation of the keys that are serving, 0 while none are (cold, expired, shut
    /// down, or nobody to keep watch). A verified token may be remembered under its set's
    /// [`generation`](crate::jwks::key_set::KeySet::generation), and trusted only while this is
    /// the same. One atomic load.
    pub(crate) fn generation(&self) -> u64 {
        todo!()
    }

    /// Returns the keys of now, with their state.
    pub(crate) fn load(&self) -> LoadedKeys {
        todo!()
    }

    /// Says what to do about a token that could be valid, but whose `kid` has no fitting key in
    /// `seen`, which serves.
    pub(crate) fn miss(&self, seen: &LoadedKeys, kid: &str) -> Miss {
        let _ = (seen, kid);
        todo!()
    }

    /// Says what to do about a token while the keys are cold, expired or shut down.
    pub(crate) fn wait_cold(&self) -> Miss {
        todo!()
    }
}
