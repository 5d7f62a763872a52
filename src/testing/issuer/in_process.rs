//! A transport that asks the embedded issuer in process, for tests under paused time.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::testing::issuer::answer::{Answer, answer};
use crate::testing::issuer::body::AnswerBody;
use crate::testing::issuer::state::State;
use crate::transport::{Limits, Transport, TransportError, TransportErrorKind, TransportFuture};

/// A [`Transport`] to the embedded issuer without a network.
///
/// It is created by [`TestIssuer::transport`](crate::testing::TestIssuer::transport). Faults, counters
/// and [`TestIssuer::stop`](crate::testing::TestIssuer::stop) affect it as they affect real requests, and all
/// waiting uses tokio's clock, which a test may have paused. Addresses other than the issuer's
/// can't be reached.
#[derive(Clone, Debug)]
pub struct IssuerTransport {
    state: Arc<State>,
}

impl IssuerTransport {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state }
    }
}

impl Transport for IssuerTransport {
    fn send(&self, request: Request<Bytes>, limits: Limits) -> TransportFuture {
        let state = Arc::clone(&self.state);
        Box::pin(async move {
            let uri = request.uri();
            let root = uri.scheme_str().zip(uri.authority());
            let root = root.map(|(scheme, authority)| format!("{scheme}://{authority}"));
            if !state.is_running() || root.as_ref() != Some(&state.config.root) {
                return Err(TransportError::new(TransportErrorKind::Connect));
            }
            let timed_out = Err(TransportError::new(TransportErrorKind::Timeout));
            timeout(limits.timeout, exchange(&state, request, limits)).await.unwrap_or(timed_out)
        })
    }
}

async fn exchange(
    state: &State,
    request: Request<Bytes>,
    limits: Limits,
) -> Result<Response<Bytes>, TransportError> {
    let broken = || TransportError::new(TransportErrorKind::Other);
    let Answer::Response(response, delivery) = answer(state, request).await else {
        return Err(broken());
    };
    let (head, body) = response.into_parts();
    let mut body = AnswerBody::new(body, delivery);
    let promised = body.size_hint().exact();
    let mut received = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            received.extend_from_slice(&data);
        }
        if received.len() > limits.max_bytes {
            return Err(TransportError::new(TransportErrorKind::TooLarge));
        }
    }
    let whole = promised.is_none_or(|length| u64::try_from(received.len()) == Ok(length));
    if whole { Ok(Response::from_parts(head, received.freeze())) } else { Err(broken()) }
}
