use std::error::Error;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
#[cfg(feature = "aws-lc-rs")]
use std::time::Duration;
use std::{fmt, io};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, Request, Response};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};

use crate::error::ConfigError;
use crate::transport::address::{is_forbidden, is_loopback, is_public};
use crate::transport::contract::{
    Limits, ResponseFuture, Transport, TransportError, TransportErrorKind,
};

/// Fetches with [`reqwest`].
///
/// It follows no redirects, sends no cookies, and looks at every address before it dials it:
///
/// * link-local addresses and those of cloud metadata services are never dialled, whatever name
///   leads there and however the number is written;
/// * the name `localhost` leads to loopback addresses only;
/// * with [`Limits::public_addresses_only`], only public addresses are dialled.
///
/// What a proxy dials can't be seen from here. The proxies of the environment (`HTTPS_PROXY`,
/// `NO_PROXY`) are used for hosts that the operator has named, but not for loopback ones, and not
/// where only public addresses may be dialled.
///
/// ```no_run
/// # fn example(pem: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use tower_bearer::transport::ReqwestTransport;
///
/// // For an issuer with a certificate from an authority of one's own.
/// let builder = reqwest::Client::builder()
///     .connect_timeout(Duration::from_secs(3))
///     .tls_certs_only([reqwest::Certificate::from_pem(pem)?]);
/// let transport = ReqwestTransport::from_builder(builder)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ReqwestTransport {
    usual: Client,
    /// Without proxies, and for public addresses and `localhost` only.
    direct: Option<Client>,
}

impl ReqwestTransport {
    /// Creates a transport with the system's certificates and proxies, which tries to connect for
    /// at most 3 seconds.
    ///
    /// # Errors
    ///
    /// If the system has no certificates.
    #[cfg(feature = "aws-lc-rs")]
    pub fn new() -> Result<Self, ConfigError> {
        Self::with_connect_timeout(Duration::from_secs(3))
    }

    #[cfg(feature = "aws-lc-rs")]
    pub(crate) fn with_connect_timeout(timeout: Duration) -> Result<Self, ConfigError> {
        Self::with(|| Client::builder().connect_timeout(timeout), &(Arc::new(System) as _))
    }

    #[cfg(feature = "aws-lc-rs")]
    fn with(
        builder: impl Fn() -> ClientBuilder,
        names: &Arc<dyn Resolve>,
    ) -> Result<Self, ConfigError> {
        let usual = build(builder(), Dial::Usual, Arc::clone(names))?;
        let direct = build(builder().no_proxy(), Dial::Direct, Arc::clone(names))?;
        Ok(Self { usual, direct: Some(direct) })
    }

    /// Creates a transport from a client builder, for certificates, proxies or TLS settings of
    /// one's own. Its redirect policy and its resolver are replaced; it must not keep cookies, and
    /// an address that it gives a name by [`ClientBuilder::resolve`] is dialled unseen. How long
    /// connecting may take is for it to say ([`ClientBuilder::connect_timeout`]).
    ///
    /// Where only public addresses may be dialled, such a transport refuses to send, since its
    /// proxies could dial others.
    ///
    /// # Errors
    ///
    /// If the client can't be built.
    pub fn from_builder(builder: ClientBuilder) -> Result<Self, ConfigError> {
        Ok(Self { usual: build(builder, Dial::Usual, Arc::new(System))?, direct: None })
    }

    /// Chooses the client, after a look at an address that needs no resolving.
    fn client(&self, url: &Url, limits: Limits) -> Result<&Client, TransportErrorKind> {
        const BLOCKED: TransportErrorKind = TransportErrorKind::BlockedAddress;
        // `Url` has turned every spelling of an IPv4 address into the usual one.
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
    fn send(&self, request: Request<Bytes>, limits: Limits) -> ResponseFuture {
        let prepared = Url::parse(&request.uri().to_string())
            .map_err(|_| TransportErrorKind::Other)
            .and_then(|url| Ok((self.client(&url, limits)?.clone(), url)));
        Box::pin(async move {
            let exchange = async {
                let (client, url) = prepared?;
                exchange(&client, url, request, limits.max_bytes).await
            };
            tokio::time::timeout(limits.timeout, exchange)
                .await
                .unwrap_or(Err(TransportErrorKind::Timeout))
                .map_err(TransportError::new)
        })
    }
}

async fn exchange(
    client: &Client,
    url: Url,
    request: Request<Bytes>,
    max_bytes: usize,
) -> Result<Response<Bytes>, TransportErrorKind> {
    let (parts, body) = request.into_parts();
    let request = client.request(parts.method, url).headers(parts.headers).body(body);
    let mut answer = request.send().await.map_err(|error| kind(&error))?;
    if is_encoded(answer.headers()) {
        return Err(TransportErrorKind::ContentEncoding);
    }
    let mut body = BytesMut::new();
    // The chunks come decompressed, and only as fast as they are taken.
    while let Some(chunk) = answer.chunk().await.map_err(|error| kind(&error))? {
        if body.len().saturating_add(chunk.len()) > max_bytes {
            return Err(TransportErrorKind::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::new(body.freeze());
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(response)
}

/// Tells whether a content coding is left that `reqwest` hasn't undone.
fn is_encoded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
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

/// Returns what an error comes from, those within an `io::Error` included.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(within) => Some(within as _),
            None => error.source(),
        }
    })
}

