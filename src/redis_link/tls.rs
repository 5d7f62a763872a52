//! TLS connections to a Redis: certificate authorities, and a client certificate that may be replaced.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::ConfigError;
use crate::file::SmallFile;
use crate::redis_link::failure::{Failure, FailureKind};
use crate::secret::Secret;
use crate::transport::PairFiles;

/// How long reading a client certificate's files may take, of the second that one server of several has.
const PATIENCE: Duration = Duration::from_millis(300);

/// The trusted authorities, the client certificate, and the expected name.
#[derive(Clone, Default)]
pub(crate) struct TlsSettings {
    /// The certificate authorities in PEM; if there are none, the system's are trusted.
    pub(crate) roots: Vec<Vec<u8>>,
    pub(crate) identities: Vec<Identity>,
    /// The name that certificates must be for, whatever the servers' addresses.
    pub(crate) name: Option<String>,
}

/// A client certificate and its private key.
#[derive(Clone)]
pub(crate) enum Identity {
    Pem(Secret),
    Files { chain: SmallFile, key: SmallFile },
}

impl Identity {
    pub(crate) fn files(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self::Files { chain: SmallFile::new(chain), key: SmallFile::new(key) }
    }
}

impl TlsSettings {
    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty() && self.identities.is_empty() && self.name.is_none()
    }
}

/// The TLS configuration of all connections to a Redis.
pub(crate) struct Tls {
    name: Option<ServerName<'static>>,
    config: Config,
}

enum Config {
    Fixed(Arc<ClientConfig>),
    /// With the certificate that the files contain.
    Files(Arc<PairFiles<Arc<ClientConfig>>>),
}

/// The parts of the configuration that don't change.
#[derive(Clone)]
struct Base {
    provider: Arc<CryptoProvider>,
    roots: Option<Arc<RootCertStore>>,
}

/// The error of setting up TLS.
type TlsError = Box<dyn std::error::Error + Send + Sync>;

impl Tls {
    /// Reads the certificates, which blocks.
    pub(crate) fn new(settings: &TlsSettings) -> Result<Self, ConfigError> {
        let provider = provider().ok_or_else(|| {
            ConfigError::new(
                "there is no TLS for the Redis: turn on the feature \"aws-lc-rs\" of \
                 tower-bearer, or install a rustls CryptoProvider before",
            )
        })?;
        let unusable =
            |error| ConfigError::new("the TLS of the Redis can't be set up").because(error);
        let roots = match &*settings.roots {
            [] => None,
            pems => Some(Arc::new(roots(pems).map_err(unusable)?)),
        };
        let base = Base { provider, roots };
        let config = match &*settings.identities {
            [] => Config::Fixed(base.config(None).map_err(unusable)?),
            [Identity::Pem(pem)] => {
                Config::Fixed(base.config(Some(pem.expose())).map_err(unusable)?)
            }
            [Identity::Files { chain, key }] => {
                let make = move |pem: &[u8]| base.config(Some(pem));
                let files = PairFiles::open(chain.clone(), key.clone(), make);
                Config::Files(Arc::new(files.map_err(|fault| unusable(fault.into_cause()))?))
            }
            _ => {
                return Err(ConfigError::new("there are two client certificates for the Redis"));
            }
        };
        let name = settings.name.as_deref().map(server_name).transpose()?;
        Ok(Self { name, config })
    }

    pub(crate) async fn connect<S>(&self, host: &str, stream: S) -> Result<TlsStream<S>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => server_name(host).map_err(|_| {
                Failure::lasting(FailureKind::Tls, "its host name can't be that of a certificate")
            })?,
        };
        let config = match &self.config {
            Config::Fixed(config) => Arc::clone(config),
            Config::Files(files) => {
                files.renew(PATIENCE, || {}).await;
                files.current()
            }
        };
        let stream = TlsConnector::from(config).connect(name, stream).await;
        stream.map_err(|error| failure(&error))
    }
}

impl Base {
    /// Reads the system's certificates, if those are trusted, which blocks.
    fn config(&self, identity: Option<&[u8]>) -> Result<Arc<ClientConfig>, TlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?;
        let builder = match &self.roots {
            Some(roots) => builder.with_root_certificates(Arc::clone(roots)),
            None => builder.with_platform_verifier()?,
        };
        let Some(pem) = identity else { return Ok(builder.with_no_client_auth().into()) };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "the PEM holds no private key");
        let chain = chain.map_err(|_| "the client certificate's PEM can't be read")?;
        Ok(builder.with_client_auth_cert(chain, key?)?.into())
    }
}

pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, ConfigError> {
    ServerName::try_from(host.to_owned())
        .map_err(|_| ConfigError::new("the host name of the Redis can't be that of a certificate"))
}

/// Returns the provider that the program has installed, else this crate's own. `ClientConfig::builder` would
/// panic if there are several.
fn provider() -> Option<Arc<CryptoProvider>> {
    #[cfg(feature = "aws-lc-rs")]
    let own = Some(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(not(feature = "aws-lc-rs"))]
    let own = None;
    CryptoProvider::get_default().cloned().or_else(|| own.map(Arc::new))
}

fn roots(pems: &[Vec<u8>]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for pem in pems {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate?)?;
        }
        if roots.len() == before {
            return Err("the PEM holds no certificate".into());
        }
    }
    Ok(roots)
}

/// Maps an error of TLS to a reason without the names that are in certificates.
fn failure(error: &io::Error) -> Failure {
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
        Some(Error::AlertReceived(_)) => {
            "it ends the handshake; it may require a client certificate"
        }
        Some(Error::InvalidMessage(_)) => "the peer doesn't speak TLS",
        _ => "the handshake failed; the peer may not speak TLS",
    };
    Failure::lasting(FailureKind::Tls, why)
}

#[cfg(all(test, feature = "aws-lc-rs"))]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn pair() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(["client.example".to_owned()]).unwrap();
        (certificate.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn refused(settings: TlsSettings) -> String {
        format!("{:?}", Tls::new(&settings).err().expect("it is refused"))
    }

    #[test]
    fn roots_that_are_none_are_refused() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let with = |roots: &[&str]| TlsSettings {
            roots: roots.iter().map(|pem| pem.as_bytes().to_vec()).collect(),
            ..TlsSettings::default()
        };
        let (pem, _) = pair();
        for bad in [&[""][..], &["no PEM"], &[broken], &[&pem, "no PEM"]] {
            refused(with(bad));
        }
        assert!(Tls::new(&with(&[&pem, &pem])).is_ok());
    }

    #[test]
    fn a_client_certificate_without_its_key_is_refused() {
        let with = |identities| TlsSettings { identities, ..TlsSettings::default() };
        let pem = |text: String| Identity::Pem(Secret::new(text));
        let ((chain, key), (_, other)) = (pair(), pair());
        assert!(refused(with(vec![pem(chain.clone())])).contains("no private key"));
        refused(with(vec![pem(key.clone())]));
        refused(with(vec![pem(format!("{other}{chain}"))]));
        refused(with(vec![Identity::files("/nowhere/tls.crt", "/nowhere/tls.key")]));
        let good = || pem(format!("{key}{chain}"));
        assert!(Tls::new(&with(vec![good()])).is_ok());
        assert!(refused(with(vec![good(), good()])).contains("two client certificates"));
    }

    #[allow(clippy::await_holding_lock, reason = "that is how the disk hangs, for another thread")]
    #[tokio::test(start_paused = true)]
    async fn files_that_hang_leave_time_to_connect_with_the_certificate_before() {
        let folder = format!("tower-bearer-redis-certificate-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let paths = [folder.join("tls.crt"), folder.join("tls.key")];
        let lay = || {
            let (chain, key) = pair();
            std::fs::write(&paths[0], chain).unwrap();
            std::fs::write(&paths[1], key).unwrap();
        };
        lay();
        let [chain, key] = &paths;
        let identities = vec![Identity::files(chain, key)];
        let tls = Tls::new(&TlsSettings { identities, ..TlsSettings::default() }).unwrap();
        let Config::Files(files) = &tls.config else { panic!() };
        lay();
        tokio::time::advance(Duration::from_secs(1)).await;
        let disk = files.disk();
        let hangs = disk.lock().unwrap();
        // The handshake begins, as far as nobody answers.
        let (stream, mut silent) = tokio::io::duplex(4_096);
        let mut connects = tokio_test::task::spawn(tls.connect("redis.example", stream));
        assert!(connects.poll().is_pending());
        // One server of several has a second.
        tokio::time::advance(Duration::from_millis(700)).await;
        assert!(connects.poll().is_pending());
        let mut hello = [0];
        silent.read_exact(&mut hello).await.unwrap();
        assert_eq!(files.version(), 1);
        drop(hangs);
        files.looked().await;
        assert_eq!(files.version(), 2);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[cfg(all(test, not(feature = "aws-lc-rs")))]
mod tests {
    use super::*;

    #[test]
    fn tls_that_nobody_provides_is_refused() {
        let error = Tls::new(&TlsSettings::default()).err().unwrap();
        assert!(error.to_string().contains("CryptoProvider"), "{error}");
    }
}
