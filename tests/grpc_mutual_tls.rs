//! Tokens that are bound to a certificate, in a tonic server that ends TLS itself.
#![cfg(all(feature = "mtls", feature = "test-util"))]

mod world;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer as Authority, KeyPair};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::server::{NamedService, UnaryService};
use tonic::transport::server::{Connected, TcpConnectInfo, TlsConnectInfo};
use tonic::transport::{ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;
use tower_bearer::jwks::Jwks;
use tower_bearer::mtls::{Certificate, ClientCertHeader, Mtls};
use tower_bearer::{BearerAuthLayer, Validator};
use world::{AUDIENCE, ISSUER, Issuer, bearer};

const SAY: &str = "/echo.Echo/Say";

/// A certificate with its key.
struct Leaf {
    der: CertificateDer<'static>,
    key: KeyPair,
    pem: String,
}

struct World {
    issuer: Issuer,
    ca: String,
    ca_der: CertificateDer<'static>,
    alice: Leaf,
    bob: Leaf,
    server: Leaf,
}

impl World {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        let authority = Authority::new(params, key);
        let leaf = || {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            let leaf = params.signed_by(&key, &authority).unwrap();
            Leaf { der: leaf.der().clone(), pem: leaf.pem(), key }
        };
        Self {
            issuer: Issuer::new(),
            ca: ca.pem(),
            ca_der: ca.der().clone(),
            alice: leaf(),
            bob: leaf(),
            server: leaf(),
        }
    }

    fn token(&self, leaf: &Leaf) -> String {
        let thumbprint = Certificate::from_der(&leaf.der).thumbprint().to_owned();
        self.issuer.token_with(json!({ "cnf": { "x5t#S256": thumbprint } }))
    }

    async fn serve(&self) -> SocketAddr {
        let mtls = Mtls::from_connection(|connection: &TlsConnectInfo<TcpConnectInfo>| {
            Some(Certificate::from_der(connection.peer_certs()?.first()?))
        });
        let identity = Identity::from_pem(&self.server.pem, self.server.key.serialize_pem());
        let tls = ServerTlsConfig::new()
            .identity(identity)
            .client_ca_root(tonic::transport::Certificate::from_pem(&self.ca))
            .client_auth_optional(true);
        let server = Server::builder().tls_config(tls).unwrap();
        start(server, self.layer(mtls)).await
    }

    fn layer(&self, mtls: Mtls) -> BearerAuthLayer {
        let keys = Jwks::static_set(ISSUER, &self.issuer.jwks_json()).unwrap();
        let validator = Validator::builder(ISSUER, AUDIENCE).keys(keys).mtls(mtls);
        BearerAuthLayer::new(validator.build().unwrap())
    }
}

