use std::error::Error;
use std::fmt;

use crate::client::error::TokenError;

/// A request that got no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// There is no token. The request wasn't sent.
    Token(TokenError),
    /// Tokens may not be sent there. The request wasn't sent.
    Origin(OriginRefused),
    /// The service that sends requests failed, with this error of its own.
    Service(Box<dyn Error + Send + Sync>),
}

impl SendError {
    pub(crate) fn service(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Service(error.into())
    }
}

/// An address that isn't of the allowed origins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct OriginRefused;

impl fmt::Display for OriginRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request's address isn't of an origin that tokens may be sent to")
    }
}

impl Error for OriginRefused {}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(error) => error.fmt(f),
            Self::Origin(error) => error.fmt(f),
            Self::Service(error) => error.fmt(f),
        }
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // The text of the others is passed on as it is; their sources are ours.
            Self::Token(error) => error.source(),
            Self::Origin(error) => error.source(),
            Self::Service(error) => error.source(),
        }
    }
}
