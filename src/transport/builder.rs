//! The builder of the default transport: certificates, proxy, bearer tokens.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Identity, Proxy};

use crate::error::ConfigError;
use crate::secret::Secret;
use crate::transport::bearer::FileBearer;
use crate::transport::certificate::{self, CertificateFiles};
use crate::transport::contract::CONNECT_TIMEOUT;
use crate::transport::proxy::is_usable;
use crate::transport::reqwest::ReqwestTransport;

impl ReqwestTransport {
    /// Creates a transport with the system's certificates and proxies, a connect timeout of 3
    /// seconds, and at most 16 idle connections to a host.
    ///
    /// # Errors
    ///
    /// If the system has no certificates.
    #[cfg(feature = "aws-lc-rs")]
    pub fn new() -> Result<Self, ConfigError> {
        Self::builder().build()
    }

    /// Starts building a transport with private certificate authorities, a client certificate, a proxy or a
    /// bearer token.
    pub const fn builder() -> ReqwestTransportBuilder {
        ReqwestTransportBuilder::new()
    }
}

/// Builds a [`ReqwestTransport`] with private certificate authorities, a client certificate, a proxy or
/// a bearer token.
///
/// The settings are checked by [`build`](Self::build).
///
/// ```
/// # fn example(pem: &[u8]) -> Result<(), tower_bearer::ConfigError> {
/// use tower_bearer::transport::ReqwestTransport;
///
/// let transport = ReqwestTransport::builder()
///     .root_certificates(pem)
///     .proxy("http://proxy.internal:3128")
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct ReqwestTransportBuilder {
    client: Settings,
    bearers: Vec<FileBearer>,
    /// The first error of a setting, which `build` returns.
    fault: Option<ConfigError>,
}

/// The settings of each HTTP client that is built.
#[derive(Clone)]
struct Settings {
    roots: Vec<Certificate>,
    only_these_roots: bool,
    identity: Option<Identity>,
    /// The files of a certificate that may be replaced.
    files: Option<Arc<CertificateFiles>>,
    proxy: Option<Proxy>,
    system_proxies: bool,
    connect_timeout: Duration,
}

impl ReqwestTransportBuilder {
    pub(crate) const fn new() -> Self {
        Self {
            client: Settings {
                roots: Vec::new(),
                only_these_roots: false,
                identity: None,
                files: None,
                proxy: None,
                system_proxies: true,
                connect_timeout: CONNECT_TIMEOUT,
            },
            bearers: Vec::new(),
            fault: None,
        }
    }

    /// Trusts these certificate authorities (PEM, one or more certificates) in addition to the
    /// system's.
    pub fn root_certificates(self, pem: impl AsRef<[u8]>) -> Self {
        self.checked(|this| {
            let refused = || {
                ConfigError::new("the root certificates can't be read: give certificates as PEM")
            };
            let roots = Certificate::from_pem_bundle(pem.as_ref()).map_err(|_| refused())?;
            if roots.is_empty() {
                return Err(refused());
            }
            this.client.roots.extend(roots);
            Ok(())
        })
    }

    /// Trusts this certificate authority (DER, one certificate) in addition to the system's.
    pub fn root_certificate_der(self, der: impl AsRef<[u8]>) -> Self {
        self.checked(|this| {
            let root = Certificate::from_der(der.as_ref()).map_err(|_| {
                ConfigError::new("the root certificate can't be read: give one certificate as DER")
            })?;
            this.client.roots.push(root);
            Ok(())
        })
    }

    /// Trusts only the certificate authorities that were added, and none of the system's.
    pub const fn without_system_roots(mut self) -> Self {
        self.client.only_these_roots = true;
        self
    }

    /// Presents this certificate to servers that ask for one (PEM, the private key and the chain), as
    /// [`ClientAuth::tls`](crate::client::ClientAuth::tls) needs it.
    pub fn client_certificate(self, pem: &Secret) -> Self {
        self.checked(|this| {
            this.client.identity = Some(Identity::from_pem(pem.expose()).map_err(|_| {
                ConfigError::new(
                    "the client certificate can't be read: give the private key and the \
                     certificate chain as PEM",
                )
            })?);
            Ok(())
        })
    }

    /// Presents the certificate in these files to servers that ask for one: the chain, and the private
    /// key, which isn't encrypted, both as PEM; they may be one file.
    ///
    /// The files are checked before an exchange, once a second at most, so that they may be replaced at
    /// any time: by new files moved over the old ones, by a symbolic link that leads elsewhere (as
    /// Kubernetes does it), or by writing into them. New connections then present the new certificate;
    /// exchanges under way finish on the old ones. While the files don't hold a certificate and its key,
    /// such as while one of them is written, the previous certificate is presented.
    /// The same applies while reading the files hangs, as on a network that is down: one exchange waits for
    /// them, for a quarter of its time at most, and the others don't.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), tower_bearer::ConfigError> {
    /// use tower_bearer::transport::ReqwestTransport;
    ///
    /// let transport = ReqwestTransport::builder()
    ///     .client_certificate_files("/run/tls/tls.crt", "/run/tls/tls.key")
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn client_certificate_files(
        self,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.checked(|this| {
            this.client.files = Some(Arc::new(certificate::open(chain, key)?));
            Ok(())
        })
    }

