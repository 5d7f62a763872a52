//! A resource server that ends TLS itself, and accepts tokens that are bound to the certificate which the
//! client has shown (RFC 8705).
//!
//! With nothing set, it makes an authority, certificates and an issuer of its own, and prints `curl`
//! lines to try:
//!
//! ```text
//! cargo run --example mutual_tls --features mutual-tls
//! ```
//!
//! For real ones, set `ISSUER`, `AUDIENCE`, and the files `TLS_CERT`, `TLS_KEY` and `CLIENT_CA`.

use std::env;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::routing::get;
use axum::serve::{IncomingStream, Listener};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tower_bearer::mtls::{Certificate, Mtls};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{AccessToken, BearerAuthLayer, Validator};

/// How long a client may take to begin.
const HANDSHAKE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let files = Files::of_environment().map_or_else(Files::make, Ok)?;
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3443".to_owned());
    let listener = TlsListener::bind(&listen, tls(&files)?).await?;

    // Without ISSUER, an issuer in this process takes its place. It is for trying out only.
    let embedded = match env::var("ISSUER") {
        Ok(_) => None,
        Err(_) => Some(TestIssuer::start().await?),
    };
    let (issuer, audience) = match &embedded {
        Some(embedded) => (embedded.issuer().to_owned(), embedded.audience().to_owned()),
        None => (env::var("ISSUER")?, env::var("AUDIENCE")?),
    };
    let mtls = Mtls::from_connection(|peer: &ConnectInfo<Peer>| peer.0.certificate);
    let validator = Validator::builder(issuer, audience).mtls(mtls).build()?;
    validator.ready(Duration::from_secs(10)).await?;

    let app = Router::new()
        .route("/whoami", get(whoami))
        .layer(BearerAuthLayer::new(validator).realm("api")?);
    println!("listening on https://{}", listener.address);
    if let Some(embedded) = &embedded {
        print_curl_lines(embedded, &files, listener.address)?;
    }
    axum::serve(listener, app.into_make_service_with_connect_info::<Peer>()).await?;
    Ok(())
}

async fn whoami(token: AccessToken) -> String {
    let bound_to = token.certificate_thumbprint().unwrap_or("nothing");
    format!("{}, with a token that is bound to {bound_to}\n", token.subject().unwrap_or("somebody"))
}

/// Who is at the other end of a connection: found out once, when it is accepted.
#[derive(Clone, Copy, Debug)]
struct Peer {
    certificate: Option<Certificate>,
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        *stream.remote_addr()
    }
}

/// Accepts TLS connections. Those that are slow to begin hold up no other.
struct TlsListener {
    connections: mpsc::Receiver<(TlsStream<TcpStream>, Peer)>,
    address: SocketAddr,
}

impl TlsListener {
    async fn bind(address: &str, config: ServerConfig) -> io::Result<Self> {
        let mut listener = TcpListener::bind(address).await?;
        let address = TcpListener::local_addr(&listener)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (sender, connections) = mpsc::channel(64);
        tokio::spawn(async move {
            loop {
                let (stream, _) = Listener::accept(&mut listener).await;
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await else {
                        return;
                    };
                    let chain = stream.get_ref().1.peer_certificates();
                    let own = chain.and_then(|chain| chain.first());
                    let peer = Peer { certificate: own.map(|der| Certificate::from_der(der)) };
                    let _ = sender.send((stream, peer)).await;
                });
            }
        });
        Ok(Self { connections, address })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.connections.recv().await {
            Some(connection) => connection,
            // The task that accepts them never ends.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { certificate: None })
    }
}

/// Asks clients for a certificate of the authority. They may have none: their tokens that aren't bound
/// are accepted all the same.
fn tls(files: &Files) -> Result<ServerConfig, Box<dyn Error>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&files.client_ca)? {
        roots.add(certificate?)?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()?;
    let chain = CertificateDer::pem_file_iter(&files.cert)?.collect::<Result<Vec<_>, _>>()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&files.key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Where the certificates are.
struct Files {
    cert: PathBuf,
    key: PathBuf,
    client_ca: PathBuf,
    /// Those of clients, which only what is made here has.
    clients: Vec<PathBuf>,
}

impl Files {
    fn of_environment() -> Option<Self> {
        let file = |name| env::var_os(name).map(PathBuf::from);
        let (cert, key) = (file("TLS_CERT")?, file("TLS_KEY")?);
        Some(Self { cert, key, client_ca: file("CLIENT_CA")?, clients: Vec::new() })
    }

    /// Makes an authority, a server's certificate and two clients'. Never for production.
    fn make() -> Result<Self, Box<dyn Error>> {
        let folder = env::temp_dir().join(format!("mutual_tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let named = |name: &str, names: Vec<String>| -> Result<_, rcgen::Error> {
            let mut params = CertificateParams::new(names)?;
            params.distinguished_name.push(DnType::CommonName, name);
            Ok(params)
        };
        let mut params = named("authority", Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let ca = params.self_signed(&key)?;
        let client_ca = write(&folder, "ca.pem", &ca.pem())?;
        let issuer = Issuer::new(params, key);
        let leaf = |name: &str| -> Result<PathBuf, Box<dyn Error>> {
            let key = KeyPair::generate()?;
            let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
            let leaf = named(name, names)?.signed_by(&key, &issuer)?;
            write(&folder, &format!("{name}.key"), &key.serialize_pem())?;
            Ok(write(&folder, &format!("{name}.pem"), &leaf.pem())?)
        };
        let cert = leaf("server")?;
        let key = cert.with_extension("key");
        Ok(Self { cert, key, client_ca, clients: vec![leaf("alice")?, leaf("bob")?] })
    }
}

fn write(folder: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Prints lines to paste into a shell: a 200 and two 401, of one token.
fn print_curl_lines(
    issuer: &TestIssuer,
    files: &Files,
    address: SocketAddr,
) -> Result<(), Box<dyn Error>> {
    let [alice, bob] = &*files.clients else { return Ok(()) };
    let certificate = Certificate::from_der(&CertificateDer::from_pem_file(alice)?);
    let token = issuer.token().subject("alice").bound_to_certificate(&certificate);
    let token = token.expires_in(Duration::from_secs(3_600)).sign();
    let curl = |shown: Option<&PathBuf>| {
        let shown = shown.map(|cert| {
            format!(" --cert {} --key {}", cert.display(), cert.with_extension("key").display())
        });
        format!(
            "curl -i --cacert {}{} -H 'Authorization: Bearer {token}' https://{address}/whoami",
            files.client_ca.display(),
            shown.unwrap_or_default()
        )
    };
    println!("\n# 200: the token is bound to this certificate\n{}", curl(Some(alice)));
    println!("\n# 401: another certificate\n{}", curl(Some(bob)));
    println!("\n# 401: no certificate\n{}\n", curl(None));
    Ok(())
}
