//! One bounded exchange with the issuer.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{LOCATION, USER_AGENT};
use http::{HeaderMap, Request, Response, StatusCode, Uri};

use crate::clock::UnixTime;
use crate::issuer::fault::{Fault, FaultKind};
use crate::transport::{
    Coding, Limits, PlainHttp, Transport, TransportErrorKind, parse_url, port, retry_after,
    user_agent,
};

/// The transport and bounds for reaching the issuer.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) limits: Limits,
    pub(crate) redirects: u8,
    pub(crate) plain_http: PlainHttp,
}

/// Sends the request and follows up to the allowed number of redirects. Returns a 200 or a 304.
///
/// The bounds are checked here as well, because transports are replaceable.
pub(crate) async fn ask(
    network: &Network,
    uri: &Uri,
    headers: HeaderMap,
    now: UnixTime,
) -> Result<Response<Bytes>, Fault> {
    let exchange = async {
        let mut uri = uri.clone();
        let mut redirects = network.redirects;
        loop {
            let mut request = Request::new(Bytes::new());
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = headers.clone();
            request.headers_mut().insert(USER_AGENT, user_agent());
            let response = network.transport.send(request, network.limits).await?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED
            {
                return Ok::<_, FaultKind>(response);
            }
            uri = redirects
                .checked_sub(1)
                .and_then(|left| {
                    redirects = left;
                    location(response.headers(), &uri, network.plain_http)
                })
                .ok_or(FaultKind::Redirect)?;
        }
    };
    let response = tokio::time::timeout(network.limits.timeout, exchange)
        .await
        .unwrap_or(Err(TransportErrorKind::Timeout.into()))?;
    check(response, network.limits.max_bytes, now)
}

/// Returns a redirect's target if it has the same scheme, host and port.
fn location(headers: &HeaderMap, from: &Uri, plain_http: PlainHttp) -> Option<Uri> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let absolute = match location.strip_prefix('/') {
        Some(rest) if !rest.starts_with(['/', '\\']) => {
            format!("{}://{}{location}", from.scheme()?, from.authority()?)
        }
        _ => location.to_owned(),
    };
    let to = parse_url(&absolute, plain_http).ok()?;
    let origin = |uri: &Uri| {
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        (uri.scheme().cloned(), host, port(uri))
    };
    (origin(&to) == origin(from)).then_some(to)
}

fn check(
    response: Response<Bytes>,
    max_bytes: usize,
    now: UnixTime,
) -> Result<Response<Bytes>, Fault> {
    let status = response.status();
    if status != StatusCode::OK && status != StatusCode::NOT_MODIFIED {
        let away =
            matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        return Err(Fault {
            kind: FaultKind::Status(status.as_u16()),
            retry_after: away.then(|| retry_after(response.headers(), now)).flatten(),
        });
    }
    if response.body().len() > max_bytes {
        return Err(FaultKind::from(TransportErrorKind::TooLarge).into());
    }
    // A transport has decoded the codings that it asked for itself.
    if Coding::of(response.headers()) != Coding::Identity {
        return Err(FaultKind::from(TransportErrorKind::ContentEncoding).into());
    }
    Ok(response)
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("limits", &self.limits)
            .field("redirects", &self.redirects)
            .field("plain_http", &self.plain_http)
            .finish_non_exhaustive()
    }
}
