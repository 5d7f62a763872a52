//! The default transport, which sends requests with `reqwest`.

use std::error::Error;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderValue, Request, Response};
use reqwest::dns::Resolve;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};
use tokio::time::Instant;

use crate::cause::Reason;
use crate::clock::monotonic;
use crate::error::ConfigError;
use crate::transport::address::{is_forbidden, is_loopback, is_public};
use crate::transport::bearer::{FileBearer, authorize};
use crate::transport::certificate::CertificateFiles;
use crate::transport::coding::Coding;
use crate::transport::contract::{
    Limits, Transport, TransportError, TransportErrorKind, TransportFuture, VersionFuture,
};
use crate::transport::dial::{Blocked, Dial, Filter, System, Unresolved, is_localhost};
use crate::transport::gunzip::Body;
use crate::transport::proxy::warn_of_unusable_proxies;
use crate::transport::renewable::{Generation, Renewable, Suspicion};

/// A [`Transport`] that sends with [`reqwest`].
///
/// It follows no redirects, sends no cookies, and checks every address before dialling it:
///
/// * link-local addresses and those of cloud metadata services are never dialled, whatever name
///   resolves to them and however the address is written;
/// * the name `localhost` resolves to loopback addresses only;
/// * with [`Limits::public_addresses_only`], only public addresses are dialled.
///
/// The addresses that a proxy dials can't be checked. The proxies of the environment (`HTTPS_PROXY`,
/// `ALL_PROXY`, `NO_PROXY`; HTTP and SOCKS ones) are used for hosts that the operator has named, but
/// not for loopback ones, and not where only public addresses may be dialled.
///
/// Connections are pooled. Once an exchange has timed out, or its connection broke, the pooled ones are no
/// longer used, since they may hang as well. Exchanges under way continue.
///
/// ```
/// # fn example(pem: &[u8]) -> Result<(), tower_bearer::ConfigError> {
/// use tower_bearer::transport::ReqwestTransport;
///
/// // For an issuer with a certificate from a private authority.
/// let transport = ReqwestTransport::builder().root_certificates(pem).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ReqwestTransport {
    usual: Arc<Renewable>,
    /// The client without proxies, for public addresses and `localhost` only.
    direct: Option<Arc<Renewable>>,
    bearers: Arc<[FileBearer]>,
    /// The files of a client certificate that may be replaced.
    files: Option<Arc<CertificateFiles>>,
}

impl ReqwestTransport {
    pub(crate) fn with(
        builder: impl Fn() -> ClientBuilder + Clone + Send + Sync + 'static,
        bearers: Vec<FileBearer>,
        files: Option<Arc<CertificateFiles>>,
    ) -> Result<Self, ConfigError> {
        let this = Self::resolving(builder, bearers, &(Arc::new(System) as _))?;
        Ok(Self { files, ..this })
    }

    fn resolving(
        builder: impl Fn() -> ClientBuilder + Clone + Send + Sync + 'static,
        bearers: Vec<FileBearer>,
        names: &Arc<dyn Resolve>,
    ) -> Result<Self, ConfigError> {
        let direct = builder.clone();
        let usual = renewable(builder, Dial::Usual, Arc::clone(names))?;
        let direct = renewable(move || direct().no_proxy(), Dial::Direct, Arc::clone(names))?;
        Ok(Self { usual, direct: Some(direct), bearers: bearers.into(), files: None })
    }

    /// Creates a transport from client builders of `reqwest` 0.13, for settings that
    /// [`builder`](Self::builder) doesn't have. The function is called again for each client that
    /// replaces another.
    ///
    /// The redirect policy, the resolver and the decompression of the builder are replaced; it must
    /// not keep cookies, and an address set by [`ClientBuilder::resolve`] is dialled unchecked. The builder
    /// also sets the connect timeout ([`ClientBuilder::connect_timeout`]).
    ///
    /// Where only public addresses may be dialled, such a transport refuses to send, since its
    /// proxies could dial others.
    ///
    /// # Errors
    ///
    /// If the client can't be built.
    #[cfg(feature = "reqwest-0_13")]
    #[cfg_attr(docsrs, doc(cfg(feature = "reqwest-0_13")))]
    pub fn from_fn(
        builder: impl Fn() -> ClientBuilder + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let usual = renewable(builder, Dial::Usual, Arc::new(System))?;
        Ok(Self { usual, direct: None, bearers: Arc::default(), files: None })
    }

