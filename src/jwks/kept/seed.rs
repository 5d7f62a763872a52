//! Starts a key source from a snapshot.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Uri};
use tokio::time::Instant;

use crate::clock::{Clock, monotonic};
use crate::error::ConfigError;
use crate::jose::Backend;
use crate::jwks::config::{Fetching, KeyLocation};
use crate::jwks::fetch::discovery::JwksMetadata;
use crate::jwks::fetch::flight::parse;
use crate::jwks::kept::key_set::KeySet;
use crate::jwks::kept::snapshot::Snapshot;
use crate::jwks::kept::store::{KeySetAnswer, Published, Tenure};
use crate::jwks::timing::schedule::{Serving, Timing, after};
use crate::telemetry::event;
use crate::transport::parse_url;
use crate::transport::printable;

/// Keys belong to one issuer, and a snapshot's to the address that they came from.
pub(crate) fn check_origin(
    snapshot: &Snapshot,
    issuer: &str,
    fetching: &Fetching,
) -> Result<(), ConfigError> {
    if snapshot.issuer() != issuer {
        return Err(ConfigError::new(format!(
            "the snapshot has the keys of {:?}, not of {issuer:?}: use one of the same issuer",
            snapshot.issuer()
        )));
    }
    match &fetching.target {
        KeyLocation::Url(uri) if *uri != *snapshot.url() => Err(ConfigError::new(format!(
            "the snapshot was taken from {:?}, not from {:?}: use one of the same URL",
            printable(snapshot.url()),
            printable(&uri.to_string())
        ))),
        KeyLocation::Url(_) | KeyLocation::Discovery(_) => Ok(()),
    }
}

/// Makes the snapshot's keys ready, unless they are too old or unusable: then it is ignored,
/// since a service that was down for a while must be able to start.
pub(crate) fn seed(
    snapshot: &Snapshot,
    fetching: &Fetching,
    backend: Backend,
    clock: &dyn Clock,
    timing: Timing,
) -> Option<(Published, Option<JwksMetadata>)> {
    let now = monotonic();
    let seeded = seed_at(snapshot, fetching, backend, clock, timing, now);
    if seeded.is_none() {
        event!(
            WARN,
            issuer = snapshot.issuer(),
            "jwks_snapshot: the snapshot is too old, from the future, or unusable"
        );
    }
    seeded
}

fn seed_at(
    snapshot: &Snapshot,
    fetching: &Fetching,
    backend: Backend,
    clock: &dyn Clock,
    timing: Timing,
    now: Instant,
) -> Option<(Published, Option<JwksMetadata>)> {
    let (fetched_at, wall) = (snapshot.fetched_at(), clock.now());
    let age = wall.saturating_since(fetched_at);
    let left = timing.max_stale.checked_sub(age).filter(|left| !left.is_zero())?;
    if fetched_at > wall {
        return None;
    }
    let jwks_uri: Uri = parse_url(snapshot.url(), fetching.network.plain_http).ok()?;
    let body = Bytes::copy_from_slice(snapshot.jwks().as_bytes());
    let parsed = parse(&body, fetching, backend).ok()?;
    let value = |text: Option<&str>| text.and_then(|text| HeaderValue::from_str(text).ok());
    let origin = KeySetAnswer {
        url: snapshot.url().into(),
        body,
        etag: value(snapshot.etag()),
        last_modified: value(snapshot.last_modified()),
        lifetime: None,
        fetched_at,
        fetched: now,
        age_then: age,
    };
    let serving = Serving { fresh_until: now, stale_until: after(now, left) };
    let published = Published {
        sequence: 0,
        keys: Arc::new(KeySet::first(parsed)),
        tenure: Tenure::Serving(serving),
        origin: Some(Arc::new(origin)),
    };
    let discovered = matches!(fetching.target, KeyLocation::Discovery(_));
    Some((published, discovered.then(|| JwksMetadata::remembered(jwks_uri))))
}
