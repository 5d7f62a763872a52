//! The faults of fetching metadata, and how each affects the search.

#[cfg(feature = "tracing")]
use std::fmt;
use std::time::Duration;

#[cfg(feature = "tracing")]
use crate::cause::Report;
#[cfg(feature = "tracing")]
use crate::text::Excerpt;
use crate::transport::{TransportError, TransportErrorKind};

/// The error of an exchange without a usable answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// The delay that the server's `Retry-After` asks for.
    pub(crate) retry_after: Option<Duration>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum FaultKind {
    /// There was no answer.
    Transport(TransportError),
    /// The answer had another status than 200.
    Status(u16),
    /// The answer was a redirect that isn't followed.
    Redirect,
    /// The answer is no JSON object, such as a login page.
    NotMetadata,
    /// The answer looks like metadata and can't be read.
    Unreadable,
    /// The metadata names no address that may be used.
    Unacceptable,
    /// The metadata is that of this other issuer (RFC 8414 §3.3).
    IssuerMismatch(Box<str>),
}

impl FaultKind {
    /// Returns `true` if the host can't be reached. The other well-known locations are on the same host.
    pub(crate) const fn ends_the_search(&self) -> bool {
        let Self::Transport(error) = self else { return false };
        matches!(
            error.kind(),
            TransportErrorKind::UnknownHost
                | TransportErrorKind::Connect
                | TransportErrorKind::Tls
                | TransportErrorKind::BlockedAddress
        )
    }

    /// Returns `true` if the server answered that the document doesn't exist.
    pub(crate) const fn means_empty(&self) -> bool {
        match self {
            Self::NotMetadata | Self::Redirect => true,
            Self::Status(status) => *status < 500 && !matches!(status, 408 | 425 | 429),
            _ => false,
        }
    }

    /// Returns how informative a fault is to the operator. A transient fault, which may hide metadata,
    /// ranks above an unreadable document, and that above a missing one.
    pub(crate) const fn rank(&self) -> u8 {
        match self {
            Self::IssuerMismatch(_) => 6,
            Self::Unacceptable => 5,
            Self::Transport(error) => match error.kind() {
                TransportErrorKind::TooLarge | TransportErrorKind::ContentEncoding => 3,
                _ => 4,
            },
            Self::Unreadable => 3,
            Self::NotMetadata => 2,
            Self::Redirect => 1,
            Self::Status(_) if self.means_empty() => 1,
            Self::Status(_) => 4,
        }
    }
}

/// What came of the question for metadata, for the log.
#[cfg(feature = "tracing")]
impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => write!(f, "{}", Report(error)),
            Self::Status(status) => write!(f, "the status {status}"),
            Self::Redirect => f.write_str("a redirect, which isn't followed"),
            Self::NotMetadata => f.write_str("no JSON object"),
            Self::Unreadable => f.write_str("metadata that can't be read"),
            Self::Unacceptable => f.write_str("metadata without the address that is needed"),
            Self::IssuerMismatch(found) => write!(f, "the metadata of {}", Excerpt::new(found)),
        }
    }
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        Self { kind, retry_after: None }
    }
}

impl From<TransportError> for FaultKind {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

impl From<TransportErrorKind> for FaultKind {
    fn from(kind: TransportErrorKind) -> Self {
        Self::Transport(kind.into())
    }
}
