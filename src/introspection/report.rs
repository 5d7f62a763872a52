use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::monotonic;
use crate::introspection::answer::Answer;
use crate::introspection::error::{IntrospectionError, Trouble};
use crate::telemetry::{change, count, describe_metrics, event, gauge, issuer_label, observe};

/// What the logs and the metrics are told about one issuer's endpoint. Labels come from closed lists.
#[derive(Debug)]
pub(crate) struct Report {
    #[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "only events name it"))]
    issuer: Arc<str>,
    /// The issuer, where it has metrics of its own.
    label: Option<Arc<str>>,
    /// When the log was last told what callers can bring about.
    told: Mutex<Option<Instant>>,
}

/// Where a token was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    Accepted,
    Refused,
    Stale,
}

/// The log is told once in this time what callers can bring about at will.
const QUIET: Duration = Duration::from_secs(1);

/// Stands for the issuers that have no label of their own.
const OTHERS: &str = "other";

impl Report {
    pub(crate) fn new(issuer: &Arc<str>) -> Self {
        describe_metrics();
        Self { issuer: Arc::clone(issuer), label: issuer_label(issuer), told: Mutex::default() }
    }

    /// The label of what adds up.
    fn label(&self) -> Arc<str> {
        self.label.clone().unwrap_or_else(|| OTHERS.into())
    }

    /// The endpoint has been asked, or not even that.
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
        if error == IntrospectionError::CredentialsRefused {
            count!(
                "tower_bearer_introspection_credentials_refused_total",
                "issuer" => self.label()
            );
            event!(
                ERROR,
                issuer = &*self.issuer,
                "introspection_credentials: the authorization server refuses this service's own \
                 credentials, and no opaque token can be checked"
            );
            return;
        }
        if !error.blames_the_server() && !self.may_tell() {
            return;
        }
        let _hint = match error {
            IntrospectionError::UnsupportedTokenType => Some(
                "the server introspects opaque tokens only: check its JWTs by their signatures, and \
                 leave introspect_jwts out",
            ),
            IntrospectionError::NoEndpoint | IntrospectionError::NoMetadata => {
                Some("Introspection::endpoint takes the address by hand")
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
            "introspection_failed: a token couldn't be checked"
        );
    }

    /// Returns `true` once in a while, so that made-up tokens can't fill the log.
    fn may_tell(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = monotonic();
        if told.is_some_and(|at| now.saturating_duration_since(at) < QUIET) {
            return false;
        }
        *told = Some(now);
        true
    }

    /// The service's own secret or key is no good.
    pub(crate) fn unusable_credentials(&self, _error: &(dyn std::error::Error + 'static)) {
        event!(
            WARN,
            issuer = &*self.issuer,
            error = %crate::cause::Report(_error),
            "introspection_credentials: this service's own secret or key can't be used"
        );
    }

    /// A member of an answer isn't of its type.
    pub(crate) fn malformed(&self, _reason: &dyn std::fmt::Display) {
        if !self.may_tell() {
            return;
        }
        event!(
            WARN,
            issuer = &*self.issuer,
            reason = %_reason,
            "introspection_failed: a member of the answer isn't of its type"
        );
    }

    /// The circuit has opened, or closed again.
    pub(crate) fn circuit(&self, is_open: bool) {
        if let Some(label) = &self.label {
            gauge!(
                "tower_bearer_introspection_circuit_open", if is_open { 1.0 } else { 0.0 },
                "issuer" => Arc::clone(label)
            );
        }
        event!(
            WARN,
            issuer = &*self.issuer,
            open = is_open,
            "introspection_circuit: while it is open, the endpoint is asked once a second"
        );
    }

    /// A token was found in memory.
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

    /// A request begins to wait for an answer, or ends.
    pub(crate) fn waits(&self, by: f64) {
        if let Some(label) = &self.label {
            change!("tower_bearer_introspection_waiters", by, "issuer" => Arc::clone(label));
        }
    }
}
