//! Introspects a token: waits for a slot, asks within the circuit, and records the outcome.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, Uri};
use tokio::time::{Instant, timeout_at};

use crate::cause::Cause;
use crate::clock::{Clock, UnixTime, jitter, monotonic};
use crate::credentials::fingerprinted::FingerprintedSecret;
use crate::credentials::provider::SecretError;
use crate::introspection::answer::{Answer, read};
use crate::introspection::endpoint::{EndpointAt, EndpointFrom};
use crate::introspection::error::{IntrospectionError, Trouble};
use crate::introspection::error_kind::IntrospectionErrorKind;
use crate::introspection::reply::check;
use crate::introspection::report::Report;
use crate::introspection::request::Form;
use crate::introspection::signed::Signed;
use crate::introspection::status::IntrospectionStatus;
use crate::issuer::{Circuit, Network, Pass};
use crate::jwks::Health;
use crate::refusal::Rejection;
use crate::slots::Slots;
use crate::transport::{Limits, printable};
use crate::turns::longest;

/// One issuer's introspection endpoint, with the settings and state of its use.
#[derive(Debug)]
pub(crate) struct Introspector {
    pub(crate) issuer: Arc<str>,
    pub(crate) place: EndpointFrom,
    pub(crate) form: Form,
    pub(crate) signed: Option<Signed>,
    pub(crate) network: Network,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) slots: Slots,
    pub(crate) record: Mutex<Record>,
    pub(crate) report: Report,
}

/// The record of the endpoint's successes and failures.
#[derive(Debug, Default)]
pub(crate) struct Record {
    circuit: Circuit,
    last_error: Option<IntrospectionError>,
    /// The last failure that was the server's.
    last_fault: Option<IntrospectionError>,
    last_success: Option<UnixTime>,
}

impl Record {
    /// The circuit is open for so long, because of the last failure.
    fn open_for(&self, wait: Duration) -> Trouble {
        let cause = self.last_fault.clone().map(|error| Arc::new(error) as Cause);
        let error = IntrospectionError::because(IntrospectionErrorKind::CircuitOpen, cause);
        Trouble { error, retry_after: Some(wait) }
    }
}

/// How many secrets one introspection tries: the one that is known, and a newer one.
const MOST_SECRETS: usize = 2;

impl Introspector {
    /// Introspects a token once, for a bounded time, unless the circuit is open.
    pub(crate) async fn ask(&self, token: &[u8]) -> Result<Answer, Trouble> {
        let began = monotonic();
        let asked = self.ask_in_turn(token, began).await;
        self.report.asked(asked.as_ref(), &self.place);
        asked
    }

    async fn ask_in_turn(&self, token: &[u8], began: Instant) -> Result<Answer, Trouble> {
        let deadline = began.checked_add(self.network.limits.timeout).unwrap_or(began);
        let pass = self.enter(began)?;
        let Ok(Some(slot)) = timeout_at(deadline, self.slots.enter()).await else {
            return Err(IntrospectionErrorKind::Overloaded.into());
        };
        // The circuit may have opened while this request was queued.
        if pass == Pass::Closed {
            let record = self.record();
            if record.circuit.is_open() {
                return Err(record.open_for(Duration::from_secs(1)));
            }
        }
        let sent = monotonic();
        let asked = timeout_at(deadline, self.ask_now(token, deadline)).await;
        drop(slot);
        self.report.took(monotonic().saturating_duration_since(sent));
        let asked = asked.unwrap_or_else(|_| Err(IntrospectionErrorKind::Timeout.into()));
        // With half of its time spent in the queue, which callers can fill, it says nothing of the server.
        let queued = sent.saturating_duration_since(began);
        let has_queued = queued.saturating_mul(2) > self.network.limits.timeout;
        let asked = asked.map_err(|trouble| match trouble.kind() {
            IntrospectionErrorKind::Timeout if has_queued => {
                IntrospectionErrorKind::Overloaded.into()
            }
            _ => trouble,
        });
        self.note(asked.as_ref().err());
        asked
    }

    fn enter(&self, now: Instant) -> Result<Pass, Trouble> {
        let mut record = self.record();
        record.circuit.enter(now, jitter()).map_err(|wait| record.open_for(wait))
    }

