//! HTTP transports, which fetch key sets, metadata and tokens through [`Transport::send`].
//!
//! The default is `ReqwestTransport` (feature `reqwest`). For another TLS stack or a service mesh, wrap a
//! tower service of HTTP requests in a [`ServiceTransport`], or implement [`Transport`].
//!
//! With the feature `tracing`, there are these events, with the target `tower_bearer`:
//! `content_encoding` for a `Content-Encoding` that names no coding, or one that wasn't requested;
//! `transport_proxy` for a proxy of the environment that can't be used; `transport_client` if the
//! HTTP client can't be replaced; `transport_credentials` if a bearer token's file can't be read; and
//! `transport_certificate` if a client certificate was replaced, or its files can't be used.

// `contract` is the trait, `reqwest` (made by `builder`) and `service` implement it, and `default` picks one.
// `url` and `origin` check what is configured, `address` and `dial` what is dialled. `renewable` replaces
// HTTP clients, `certificate` their certificate (by `pair_files`, which Redis uses too), `coding` and `gunzip` read
// bodies.

#[cfg(any(feature = "redis", feature = "reqwest"))]
mod address;
#[cfg(feature = "reqwest")]
mod bearer;
#[cfg(feature = "reqwest")]
mod builder;
#[cfg(feature = "reqwest")]
mod certificate;
mod coding;
mod contract;
mod default;
#[cfg(feature = "reqwest")]
mod dial;
mod fields;
mod grpc;
#[cfg(feature = "reqwest")]
mod gunzip;
#[cfg(any(feature = "client", feature = "reqwest"))]
mod origin;
#[cfg(any(feature = "redis", feature = "reqwest"))]
mod pair_files;
#[cfg(feature = "reqwest")]
mod proxy;
#[cfg(feature = "reqwest")]
mod renewable;
#[cfg(feature = "reqwest")]
mod reqwest;
mod service;
mod url;

#[cfg(feature = "redis")]
pub(crate) use self::address::is_forbidden;
#[cfg(feature = "reqwest")]
pub use self::builder::ReqwestTransportBuilder;
pub(crate) use self::coding::Coding;
pub(crate) use self::contract::CONNECT_TIMEOUT;
pub use self::contract::{
    Limits, Transport, TransportError, TransportErrorKind, TransportFuture, VersionFuture,
};
pub(crate) use self::default::default_transport;
pub(crate) use self::fields::{date, delta_seconds, retry_after, text, user_agent};
pub(crate) use self::grpc::grpc_timeout;
#[cfg(feature = "client")]
pub(crate) use self::grpc::shorten_grpc_timeout;
#[cfg(feature = "client")]
pub(crate) use self::origin::Origin;
#[cfg(feature = "redis")]
pub(crate) use self::pair_files::PairFiles;
#[cfg(feature = "reqwest")]
pub use self::reqwest::ReqwestTransport;
pub use self::service::{ServiceBody, ServiceTransport};
pub(crate) use self::url::{PlainHttp, is_plain_loopback, parse_url, port, printable};
