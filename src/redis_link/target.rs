use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::ConfigError;
use crate::redis_link::failure::{Failure, FailureKind};
use crate::redis_link::metered::{Meter, Metered};

/// How long one of a name's addresses is tried.
const PER_ADDRESS: Duration = Duration::from_millis(500);

/// How many requests may wait for their answers.
const MAX_IN_FLIGHT: usize = 64;

/// The largest value that is kept. A token and what goes with it are far smaller.
pub(crate) const MAX_VALUE: usize = 256 * 1024;

/// How much may come while no request is answered: the answers of all that wait.
const MAX_UNANSWERED: usize = MAX_IN_FLIGHT * (MAX_VALUE + 1024);

/// Where a Redis is, and how one gets in.
#[derive(Clone)]
pub(crate) struct RedisTarget {
    place: Place,
    login: RedisConnectionInfo,
}

#[derive(Clone)]
enum Place {
    Tcp {
        host: String,
        port: u16,
        tls: Option<Tls>,
    },
    #[cfg(unix)]
    Unix(PathBuf),
}

#[derive(Clone)]
struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl RedisTarget {
    pub(crate) fn parse(url: &str) -> Result<Self, ConfigError> {
        // The URL may hold a password: no error repeats any part of it.
        let mut url = redis::parse_redis_url(url).ok_or_else(|| {
            ConfigError::new(
                "the URL of the Redis can't be read: write it like redis://host:6379/0",
            )
        })?;
        if url.fragment().is_some() {
            return Err(ConfigError::new(
                "the URL of the Redis must have no fragment; a '#' in a password is written %23",
            ));
        }
        let unix = url.scheme().ends_with("unix");
        if !unix && url.query_pairs().any(|(name, _)| name != "protocol") {
            return Err(ConfigError::new(
                "the URL of the Redis may have no parameter but 'protocol'; the database's number \
                 is its path",
            ));
        }
        let tls = match url.scheme() {
            "rediss" => url.set_scheme("redis").is_ok(),
            "valkeys" => url.set_scheme("valkey").is_ok(),
            _ => false,
        };
        let info = url.into_connection_info().map_err(|_| {
            ConfigError::new(
                "the URL of the Redis needs a host or the path of a socket, a number as the \
                 database, and percent-encoded UTF-8 as name and password",
            )
        })?;
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let tls = if tls { Some(Tls::new(host, system_roots)?) } else { None };
                Place::Tcp { host: host.clone(), port: *port, tls }
            }
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
            _ => return Err(ConfigError::new("the URL of the Redis names no place to connect to")),
        };
        Ok(Self { place, login: info.redis_settings().clone() })
    }

    /// Trusts these certificates alone.
    pub(crate) fn with_roots(self, pem: &[u8]) -> Result<Self, ConfigError> {
        let Place::Tcp { host, port, tls: Some(_) } = self.place else {
            return Err(ConfigError::new(
                "root certificates are of use for a Redis at a rediss:// URL only",
            ));
        };
        let tls = Some(Tls::new(&host, |provider| roots(provider, pem))?);
        Ok(Self { place: Place::Tcp { host, port, tls }, ..self })
    }

    /// Makes a connection and logs in, in however long it takes.
    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        match &self.place {
            Place::Tcp { host, port, tls: None } => self.open(dial(host, *port).await?).await,
            Place::Tcp { host, port, tls: Some(Tls { config, name }) } => {
                let stream = dial(host, *port).await?;
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name.clone(), stream).await;
                self.open(stream.map_err(|error| tls_failure(&error))?).await
            }
            #[cfg(unix)]
            Place::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await;
                self.open(stream.map_err(|error| unreachable(&error))?).await
            }
        }
    }

    async fn open<S>(&self, stream: S) -> Result<Connection, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (stream, meter) = Metered::new(stream, MAX_UNANSWERED);
        // The caller bounds the time.
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_concurrency_limit(MAX_IN_FLIGHT);
        let (requests, driver) =
            MultiplexedConnection::new_with_config(&self.login, stream, config)
                .await
                .map_err(|error| Failure::of(&error))?;
        let driver = Arc::new(Driver(tokio::spawn(driver).abort_handle()));
        Ok(Connection { requests, meter, driver })
    }
}

impl fmt::Debug for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { host, port, tls } => {
                let tls = if tls.is_some() { " with TLS" } else { "" };
                write!(f, "{host}:{port}{tls}")
            }
            #[cfg(unix)]
            Place::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Tries a name's addresses one after the other: one that swallows packets doesn't hide the rest.
async fn dial(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let unknown = Failure::lasting(FailureKind::Unavailable, "the name of its host has no address");
    let mut last = unknown;
    for address in tokio::net::lookup_host((host, port)).await.map_err(|_| unknown)? {
        match tokio::time::timeout(PER_ADDRESS, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = unreachable(&error),
            Err(_) => last = unreachable(&io::ErrorKind::TimedOut.into()),
        }
    }
    Err(last)
}

fn unreachable(error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens at its address and port",
        io::ErrorKind::NotFound => "there is no socket at its path",
        io::ErrorKind::PermissionDenied => "its socket may not be opened",
        io::ErrorKind::TimedOut => "its address doesn't answer",
        _ => "no connection to its address can be made",
    };
    Failure::lasting(FailureKind::Unavailable, why)
}