/// So `rustls` says, to whoever connects, that the handshake failed.
fn is_tls(cause: &(dyn Error + 'static)) -> bool {
    cause
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
}

fn build(
    builder: ClientBuilder,
    dial: Dial,
    names: Arc<dyn Resolve>,
) -> Result<Client, ConfigError> {
    let builder =
        builder.redirect(Policy::none()).referer(false).dns_resolver(Filter { names, dial });
    // Without a TLS provider `reqwest` panics.
    let built = catch_unwind(AssertUnwindSafe(|| builder.build())).map_err(|_| {
        ConfigError::new(
            "the HTTP client has no TLS: turn on the feature \"aws-lc-rs\" of tower-bearer, or \
             install a rustls CryptoProvider before",
        )
    })?;
    built.map_err(|error| {
        let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        ConfigError::new(format!("the HTTP client can't be built: {reason}"))
    })
}

/// Which of a name's addresses are dialled.
#[derive(Clone, Copy)]
enum Dial {
    /// All that aren't forbidden.
    Usual,
    /// Public ones.
    #[cfg(feature = "aws-lc-rs")]
    Direct,
}

impl Dial {
    fn allows(self, host: &str, address: IpAddr) -> bool {
        match self {
            _ if is_localhost(host) => is_loopback(address),
            Self::Usual => !is_forbidden(address),
            #[cfg(feature = "aws-lc-rs")]
            Self::Direct => is_public(address),
        }
    }
}

/// `localhost` and what lies below it (RFC 6761 §6.3).
fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// Resolves names, and takes away what may not be dialled. This is the last look before the
/// connection is made, so that a name that leads elsewhere the second time doesn't help.
struct Filter {
    names: Arc<dyn Resolve>,
    dial: Dial,
}

impl Resolve for Filter {
    fn resolve(&self, name: Name) -> Resolving {
        let (host, dial) = (name.as_str().to_owned(), self.dial);
        let resolving = self.names.resolve(name);
        Box::pin(async move {
            let mut any = false;
            let found = resolving.await.map_err(|_| Unresolved)?.inspect(|_| any = true);
            let allowed: Vec<SocketAddr> =
                found.filter(|address| dial.allows(&host, address.ip())).collect();
            if allowed.is_empty() {
                return Err(if any { Blocked.into() } else { Unresolved.into() });
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// The system's resolver.
struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let lookup = move || (name.as_str(), 0).to_socket_addrs();
            let found = tokio::task::spawn_blocking(lookup).await??;
            Ok(Box::new(found) as Addrs)
        })
    }
}

/// Every address of a name is one that must not be dialled.
#[derive(Debug, thiserror::Error)]
#[error("the host's address must not be dialled")]
struct Blocked;

/// A name without any address.
#[derive(Debug, thiserror::Error)]
#[error("the host's name has no address")]
struct Unresolved;

impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReqwestTransport")
    }
}

#[cfg(all(test, feature = "aws-lc-rs"))]
mod tests {
    use std::net::TcpListener;
    use std::sync::Mutex;

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
        ReqwestTransport::with(builder, &names).unwrap()
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

    /// A listener, of which the test looks whether anybody connected.
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
        // Nobody answers, but somebody came.
        let limits = Limits::new(1, Duration::from_millis(200));
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
        let limits = Limits::new(1, Duration::from_millis(200));
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

    // A proxy would dial what can't be seen from here.
    #[tokio::test]
    async fn no_proxy_stands_between_where_only_public_addresses_are_dialled() {
        let (listener, port) = listener();
        let names: Arc<dyn Resolve> = Arc::new(Names(Mutex::new(vec![vec!["10.0.0.1"]])));
        let proxy = format!("http://127.0.0.1:{port}");
        let builder = || Client::builder().proxy(reqwest::Proxy::all(&proxy).unwrap());
        let transport = ReqwestTransport::with(builder, &names).unwrap();
        assert_eq!(get(&transport, "http://name.example/", true).await, BLOCKED);
        assert!(listener.accept().is_err(), "no connection was tried");

        let limits = Limits::new(1, Duration::from_millis(200));
        let request = Request::get("http://name.example/").body(Bytes::new()).unwrap();
        let usual = transport.send(request, limits).await.unwrap_err();
        assert_eq!(usual.kind(), TransportErrorKind::Timeout);
        assert!(listener.accept().is_ok(), "otherwise the proxy is used");
    }
}
