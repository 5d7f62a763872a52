//! Why an introspection gave no verdict, with the cause.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::cause::{Cause, Reason, Report};
use crate::introspection::error_kind::IntrospectionErrorKind;
use crate::issuer::FaultKind;
use crate::text::Excerpt;
use crate::transport::TransportError;

/// The error of an introspection that gave no verdict.
///
/// `Display` is a sentence without an address and without anything that was received;
/// [`source`](Error::source) is the cause, if it is known. It serializes as its [code](Self::code), with
/// the status if there was one. Two are equal if they are of the same kind.
#[derive(Clone)]
pub struct IntrospectionError {
    kind: IntrospectionErrorKind,
    cause: Option<Cause>,
}

impl IntrospectionError {
    /// Returns the reason.
    pub const fn kind(&self) -> IntrospectionErrorKind {
        self.kind
    }

    /// Returns a stable, machine-readable code, for logs and metrics.
    pub const fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// Returns what can be done about it: one sentence for the operator.
    pub const fn remedy(&self) -> &'static str {
        self.kind.remedy()
    }

    /// Adds the cause, which is logged along with this error: it must hold neither the address, nor
    /// anything of the token or of the answer.
    pub(crate) fn because(kind: IntrospectionErrorKind, cause: Option<Cause>) -> Self {
        Self { kind, cause }
    }

    /// Translates a fault of discovery.
    pub(crate) fn of(fault: &FaultKind) -> Self {
        let cause: Option<Cause> = match fault {
            // The kind has the transport's own sentence.
            FaultKind::Transport(error) => error.cause(),
            FaultKind::IssuerMismatch(found) => {
                let found = Excerpt::new(found);
                Some(Arc::new(Reason(format!("its issuer is {found}").into())))
            }
            FaultKind::Status(status) => {
                Some(Arc::new(Reason(format!("the metadata's status is {status}").into())))
            }
            _ => None,
        };
        Self { kind: IntrospectionErrorKind::of(fault), cause }
    }
}

impl From<IntrospectionErrorKind> for IntrospectionError {
    fn from(kind: IntrospectionErrorKind) -> Self {
        Self { kind, cause: None }
    }
}

impl From<&TransportError> for IntrospectionError {
    fn from(error: &TransportError) -> Self {
        Self { kind: error.kind().into(), cause: error.cause() }
    }
}

impl fmt::Display for IntrospectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            IntrospectionErrorKind::Status(status) => {
                write!(f, "{} ({status})", self.kind.summary())
            }
            kind => f.write_str(kind.summary()),
        }
    }
}

/// `main` prints the `Debug` of the error that it returns.
impl fmt::Debug for IntrospectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Report(self))
    }
}

impl Error for IntrospectionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as _)
    }
}

impl PartialEq for IntrospectionError {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for IntrospectionError {}

impl Serialize for IntrospectionError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.kind {
            IntrospectionErrorKind::Status(status) => {
                serializer.collect_str(&format_args!("{} {status}", self.code()))
            }
            _ => serializer.serialize_str(self.code()),
        }
    }
}

/// A failed introspection, with the delay before the next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Trouble {
    pub(crate) error: IntrospectionError,
    /// The server's `Retry-After`, or how long the circuit stays open.
    pub(crate) retry_after: Option<Duration>,
}

impl Trouble {
    pub(crate) const fn kind(&self) -> IntrospectionErrorKind {
        self.error.kind()
    }
}

impl From<IntrospectionError> for Trouble {
    fn from(error: IntrospectionError) -> Self {
        Self { error, retry_after: None }
    }
}

impl From<IntrospectionErrorKind> for Trouble {
    fn from(kind: IntrospectionErrorKind) -> Self {
        IntrospectionError::from(kind).into()
    }
}