    /// Sends all requests through this proxy, except to loopback addresses, in place of the proxies of the
    /// environment. The URL may hold a user name and a password; its scheme is `http`, `https`,
    /// `socks4`, `socks4a`, `socks5` or `socks5h`.
    pub fn proxy(self, url: &str) -> Self {
        self.checked(|this| {
            let proxy = Proxy::all(url).ok().filter(|_| is_usable(url));
            this.client.proxy = Some(proxy.ok_or_else(|| {
                ConfigError::new(
                    "the proxy can't be used: give a URL with http, https, socks4, socks4a, socks5 \
                     or socks5h",
                )
            })?);
            Ok(())
        })
    }

    /// Ignores the proxies of the environment (`HTTPS_PROXY`, `ALL_PROXY`).
    pub const fn without_system_proxies(mut self) -> Self {
        self.client.system_proxies = false;
        self
    }

    /// Sets how long connecting may take. The default is 3 seconds.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.client.connect_timeout = timeout;
        self
    }

    /// Sends the bearer token in this file with each request to this origin, such as
    /// `https://kubernetes.default.svc`, that has no `Authorization` field yet.
    ///
    /// The file is read again for each request, so that it may be replaced at any time, as Kubernetes
    /// does with the tokens of service accounts. White space around the token is ignored. The token is
    /// sent to no other scheme, host or port, and not with plain `http`. While the file can't be read,
    /// requests to that origin fail with
    /// [`TransportErrorKind::Credentials`](crate::transport::TransportErrorKind::Credentials), without
    /// being sent.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_bearer::{jwks::Jwks, transport::ReqwestTransport};
    ///
    /// // A cluster's keys are published to authenticated callers, behind a private authority.
    /// let transport = ReqwestTransport::builder()
    ///     .root_certificates(std::fs::read("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")?)
    ///     .bearer_from_file(
    ///         "https://kubernetes.default.svc",
    ///         "/var/run/secrets/kubernetes.io/serviceaccount/token",
    ///     )
    ///     .build()?;
    /// let issuer = "https://kubernetes.default.svc.cluster.local";
    /// let keys = Jwks::url(issuer, "https://kubernetes.default.svc/openid/v1/jwks")
    ///     .transport(transport)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn bearer_from_file(self, origin: &str, path: impl Into<PathBuf>) -> Self {
        self.checked(|this| {
            let bearer = FileBearer::new(origin, path)?;
            if this.bearers.iter().any(|other| other.origin() == bearer.origin()) {
                return Err(ConfigError::new(format!(
                    "two bearer tokens are given for {}: give one",
                    bearer.origin()
                )));
            }
            this.bearers.push(bearer);
            Ok(())
        })
    }

    /// Builds the transport.
    ///
    /// # Errors
    ///
    /// If a certificate, its files, the proxy's URL or an origin can't be read, if there are two client
    /// certificates, if no certificate authority is trusted, or if there is no TLS provider: without the
    /// feature `aws-lc-rs`, install one of rustls first.
    pub fn build(self) -> Result<ReqwestTransport, ConfigError> {
        let Self { client, bearers, fault } = self;
        if let Some(fault) = fault {
            return Err(fault);
        }
        if client.only_these_roots && client.roots.is_empty() {
            return Err(ConfigError::new(
                "no certificate authority is trusted: add root certificates, or leave the system's in",
            ));
        }
        if client.identity.is_some() && client.files.is_some() {
            return Err(ConfigError::new(
                "there are two client certificates: leave .client_certificate(…) or \
                 .client_certificate_files(…) out",
            ));
        }
        let files = client.files.clone();
        ReqwestTransport::with(move || client.builder(), bearers, files)
    }

    fn checked(mut self, set: impl FnOnce(&mut Self) -> Result<(), ConfigError>) -> Self {
        if let Err(fault) = set(&mut self) {
            self.fault.get_or_insert(fault);
        }
        self
    }
}

impl Settings {
    fn builder(&self) -> ClientBuilder {
        // Otherwise many concurrent exchanges would each leave an idle connection for a minute.
        const IDLE_PER_HOST: usize = 16;
        let mut builder = Client::builder()
            .connect_timeout(self.connect_timeout)
            .pool_max_idle_per_host(IDLE_PER_HOST);
        builder = match self.only_these_roots {
            true => builder.tls_certs_only(self.roots.iter().cloned()),
            false => builder.tls_certs_merge(self.roots.iter().cloned()),
        };
        let of_files = || self.files.as_ref().map(|files| files.current());
        if let Some(identity) = self.identity.clone().or_else(of_files) {
            builder = builder.identity(identity);
        }
        match &self.proxy {
            Some(proxy) => builder.proxy(proxy.clone()),
            None if self.system_proxies => builder,
            None => builder.no_proxy(),
        }
    }
}

impl fmt::Debug for ReqwestTransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestTransportBuilder")
            .field("root_certificates", &self.client.roots.len())
            .field("connect_timeout", &self.client.connect_timeout)
            .finish_non_exhaustive()
    }
}
