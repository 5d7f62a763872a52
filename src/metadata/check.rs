//! Fetches the published document as a client would, and reports what is wrong with it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Request, StatusCode, Uri};
use serde::Deserialize;

use crate::cause::Report;
use crate::json;
use crate::metadata::description::ResourceMetadata;
use crate::transport::{Limits, Transport, TransportError, user_agent};

/// The most bytes of a document.
const MAX_BYTES: usize = 64 * 1_024;

const TIMEOUT: Duration = Duration::from_secs(10);

/// The reason why clients cannot use the metadata they find.
///
/// `Display` states what to change.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub enum MetadataFault {
    /// There was no response.
    Transport(TransportError),
    /// The status of the response isn't 200. A proxy that requires credentials answers 401, and one that
    /// doesn't forward the well-known path answers 404.
    Status(StatusCode),
    /// The response isn't `application/json`, or isn't one JSON object with a `resource`.
    NotMetadata,
    /// `resource` is that of another resource, which clients refuse (RFC 9728 §3.3).
    OtherResource(Box<str>),
}

/// Fetches the document from the URL that challenges name, as a client would, and compares its `resource`.
///
/// It takes at most 10 seconds, reads at most 64 KiB, and follows no redirect.
///
/// # Errors
///
/// If clients can't use the document.
///
/// ```no_run
/// # #[cfg(all(feature = "reqwest", feature = "aws-lc-rs"))]
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_bearer::metadata::{ResourceMetadata, check};
/// use tower_bearer::transport::ReqwestTransport;
///
/// let metadata = ResourceMetadata::new("https://api.example/mcp")?;
/// check(&metadata, &ReqwestTransport::new()?).await?;
/// # Ok(())
/// # }
/// ```
pub async fn check(
    metadata: &ResourceMetadata,
    transport: &(impl Transport + ?Sized),
) -> Result<(), MetadataFault> {
    // The URL was parsed when the metadata was built.
    let uri: Uri = metadata.url().parse().map_err(|_| MetadataFault::NotMetadata)?;
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = uri;
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    request.headers_mut().insert(USER_AGENT, user_agent());
    let response = transport.send(request, Limits::new(MAX_BYTES, TIMEOUT)).await?;
    if response.status() != StatusCode::OK {
        return Err(MetadataFault::Status(response.status()));
    }
    let content_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let media_type = content_type.and_then(|it| it.split(|byte| *byte == b';').next());
    if !media_type.is_some_and(|it| it.trim_ascii().eq_ignore_ascii_case(b"application/json")) {
        return Err(MetadataFault::NotMetadata);
    }
    let Document { resource } =
        json::parse(response.body()).map_err(|_| MetadataFault::NotMetadata)?;
    if resource != metadata.resource() {
        return Err(MetadataFault::OtherResource(resource.into()));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Document {
    resource: String,
}

impl From<TransportError> for MetadataFault {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

impl fmt::Display for MetadataFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(_) => f.write_str("the metadata can't be fetched from its own URL"),
            Self::Status(status) => write!(
                f,
                "the metadata's URL answers {status}: have the proxy pass it on to this service, without \
                 credentials"
            ),
            Self::NotMetadata => f.write_str(
                "the metadata's URL answers something else than metadata: have the proxy pass it on to \
                 this service",
            ),
            Self::OtherResource(found) => write!(
                f,
                "the metadata's URL is that of another resource, {found:?}: give each resource a URL of its \
                 own"
            ),
        }
    }
}

/// `main` prints the `Debug` of the error that it returns.
impl fmt::Debug for MetadataFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Report(self))
    }
}

impl std::error::Error for MetadataFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Transport(error) => Some(error),
            Self::Status(_) | Self::NotMetadata | Self::OtherResource(_) => None,
        }
    }
}
