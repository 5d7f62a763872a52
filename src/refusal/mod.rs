//! What can be refused, and why.
//!
//! A [`Refusal`] is one of three: a [`Rejection`] is the caller's fault, [`Unavailable`] ours or the
//! authorization server's, and [`Misconfigured`] the operator's. This module holds their parts;
//! [`answer`](crate::answer) has how they are answered.
//!
//! A rejection keeps what was compared, for the operator:
//!
//! ```
//! use tower_bearer::Rejection;
//! use tower_bearer::refusal::Detail;
//!
//! /// Returns the audiences of a token that is for another service.
//! fn other_audiences(rejection: &Rejection) -> Option<String> {
//!     match rejection.detail() {
//!         Detail::Audience { presented, .. } => Some(presented.to_string()),
//!         _ => None,
//!     }
//! }
//! ```

// `kind` and `detail` make a `rejection`; `fault` has the three kinds of refusals, and `remedy` what helps against
// each.

mod detail;
pub(crate) mod fault;
pub(crate) mod kind;
pub(crate) mod rejection;
mod remedy;

pub use self::detail::Detail;
pub use self::fault::Misconfigured;
pub(crate) use self::fault::{Refusal, Unavailable};
pub(crate) use self::kind::RejectionKind;
pub use self::kind::UnavailableReason;
pub(crate) use self::rejection::Rejection;
pub use crate::text::{Excerpt, Excerpts};
