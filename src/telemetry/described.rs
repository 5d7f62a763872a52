//! Describes each metric to the recorder, and bounds how many values the labels of issuers and tenants have.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

struct Metric(Kind, &'static str, Unit, &'static str);

const METRICS: &[Metric] = &[
    Metric(
        Counter,
        "tower_bearer_requests_total",
        Unit::Count,
        "Requests, each counted once, by what was decided about it",
    ),
    Metric(
        Counter,
        "tower_bearer_streams_expired_total",
        Unit::Count,
        "Bodies that were cut since their token had expired, by how",
    ),
    Metric(
        Counter,
        "tower_bearer_jwks_fetches_total",
        Unit::Count,
        "Attempts to fetch an issuer's key set",
    ),
    Metric(
        Histogram,
        "tower_bearer_jwks_fetch_duration_seconds",
        Unit::Seconds,
        "Duration of attempts to fetch an issuer's key set",
    ),
    Metric(
        Gauge,
        "tower_bearer_jwks_fetched_timestamp_seconds",
        Unit::Seconds,
        "Unix time at which the key set was last known to be the issuer's",
    ),
    Metric(
        Gauge,
        "tower_bearer_jwks_state",
        Unit::Count,
        "1 for the current state of a key source, 0 for the others",
    ),
    Metric(Gauge, "tower_bearer_jwks_keys", Unit::Count, "Keys of an issuer's key set"),
    Metric(
        Counter,
        "tower_bearer_jwks_kid_misses_total",
        Unit::Count,
        "Tokens with an unknown kid, by outcome",
    ),
    Metric(
        Counter,
        "tower_bearer_jwks_stale_served_total",
        Unit::Count,
        "Signatures checked with stale keys",
    ),
    Metric(
        Gauge,
        "tower_bearer_jwks_clock_offset_seconds",
        Unit::Seconds,
        "How much the issuer's clock is ahead of this one",
    ),
    Metric(
        Gauge,
        "tower_bearer_jwks_refresh_waiters",
        Unit::Count,
        "Requests that wait for a refresh of the key set",
    ),
    Metric(
        Counter,
        "tower_bearer_introspection_requests_total",
        Unit::Count,
        "Introspection requests, by outcome",
    ),
    Metric(
        Histogram,
        "tower_bearer_introspection_request_duration_seconds",
        Unit::Seconds,
        "Duration of introspection requests",
    ),
    Metric(
        Counter,
        "tower_bearer_introspection_credentials_refused_total",
        Unit::Count,
        "Introspection requests for which the issuer refused this service's own credentials",
    ),
    Metric(
        Gauge,
        "tower_bearer_introspection_circuit_open",
        Unit::Count,
        "1 while the circuit of an introspection endpoint is open",
    ),
    Metric(
        Counter,
        "tower_bearer_introspection_cache_hits_total",
        Unit::Count,
        "Introspected tokens found in the cache, by outcome",
    ),
    Metric(
        Gauge,
        "tower_bearer_introspection_waiters",
        Unit::Count,
        "Requests that wait for an introspection response",
    ),
    Metric(
        Histogram,
        "tower_bearer_client_token_age_seconds",
        Unit::Seconds,
        "Age of tokens when they are put into a request",
    ),
    Metric(
        Counter,
        "tower_bearer_client_fetches_total",
        Unit::Count,
        "Fetches of a token, by outcome",
    ),
    Metric(
        Histogram,
        "tower_bearer_client_fetch_duration_seconds",
        Unit::Seconds,
        "Duration of fetches of a token, retries included",
    ),
    Metric(
        Counter,
        "tower_bearer_client_nonce_retries_total",
        Unit::Count,
        "Requests that were sent again with the nonce that the server wants in a DPoP proof",
    ),
    Metric(
        Counter,
        "tower_bearer_client_retries_total",
        Unit::Count,
        "Requests that were sent again with another token after a 401",
    ),
    Metric(
        Counter,
        "tower_bearer_client_tokens_refused_total",
        Unit::Count,
        "Tokens that a resource server refused",
    ),
    Metric(Counter, "tower_bearer_client_cache_hits_total", Unit::Count, "Tokens found in a cache"),
    Metric(
        Gauge,
        "tower_bearer_client_cache_entries",
        Unit::Count,
        "Grants in the caches of this process",
    ),
    Metric(
        Counter,
        "tower_bearer_client_cache_evictions_total",
        Unit::Count,
        "Grants that made room for others in a cache",
    ),
    Metric(
        Counter,
        "tower_bearer_client_fetch_waits_total",
        Unit::Count,
        "Calls that waited for a fetch that another call had begun",
    ),
    Metric(
        Counter,
        "tower_bearer_client_store_failures_total",
        Unit::Count,
        "Calls to the shared cache that failed",
    ),
    Metric(
        Counter,
        "tower_bearer_dpop_proofs_total",
        Unit::Count,
        "DPoP proofs, by what was decided about them",
    ),
    Metric(
        Gauge,
        "tower_bearer_dpop_replay_entries",
        Unit::Count,
        "Used DPoP proofs that are remembered in memory",
    ),
    Metric(
        Counter,
        "tower_bearer_dpop_replay_failures_total",
        Unit::Count,
        "Calls to the shared record of used DPoP proofs that failed",
    ),
    Metric(
        Counter,
        "tower_bearer_client_secret_failures_total",
        Unit::Count,
        "Attempts to read the client's secret that failed",
    ),
];

