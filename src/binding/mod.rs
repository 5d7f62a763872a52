//! What binds a token to its holder, and how a request proves possession: a DPoP proof (`dpop`), which is
//! used once (`replay`), or a client certificate (`mtls`). `peers` and `network` say which proxies are
//! trusted.

#[cfg(feature = "dpop")]
pub mod dpop;
#[cfg(feature = "mtls")]
pub mod mtls;
#[cfg(any(feature = "dpop", feature = "mtls"))]
pub(crate) mod network;
#[cfg(any(feature = "dpop", feature = "mtls"))]
pub(crate) mod peers;
#[cfg(feature = "dpop")]
mod replay;
