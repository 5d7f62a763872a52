//! Connections that were kept, and on which no answer comes any longer.
#![cfg(all(feature = "client", feature = "reqwest-0_13", feature = "test-util"))]
#![allow(clippy::disallowed_methods, reason = "these connections are real, and so is the time")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tower_bearer::client::{ClientAuth, Grant, TokenClient};
use tower_bearer::jwks::{FetchErrorKind, Jwks};
use tower_bearer::transport::{Limits, ReqwestTransport, Transport as _, TransportErrorKind};

/// A server with TLS, whose connections can be made to hang while new ones work: as behind a
/// balancer that has lost a backend, or a firewall that has forgotten a connection. Pings are
/// answered all the while, and connections stay open.
struct Server {
    address: SocketAddr,
    authority: Vec<u8>,
    connections: Arc<AtomicUsize>,
    /// Connections before this one hang.
    hung: Arc<AtomicUsize>,
}

impl Server {
    async fn start(protocol: &'static [u8]) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let chain = vec![params.signed_by(&key, &authority).unwrap().der().clone()];
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key.serialize_der().try_into().unwrap())
            .unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (connections, hung) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let server = Self {
            address: listener.local_addr().unwrap(),
            authority: authority.der().to_vec(),
            connections: Arc::clone(&connections),
            hung: Arc::clone(&hung),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = connections.fetch_add(1, SeqCst);
                let (acceptor, hung) = (acceptor.clone(), Arc::clone(&hung));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = tower::service_fn(move |request| {
                        let hangs = number < hung.load(SeqCst);
                        async move {
                            if hangs {
                                std::future::pending::<()>().await;
                            }
                            Ok::<_, Infallible>(answer(&request))
                        }
                    });
                    let service = TowerToHyperService::new(service);
                    let builder = Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        server
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    fn transport(&self) -> ReqwestTransport {
        ReqwestTransport::builder().root_certificate_der(&self.authority).build().unwrap()
    }

    fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// Has all connections hang that there are.
    fn hang(&self) {
        self.hung.store(self.connections(), SeqCst);
    }
}

fn answer<B>(request: &Request<B>) -> Response<Full<Bytes>> {
    let body = match request.uri().path() {
        "/jwks" => KEYS,
        _ => r#"{"access_token":"t","token_type":"Bearer","expires_in":600}"#,
    };
    Response::builder().header("content-type", "application/json").body(Full::from(body)).unwrap()
}

/// RFC 8037 appendix A.2.
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

const SECOND: Duration = Duration::from_secs(1);

/// One exchange.
async fn get(transport: &ReqwestTransport, url: &str) -> Result<(), TransportErrorKind> {
    get_within(SECOND, transport, url).await
}

async fn get_within(
    patience: Duration,
    transport: &ReqwestTransport,
    url: &str,
) -> Result<(), TransportErrorKind> {
    let request = Request::get(url).body(Bytes::new()).unwrap();
    let answer = transport.send(request, Limits::new(10_000, patience)).await;
    answer.map(drop).map_err(|error| error.kind())
}

const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

#[tokio::test]
async fn fc1_a_hung_connection_costs_one_exchange() {
    for protocol in [HTTP_2, HTTP_1] {
        let server = Server::start(protocol).await;
        let (transport, url) = (server.transport(), server.url("/jwks"));
        for _ in 0..3 {
            assert_eq!(get(&transport, &url).await, Ok(()));
        }
        assert_eq!(server.connections(), 1, "connections are kept");
        server.hang();
        assert_eq!(get(&transport, &url).await, Err(TransportErrorKind::Timeout));
        for _ in 0..3 {
            assert_eq!(get(&transport, &url).await, Ok(()));
        }
        assert_eq!(server.connections(), 2, "and so is the new one");
    }
}

#[tokio::test]
async fn fc1_any_number_of_connections_that_hang_cost_one_exchange() {
    let server = Server::start(HTTP_1).await;
    let (transport, url) = (server.transport(), server.url("/jwks"));
    let all = (0..8).map(|_| get_within(10 * SECOND, &transport, &url));
    assert!(futures_util::future::join_all(all).await.iter().all(Result::is_ok));
    assert!(server.connections() > 1);
    server.hang();
    assert_eq!(get(&transport, &url).await, Err(TransportErrorKind::Timeout));
    assert_eq!(get(&transport, &url).await, Ok(()));
}

// Other traffic would keep it in the pool for ever.
#[tokio::test]
async fn fc1_exchanges_at_the_same_time_dont_keep_a_hung_connection_alive() {
    let server = Server::start(HTTP_2).await;
    let (transport, url) = (server.transport(), server.url("/jwks"));
    assert_eq!(get(&transport, &url).await, Ok(()));
    server.hang();
    let staggered = (0..20_u32).map(async |n| {
        tokio::time::sleep(SECOND * n / 10).await;
        (n, get(&transport, &url).await)
    });
    for (n, result) in futures_util::future::join_all(staggered).await {
        assert!(result.is_ok() || n < 13, "{n}: {result:?}");
        assert!(result.is_err() || n > 5, "{n}: {result:?}");
    }
}

// An exchange that is given up just before its time is over tells the same.
#[tokio::test]
async fn fc1_an_exchange_that_is_given_up_late_leaves_no_hung_connection_behind() {
    let server = Server::start(HTTP_2).await;
    let (transport, url) = (server.transport(), server.url("/jwks"));
    assert_eq!(get(&transport, &url).await, Ok(()));
    server.hang();
    let patience = Duration::from_millis(900);
    let given_up = tokio::time::timeout(patience, get(&transport, &url)).await;
    // On a slow machine, the exchange may come to its own end.
    assert!(matches!(given_up, Err(_) | Ok(Err(TransportErrorKind::Timeout))), "{given_up:?}");
    assert_eq!(get(&transport, &url).await, Ok(()));

    // One that is given up at once tells nothing.
    let request = get(&transport, &url);
    assert!(request.now_or_never().is_none());
    assert_eq!(get(&transport, &url).await, Ok(()));
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn fc1_a_builder_that_is_used_up_keeps_no_connection() {
    let server = Server::start(HTTP_2).await;
    let authority = reqwest::Certificate::from_der(&server.authority).unwrap();
    let builder = reqwest::Client::builder().tls_certs_only([authority]);
    let (transport, url) = (ReqwestTransport::from_builder(builder).unwrap(), server.url("/jwks"));
    assert_eq!(get(&transport, &url).await, Ok(()));
    server.hang();
    assert_eq!(get(&transport, &url).await, Ok(()));
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn fc1_keys_are_fetched_again_after_one_failure() {
    for protocol in [HTTP_2, HTTP_1] {
        let server = Server::start(protocol).await;
        let source = Jwks::url("https://localhost", server.url("/jwks"));
        let jwks = source.transport(server.transport()).timeout(SECOND).build().unwrap();
        jwks.ready(20 * SECOND).await.unwrap();
        server.hang();
        assert_eq!(jwks.refresh().await, Err(FetchErrorKind::Timeout.into()));
        assert_eq!(jwks.refresh().await, Ok(()));
    }
}

#[tokio::test]
async fn fc1_a_token_comes_within_the_attempts_of_one_fetch() {
    for protocol in [HTTP_2, HTTP_1] {
        let server = Server::start(protocol).await;
        let builder = TokenClient::builder().transport(server.transport());
        let client = builder.timeout(4 * SECOND).build().unwrap();
        let get = async |scope: &str| {
            let auth = ClientAuth::basic("me", "secret");
            let grant = Grant::endpoint(&server.url("/token"), auth).scope(scope).build().unwrap();
            client.token(&grant).await
        };
        get("a").await.unwrap();
        server.hang();
        let began = Instant::now();
        get("b").await.unwrap();
        assert!(began.elapsed() >= 2 * SECOND, "one attempt has hung");
        get("c").await.unwrap();
        assert_eq!(server.connections(), 2);
    }
}
