//! The events and metrics of introspection.

#[cfg(feature = "tracing")]
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::monotonic;
use crate::introspection::answer::Answer;
#[cfg(feature = "tracing")]
use crate::introspection::endpoint::EndpointAt;
use crate::introspection::endpoint::EndpointFrom;
use crate::introspection::error::{IntrospectionError, Trouble};
use crate::introspection::error_kind::IntrospectionErrorKind;
use crate::telemetry::{
    Repeats, change, count, describe_metrics, event, gauge, issuer_label, observe,
};
#[cfg(feature = "tracing")]
use crate::text::one_line;

/// The most characters of an error and its causes.
#[cfg(feature = "tracing")]
const MAX_ERROR: usize = 500;

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
    pub(crate) fn asked(&self, asked: Result<&Answer, &Trouble>, place: &EndpointFrom) {
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
            self.failed(&trouble.error, place);
        }
    }

    pub(crate) fn took(&self, took: Duration) {
        observe!(
            "tower_bearer_introspection_request_duration_seconds", took.as_secs_f64(),
            "issuer" => self.label()
        );
    }

    /// Counts and logs a failure.
    pub(crate) fn failed(&self, error: &IntrospectionError, place: &EndpointFrom) {
        let refused = error.kind() == IntrospectionErrorKind::CredentialsRefused;
        if refused {
            count!(
                "tower_bearer_introspection_credentials_refused_total",
                "issuer" => self.label()
            );
        }
        let repeats = if refused { &self.credentials } else { &self.failures };
        let Some(_times) = repeats.record(error.code(), monotonic()) else { return };
        #[cfg(feature = "tracing")]
        self.tell(error, &place.place(), _times);
        #[cfg(not(feature = "tracing"))]
        let _ = place;
    }

    #[cfg(feature = "tracing")]
    fn tell(&self, error: &IntrospectionError, place: &EndpointAt, times: u64) {
        let causes = one_line(&crate::cause::Report(error).to_string(), MAX_ERROR);
        // While the circuit is open, what can be done is that about the failure that opened it.
        let cause = error.source().and_then(|cause| cause.downcast_ref::<IntrospectionError>());
        let remedy = place.remedy(cause.unwrap_or(error).kind());
        if error.kind() == IntrospectionErrorKind::CredentialsRefused {
            event!(
                ERROR,
                issuer = &*self.issuer,
                url = place.url(),
                times,
                "introspection_credentials: the authorization server refuses this service's own \
                 credentials, and no opaque token can be checked: {remedy}"
            );
            return;
        }
        event!(
            WARN,
            issuer = &*self.issuer,
            code = error.code(),
            error = causes,
            url = place.url(),
            times,
            "introspection_failed: a token couldn't be checked: {remedy}"
        );
    }

    /// Logs that this service's own secret or key can't be used.
    pub(crate) fn unusable_credentials(&self, _error: &(dyn std::error::Error + 'static)) {
        let Some(_times) = self.credentials.record("unusable", monotonic()) else { return };
        event!(
            WARN,
            issuer = &*self.issuer,
            times = _times,
            error = %crate::cause::Report(_error),
            "introspection_credentials: this service's own secret or key can't be used"
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