    /// Creates a transport from one client builder, as [`from_fn`](Self::from_fn) does from many.
    ///
    /// Its client can't be replaced, so no connection is pooled, since it could hang: each exchange
    /// opens a new one. Prefer [`from_fn`](Self::from_fn).
    ///
    /// # Errors
    ///
    /// If the client can't be built.
    #[cfg(feature = "reqwest-0_13")]
    #[cfg_attr(docsrs, doc(cfg(feature = "reqwest-0_13")))]
    pub fn from_builder(builder: ClientBuilder) -> Result<Self, ConfigError> {
        warn_of_unusable_proxies();
        let client = build(builder.pool_max_idle_per_host(0), Dial::Usual, Arc::new(System))?;
        let usual = Renewable::new(Arc::new(move || Ok(client.clone())))?;
        let usual = Arc::new(usual);
        Ok(Self { usual, direct: None, bearers: Arc::default(), files: None })
    }

    /// Uses another client certificate from now on, if there is one and its files are read within `patience`.
    async fn present_newest(&self, patience: Duration) {
        let Some(files) = &self.files else { return };
        let (direct, usual) = (self.direct.clone(), Arc::clone(&self.usual));
        let all = move || direct.iter().chain([&usual]).for_each(|clients| clients.renew());
        files.renew(patience, all).await;
    }

    /// Selects the client, after checking an address that needs no resolving.
    fn client(&self, url: &Url, limits: Limits) -> Result<&Arc<Renewable>, TransportErrorKind> {
        const BLOCKED: TransportErrorKind = TransportErrorKind::BlockedAddress;
        // `Url` has normalized every spelling of an IPv4 address.
        let host = url.host_str().ok_or(TransportErrorKind::Other)?;
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        let here = address.map_or_else(|| is_localhost(host), is_loopback);
        if address.is_some_and(is_forbidden) {
            return Err(BLOCKED);
        }
        if limits.public_addresses_only {
            let private = here || address.is_some_and(|address| !is_public(address));
            return self.direct.as_ref().filter(|_| !private).ok_or(BLOCKED);
        }
        Ok(self.direct.as_ref().filter(|_| here).unwrap_or(&self.usual))
    }
}

impl Transport for ReqwestTransport {
    fn send(&self, mut request: Request<Bytes>, limits: Limits) -> TransportFuture {
        let prepared = Url::parse(&request.uri().to_string())
            .map_err(|_| TransportErrorKind::Other)
            .and_then(|url| Ok((Arc::clone(self.client(&url, limits)?), url)));
        let (bearers, this) = (Arc::clone(&self.bearers), self.clone());
        Box::pin(async move {
            let (clients, url) = prepared.map_err(TransportError::new)?;
            let whole = async {
                this.present_newest(limits.timeout.checked_div(4).unwrap_or_default()).await;
                authorize(&bearers, &mut request).await?;
                let mut attempt = Attempt::new(clients, limits.timeout);
                exchange(&mut attempt, url, request, limits.max_bytes).await
            };
            tokio::time::timeout(limits.timeout, whole)
                .await
                .unwrap_or(Err(TransportErrorKind::Timeout.into()))
        })
    }

    fn client_certificate_version(&self) -> VersionFuture<'_> {
        Box::pin(async {
            self.present_newest(Duration::MAX).await;
            self.files.as_ref().map_or(0, |files| files.version())
        })
    }
}

/// An exchange under way. If it is dropped without an answer, its client is suspect.
struct Attempt {
    clients: Arc<Renewable>,
    generation: Arc<Generation>,
    began: Instant,
    /// After this time, a missing answer makes the client suspect.
    patience: Duration,
    /// Why the client is suspect if the exchange ends now.
    suspicion: Option<Suspicion>,
}

