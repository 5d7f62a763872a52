//! Refusals, and how they are put into HTTP and gRPC answers.
//!
//! Three faults, three types: a [`Rejection`] is the caller's, [`Unavailable`] is ours or the
//! authorization server's, [`Misconfigured`] is the operator's. One table gives each its HTTP
//! status, RFC 6750 code and gRPC code.

mod kind;

pub use self::kind::{
    Detail, Excerpt, Misconfigured, Refusal, Rejection, RejectionKind, Unavailable,
    UnavailableReason,
};
