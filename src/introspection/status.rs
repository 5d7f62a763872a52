//! The status of an introspection endpoint, for status pages.

use serde::{Serialize, Serializer};

use crate::clock::UnixTime;
use crate::introspection::error::IntrospectionError;
use crate::jwks::Health;

/// The status of the introspection endpoint. It serializes, for a status page.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IntrospectionStatus {
    /// The health for a readiness probe: degraded while the endpoint fails, since cached tokens are still
    /// accepted.
    pub health: Health,
    /// The endpoint, without its query; `None` until it is discovered.
    pub endpoint: Option<String>,
    /// Whether the circuit is open: the endpoint has failed so often that it is tried once a second.
    pub circuit_open: bool,
    /// The number of consecutive failures.
    pub consecutive_failures: u32,
    /// The error of the last introspection, unless it succeeded.
    pub last_error: Option<IntrospectionError>,
    /// The time of the last successful introspection.
    #[serde(serialize_with = "unix")]
    pub last_success: Option<UnixTime>,
}

fn unix<S: Serializer>(time: &Option<UnixTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(UnixTime::as_secs).serialize(serializer)
}