async fn start(server: Server, layer: BearerAuthLayer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = server.layer(layer).add_service(Echo);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

/// Calls over a connection of tonic's client, with this certificate if any.
async fn call(world: &World, address: SocketAddr, shown: Option<&Leaf>, token: &str) -> Code {
    let tls = ClientTlsConfig::new()
        .ca_certificate(tonic::transport::Certificate::from_pem(&world.ca))
        .domain_name("localhost");
    let tls = match shown {
        Some(leaf) => tls.identity(Identity::from_pem(&leaf.pem, leaf.key.serialize_pem())),
        None => tls,
    };
    let endpoint = Endpoint::new(format!("https://localhost:{}", address.port())).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
    say(channel, token, &[]).await
}

async fn say(
    channel: tonic::transport::Channel,
    token: &str,
    fields: &[(&'static str, &str)],
) -> Code {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let mut request = Request::new(Text {});
    request.metadata_mut().insert("authorization", bearer(token).parse().unwrap());
    for (name, value) in fields {
        request.metadata_mut().insert(*name, MetadataValue::try_from(*value).unwrap());
    }
    let codec = ProstCodec::<Text, Text>::default();
    match grpc.unary(request, SAY.parse().unwrap(), codec).await {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    }
}

#[tokio::test]
async fn mt6_tonic_shows_the_first_certificate_of_the_connection() {
    let world = World::new();
    let address = world.serve().await;
    let (of_alice, of_bob) = (world.token(&world.alice), world.token(&world.bob));
    let unbound = world.issuer.token("");
    for (shown, token, expected) in [
        (Some(&world.alice), &of_alice, Code::Ok),
        (Some(&world.alice), &of_bob, Code::Unauthenticated),
        (Some(&world.bob), &of_bob, Code::Ok),
        (Some(&world.bob), &of_alice, Code::Unauthenticated),
        (None, &of_alice, Code::Unauthenticated),
        (Some(&world.alice), &unbound, Code::Ok),
        (None, &unbound, Code::Ok),
    ] {
        assert_eq!(call(&world, address, shown, token).await, expected);
    }
}

/// Sends a call over a connection of its own, and returns how that began, and what the answer's head
/// says.
async fn raw_call(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    token: &str,
) -> (HandshakeKind, Option<String>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.unwrap();
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("https://localhost{SAY}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", bearer(token))
        .body(Full::new(Bytes::from_static(&[0; 5])))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let trailers = body.collect().await.unwrap().trailers().cloned();
    let status = head.headers.get("grpc-status").cloned();
    let status = status.or_else(|| trailers?.get("grpc-status").cloned());
    (kind, status.map(|status| status.to_str().unwrap().to_owned()))
}

#[tokio::test]
async fn mt10_resumed_sessions_show_the_same_certificate() {
    let world = World::new();
    let address = world.serve().await;
    let mut roots = RootCertStore::empty();
    roots.add(world.ca_der.clone()).unwrap();
    let (of_alice, of_bob) = (world.token(&world.alice), world.token(&world.bob));
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let configs = [Some(&world.alice), None].map(|shown| {
        let builder = builder.clone();
        let mut config = match shown {
            Some(leaf) => builder
                .with_client_auth_cert(
                    vec![leaf.der.clone()],
                    PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap(),
                )
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        (Arc::new(config), shown.is_some())
    });
    for (config, has_certificate) in configs {
        for round in 0..3 {
            let (kind, status) = raw_call(&config, address, &of_alice).await;
            let expected = if has_certificate { "0" } else { "16" };
            assert_eq!(status.as_deref(), Some(expected));
            assert_eq!(kind == HandshakeKind::Resumed, round > 0, "{kind:?}");
            let (kind, status) = raw_call(&config, address, &of_bob).await;
            assert_eq!((kind, status.as_deref()), (HandshakeKind::Resumed, Some("16")));
        }
    }
}

/// A connection on which TLS was ended before tonic sees it.
struct Ended(tokio_rustls::server::TlsStream<TcpStream>);

#[derive(Clone)]
struct Shown(Option<Certificate>);

/// How often a certificate was hashed.
static HASHED: AtomicUsize = AtomicUsize::new(0);

impl Connected for Ended {
    type ConnectInfo = Shown;

    fn connect_info(&self) -> Shown {
        let chain = self.0.get_ref().1.peer_certificates();
        Shown(chain.and_then(<[_]>::first).map(|leaf| {
            HASHED.fetch_add(1, Ordering::SeqCst);
            Certificate::from_der(leaf)
        }))
    }
}

impl AsyncRead for Ended {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Ended {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn mt9_tonic_can_hash_once_a_connection() {
    let world = World::new();
    let mut roots = RootCertStore::empty();
    roots.add(world.ca_der.clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let key = PrivateKeyDer::try_from(world.server.key.serialize_der()).unwrap();
    let builder = ServerConfig::builder().with_client_cert_verifier(verifier);
    let mut config = builder.with_single_cert(vec![world.server.der.clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming =
        futures_util::stream::unfold((listener, acceptor), |(listener, acceptor)| async {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = acceptor.accept(stream).await.map(Ended);
            Some((stream, (listener, acceptor)))
        });
    let mtls = Mtls::from_connection(|shown: &Shown| shown.0);
    let server = Server::builder().layer(world.layer(mtls)).add_service(Echo);
    tokio::spawn(async move { server.serve_with_incoming(Box::pin(incoming)).await });

    for (connection, leaf, other) in [(1, &world.alice, &world.bob), (2, &world.bob, &world.alice)]
    {
        let tls = ClientTlsConfig::new()
            .ca_certificate(tonic::transport::Certificate::from_pem(&world.ca))
            .domain_name("localhost")
            .identity(Identity::from_pem(&leaf.pem, leaf.key.serialize_pem()));
        let endpoint = Endpoint::new(format!("https://localhost:{}", address.port())).unwrap();
        let channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
        for _ in 0..5 {
            assert_eq!(say(channel.clone(), &world.token(leaf), &[]).await, Code::Ok);
            let refused = say(channel.clone(), &world.token(other), &[]).await;
            assert_eq!(refused, Code::Unauthenticated);
        }
        assert_eq!(HASHED.load(Ordering::SeqCst), connection);
    }
}

#[tokio::test]
async fn mt14_tonic_behind_a_proxy_believes_listed_peers_only() {
    let world = World::new();
    let header = |networks: &'static str| {
        Mtls::from_header(ClientCertHeader::envoy())
            .trusted_proxies([networks], |peer: &TcpConnectInfo| Some(peer.remote_addr()?.ip()))
            .unwrap()
    };
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &world.alice.der);
    let hash: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let field = format!("Hash={hash}");
    for (networks, expected) in [("127.0.0.0/8", Code::Ok), ("10.0.0.0/8", Code::Unauthenticated)] {
        let address = start(Server::builder(), world.layer(header(networks))).await;
        let channel = Endpoint::new(format!("http://{address}")).unwrap().connect().await.unwrap();
        let fields = [("x-forwarded-client-cert", field.as_str())];
        let token = world.token(&world.alice);
        assert_eq!(say(channel.clone(), &token, &fields).await, expected);
        assert_eq!(say(channel.clone(), &token, &[]).await, Code::Unauthenticated);
        // MT28: over the same connection, another client.
        let other = world.token(&world.bob);
        assert_eq!(say(channel, &other, &fields).await, Code::Unauthenticated);
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Text {}

/// A service as a code generator would have made it.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "echo.Echo";
}

impl tower::Service<http::Request<tonic::body::Body>> for Echo {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
        Box::pin(async move { Ok(grpc.unary(Say, request).await) })
    }
}

struct Say;

impl UnaryService<Text> for Say {
    type Response = Text;
    type Future = BoxFuture<'static, Result<Response<Text>, Status>>;

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        assert!(request.metadata().get("x-forwarded-client-cert").is_none(), "it is removed");
        Box::pin(async move { Ok(Response::new(request.into_inner())) })
    }
}
