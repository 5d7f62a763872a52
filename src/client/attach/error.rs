//! Errors of a request that got no response: no token, or an origin or `Host` that isn't allowed.

use std::error::Error;
use std::fmt;

use http::Uri;

use crate::cause::Report;
use crate::client::grant::error::TokenError;
use crate::transport::Origin;

/// The error of a request that got no response.
///
/// `Display` is one sentence, and `Debug` the sentence with its causes, as `main` prints it.
///
/// tonic maps errors that it doesn't know, this one included, to `Unknown`. To get gRPC's `UNAVAILABLE` and
/// `DEADLINE_EXCEEDED` instead, map the error outside of the [`AttachTokenLayer`]:
///
/// ```
/// # fn example(tokens: tower_bearer::client::TokenSource) -> Result<(), Box<dyn std::error::Error>> {
/// use tonic::{Status, body::Body, transport::Channel};
/// use tower::ServiceBuilder;
/// use tower_bearer::client::{AttachTokenLayer, ReplayBody, SendError, TokenErrorKind};
///
/// let channel = Channel::from_static("http://[::1]:50051").connect_lazy();
/// let channel = ServiceBuilder::new()
///     .map_err(|error: SendError| match error {
///         SendError::Service(error) => Status::from_error(error),
///         SendError::Token(error) if *error.kind() == TokenErrorKind::Deadline => {
///             Status::deadline_exceeded(error.to_string())
///         }
///         ours => Status::unavailable(ours.to_string()),
///     })
///     .layer(AttachTokenLayer::for_channel(tokens, "http://[::1]:50051")?)
///     .map_request(|request: http::Request<ReplayBody<Body>>| request.map(Body::new))
///     .service(channel);
/// # Ok(())
/// # }
/// ```
///
/// [`AttachTokenLayer`]: crate::client::AttachTokenLayer
#[non_exhaustive]
pub enum SendError {
    /// There is no token. The request wasn't sent.
    Token(TokenError),
    /// Tokens may not be sent there. The request wasn't sent.
    Origin(OriginRefused),
    /// The request's `Host` field names another host than its address. The request wasn't sent.
    Host(HostRefused),
    /// The service that sends requests failed, with this error of its own.
    Service(Box<dyn Error + Send + Sync>),
}

impl SendError {
    pub(crate) fn service(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Service(error.into())
    }
}

/// The error of a request to an origin that isn't allowed. It names that origin and the allowed
/// ones, without path, query or user.
#[derive(Clone, Eq, PartialEq)]
pub struct OriginRefused(Box<Sides>);

#[derive(Clone, Eq, PartialEq)]
struct Sides {
    refused: Option<String>,
    allowed: String,
}

impl OriginRefused {
    pub(crate) fn new(uri: &Uri, allowed: &[Origin]) -> Self {
        let refused = Origin::of(uri).map(|origin| origin.to_string());
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        Self(Box::new(Sides { refused, allowed: allowed.join(", ") }))
    }

    /// Returns the request's origin, such as `https://orders.example:8443`; `None` if its URL has
    /// no host, or is neither `https` nor `http`.
    pub fn origin(&self) -> Option<&str> {
        self.0.refused.as_deref()
    }

    /// Returns the origins that tokens may be sent to, separated by `, `.
    pub fn allowed(&self) -> &str {
        &self.0.allowed
    }
}

/// The error of a request whose `Host` field names another host than its URL.
#[derive(Clone, Copy, Eq, PartialEq)]
#[non_exhaustive]
pub struct HostRefused;

impl fmt::Display for HostRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request's Host field names another host than its address")
    }
}

impl fmt::Debug for HostRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Error for HostRefused {}

impl fmt::Display for OriginRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin() {
            Some(origin) => write!(f, "no token may be sent to {origin}")?,
            None => {
                f.write_str("no token may be sent to an address without an https or http host")?
            }
        }
        write!(f, ", only to {}", self.allowed())
    }
}

impl fmt::Debug for OriginRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Error for OriginRefused {}

impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Report(self))
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(error) => error.fmt(f),
            Self::Origin(error) => error.fmt(f),
            Self::Host(error) => error.fmt(f),
            Self::Service(error) => error.fmt(f),
        }
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // `Display` prints the text of the others, so their sources follow directly.
            Self::Token(error) => error.source(),
            Self::Origin(error) => error.source(),
            Self::Host(error) => error.source(),
            Self::Service(error) => error.source(),
        }
    }
}