    /// Asks, with another secret if this one is refused, and once more if a pooled connection turns out
    /// to be closed.
    async fn ask_now(&self, token: &[u8], deadline: Instant) -> Result<Answer, Trouble> {
        let source = self.form.caller.source();
        let patience = self.network.limits.timeout;
        let mut known = match source {
            None => None,
            Some(source) => {
                let known = source.current(patience).await;
                Some(known.map_err(|error| self.unusable_credentials(error))?)
            }
        };
        let mut refused = Vec::new();
        let mut again = true;
        loop {
            let asked = self.ask_once(token, known.as_ref(), deadline).await;
            match (&asked, source) {
                (Ok(_), Some(source)) => {
                    if let Some(known) = &known {
                        source.accepted(known);
                    }
                }
                (Err(trouble), Some(source))
                    if trouble.kind() == IntrospectionErrorKind::CredentialsRefused =>
                {
                    refused.extend(known.take());
                    if refused.len() < MOST_SECRETS {
                        known = source.other_than(&refused, patience).await;
                        if known.is_some() {
                            continue;
                        }
                    }
                }
                (Err(trouble), _)
                    if again && trouble.kind() == IntrospectionErrorKind::Exchange =>
                {
                    again = false;
                    continue;
                }
                _ => {}
            }
            return asked;
        }
    }

    async fn ask_once(
        &self,
        token: &[u8],
        known: Option<&FingerprintedSecret>,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        let endpoint = self.place.find(&self.network, self.clock.now()).await?;
        let (now, patience) = (self.clock.now(), self.network.limits.timeout);
        let request = self.form.write(token, &endpoint, &self.issuer, known, now, patience).await;
        let request = request.map_err(|error| self.unusable_credentials(error))?;
        let left = deadline.saturating_duration_since(monotonic());
        let limits =
            Limits { timeout: left.min(self.network.limits.timeout), ..self.network.limits };
        let response = self.network.transport.send(request, limits).await;
        let answer = match response {
            Ok(response) => self.read(response, limits).await,
            Err(error) => Err(IntrospectionError::from(&error).into()),
        };
        if answer.as_ref().is_err_and(|trouble| trouble.kind().blames_the_address()) {
            self.place.invalidate();
        }
        answer
    }

    async fn read(&self, response: Response<Bytes>, limits: Limits) -> Result<Answer, Trouble> {
        let now = self.clock.now();
        check(&response, limits.max_bytes, now)?;
        let (head, body) = response.into_parts();
        Ok(match &self.signed {
            Some(signed) => signed.read(&head.headers, &body, &self.issuer, now).await?,
            None => read(&body, &self.issuer)?,
        })
    }

    /// Logs that this service's own secret or key can't be used.
    fn unusable_credentials(&self, error: SecretError) -> IntrospectionError {
        self.report.unusable_credentials(&error);
        IntrospectionError::because(IntrospectionErrorKind::Credentials, Some(Arc::new(error)))
    }

    /// Logs that a member of an answer has the wrong type.
    pub(crate) fn malformed(&self, rejection: Rejection) -> IntrospectionError {
        let kind = IntrospectionErrorKind::MalformedMember;
        let error = IntrospectionError::because(kind, Some(Arc::new(rejection)));
        self.report.failed(&error, &self.place);
        error
    }

    /// Returns where the endpoint is, or is looked for.
    pub(crate) fn place(&self) -> EndpointAt {
        self.place.place()
    }

    fn note(&self, trouble: Option<&Trouble>) {
        let mut record = self.record();
        let was_open = record.circuit.is_open();
        match trouble {
            None => {
                record.circuit.succeeded();
                record.last_success = Some(self.clock.now());
                record.last_error = None;
                record.last_fault = None;
            }
            Some(trouble) => {
                record.last_error = Some(trouble.error.clone());
                if trouble.kind().blames_the_server() {
                    record.last_fault = Some(trouble.error.clone());
                    record.circuit.failed(trouble.retry_after, monotonic(), jitter());
                }
            }
        }
        let is_open = record.circuit.is_open();
        drop(record);
        if is_open != was_open {
            self.report.circuit(is_open);
        }
    }

    /// Returns how long an introspection may take, including the wait for a slot.
    pub(crate) const fn longest(&self) -> Duration {
        longest(self.network.limits.timeout)
    }

    /// Returns the health for a readiness probe: never `NotReady`, since cached tokens are still accepted.
    pub(crate) fn health(&self) -> Health {
        if self.record().circuit.is_open() { Health::Degraded } else { Health::Ready }
    }

    pub(crate) fn status(&self) -> IntrospectionStatus {
        let record = self.record();
        let circuit_open = record.circuit.is_open();
        IntrospectionStatus {
            health: if circuit_open { Health::Degraded } else { Health::Ready },
            endpoint: self.place.known().as_ref().map(Uri::to_string).map(|uri| printable(&uri)),
            circuit_open,
            consecutive_failures: record.circuit.failures(),
            last_error: record.last_error.clone(),
            last_success: record.last_success,
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