impl Attempt {
    fn new(clients: Arc<Renewable>, timeout: Duration) -> Self {
        let generation = clients.current();
        // The caller may also drop an exchange at a deadline that is a little earlier.
        let patience = timeout.checked_div(2).unwrap_or_default().min(Duration::from_secs(1));
        let (began, suspicion) = (monotonic(), Some(Suspicion::Silent));
        Self { clients, generation, began, patience, suspicion }
    }

    fn failed(&mut self, error: &reqwest::Error) -> TransportError {
        let kind = kind(error);
        self.suspicion = match kind {
            // No pooled connection is the cause.
            _ if error.is_connect() => None,
            TransportErrorKind::Timeout => {
                self.patience = Duration::ZERO;
                Some(Suspicion::Silent)
            }
            _ => Some(Suspicion::Broken),
        };
        let failed = TransportError::new(kind);
        match kind {
            TransportErrorKind::Connect | TransportErrorKind::Tls | TransportErrorKind::Other => {
                failed.with_source(reason(error))
            }
            _ => failed,
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let lasted = monotonic().saturating_duration_since(self.began);
        match self.suspicion {
            Some(Suspicion::Silent) if lasted < self.patience => {}
            Some(suspicion) => self.clients.replace(&self.generation, suspicion),
            None => {}
        }
    }
}

async fn exchange(
    attempt: &mut Attempt,
    url: Url,
    request: Request<Bytes>,
    max_bytes: usize,
) -> Result<Response<Bytes>, TransportError> {
    let (mut parts, body) = request.into_parts();
    parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let client = attempt.generation.client(attempt.clients.make()).await.cloned();
    let client = client.ok_or(TransportErrorKind::Other)?;
    let request = client.request(parts.method, url).headers(parts.headers).body(body);
    let mut answer = request.send().await.map_err(|error| attempt.failed(&error))?;
    let mut body = match Coding::of(answer.headers()) {
        Coding::Identity => Body::new(false, max_bytes),
        Coding::Gzip => Body::new(true, max_bytes),
        Coding::Other => {
            attempt.suspicion = None;
            return Err(TransportErrorKind::ContentEncoding.into());
        }
    };
    while let Some(chunk) = answer.chunk().await.map_err(|error| attempt.failed(&error))? {
        body.push(&chunk).inspect_err(|_| attempt.suspicion = None)?;
    }
    attempt.suspicion = None;
    let mut response = Response::new(body.finish()?);
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    // They describe the encoded body.
    if response.headers_mut().remove(CONTENT_ENCODING).is_some() {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    Ok(response)
}

fn kind(error: &reqwest::Error) -> TransportErrorKind {
    let has = |what: fn(&(dyn Error + 'static)) -> bool| causes(error).any(what);
    match error {
        _ if has(|cause| cause.is::<Blocked>()) => TransportErrorKind::BlockedAddress,
        _ if error.is_timeout() => TransportErrorKind::Timeout,
        _ if has(|cause| cause.is::<Unresolved>()) => TransportErrorKind::UnknownHost,
        _ if error.is_connect() && has(is_tls) => TransportErrorKind::Tls,
        _ if error.is_connect() => TransportErrorKind::Connect,
        _ => TransportErrorKind::Other,
    }
}

/// Returns the last source of an error, in printable ASCII. The errors before it in the chain name the URL.
fn reason(error: &reqwest::Error) -> Reason {
    let last = causes(error).last().filter(|last| !last.is::<reqwest::Error>());
    let text = last.map_or_else(|| "no cause is known".to_owned(), ToString::to_string);
    let legal = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    Reason(text.chars().take(256).map(legal).collect::<String>().into())
}

/// Iterates over an error's sources, including those within an `io::Error`.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(within) => Some(within as _),
            None => error.source(),
        }
    })
}