/// Registers the descriptions with the current recorder.
pub(crate) fn describe() {
    for Metric(kind, name, unit, what) in METRICS {
        match kind {
            Counter => describe_counter!(*name, *unit, *what),
            Gauge => describe_gauge!(*name, *unit, *what),
            Histogram => describe_histogram!(*name, *unit, *what),
        }
    }
}

/// The most issuers that have a label of their own in one process.
const MOST_ISSUERS: usize = 256;

static ISSUERS: Mutex<BTreeSet<Arc<str>>> = Mutex::new(BTreeSet::new());

/// The most tenants of the token client that have one.
#[cfg(feature = "client")]
const MOST_TENANTS: usize = 256;

#[cfg(feature = "client")]
static TENANTS: Mutex<BTreeSet<Arc<str>>> = Mutex::new(BTreeSet::new());

/// Returns the label of a tenant; `None` if there are too many.
#[cfg(feature = "client")]
pub(crate) fn tenant_label(tenant: &Arc<str>) -> Option<Arc<str>> {
    let mut tenants = TENANTS.lock().unwrap_or_else(PoisonError::into_inner);
    label(&mut tenants, tenant, MOST_TENANTS)
}

/// Returns the label of an issuer; `None` if there are too many: a recorder keeps each label forever.
pub(crate) fn issuer_label(issuer: &Arc<str>) -> Option<Arc<str>> {
    let mut issuers = ISSUERS.lock().unwrap_or_else(PoisonError::into_inner);
    label(&mut issuers, issuer, MOST_ISSUERS)
}

fn label(known: &mut BTreeSet<Arc<str>>, issuer: &Arc<str>, most: usize) -> Option<Arc<str>> {
    if let Some(known) = known.get(issuer) {
        return Some(Arc::clone(known));
    }
    (known.len() < most && known.insert(Arc::clone(issuer))).then(|| Arc::clone(issuer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_issuers_than_that_have_a_label_and_those_that_have_keep_it() {
        let mut known = BTreeSet::new();
        let [a, b, c]: [Arc<str>; 3] = ["a".into(), "b".into(), "c".into()];
        assert_eq!(label(&mut known, &a, 2), Some(Arc::clone(&a)));
        assert_eq!(label(&mut known, &b, 2), Some(b));
        assert_eq!(label(&mut known, &c, 2), None);
        assert_eq!(label(&mut known, &a, 2), Some(a));
        assert_eq!(known.len(), 2);
    }

    #[test]
    fn names_say_what_they_are_of() {
        for Metric(kind, name, unit, what) in METRICS {
            assert!(name.starts_with("tower_bearer_"), "{name}");
            assert_eq!(matches!(kind, Counter), name.ends_with("_total"), "{name}");
            assert_eq!(*unit == Unit::Seconds, name.ends_with("_seconds"), "{name}");
            assert!(!what.is_empty() && !what.ends_with('.'), "{name}");
        }
    }
}
