//! The readiness and the status of a key source, for probes and status pages.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::clock::UnixTime;
use crate::jose::{Algorithm, IgnoredReason};
use crate::jwks::fetch::error::FetchError;

/// The state of the keys.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum State {
    /// No key has been loaded yet: tokens can't be checked.
    Cold,
    /// The keys are as recent as the issuer requires.
    Fresh,
    /// The keys should have been refreshed, and are used until that succeeds or they expire.
    Stale,
    /// The keys are too old: tokens can't be checked.
    Expired,
    /// The keys are part of the configuration and never change.
    Static,
    /// The source was shut down: tokens can't be checked.
    ShutDown,
}

impl State {
    pub(crate) const ALL: [Self; 6] =
        [Self::Cold, Self::Fresh, Self::Stale, Self::Expired, Self::Static, Self::ShutDown];

    /// Returns a stable name, for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Expired => "expired",
            Self::Static => "static",
            Self::ShutDown => "shut_down",
        }
    }

    /// Returns `true` if tokens can be checked.
    pub const fn serves(self) -> bool {
        matches!(self, Self::Fresh | Self::Stale | Self::Static)
    }

    /// Returns the readiness, for a readiness probe.
    pub const fn health(self) -> Health {
        match self {
            Self::Fresh | Self::Static => Health::Ready,
            Self::Stale => Health::Degraded,
            Self::Cold | Self::Expired | Self::ShutDown => Health::NotReady,
        }
    }
}

/// The readiness of a service. It is not a liveness signal: a restart fixes nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Health {
    /// Tokens are checked with fresh keys.
    Ready,
    /// Tokens are checked, but the keys can't be refreshed.
    Degraded,
    /// Tokens can't be checked.
    NotReady,
}

impl Health {
    /// Returns a stable name, for logs and probes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::NotReady => "not_ready",
        }
    }

    /// Returns `true` if requests should be routed here.
    pub const fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Degraded)
    }
}

/// The full status of a key source. It implements `Serialize`, for a status page.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The state of the keys.
    pub state: State,
    /// What a readiness probe should say.
    pub health: Health,
    /// The number of the set: it changes whenever the keys do.
    pub generation: u64,
    /// The seconds since the set was last known to be the issuer's.
    #[serde(serialize_with = "seconds")]
    pub age: Option<Duration>,
    /// When the set should be refreshed at the latest.
    #[serde(serialize_with = "unix")]
    pub fresh_until: Option<UnixTime>,
    /// When the set expires.
    #[serde(serialize_with = "unix")]
    pub stale_until: Option<UnixTime>,
    /// When an attempt to refresh last began.
    #[serde(serialize_with = "unix")]
    pub last_attempt: Option<UnixTime>,
    /// When an attempt to refresh last succeeded.
    #[serde(serialize_with = "unix")]
    pub last_success: Option<UnixTime>,
    /// How many attempts have failed since then.
    pub consecutive_failures: u32,
    /// The error of the last attempt, unless it succeeded.
    pub last_error: Option<FetchError>,
    /// By how many seconds the issuer's clock is ahead of this one (behind it, if negative), by the
    /// `Date` of its last answer; `None` if no answer had one. The network's delay is part of it.
    pub clock_offset: Option<i64>,
    /// When the next attempt is due.
    #[serde(serialize_with = "unix")]
    pub next_refresh: Option<UnixTime>,
    /// The keys of the set, the unusable ones included.
    pub keys: Vec<KeyStatus>,
    /// The first eight keys of the set that the last attempt fetched, if it was refused because
    /// none of them is usable ([`FetchErrorKind::NoUsableKey`](crate::jwks::FetchErrorKind::NoUsableKey));
    /// otherwise empty, and then it isn't serialized.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused_keys: Vec<KeyStatus>,
}

/// One key of the set.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct KeyStatus {
    /// Its `kid`, if it has one.
    pub kid: Option<String>,
    /// Its `kty`, if that could be read.
    pub kty: Option<String>,
    /// Its `alg`, if it has one and is usable.
    #[serde(serialize_with = "algorithm")]
    pub alg: Option<Algorithm>,
    /// The algorithms whose signatures it verifies, of which a validator may accept only some: its `alg`, or
    /// those of its type. Empty if it isn't used.
    #[serde(serialize_with = "algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Why it isn't used; `None` if it is.
    #[serde(serialize_with = "reason")]
    pub ignored: Option<IgnoredReason>,
    /// Whether the issuer has removed it, so that it is used only until its grace period ends.
    pub retiring: bool,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Serialize for Health {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

fn seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs()).serialize(serializer)
}

fn unix<S: Serializer>(time: &Option<UnixTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(UnixTime::as_secs).serialize(serializer)
}

fn algorithm<S: Serializer>(alg: &Option<Algorithm>, serializer: S) -> Result<S::Ok, S::Error> {
    alg.map(Algorithm::name).serialize(serializer)
}

fn algorithms<S: Serializer>(algorithms: &[Algorithm], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(algorithms.iter().map(|algorithm| algorithm.name()))
}

fn reason<S: Serializer>(why: &Option<IgnoredReason>, serializer: S) -> Result<S::Ok, S::Error> {
    why.map(IgnoredReason::code).serialize(serializer)
}
