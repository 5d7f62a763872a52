//! How key sets and metadata are fetched: one method, [`Transport::send`].
//!
//! The default is [`ReqwestTransport`] (feature `reqwest`). Bring your own for another TLS stack, a
//! service mesh, or a test.

mod contract;

pub use self::contract::{Limits, ResponseFuture, Transport, TransportError, TransportErrorKind};
