//! The default transport to an issuer with a certificate of a private authority, which gives its keys
//! to callers with a bearer token or a certificate only.
#![cfg(all(feature = "reqwest", feature = "test-util"))]

use std::convert::Infallible;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tower_bearer::issuers::Issuer;
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::{FetchErrorKind, Jwks};
use tower_bearer::testing::{ManualClock, TestKey};
use tower_bearer::token::ClientIdSource;
use tower_bearer::transport::{
    Limits, ReqwestTransport, ReqwestTransportBuilder, Transport as _, TransportErrorKind,
};
use tower_bearer::{Refusal, RejectionKind, Secret, UnixTime, Validator};

/// RFC 8037 appendix A.2.
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A certificate authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }
}

/// Gives its keys to callers with the bearer token that it wants, and remembers what it was sent.
struct Server {
    address: SocketAddr,
    wanted: Arc<Mutex<&'static str>>,
    keys: Arc<Mutex<String>>,
    sent: Arc<Mutex<Vec<Option<String>>>>,
}

impl Server {
    async fn start(authority: &Authority, clients: Option<&Authority>) -> Self {
        let (chain, key) = authority.issue("localhost");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.0.der().clone()).unwrap();
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = key.serialize_der().try_into().unwrap();
        let config = config.with_single_cert(vec![chain.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (wanted, sent) = (Arc::new(Mutex::new("")), Arc::<Mutex<Vec<_>>>::default());
        let keys = Arc::new(Mutex::new(KEYS.to_owned()));
        let server = Self {
            address,
            wanted: Arc::clone(&wanted),
            keys: Arc::clone(&keys),
            sent: Arc::clone(&sent),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, wanted, sent) = (acceptor.clone(), wanted.clone(), sent.clone());
                let keys = keys.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = tower::service_fn(move |request: Request<_>| {
                        let field = request.headers().get(AUTHORIZATION);
                        let field = field.map(|field| field.to_str().unwrap().to_owned());
                        let wanted = wanted.lock().unwrap();
                        let good = field.as_deref().unwrap_or_default() == *wanted;
                        sent.lock().unwrap().push(field);
                        let status = if good { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
                        let keys = Bytes::from(keys.lock().unwrap().clone());
                        let mut answer = Response::new(Full::new(keys));
                        *answer.status_mut() = status;
                        async { Ok::<_, Infallible>(answer) }
                    });
                    let service = TowerToHyperService::new(service);
                    let builder = Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        server
    }

    fn origin(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    fn want(&self, field: &'static str) {
        *self.wanted.lock().unwrap() = field;
    }

    fn publish(&self, keys: &[&TestKey]) {
        let keys: Vec<_> = keys.iter().map(|key| key.public_jwk()).collect();
        *self.keys.lock().unwrap() = json!({ "keys": keys }).to_string();
    }

    fn sent(&self) -> Vec<Option<String>> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }
}

/// A folder that is removed with all that is in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, SeqCst);
        let name = format!("tower-bearer-private-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone_already = fs::remove_dir_all(&self.0);
    }
}

async fn get(
    transport: &ReqwestTransport,
    url: &str,
    own: Option<&str>,
) -> Result<u16, TransportErrorKind> {
    let mut request = Request::get(url);
    if let Some(own) = own {
        request = request.header(AUTHORIZATION, own);
    }
    let request = request.body(Bytes::new()).unwrap();
    let answer = transport.send(request, Limits::new(10_000, Duration::from_secs(20))).await;
    answer.map(|answer| answer.status().as_u16()).map_err(|error| error.kind())
}

fn trusting(authority: &Authority) -> ReqwestTransportBuilder {
    ReqwestTransport::builder().root_certificates(authority.0.pem())
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_was_added() {
    const REFUSED: Result<u16, TransportErrorKind> = Err(TransportErrorKind::Tls);
    let (ours, others) = (Authority::new(), Authority::new());
    let server = Server::start(&ours, None).await;
    let der = |authority: &Authority| authority.0.der().to_vec();
    let both = [others.0.pem(), ours.0.pem()].concat();
    for (builder, expected) in [
        (ReqwestTransport::builder(), REFUSED),
        (trusting(&others), REFUSED),
        (trusting(&others).without_system_roots(), REFUSED),
        (trusting(&ours), Ok(200)),
        (trusting(&ours).without_system_roots(), Ok(200)),
        (trusting(&others).root_certificates(ours.0.pem()), Ok(200)),
        (ReqwestTransport::builder().root_certificates(both), Ok(200)),
        (ReqwestTransport::builder().root_certificate_der(der(&ours)), Ok(200)),
        (ReqwestTransport::builder().root_certificate_der(der(&others)), REFUSED),
    ] {
        let shown = format!("{builder:?}");
        let transport = builder.build().unwrap();
        assert_eq!(get(&transport, &server.origin(), None).await, expected, "{shown}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn keys_are_fetched_with_the_token_that_the_file_holds_at_that_time() {
    use std::os::unix::fs::symlink;
    // token → ..data/token, ..data → ..1, which is swapped for ..2 in one step, as Kubernetes does.
    let folder = Folder::new();
    for (version, token) in [("..1", "one\n"), ("..2", "two")] {
        fs::create_dir(folder.0.join(version)).unwrap();
        fs::write(folder.0.join(version).join("token"), token).unwrap();
    }
    symlink("..1", folder.0.join("..data")).unwrap();
    symlink("..data/token", folder.0.join("token")).unwrap();

    let authority = Authority::new();
    let server = Server::start(&authority, None).await;
    server.want("Bearer one");
    let transport = trusting(&authority)
        .bearer_from_file(&server.origin(), folder.0.join("token"))
        .build()
        .unwrap();
    let url = format!("{}/openid/v1/jwks", server.origin());
    let keys = Jwks::url(ISSUER, &url).transport(transport).build().unwrap();
    keys.ready(Duration::from_secs(20)).await.unwrap();

    server.want("Bearer two");
    assert_eq!(
        keys.refresh().await,
        Err(FetchErrorKind::Status(401).into()),
        "the old one is still there"
    );
    symlink("..2", folder.0.join("..data_tmp")).unwrap();
    fs::rename(folder.0.join("..data_tmp"), folder.0.join("..data")).unwrap();
    fs::remove_dir_all(folder.0.join("..1")).unwrap();
    keys.refresh().await.unwrap();
    let expected = ["Bearer one", "Bearer one", "Bearer two"].map(|it| Some(it.to_owned()));
    assert_eq!(server.sent(), expected);
    keys.shutdown().await;
}

// What a projected service-account token says, beside what users' tokens do.
#[derive(serde::Deserialize)]
struct Workload {
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<Kubernetes>,
}

#[derive(serde::Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Named,
}

#[derive(serde::Deserialize)]
struct Named {
    name: String,
}

#[cfg(unix)]
#[tokio::test]
async fn n29_a_clusters_workloads_beside_the_users_of_another_issuer() {
    use std::os::unix::fs::symlink;
    const USERS: &str = "https://login.example";
    let folder = Folder::new();
    for (version, token) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(folder.0.join(version)).unwrap();
        fs::write(folder.0.join(version).join("token"), token).unwrap();
    }
    symlink("..1", folder.0.join("..data")).unwrap();
    symlink("..data/token", folder.0.join("token")).unwrap();
    let key = |kid: &str| TestKey::generate(Algorithm::RS256).with_kid(kid);
    let (first, second, users_key) = (key("first"), key("second"), key("users"));
    let authority = Authority::new();
    let server = Server::start(&authority, None).await;
    server.want("Bearer one");
    server.publish(&[&first]);
    let transport = trusting(&authority)
        .bearer_from_file(&server.origin(), folder.0.join("token"))
        .build()
        .unwrap();
    let url = format!("{}/openid/v1/jwks", server.origin());
    let now = UnixTime::from_secs(1_800_000_000);
    let set = json!({ "keys": [users_key.public_jwk()] }).to_string();
    let validator = Validator::issuers([
        Issuer::new(USERS, "orders").keys(Jwks::static_set(USERS, &set).unwrap()),
        Issuer::new(ISSUER, "orders")
            .client_id_source(ClientIdSource::subject())
            .keys(Jwks::url(ISSUER, &url).transport(transport)),
    ])
    .claims::<Workload>()
    .clock(ManualClock::new(now))
    .build()
    .unwrap();
    let cluster = validator.jwks_of(ISSUER).unwrap();
    cluster.ready(Duration::from_secs(20)).await.unwrap();
    let sign = |key: &TestKey, claims: serde_json::Value| {
        let header = json!({ "alg": "RS256", "kid": key.kid() });
        key.sign(header.to_string(), claims.to_string())
    };
    let pods = |key: &TestKey, pod: &str| {
        let claims = json!({
            "iss": ISSUER, "aud": ["orders"], "sub": "system:serviceaccount:shop:checkout",
            "iat": now.as_secs(), "nbf": now.as_secs(), "exp": now.as_secs() + 3_607, "jti": pod,
            "kubernetes.io": {
                "namespace": "shop", "node": {"name": "n", "uid": "u"}, "pod": {"name": pod, "uid": "u"},
                "serviceaccount": {"name": "checkout", "uid": "u"}, "warnafter": now.as_secs() + 3_600,
            },
        });
        sign(key, claims)
    };
    let token = validator.validate(&pods(&first, "a")).await.unwrap();
    assert_eq!(token.client_id(), Some("system:serviceaccount:shop:checkout"));
    let workload = token.extra().kubernetes.as_ref().unwrap();
    assert_eq!((&*workload.namespace, &*workload.serviceaccount.name), ("shop", "checkout"));
    let users = json!({ "iss": USERS, "aud": "orders", "sub": "alice", "exp": now.as_secs() + 60 });
    let users_token = validator.validate(&sign(&users_key, users)).await.unwrap();
    assert!(users_token.extra().kubernetes.is_none());
    let crossed = validator.validate(&pods(&users_key.clone().with_kid("first"), "a")).await;
    assert!(
        matches!(crossed, Err(Refusal::Rejection(it)) if it.kind() == RejectionKind::BadSignature)
    );

    // The kubelet renews the token, and the cluster its key: the first token of the new one is accepted.
    server.want("Bearer two");
    server.publish(&[&first, &second]);
    symlink("..2", folder.0.join("..data_tmp")).unwrap();
    fs::rename(folder.0.join("..data_tmp"), folder.0.join("..data")).unwrap();
    fs::remove_dir_all(folder.0.join("..1")).unwrap();
    validator.validate(&pods(&second, "b")).await.unwrap();
    assert_eq!(server.sent(), ["Bearer one", "Bearer two"].map(|it| Some(it.to_owned())));
    cluster.shutdown().await;
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let folder = Folder::new();
    let path = folder.0.join("token");
    let authority = Authority::new();
    let server = Server::start(&authority, None).await;
    let builder = trusting(&authority).bearer_from_file(&server.origin(), path.clone());
    let transport = builder.build().unwrap();
    let keys = Jwks::url(ISSUER, server.origin()).transport(transport.clone()).build().unwrap();
    assert_eq!(keys.refresh().await, Err(FetchErrorKind::Credentials.into()));
    let bad: [Option<&[u8]>; 7] = [
        None,
        Some(b""),
        Some(b"\n"),
        Some(b"a b"),
        Some(b"a\nb"),
        Some(b"\xff\xfea\0"),
        Some(&[b'a'; 70_000]),
    ];
    for bad in bad {
        match bad {
            Some(bad) => fs::write(&path, bad).unwrap(),
            None => assert!(!path.exists()),
        }
        let answer = get(&transport, &server.origin(), None).await;
        assert_eq!(answer, Err(TransportErrorKind::Credentials), "{bad:?}");
    }
    assert_eq!(server.sent(), []);

    server.want("Bearer a");
    fs::write(&path, " a\r\n").unwrap();
    assert_eq!(get(&transport, &server.origin(), None).await, Ok(200));
    keys.refresh().await.unwrap();
    keys.shutdown().await;
}

#[tokio::test]
async fn the_token_goes_to_its_origin_only_and_replaces_no_other() {
    let folder = Folder::new();
    let path = folder.0.join("token");
    fs::write(&path, "one").unwrap();
    let authority = Authority::new();
    let server = Server::start(&authority, None).await;
    let elsewhere = Server::start(&authority, None).await;
    let builder = trusting(&authority).bearer_from_file(&server.origin(), path);
    let transport = builder.build().unwrap();

    server.want("Bearer one");
    assert_eq!(get(&transport, &server.origin(), None).await, Ok(200));
    assert_eq!(get(&transport, &elsewhere.origin(), None).await, Ok(200));
    assert_eq!(elsewhere.sent(), [None]);
    server.want("Basic bWU6c2VjcmV0");
    let own = get(&transport, &server.origin(), Some("Basic bWU6c2VjcmV0")).await;
    assert_eq!(own, Ok(200));
}

#[tokio::test]
async fn a_client_certificate_is_presented() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let server = Server::start(&servers, Some(&clients)).await;
    assert!(get(&trusting(&servers).build().unwrap(), &server.origin(), None).await.is_err());
    for (authority, good) in [(&clients, true), (&servers, false)] {
        let (certificate, key) = authority.issue("client.test");
        let pem = Secret::new(format!("{}{}", certificate.pem(), key.serialize_pem()));
        let transport = trusting(&servers).client_certificate(&pem).build().unwrap();
        assert_eq!(get(&transport, &server.origin(), None).await.is_ok(), good);
    }
}

#[tokio::test]
async fn mt32_a_client_certificate_is_replaced_on_disk() {
    let (servers, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let server = Server::start(&servers, Some(&clients)).await;
    let name = format!("tower-bearer-presented-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).unwrap();
    let (chain, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    let lay = |authority: &Authority| {
        let (certificate, private) = authority.issue("client.test");
        fs::write(&chain, certificate.pem()).unwrap();
        fs::write(&key, private.serialize_pem()).unwrap();
    };
    lay(&others);
    let transport = trusting(&servers).client_certificate_files(&chain, &key).build().unwrap();
    let first = transport.client_certificate_version().await;
    assert!(get(&transport, &server.origin(), None).await.is_err());
    lay(&clients);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(get(&transport, &server.origin(), None).await.is_ok());
    let second = transport.client_certificate_version().await;
    assert!(first > 0 && second > first);
    // The connections of the one before are not used any more.
    lay(&others);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(get(&transport, &server.origin(), None).await.is_err());
    // Where none can be replaced, there is no version.
    assert_eq!(trusting(&servers).build().unwrap().client_certificate_version().await, 0);
    fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_proxy_stands_before_everything_but_this_machine() {
    let authority = Authority::new();
    let server = Server::start(&authority, None).await;
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://me:secret@{}", proxy.local_addr().unwrap());
    for builder in [
        trusting(&authority).proxy(&url),
        trusting(&authority).proxy(&url).without_system_proxies(),
        trusting(&authority).without_system_proxies().proxy(&url),
    ] {
        let transport = builder.build().unwrap();
        assert_eq!(get(&transport, &server.origin(), None).await, Ok(200));
        assert!(proxy.accept().is_err(), "no connection was tried");
        let request = Request::get("https://name.test/").body(Bytes::new()).unwrap();
        let limits = Limits::new(1, Duration::from_secs(1));
        let answer = transport.send(request, limits).await;
        assert_eq!(answer.unwrap_err().kind(), TransportErrorKind::Timeout);
        assert!(proxy.accept().is_ok());
    }
}

#[test]
fn settings_are_checked_when_the_transport_is_built() {
    let new = ReqwestTransport::builder;
    let pem = Authority::new().0.pem();
    for (builder, reason) in [
        (new().root_certificates(""), "give certificates as PEM"),
        (new().root_certificates("no PEM"), "give certificates as PEM"),
        (new().root_certificate_der("no DER"), "certificate"),
        (new().root_certificate_der("no DER").without_system_roots(), "certificate"),
        (new().without_system_roots(), "no certificate authority"),
        (new().client_certificate(&Secret::new("canary")), "private key"),
        (new().client_certificate_files("/none/canary.crt", "/none/canary.key"), "can't be read"),
        (new().client_certificate(&Secret::new(pem)), "private key"),
        (new().proxy("ftp://me:canary@proxy.test"), "socks5h"),
        (new().proxy(""), "socks5h"),
        (new().bearer_from_file("http://a.test", "t"), "https"),
        (new().bearer_from_file("http://127.0.0.1", "t"), "https"),
        (new().bearer_from_file("https://*.test", "t"), "patterns aren't supported"),
        (new().bearer_from_file("https://a.test/keys", "t"), "nothing after"),
        (
            new()
                .bearer_from_file("https://a.test", "t")
                .bearer_from_file("https://A.test:443", "u"),
            "two bearer",
        ),
        (
            new().bearer_from_file("https://me:canary@a.test", "t").proxy("http://proxy.test"),
            "password",
        ),
    ] {
        let error = format!("{:?}", builder.build().unwrap_err());
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(!error.contains("canary"), "{error}");
    }
    for builder in [
        new(),
        new().without_system_proxies().connect_timeout(Duration::from_secs(1)),
        new().proxy("socks5h://me:canary@proxy.test:1080"),
        new().bearer_from_file("https://a.test", "t").bearer_from_file("https://a.test:8443", "u"),
    ] {
        assert!(!format!("{builder:?}").contains("canary"));
        builder.build().unwrap();
    }
}
