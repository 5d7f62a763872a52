//! Authorization servers that are dead, slow, hung or lying, over real sockets, by HTTP/1.1 and by
//! HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_bearer::client::{AttachTokenLayer, ClientAuth, Grant, ReplayBody, TokenClient};
use tower_bearer::transport::ReqwestTransport;

use crate::support::SECOND;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// How the server behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Well,
    /// Well, but it takes one request after the other, each for so long.
    Busy(Duration),
    /// On the connections that there are: new ones are well.
    HangsOnOldConnections,
    Hangs,
    /// The head comes, and then a byte now and then.
    Drips,
    Closes,
    Lies(u16, &'static str),
}

#[derive(Clone)]
struct Server(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    mode: Mutex<(Mode, usize)>,
    busy: tokio::sync::Mutex<()>,
    requests: AtomicUsize,
    granted: AtomicUsize,
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self(Arc::new(Shared {
            address: listener.local_addr().unwrap(),
            mode: Mutex::new((Mode::Well, 0)),
            busy: tokio::sync::Mutex::default(),
            requests: AtomicUsize::new(0),
            granted: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
        }));
        let shared = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = shared.0.connections.fetch_add(1, Ordering::SeqCst) + 1;
                let open = shared.0.open.fetch_add(1, Ordering::SeqCst) + 1;
                shared.0.most_open.fetch_max(open, Ordering::SeqCst);
                let shared = shared.clone();
                tokio::spawn(async move {
                    let service = hyper_util::service::TowerToHyperService::new(service_fn({
                        let shared = shared.clone();
                        move |_: Request<hyper::body::Incoming>| {
                            let shared = shared.clone();
                            async move { shared.answer(number).await }
                        }
                    }));
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                    shared.0.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    fn set(&self, mode: Mode) {
        *self.0.mode.lock().unwrap() = (mode, self.0.connections.load(Ordering::SeqCst));
    }

    fn requests(&self) -> usize {
        self.0.requests.load(Ordering::SeqCst)
    }

    fn url(&self) -> String {
        format!("http://{}/token", self.0.address)
    }

    async fn answer(&self, connection: usize) -> Result<Response<Body>, std::io::Error> {
        self.0.requests.fetch_add(1, Ordering::SeqCst);
        let (mode, since) = *self.0.mode.lock().unwrap();
        match mode {
            Mode::Hangs => std::future::pending().await,
            Mode::HangsOnOldConnections if connection <= since => std::future::pending().await,
            Mode::Well | Mode::HangsOnOldConnections => Ok(self.grant()),
            Mode::Busy(pause) => {
                let _turn = self.0.busy.lock().await;
                tokio::time::sleep(pause).await;
                Ok(self.grant())
            }
            Mode::Drips => {
                let drops = tokio_stream::iter(std::iter::repeat_n(b"{", 10_000));
                let drops = drops.throttle(Duration::from_millis(100));
                let frames = drops.map(|drop| Ok(Frame::data(Bytes::from_static(drop))));
                Ok(Response::new(StreamBody::new(frames).boxed_unsync()))
            }
            Mode::Closes => Err(std::io::Error::other("closed")),
            Mode::Lies(status, body) => {
                let mut response = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                response.headers_mut().insert(LOCATION, "https://evil.test/".parse().unwrap());
                Ok(response)
            }
        }
    }

    fn grant(&self) -> Response<Body> {
        let n = self.0.granted.fetch_add(1, Ordering::SeqCst) + 1;
        let body = format!(r#"{{"access_token":"t{n}","token_type":"Bearer","expires_in":6000}}"#);
        Response::new(Full::new(Bytes::from(body)).boxed_unsync())
    }
}

#[derive(Clone, Copy, Debug)]
enum Version {
    Http1,
    Http2,
}

const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

fn client(version: Version, timeout: Duration) -> TokenClient {
    let transport = ReqwestTransport::from_fn(move || {
        let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(16);
        match version {
            Version::Http1 => builder.http1_only(),
            Version::Http2 => builder.http2_prior_knowledge(),
        }
    })
    .unwrap();
    TokenClient::builder().transport(transport).timeout(timeout).capacity(10_000).build().unwrap()
}

fn grant(server: &Server, tenant: &str) -> Grant {
    let grant = Grant::endpoint(&server.url(), ClientAuth::basic("me", "s3cret"));
    grant.allow_loopback_http().tenant(tenant).scope(tenant).build().unwrap()
}

const GOOD: &str = "https://good.test";
const HOSTILE: &str = "https://hostile.test";

async fn call(layer: &AttachTokenLayer, origin: &str) -> u16 {
    let service = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| async move {
        assert!(request.headers().contains_key(AUTHORIZATION));
        let hostile = request.uri().host() == Some("hostile.test");
        let mut response = Response::new(());
        *response.status_mut() = if hostile { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        Ok::<_, Infallible>(response)
    });
    let request = Request::get(origin).body(Full::new(Bytes::new())).unwrap();
    layer.layer(service).oneshot(request).await.unwrap().status().as_u16()
}

const TROUBLES: [Mode; 8] = [
    Mode::Hangs,
    Mode::Drips,
    Mode::Closes,
    Mode::Lies(200, "<html>log in</html>"),
    Mode::Lies(200, r#"{"status":"maintenance"}"#),
    Mode::Lies(404, "default backend"),
    Mode::Lies(302, ""),
    Mode::Lies(503, r#"{"error":"temporarily_unavailable"}"#),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fc2_whatever_the_issuer_does_a_401_from_one_origin_costs_no_call_to_another() {
    for version in VERSIONS {
        let runs = TROUBLES.map(|trouble| {
            tokio::spawn(async move {
                let server = Server::start().await;
                let tokens = client(version, 6 * SECOND).source(&grant(&server, "a"));
                let layer = AttachTokenLayer::new(tokens, [GOOD, HOSTILE]).unwrap();
                assert_eq!(call(&layer, GOOD).await, 200, "{version:?} {trouble:?}");
                server.set(trouble);
                let hostile = tokio::spawn({
                    let layer = layer.clone();
                    async move {
                        for _ in 0..20 {
                            assert_eq!(call(&layer, HOSTILE).await, 401);
                        }
                    }
                });
                for _ in 0..40 {
                    let started = Instant::now();
                    assert_eq!(call(&layer, GOOD).await, 200, "{version:?} {trouble:?}");
                    assert!(started.elapsed() < 2 * SECOND, "{:?}", started.elapsed());
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                server.set(Mode::Well);
                hostile.await.unwrap();
                assert!(server.requests() < 20, "{trouble:?}: {}", server.requests());
            })
        });
        for run in runs {
            run.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_issuer_does_a_caller_has_an_answer_in_time() {
    for version in VERSIONS {
        let runs = TROUBLES.map(|trouble| {
            tokio::spawn(async move {
                let server = Server::start().await;
                server.set(trouble);
                let source = client(version, 2 * SECOND).source(&grant(&server, "a"));
                let started = Instant::now();
                let error = source.token().await.unwrap_err();
                assert!(started.elapsed() < 8 * SECOND, "{:?}", started.elapsed());
                assert!(!error.is_permanent(), "{trouble:?}: {error}");
                assert!(server.requests() <= 4, "{trouble:?}: {}", server.requests());
                // And a token soon after it is well.
                server.set(Mode::Well);
                let back = Instant::now();
                while source.token().await.is_err() {
                    assert!(back.elapsed() < 30 * SECOND, "{version:?} {trouble:?}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        });
        for run in runs {
            run.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_an_error_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    drop(listener);
    for version in VERSIONS {
        let grant = Grant::endpoint(&url, ClientAuth::basic("me", "s3cret")).allow_loopback_http();
        let source = client(version, 10 * SECOND).source(&grant.build().unwrap());
        let started = Instant::now();
        assert!(!source.token().await.unwrap_err().is_permanent());
        assert!(started.elapsed() < 5 * SECOND);
    }
}

// FC1: connections that hang are those of the pool; an attempt that has timed out is over with them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fc1_a_hung_connection_costs_at_most_one_attempt() {
    for version in VERSIONS {
        let server = Server::start().await;
        let client = client(version, 8 * SECOND);
        let warm = client.source(&grant(&server, "warm"));
        warm.token().await.unwrap();
        server.set(Mode::HangsOnOldConnections);
        for tenant in ["a", "b", "c"] {
            let before = server.requests();
            let started = Instant::now();
            client.token(&grant(&server, tenant)).await.unwrap();
            let (requests, waited) = (server.requests() - before, started.elapsed());
            assert!(requests <= 2, "{version:?} {tenant}: {requests} requests");
            assert!(waited < 8 * SECOND, "{version:?} {tenant}: {waited:?}");
        }
    }
}

// `TENANTS=4000` runs it with as many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fc5_more_tenants_than_a_server_serves_in_time_cost_few_sockets_and_one_request_each() {
    let runs = VERSIONS.map(|version| {
        tokio::spawn(async move {
            // At 5 ms each they take longer than a caller waits.
            let tenants =
                std::env::var("TENANTS").map_or(1_200, |tenants| tenants.parse().unwrap());
            let server = Server::start().await;
            server.set(Mode::Busy(Duration::from_millis(5)));
            let client = client(version, 4 * SECOND);
            let callers: Vec<_> = (0..tenants)
                .map(|tenant| {
                    let source = client.source(&grant(&server, &tenant.to_string()));
                    tokio::spawn(async move {
                        // Whoever has an error in time comes again.
                        loop {
                            let answer = tokio::time::timeout(20 * SECOND, source.token()).await;
                            match answer.expect("a token or an error within the deadline") {
                                Ok(_) => return,
                                Err(error) => assert!(!error.is_permanent(), "{error}"),
                            }
                            tokio::time::sleep(SECOND).await;
                        }
                    })
                })
                .collect();
            for caller in callers {
                caller.await.unwrap();
            }
            let requests = server.requests();
            assert!(requests <= tenants * 11 / 10, "{version:?}: {requests} requests");
            let sockets = server.0.most_open.load(Ordering::SeqCst);
            assert!(sockets <= 64, "{version:?}: {sockets} sockets");
        })
    });
    for run in runs {
        run.await.unwrap();
    }
}
