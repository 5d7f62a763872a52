//! Requests to Vault, and what the status of an answer means.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri};
use tokio::time::Instant;

use crate::cause::Reason;
use crate::clock::monotonic;
use crate::credentials::provider::{SecretError, SecretErrorKind};
use crate::error::ConfigError;
use crate::transport::{CONNECT_TIMEOUT, Limits, Transport, TransportErrorKind, user_agent};

/// How long a secret may take, a login included.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(4);

/// The most bytes of an answer: all fields of a secret, and their metadata.
const MAX_BYTES: usize = 256 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// A field that Vault's agent may require, since a browser can't be made to send it.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// The address of a Vault, and the transport to it.
pub(crate) struct Server {
    pub(crate) transport: Arc<dyn Transport>,
    /// The base URL, which ends with `/v1`.
    pub(crate) base: String,
    pub(crate) namespace: Option<HeaderValue>,
}

/// Why a request has no usable answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// 403: the token is expired or revoked, or lacks the permission. Vault doesn't say which.
    Denied,
    /// 404: there is nothing at this path.
    Missing,
    Error(SecretError),
}

impl Server {
    /// Returns the address of an encoded path.
    pub(crate) fn uri(&self, path: &str) -> Result<Uri, ConfigError> {
        let uri = format!("{}/{path}", self.base).parse();
        uri.map_err(|_| ConfigError::new("the address of Vault and the path are too long together"))
    }

    /// Reads, or writes `body`, and returns the body of a 200 that arrives by this time.
    pub(crate) async fn ask(
        &self,
        uri: &Uri,
        body: Option<Bytes>,
        token: Option<&HeaderValue>,
        by: Instant,
    ) -> Result<Bytes, Failure> {
        let mut request = match body {
            Some(body) => {
                let mut request = Request::post(uri.clone()).body(body);
                if let Ok(request) = &mut request {
                    request.headers_mut().insert(CONTENT_TYPE, JSON);
                }
                request
            }
            None => Request::get(uri.clone()).body(Bytes::new()),
        }
        .map_err(|_| failed(SecretErrorKind::Other, "the request can't be built"))?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, JSON);
        headers.insert(USER_AGENT, user_agent());
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        headers.extend(self.namespace.clone().map(|namespace| (NAMESPACE, namespace)));
        headers.extend(token.cloned().map(|token| (TOKEN, token)));

        let left = by.saturating_duration_since(monotonic());
        if left.is_zero() {
            return Err(slow());
        }
        let mut limits = Limits::new(MAX_BYTES, left);
        limits.connect_timeout = left.min(CONNECT_TIMEOUT);
        // The time is bounded here as well, for transports that don't keep the limits.
        let answer = tokio::time::timeout(left, self.transport.send(request, limits)).await;
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let kind = match error.kind() {
                    TransportErrorKind::TooLarge | TransportErrorKind::ContentEncoding => {
                        SecretErrorKind::Malformed
                    }
                    TransportErrorKind::BlockedAddress | TransportErrorKind::Credentials => {
                        SecretErrorKind::Other
                    }
                    _ => SecretErrorKind::Unavailable,
                };
                return Err(Failure::Error(SecretError::new(kind).with_source(error)));
            }
            Err(_) => return Err(slow()),
        };
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(refused(status)),
        }
    }
}

/// Maps an answer by its status alone: Vault's messages name paths, policies and accounts.
fn refused(status: StatusCode) -> Failure {
    let unavailable = |reason| failed(SecretErrorKind::Unavailable, reason);
    match status.as_u16() {
        403 => Failure::Denied,
        404 => Failure::Missing,
        300..=399 => unavailable(
            "Vault answers with a redirect, which isn't followed: give the address of the active node, \
             or of one that forwards requests",
        ),
        412 => unavailable("this node of Vault isn't up to date yet"),
        429 => unavailable("Vault limits the rate of requests"),
        472 | 473 => unavailable("this node of Vault is a standby that doesn't answer requests"),
        503 => unavailable("Vault is sealed, or down for maintenance"),
        500..=599 => unavailable("Vault, or a proxy before it, failed"),
        code => {
            let reason = Reason(format!("Vault refuses with the status {code}").into());
            Failure::Error(SecretError::new(SecretErrorKind::Other).with_source(reason))
        }
    }
}

fn slow() -> Failure {
    failed(SecretErrorKind::Unavailable, "Vault didn't answer within 4 seconds")
}

pub(crate) fn failed(kind: SecretErrorKind, reason: &'static str) -> Failure {
    Failure::Error(SecretError::new(kind).with_source(Reason(reason.into())))
}
