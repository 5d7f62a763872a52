//! The settings for client certificates: where they come from, and which proxies are trusted.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::{Extensions, HeaderName};

use crate::binding::mtls::certificate::Certificate;
use crate::binding::mtls::checker::{Checker, ReadConnection, Source};
use crate::binding::mtls::header::{ClientCertHeader, Format};
use crate::binding::peers::Peers;
use crate::error::ConfigError;

/// Where the certificates come from that tokens are bound to (RFC 8705), for
/// [`ValidatorBuilder::mtls`](crate::ValidatorBuilder::mtls): see [`mtls`](mod@crate::mtls).
#[derive(Clone)]
#[must_use = "it does nothing until it is given to a validator"]
pub struct Mtls {
    place: Place,
    peers: Peers,
    keep: bool,
}

#[derive(Clone)]
enum Place {
    Connection(ReadConnection),
    Header(ClientCertHeader),
}

impl Mtls {
    /// Takes the certificate from the TLS connection, by an extension of each request whose type `read`
    /// names. `None` stands for a client that has shown none.
    ///
    /// It is read for tokens that are bound to one, and for those whose verdict isn't known yet. A request
    /// without such an extension counts as one without a certificate.
    pub fn from_connection<T, F>(read: F) -> Self
    where
        T: Send + Sync + 'static,
        F: Fn(&T) -> Option<Certificate> + Send + Sync + 'static,
    {
        let read = move |extensions: &Extensions| extensions.get::<T>().map(&read);
        Self::at(Place::Connection(Arc::new(read)))
    }

    /// Takes the certificate from a field that a proxy sends. The trusted proxies must be named:
    /// [`trusted_proxies`](Self::trusted_proxies), [`trusted_unix_socket`](Self::trusted_unix_socket).
    pub fn from_header(header: ClientCertHeader) -> Self {
        Self::at(Place::Header(header))
    }

    fn at(place: Place) -> Self {
        Self { place, peers: Peers::default(), keep: false }
    }

    /// Trusts the field of peers with these addresses, or in these networks: `10.0.0.7`, `10.0.0.0/8`,
    /// `2001:db8::/32`.
    ///
    /// `address` reads the peer address of the TCP connection from an extension of the request: of
    /// axum's `ConnectInfo<SocketAddr>`, of tonic's `TcpConnectInfo`. If there is none, nothing is
    /// trusted, and a token that is bound to a certificate is answered with 500: the service is
    /// misconfigured.
    ///
    /// Several calls add up.
    ///
    /// # Errors
    ///
    /// If one of them is neither an IP address nor a network, has bits beyond its prefix, or includes every
    /// address.
    ///
    /// ```
    /// # fn example() -> Result<(), tower_bearer::ConfigError> {
    /// use tonic::transport::server::TcpConnectInfo;
    /// use tower_bearer::mtls::{ClientCertHeader, Mtls};
    ///
    /// let mtls = Mtls::from_header(ClientCertHeader::envoy())
    ///     .trusted_proxies(["127.0.0.1", "::1"], |peer: &TcpConnectInfo| {
    ///         Some(peer.remote_addr()?.ip())
    ///     })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn trusted_proxies<I, T, F>(mut self, networks: I, address: F) -> Result<Self, ConfigError>
    where
        I: IntoIterator<Item: AsRef<str>>,
        T: Send + Sync + 'static,
        F: Fn(&T) -> Option<IpAddr> + Send + Sync + 'static,
    {
        self.peers.add(networks, address)?;
        Ok(self)
    }

    /// Trusts the field of every request that has an extension of this type: that of connections over a
    /// Unix socket that only the proxy can open, such as tonic's `UdsConnectInfo`.
    pub fn trusted_unix_socket<T: Send + Sync + 'static>(mut self) -> Self {
        self.peers.add_type::<T>();
        self
    }

    /// Leaves the field of a trusted proxy in the request, for handlers that read it. Otherwise it
    /// is removed. The field of other peers is always removed.
    pub fn keep_header(mut self) -> Self {
        self.keep = true;
        self
    }

    /// Checks the settings.
    pub(crate) fn build(self) -> Result<Checker, ConfigError> {
        let peers = self.peers;
        let source = match self.place {
            Place::Connection(_) if self.keep || !peers.are_none() => {
                return Err(ConfigError::new(
                    "the client's certificate is taken from the connection: trusted proxies and \
                     keep_header are for Mtls::from_header",
                ));
            }
            Place::Connection(read) => Source::Connection(read),
            Place::Header(_) if peers.are_none() => {
                return Err(ConfigError::new(
                    "any client could send the header with the client's certificate: say which proxies \
                     are trusted, with Mtls::trusted_proxies or trusted_unix_socket",
                ));
            }
            Place::Header(header) => Source::Header {
                name: header.name()?,
                format: header.format,
                beside: match header.format {
                    Format::Rfc9440 => Some(HeaderName::from_static("client-cert-chain")),
                    _ => None,
                },
                peers,
                keep: self.keep,
            },
        };
        Ok(Checker { source })
    }
}

impl fmt::Debug for Mtls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Mtls");
        match &self.place {
            Place::Connection(_) => debug.field("from", &"the connection"),
            Place::Header(header) => debug.field("from", header),
        };
        debug.field("trusted", &self.peers).finish_non_exhaustive()
    }
}
