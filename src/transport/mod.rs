//! How key sets, metadata and tokens are fetched: one method, [`Transport::send`].
//!
//! The default is `ReqwestTransport` (feature `reqwest`). Bring your own for another TLS stack, a
//! service mesh, or a test.

#[cfg(feature = "reqwest")]
mod address;
mod contract;
mod fields;
mod grpc;
mod metadata;
#[cfg(feature = "reqwest")]
mod reqwest;
mod url;

pub use self::contract::{Limits, ResponseFuture, Transport, TransportError, TransportErrorKind};
pub(crate) use self::fields::{date, delta_seconds, retry_after, text, user_agent};
pub(crate) use self::grpc::grpc_timeout;
#[cfg(feature = "client")]
pub(crate) use self::grpc::shorten_grpc_timeout;
pub(crate) use self::metadata::{check_issuer, metadata_places, wants_rest};
#[cfg(feature = "reqwest")]
pub use self::reqwest::ReqwestTransport;
pub(crate) use self::url::{PlainHttp, is_plain_loopback, parse_url, port, printable};