/// `rustls` reports a failed handshake as an `io::Error` of this kind.
fn is_tls(cause: &(dyn Error + 'static)) -> bool {
    cause
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
}

fn renewable(
    builder: impl Fn() -> ClientBuilder + Send + Sync + 'static,
    dial: Dial,
    names: Arc<dyn Resolve>,
) -> Result<Arc<Renewable>, ConfigError> {
    if matches!(dial, Dial::Usual) {
        warn_of_unusable_proxies();
    }
    let make = move || build(builder(), dial, Arc::clone(&names));
    Ok(Arc::new(Renewable::new(Arc::new(make))?))
}

fn build(
    builder: ClientBuilder,
    dial: Dial,
    names: Arc<dyn Resolve>,
) -> Result<Client, ConfigError> {
    let builder = builder
        .redirect(Policy::none())
        .referer(false)
        .dns_resolver(Filter { names, dial })
        // Another crate of the build may have enabled their features.
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd();
    // Without a TLS provider `reqwest` panics.
    let built = catch_unwind(AssertUnwindSafe(|| builder.build())).map_err(|_| {
        ConfigError::new(
            "the HTTP client has no TLS: turn on the feature \"aws-lc-rs\" of tower-bearer, or \
             install a rustls CryptoProvider before",
        )
    })?;
    built
        .map_err(|error| ConfigError::new("the HTTP client can't be built").because(reason(&error)))
}

impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReqwestTransport")
    }
}

