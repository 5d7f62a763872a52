//! How key sets and metadata are fetched: one method, [`Transport::send`].
//!
//! The default is `ReqwestTransport` (feature `reqwest`). Bring your own for another TLS stack, a
//! service mesh, or a test.

#[cfg(feature = "reqwest")]
mod address;
mod contract;
#[cfg(feature = "reqwest")]
mod reqwest;

pub use self::contract::{Limits, ResponseFuture, Transport, TransportError, TransportErrorKind};
#[cfg(feature = "reqwest")]
pub use self::reqwest::ReqwestTransport;
