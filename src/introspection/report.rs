//! The events and metrics of introspection.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::monotonic;
use crate::introspection::answer::Answer;
use crate::introspection::error::{IntrospectionError, Trouble};
use crate::telemetry::{
    Repeats, change, count, describe_metrics, event, gauge, issuer_label, observe,
};

/// Reports events and metrics of one issuer's endpoint. Labels come from closed lists.
#[derive(Debug)]
pub(crate) struct Report {
    #[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "only events name it"))]
    issuer: Arc<str>,
    /// The issuer as a label, if it has metrics of its own.
    label: Option<Arc<str>>,
    /// The failures that were logged; callers can cause some of them at will. A success in between ends none of them.
    failures: Repeats<&'static str>,
    /// Those of this service's own credentials, which no other failure may hide.
    credentials: Repeats<&'static str>,
}

/// A request that waits for an answer.
pub(crate) struct Waiting<'a>(&'a Report);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waits(-1.0);
    }
}

/// The kind of cache entry that a token was found in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    Accepted,
    Refused,
    Stale,
}

/// The label of issuers that have none of their own.
const OTHERS: &str = "other";

impl Report {
    pub(crate) fn new(issuer: &Arc<str>) -> Self {
        describe_metrics();
        let label = issuer_label(issuer);
        let this = Self {
            issuer: Arc::clone(issuer),
            label,
            failures: Repeats::new(),
            credentials: Repeats::new(),
        };
        // The gauge exists from the start, and not only once the circuit opens.
        this.set_circuit_gauge(false);
        this
    }

    /// Returns the label for counters and histograms.
    fn label(&self) -> Arc<str> {
        self.label.clone().unwrap_or_else(|| OTHERS.into())
    }

    /// Records the outcome of an introspection, also if no request was sent.
    pub(crate) fn asked(&self, asked: Result<&Answer, &Trouble>) {
        let result = match asked {
            Ok(Answer::Active(_)) => "active",
            Ok(Answer::Inactive) => "inactive",
            Err(trouble) => trouble.error.code(),
        };
        count!(
            "tower_bearer_introspection_requests_total",
            "issuer" => self.label(), "result" => result
        );
        if let Err(trouble) = asked {
            self.failed(trouble.error);
        }
    }

    pub(crate) fn took(&self, took: Duration) {
        observe!(
            "tower_bearer_introspection_request_duration_seconds", took.as_secs_f64(),
            "issuer" => self.label()
        );
    }

    fn failed(&self, error: IntrospectionError) {
        let refused = error == IntrospectionError::CredentialsRefused;
        if refused {
            count!(
                "tower_bearer_introspection_credentials_refused_total",
                "issuer" => self.label()
            );
        }
        let repeats = if refused { &self.credentials } else { &self.failures };
        let Some(_times) = repeats.came(error.code(), monotonic()) else { return };
        if refused {
            event!(
                ERROR,
                issuer = &*self.issuer,
                times = _times,
                "introspection_credentials: the authorization server refuses this service's own \
                 credentials, and no opaque token can be checked"
            );
            return;
        }
        let _hint = match error {
            IntrospectionError::UnsupportedTokenType => Some(
                "the server introspects opaque tokens only: check its JWTs by their signatures, and \
                 leave introspect_jwts out",
            ),
            IntrospectionError::NoEndpoint | IntrospectionError::NoMetadata => {
                Some("set the endpoint's URL with Introspection::endpoint")
            }
            IntrospectionError::Encrypted => {
                Some("register this service without introspection_encrypted_response_alg")
            }
            _ => None,
        };
        event!(
            WARN,
            issuer = &*self.issuer,
            %error,
            hint = _hint,
            times = _times,
            "introspection_failed: a token couldn't be checked"
        );
    }

    /// Logs that this service's own secret or key can't be used.
    pub(crate) fn unusable_credentials(&self, _error: &(dyn std::error::Error + 'static)) {
        let Some(_times) = self.credentials.came("unusable", monotonic()) else { return };
        event!(
            WARN,
            issuer = &*self.issuer,
            times = _times,
            error = %crate::cause::Report(_error),
            "introspection_credentials: this service's own secret or key can't be used"
        );
    }

    /// Logs that a member of an answer has the wrong type.
    pub(crate) fn malformed(&self, _reason: &dyn std::fmt::Display) {
        let Some(_times) = self.failures.came("member", monotonic()) else { return };
        event!(
            WARN,
            issuer = &*self.issuer,
            times = _times,
            reason = %_reason,
            "introspection_failed: a member of the answer has the wrong type"
        );
    }

    /// Records that the circuit has opened, or closed again.
    pub(crate) fn circuit(&self, is_open: bool) {
        self.set_circuit_gauge(is_open);
        event!(
            WARN,
            issuer = &*self.issuer,
            open = is_open,
            "introspection_circuit: while it is open, the endpoint is asked once a second"
        );
    }

    fn set_circuit_gauge(&self, is_open: bool) {
        if let Some(label) = &self.label {
            gauge!(
                "tower_bearer_introspection_circuit_open", if is_open { 1.0 } else { 0.0 },
                "issuer" => Arc::clone(label)
            );
        }
    }

    /// Counts a token that was found in the cache.
    #[inline]
    pub(crate) fn found(&self, found: Found) {
        let result = match found {
            Found::Accepted => "accepted",
            Found::Refused => "refused",
            Found::Stale => "stale",
        };
        count!(
            "tower_bearer_introspection_cache_hits_total",
            "issuer" => self.label(), "result" => result
        );
    }

    /// Counts a request that waits for an answer, until that is dropped.
    pub(crate) fn waiting(&self) -> Waiting<'_> {
        self.waits(1.0);
        Waiting(self)
    }

    fn waits(&self, by: f64) {
        if let Some(label) = &self.label {
            change!("tower_bearer_introspection_waiters", by, "issuer" => Arc::clone(label));
        }
    }
}
