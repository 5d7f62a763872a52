use serde::{Serialize, Serializer};

use crate::clock::UnixTime;
use crate::introspection::error::IntrospectionError;
use crate::jwks::Health;

/// How the introspection endpoint fares. It serializes, for a status page.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IntrospectionStatus {
    /// What a readiness probe should say: degraded while the endpoint fails, since the tokens that are
    /// remembered still pass.
    pub health: Health,
    /// The endpoint, without its query; `None` as long as it hasn't been found.
    pub endpoint: Option<String>,
    /// Whether the endpoint has failed so often that it is asked about once a second.
    pub circuit_open: bool,
    /// How often in a row it has failed.
    pub consecutive_failures: u32,
    /// What the last question failed with, unless it was answered.
    pub last_error: Option<IntrospectionError>,
    /// When a question was last answered.
    #[serde(serialize_with = "unix")]
    pub last_success: Option<UnixTime>,
}

fn unix<S: Serializer>(time: &Option<UnixTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(UnixTime::as_secs).serialize(serializer)
}