/// Says why there is no TLS session, without the names that are in certificates.
fn tls_failure(error: &io::Error) -> Failure {
    use tokio_rustls::rustls::{CertificateError as Bad, Error};
    let inner = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    let why = match inner {
        Some(Error::InvalidCertificate(bad)) => match bad {
            Bad::UnknownIssuer => "its certificate isn't from a trusted authority",
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                "its certificate is for another host"
            }
            Bad::Expired | Bad::ExpiredContext { .. } => "its certificate has expired",
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => "its certificate isn't valid yet",
            _ => "its certificate isn't valid",
        },
        Some(Error::AlertReceived(_)) => "it ends the handshake; it may want a certificate",
        Some(Error::InvalidMessage(_)) => "what answers doesn't speak TLS",
        _ => "the handshake failed; what answers may not speak TLS",
    };
    Failure::lasting(FailureKind::Tls, why)
}

/// The kinds of TLS failures that setting it up can meet.
type TlsError = Box<dyn std::error::Error + Send + Sync>;

impl Tls {
    fn new(
        host: &str,
        config: impl FnOnce(Arc<CryptoProvider>) -> Result<ClientConfig, TlsError>,
    ) -> Result<Self, ConfigError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ConfigError::new("the host of the Redis can't be in a certificate"))?;
        let provider = provider().ok_or_else(|| {
            ConfigError::new(
                "there is no TLS for the Redis: turn on the feature \"aws-lc-rs\" of \
                 tower-bearer, or install a rustls CryptoProvider before",
            )
        })?;
        let config = config(provider).map_err(|error| {
            ConfigError::new("the TLS of the Redis can't be set up").because(error)
        })?;
        Ok(Self { config: Arc::new(config), name })
    }
}

/// Returns what the program has installed, else this crate's own. `ClientConfig::builder` would
/// panic where there are several.
fn provider() -> Option<Arc<CryptoProvider>> {
    #[cfg(feature = "aws-lc-rs")]
    let own = Some(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(not(feature = "aws-lc-rs"))]
    let own = None;
    CryptoProvider::get_default().cloned().or_else(|| own.map(Arc::new))
}

fn system_roots(provider: Arc<CryptoProvider>) -> Result<ClientConfig, TlsError> {
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_platform_verifier()?.with_no_client_auth())
}

fn roots(provider: Arc<CryptoProvider>, pem: &[u8]) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        return Err("the PEM holds no certificate".into());
    }
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A connection that many requests share.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) requests: MultiplexedConnection,
    pub(crate) meter: Arc<Meter>,
    driver: Arc<Driver>,
}

impl Connection {
    /// Returns `true` if the connection has ended, as far as is known.
    pub(crate) fn is_closed(&self) -> bool {
        self.driver.0.is_finished()
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.driver, &other.driver)
    }
}

/// The task that reads and writes. It ends with the last clone of its connection, answered or not.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        format!("{:?}", RedisTarget::parse(url).unwrap())
    }

    #[test]
    fn urls_are_read() {
        assert_eq!(shown("redis://localhost"), "localhost:6379");
        assert_eq!(shown("valkey://cache.example:7000/3"), "cache.example:7000");
        assert_eq!(shown("redis://[::1]:6380/?protocol=resp3"), "::1:6380");
        #[cfg(unix)]
        assert_eq!(shown("redis+unix:///run/redis.sock?db=3&user=a&pass=b"), "/run/redis.sock");

        let target = RedisTarget::parse("redis://us%65r:p%25%3A%2B%2F%20%26%3Ds@host/3").unwrap();
        assert_eq!(target.login.username(), Some("user"));
        assert_eq!(target.login.password(), Some("p%:+/ &=s"));
        assert_eq!(target.login.db(), 3);
    }

    #[cfg(feature = "aws-lc-rs")]
    #[test]
    fn tls_is_had_for_the_asking() {
        assert_eq!(shown("rediss://cache.example"), "cache.example:6379 with TLS");
        assert_eq!(shown("valkeys://:secret@127.0.0.1:7000/3"), "127.0.0.1:7000 with TLS");
    }

    #[cfg(not(feature = "aws-lc-rs"))]
    #[test]
    fn tls_that_nobody_provides_is_refused_and_the_rest_is_not() {
        let error = RedisTarget::parse("rediss://cache.example").err().unwrap();
        assert!(error.to_string().contains("CryptoProvider"), "{error}");
        assert!(RedisTarget::parse("redis://cache.example").is_ok());
    }

    // L1
    #[test]
    fn l1_bad_urls_are_refused_and_not_repeated() {
        for url in [
            "",
            "canary",
            "http://canary:canary@host",
            "redis://",
            "redis://:canary@",
            "redis://:canary@0.0.0.0",
            "redis://:canary@host:port",
            "redis://:canary@host:70000",
            "redis://:canary@host/canary",
            "redis://:canary@host/0?db=canary",
            "redis://:canary@host?protocol=canary",
            "redis://:can#ary@host",
            "redis://canary:%ff@host",
            "redis://%ff:canary@host",
            "rediss://:canary@host#insecure",
            "rediss://:canary@ho_st/x",
            "redis+unix:///path?db=canary",
        ] {
            let error = RedisTarget::parse(url).err().unwrap_or_else(|| panic!("{url} is taken"));
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("canary") && !shown.contains("ary@"), "{shown}");
        }
    }

    #[cfg(feature = "aws-lc-rs")]
    #[test]
    fn roots_that_are_none_are_refused() {
        let tls = || RedisTarget::parse("rediss://cache.example").unwrap();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for pem in ["", "no PEM", broken] {
            assert!(tls().with_roots(pem.as_bytes()).is_err(), "{pem}");
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
        assert!(tls().with_roots(pem.as_bytes()).is_ok());
        // Where there is no TLS, they would protect nothing.
        let plain = RedisTarget::parse("redis://cache.example").unwrap();
        assert!(plain.with_roots(pem.as_bytes()).is_err());
    }
}
