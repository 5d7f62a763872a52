//! Access tokens that are bound to a client certificate, which the client shows by mutual TLS (RFC 8705).
//!
//! A bearer token can be used by anyone who obtains it. A token with `cnf.x5t#S256` can't: the
//! client must have opened the connection with the certificate that has this thumbprint, and hold
//! its private key. Requests carry nothing but the token.
//!
//! # Where the TLS connection ends here
//!
//! The server that accepts the connection puts the client's certificate into the extensions of its requests,
//! as a type of its own, from which [`Mtls::from_connection`] reads it. tonic does so by itself:
//!
//! ```
//! # struct TlsConnectInfo(Option<Vec<Vec<u8>>>);
//! # impl TlsConnectInfo { fn peer_certs(&self) -> Option<&Vec<Vec<u8>>> { self.0.as_ref() } }
//! use tower_bearer::mtls::{Certificate, Mtls};
//! use tower_bearer::{ConfigError, Validator};
//!
//! # fn validator() -> Result<Validator, ConfigError> {
//! // `TlsConnectInfo<TcpConnectInfo>` of tonic, with its feature `tls-connect-info`
//! let mtls = Mtls::from_connection(|connection: &TlsConnectInfo| {
//!     Some(Certificate::from_der(connection.peer_certs()?.first()?))
//! });
//! Validator::builder("https://issuer.example", "https://api.example").mtls(mtls).build()
//! # }
//! ```
//!
//! A connectrpc server does so as well, as `PeerCerts`:
//!
//! ```
//! # use std::sync::Arc;
//! # struct PeerCerts(Arc<[Vec<u8>]>); // connectrpc's, with its feature `server-tls`
//! use tower_bearer::mtls::{Certificate, Mtls};
//!
//! let mtls = Mtls::from_connection(|chain: &PeerCerts| {
//!     Some(Certificate::from_der(chain.0.first()?))
//! });
//! ```
//!
//! A custom server creates the [`Certificate`] when it accepts the connection, so that it is
//! hashed once per connection and not once per request: the example `mutual_tls` does that with axum. With
//! tonic, it belongs in the `ConnectInfo` of a custom connection type (`Connected`), which tonic asks for
//! once; with connectrpc, in an extension of the connection.
//!
//! # Behind a proxy
//!
//! A proxy that ends the TLS connection sends the client's certificate in a field of each request. Proxies
//! don't agree on which and how: [`ClientCertHeader`] has the usual ones, of which one is chosen.
//!
//! ```
//! # struct ConnectInfo<T>(T); // axum's
//! # fn example() -> Result<(), tower_bearer::ConfigError> {
//! use std::net::SocketAddr;
//!
//! use tower_bearer::mtls::{ClientCertHeader, Mtls};
//!
//! let mtls = Mtls::from_header(ClientCertHeader::rfc9440())
//!     .trusted_proxies(["10.0.0.0/24"], |peer: &ConnectInfo<SocketAddr>| Some(peer.0.ip()))?;
//! # Ok(())
//! # }
//! ```
//!
//! Such a field proves nothing by itself: anyone who can reach this service can send one. It is read only
//! from peers that are listed, by the address of the connection, never by another field; from others it
//! counts as absent. It is removed from each request, so that no handler trusts it
//! ([`Mtls::keep_header`]). The proxy must remove what clients send under the same name, and request a
//! certificate from them.
//!
//! # What is checked
//!
//! That the certificate is the one that the token is bound to. Its chain, its names and its times are for
//! the TLS layer: self-signed certificates are accepted as well (RFC 8705 §2.2). A token
//! without `cnf` is accepted on any connection, unless only bound tokens are
//! ([`require_bound`](crate::ValidatorBuilder::require_bound)). If a token is also bound to a key
//! (`jkt`, see `dpop`), both must be shown.
//!
//! A bound token without its certificate is answered with 401 `invalid_token`. The log says why: that
//! there was no certificate, that it is another one, or that the field has another proxy's format, and which
//! [`ClientCertHeader`] reads that.
//!
//! Nothing about a certificate is remembered for the next request. Responses to requests whose token
//! was accepted because of a field name it in `Vary` (RFC 9440 §4).

// `settings` build a `checker`, which takes the certificate from the connection, or from a proxy's `field` in the
// format that `header` names (`encoded`, `envoy`), as a `certificate`.

mod certificate;
pub(crate) mod checker;
mod encoded;
mod envoy;
mod field;
mod header;
mod settings;

pub use self::certificate::Certificate;
pub use self::header::ClientCertHeader;
pub use self::settings::Mtls;