#[cfg(all(test, feature = "aws-lc-rs"))]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Mutex;

    use reqwest::dns::{Addrs, Name, Resolving};

    use super::*;

    /// Resolves names to these addresses, in turns, and then none any longer.
    struct Names(Mutex<Vec<Vec<&'static str>>>);

    impl Resolve for Names {
        fn resolve(&self, _: Name) -> Resolving {
            let mut turns = self.0.lock().unwrap();
            if turns.is_empty() {
                return Box::pin(std::future::ready(Err("no such name".into())));
            }
            let found = turns.remove(0);
            let found: Vec<SocketAddr> =
                found.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect();
            Box::pin(std::future::ready(Ok(Box::new(found.into_iter()) as Addrs)))
        }
    }

    fn transport(turns: &[&[&'static str]]) -> ReqwestTransport {
        let turns = turns.iter().map(|turn| turn.to_vec()).collect();
        let names: Arc<dyn Resolve> = Arc::new(Names(Mutex::new(turns)));
        let builder = || Client::builder().no_proxy().pool_max_idle_per_host(0);
        ReqwestTransport::resolving(builder, Vec::new(), &names).unwrap()
    }

    async fn get(
        transport: &ReqwestTransport,
        url: &str,
        public_addresses_only: bool,
    ) -> Result<(), TransportErrorKind> {
        let limits = Limits::new(1_024, Duration::from_secs(20));
        let request = Request::get(url).body(Bytes::new()).unwrap();
        let limits = Limits { public_addresses_only, ..limits };
        transport.send(request, limits).await.map(drop).map_err(|error| error.kind())
    }

    /// A listener on which the test checks for connections.
    fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    const BLOCKED: Result<(), TransportErrorKind> = Err(TransportErrorKind::BlockedAddress);

    // LC15
    #[tokio::test]
    async fn lc15_a_name_that_leads_to_a_metadata_service_is_refused_at_dial_time() {
        for addresses in [
            &["169.254.169.254"][..],
            &["::ffff:169.254.169.254"],
            &["fe80::1", "100.100.100.200"],
            &["64:ff9b::a9fe:a9fe", "0.0.0.0"],
        ] {
            for scheme in ["http", "https"] {
                let url = format!("{scheme}://metadata.example/latest");
                assert_eq!(get(&transport(&[addresses]), &url, false).await, BLOCKED);
                assert_eq!(get(&transport(&[addresses]), &url, true).await, BLOCKED);
            }
        }
    }

    #[tokio::test]
    async fn what_may_be_dialled_is_and_nothing_beside_it() {
        let (listener, port) = listener();
        let url = format!("http://name.example:{port}/");
        // No answer, but a connection.
        let limits = Limits::new(1, Duration::from_secs(1));
        let mixed = transport(&[&["169.254.169.254", "127.0.0.1"]]);
        let request = Request::get(&url).body(Bytes::new()).unwrap();
        assert_eq!(
            mixed.send(request, limits).await.unwrap_err().kind(),
            TransportErrorKind::Timeout
        );
        assert!(listener.accept().is_ok());

        assert_eq!(get(&transport(&[&["127.0.0.1", "10.0.0.1"]]), &url, true).await, BLOCKED);
        assert!(listener.accept().is_err(), "no connection was tried");
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_told_from_a_server_that_is_gone() {
        let transport = transport(&[&[], &["127.0.0.1"]]);
        for expected in [
            TransportErrorKind::UnknownHost,
            TransportErrorKind::Connect,
            TransportErrorKind::UnknownHost,
        ] {
            assert_eq!(get(&transport, "http://name.example:1/", false).await, Err(expected));
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_elsewhere_the_second_time_is_refused_then() {
        let (listener, port) = listener();
        let url = format!("http://rebinding.example:{port}/");
        let transport = transport(&[&["127.0.0.1"], &["169.254.169.254"]]);
        let request = Request::get(&url).body(Bytes::new()).unwrap();
        let limits = Limits::new(1, Duration::from_secs(1));
        let first = transport.send(request, limits).await.unwrap_err();
        assert_eq!(first.kind(), TransportErrorKind::Timeout);
        assert!(listener.accept().is_ok());
        assert_eq!(get(&transport, &url, false).await, BLOCKED);
    }

    #[tokio::test]
    async fn localhost_is_this_machine_whatever_the_resolver_says() {
        let (listener, port) = listener();
        for host in ["localhost", "LOCALHOST", "localhost.", "a.localhost"] {
            let url = format!("http://{host}:{port}/");
            assert_eq!(get(&transport(&[&["10.0.0.1"]]), &url, false).await, BLOCKED, "{host}");
            assert_eq!(get(&transport(&[&["127.0.0.1"]]), &url, true).await, BLOCKED, "{host}");
        }
        assert!(listener.accept().is_err(), "no connection was tried");
    }

    // The addresses that a proxy dials aren't visible here.
    #[tokio::test]
    async fn no_proxy_stands_between_where_only_public_addresses_are_dialled() {
        let (listener, port) = listener();
        let names: Arc<dyn Resolve> = Arc::new(Names(Mutex::new(vec![vec!["10.0.0.1"]])));
        let proxy = format!("http://127.0.0.1:{port}");
        let builder = move || Client::builder().proxy(reqwest::Proxy::all(&proxy).unwrap());
        let transport = ReqwestTransport::resolving(builder, Vec::new(), &names).unwrap();
        assert_eq!(get(&transport, "http://name.example/", true).await, BLOCKED);
        assert!(listener.accept().is_err(), "no connection was tried");

        let limits = Limits::new(1, Duration::from_secs(1));
        let request = Request::get("http://name.example/").body(Bytes::new()).unwrap();
        let usual = transport.send(request, limits).await.unwrap_err();
        assert_eq!(usual.kind(), TransportErrorKind::Timeout);
        assert!(listener.accept().is_ok(), "otherwise the proxy is used");
    }

    // Without a pair there is no transport, and so never an exchange without a certificate.
    #[allow(clippy::await_holding_lock, reason = "that is how the disk hangs, for another thread")]
    #[tokio::test]
    async fn mt32_no_exchange_fails_of_certificate_files_that_hang() {
        let folder = format!("tower-bearer-hung-certificate-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let (chain, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        let lay = || {
            let pair = rcgen::generate_simple_self_signed(["client.example".to_owned()]).unwrap();
            std::fs::write(&chain, pair.cert.pem()).unwrap();
            std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        };
        let open = || crate::transport::certificate::open(&chain, &key);
        assert!(open().is_err());
        lay();
        let files = Arc::new(open().unwrap());
        lay();
        let transport = transport(&[&["127.0.0.1"], &["127.0.0.1"]]);
        let transport = ReqwestTransport { files: Some(Arc::clone(&files)), ..transport };
        let (listener, port) = listener();
        listener.set_nonblocking(false).unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let _read = stream.read(&mut [0; 4_096]);
                let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        });
        let url = format!("http://name.example:{port}/");
        let disk = files.disk();
        let hangs = disk.lock().unwrap();
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let limits = Limits::new(1_024, Duration::from_secs(4));
        for _ in 0..2 {
            let request = Request::get(&url).body(Bytes::new()).unwrap();
            assert!(transport.send(request, limits).await.is_ok());
            assert_eq!(transport.client_certificate_version().await, 1);
        }
        drop(hangs);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(transport.client_certificate_version().await, 2);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
