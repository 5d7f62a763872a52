//! The default transport, over real sockets on loopback.
#![cfg(all(feature = "reqwest-0_13", feature = "test-util"))]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tower_bearer::jwks::{FetchErrorKind, Jwks};
use tower_bearer::testing::{Endpoint, Fault, TestIssuer};
use tower_bearer::transport::{
    Limits, ReqwestTransport, Transport, TransportError, TransportErrorKind,
};

const LIMITS: Limits = Limits::new(1_024, Duration::from_secs(20));

async fn get(url: &str, limits: Limits) -> Result<Response<Bytes>, TransportError> {
    get_through(&ReqwestTransport::new().unwrap(), url, limits).await
}

async fn get_through(
    transport: &ReqwestTransport,
    url: &str,
    limits: Limits,
) -> Result<Response<Bytes>, TransportError> {
    transport.send(Request::get(url).body(Bytes::new()).unwrap(), limits).await
}

/// Answers every request with these bytes, keeps the connection, and tells what was asked.
fn server(answer: impl Into<Vec<u8>>) -> (SocketAddr, Receiver<String>) {
    let (answer, listener) = (answer.into(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (asked, receiver) = channel();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            asked.send(String::from_utf8(request).unwrap().to_ascii_lowercase()).unwrap();
            stream.write_all(&answer).unwrap();
            kept.push(stream);
        }
    });
    (address, receiver)
}

fn http(head: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{head}\r\n");
    answer.push_str("\r\n");
    [answer.as_bytes(), body].concat()
}

// LC12
#[tokio::test]
async fn lc12_a_slow_body_stops_at_the_total_timeout() {
    let issuer = TestIssuer::start().await.unwrap();
    issuer.inject(Endpoint::Jwks, Fault::slow(Duration::from_millis(20)));
    let limits = Limits::new(1_024, Duration::from_millis(300));
    let error = get(&issuer.jwks_uri(), limits).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Timeout);
    issuer.clear_faults();
    assert!(get(&issuer.jwks_uri(), LIMITS).await.is_ok());

    let (silent, _asked) = server("HTTP/1.1 200 OK\r\n");
    let error = get(&format!("http://{silent}/"), limits).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Timeout);
}

// LC13
#[tokio::test]
async fn lc13_an_endless_body_stops_at_the_cap() {
    let issuer = TestIssuer::start().await.unwrap();
    issuer.inject(Endpoint::Jwks, Fault::endless());
    let limits = Limits::new(256 * 1_024, Duration::from_secs(20));
    let error = get(&issuer.jwks_uri(), limits).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::TooLarge);

    for (length, fits) in [(1_024, true), (1_025, false)] {
        let (address, _asked) = server(http("x: y", &vec![b' '; length]));
        let answer = get(&format!("http://{address}/"), LIMITS).await;
        assert_eq!(answer.map_err(|error| error.kind()).is_ok(), fits, "{length}");
    }
}

/// 512 KiB of spaces, gzipped.
const BOMB: &str = "\
    H4sIAAAAAAACA+3BgQAAAADDIJX5U97gBFUBAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAfAMHXGqZAAAIAA==";

#[tokio::test]
async fn the_cap_counts_what_comes_out_of_a_compressed_body() {
    let bomb = STANDARD.decode(BOMB).unwrap();
    assert!(bomb.len() < 1_024);
    let (address, asked) = server(http("content-encoding: gzip", &bomb));
    let error = get(&format!("http://{address}/"), LIMITS).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::TooLarge);
    assert!(asked.recv().unwrap().contains("accept-encoding: gzip\r\n"));

    let set = STANDARD.decode("H4sIAAAAAAACA6tWyk6tLFayio6tBQDvZ4gqCwAAAA==").unwrap();
    let (address, _asked) = server(http("content-encoding: gzip", &set));
    let answer = get(&format!("http://{address}/"), LIMITS).await.unwrap();
    assert_eq!(answer.body(), r#"{"keys":[]}"#);
    assert!(!answer.headers().contains_key("content-encoding"));
}

#[tokio::test]
async fn a_coding_that_wasnt_asked_for_is_refused() {
    for coding in ["br", "gzip, gzip", "x"] {
        let (address, _asked) = server(http(&format!("content-encoding: {coding}"), b"{}"));
        let error = get(&format!("http://{address}/"), LIMITS).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::ContentEncoding, "{coding}");
    }
}

/// A 200 with these `Content-Encoding` fields.
fn encoded(fields: &[&str], body: &[u8]) -> Vec<u8> {
    let fields: Vec<_> = fields.iter().map(|it| format!("Content-Encoding: {it}")).collect();
    http(&["content-type: application/json", &fields.join("\r\n")].join("\r\n"), body)
}

#[tokio::test]
async fn fb4_what_is_no_coding_is_read_and_gzip_is_undone_wherever_it_stands() {
    let set = STANDARD.decode("H4sIAAAAAAACA6tWyk6tLFayio6tBQDvZ4gqCwAAAA==").unwrap();
    let plain = br#"{"keys":[]}"#.to_vec();
    for fields in [
        &[""][..],
        &["identity"],
        &[","],
        &["identity, ,"],
        &["", "identity"],
        &["aws-chunked"],
        &["aws-chunked,"],
        &["utf-8"],
        &["UTF-8", "ISO-8859-1"],
        &["none"],
    ] {
        let (address, _asked) = server(encoded(fields, &plain));
        let answer = get(&format!("http://{address}/"), LIMITS).await.unwrap();
        assert_eq!(answer.body(), &plain, "{fields:?}");
        assert!(!answer.headers().contains_key("content-encoding"));
    }
    for fields in [
        &["gzip"][..],
        &["x-gzip"],
        &["GZip"],
        &["gzip,"],
        &[" , gzip"],
        &["aws-chunked,gzip"],
        &["gzip", ""],
        &["", "gzip"],
        &["identity", "gzip"],
        &["utf-8", "gzip"],
    ] {
        let (address, _asked) = server(encoded(fields, &set));
        let answer = get(&format!("http://{address}/"), LIMITS).await.unwrap();
        assert_eq!(answer.body(), &plain, "{fields:?}");
        for field in ["content-encoding", "content-length"] {
            assert!(!answer.headers().contains_key(field), "{fields:?}");
        }
    }
    for fields in [
        &["br"][..],
        &["zstd"],
        &["deflate"],
        &["compress"],
        &["gzip, br"],
        &["gzip", "br"],
        &["br", "gzip"],
        &["gzip", "gzip"],
        &["aws-chunked, br"],
    ] {
        let (address, _asked) = server(encoded(fields, &set));
        let error = get(&format!("http://{address}/"), LIMITS).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::ContentEncoding, "{fields:?}");
    }
}

#[tokio::test]
async fn fb4_keys_come_with_a_blank_content_encoding() {
    const SET: &[u8] = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    for (field, expected) in [
        ("", Ok(())),
        ("aws-chunked", Ok(())),
        ("br", Err(FetchErrorKind::ContentEncoding.into())),
        ("gzip", Err(FetchErrorKind::Exchange.into())),
    ] {
        let (address, _asked) = server(encoded(&[field], SET));
        let url = format!("http://{address}/jwks");
        let jwks = Jwks::url("https://issuer.test", url).build().unwrap();
        assert_eq!(jwks.refresh().await, expected, "{field:?}");
    }
}

/// The only test of a process: its proxies are those of the environment.
#[tokio::test]
#[ignore = "it is a process of another test"]
async fn fetches_through_the_proxy_of_its_environment() {
    let limits = Limits::new(1_024, Duration::from_secs(5));
    let answer = get("http://name.example/through-the-proxy", limits).await.unwrap();
    assert_eq!(answer.body(), "proxied");
}

#[tokio::test]
async fn fc14_a_socks_proxy_of_the_environment_is_used() {
    // RFC 1928: no authentication, connected; then it is the server itself.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("socks5h://{}", listener.local_addr().unwrap());
    let mut process = tokio::process::Command::new(std::env::current_exe().unwrap());
    process.args(["--ignored", "--exact", "fetches_through_the_proxy_of_its_environment"]);
    let mut process = process.env_clear().env("ALL_PROXY", proxy).spawn().unwrap();
    let proxying = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(greeting, [5, 1, 0]);
        stream.write_all(&[5, 0]).await.unwrap();
        // CONNECT to a name of 12 bytes at port 80.
        let mut request = [0; 4 + 1 + 12 + 2];
        stream.read_exact(&mut request).await.unwrap();
        assert_eq!(request[..5], [5, 1, 0, 3, 12]);
        assert_eq!(&request[5..17], b"name.example");
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        let mut asked = [0; 1_024];
        let length = stream.read(&mut asked).await.unwrap();
        assert!(asked[..length].starts_with(b"GET /through-the-proxy "));
        stream.write_all(&http("connection: close", b"proxied")).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(20), proxying).await.unwrap();
    assert!(process.wait().await.unwrap().success());
}

// LC14
#[tokio::test]
async fn lc14_a_redirect_is_an_answer_and_nobody_goes_there() {
    let issuer = TestIssuer::start().await.unwrap();
    issuer.inject(Endpoint::OpenIdMetadata, Fault::redirect(&issuer.jwks_uri()));
    let url = format!("{}/.well-known/openid-configuration", issuer.issuer());
    let answer = get(&url, LIMITS).await.unwrap();
    assert_eq!(answer.status(), StatusCode::FOUND);
    assert_eq!(issuer.counters().requests(Endpoint::Jwks), 0);

    issuer.inject(Endpoint::Jwks, Fault::redirect(&url));
    let jwks = Jwks::url(issuer.issuer(), issuer.jwks_uri()).build().unwrap();
    assert_eq!(jwks.refresh().await, Err(FetchErrorKind::Redirect.into()));
    assert_eq!(issuer.counters().requests(Endpoint::OpenIdMetadata), 1);
    issuer.clear_faults();
    assert_eq!(jwks.refresh().await, Ok(()));
}

// LC15: that of a name is in `src/transport/reqwest.rs`.
#[tokio::test]
async fn lc15_forbidden_addresses_are_refused_however_they_are_written() {
    for host in [
        "169.254.169.254",
        "0xa9fea9fe",
        "2852039166",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "192.0.0.192",
        "0.0.0.0",
        "0",
        "[::]",
        "169.254.169.254.",
    ] {
        for scheme in ["http", "https"] {
            let error = get(&format!("{scheme}://{host}:1/"), LIMITS).await.unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::BlockedAddress, "{host}");
        }
    }
    for host in ["127.0.0.1", "0x7f000001", "2130706433", "[::1]", "localhost"] {
        let error = get(&format!("http://{host}:1/"), LIMITS).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Connect, "{host}: nobody listens");
    }
}

#[tokio::test]
async fn only_public_addresses_are_dialled_where_that_is_asked_for() {
    let (address, asked) = server(http("x: y", b"{}"));
    let port = address.port();
    let mut public = LIMITS;
    public.public_addresses_only = true;
    for host in ["127.0.0.1", "localhost", "a.localhost", "2130706433", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{port}/");
        let error = get(&url, public).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::BlockedAddress, "{host}");
    }
    for private in ["10.0.0.1", "192.168.0.1", "172.16.0.1", "100.64.0.1", "[fd00::1]"] {
        let error = get(&format!("http://{private}/"), public).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::BlockedAddress, "{private}");
    }
    let own = ReqwestTransport::from_builder(reqwest::Client::builder()).unwrap();
    let error = get_through(&own, "https://1.1.1.1/", public).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::BlockedAddress, "it may have a proxy");
    assert!(asked.try_recv().is_err(), "nobody was asked");

    let url = format!("http://localhost:{port}/");
    assert!(get(&url, LIMITS).await.is_ok());
    assert!(get_through(&own, &url, LIMITS).await.is_ok());
}

#[tokio::test]
async fn sends_what_it_is_given_and_no_cookies() {
    let (address, asked) = server(http("connection: close\r\nset-cookie: a=b; Path=/", b"{}"));
    let transport = ReqwestTransport::new().unwrap();
    for _ in 0..2 {
        let request = Request::get(format!("http://{address}/k?v=1"))
            .header("user-agent", "me")
            .header("if-none-match", "\"1\"")
            .body(Bytes::new())
            .unwrap();
        let answer = transport.send(request, LIMITS).await.unwrap();
        assert_eq!((answer.status(), answer.body().as_ref()), (StatusCode::OK, &b"{}"[..]));
        let asked = asked.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(asked.starts_with("get /k?v=1 http/1.1\r\n"), "{asked}");
        for line in ["user-agent: me", "if-none-match: \"1\""] {
            assert!(asked.contains(&format!("\r\n{line}\r\n")), "{asked}");
        }
        for name in ["cookie", "authorization", "referer"] {
            assert!(!asked.contains(name), "{asked}");
        }
    }
}

#[tokio::test]
async fn tells_how_an_exchange_failed_and_nothing_else() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (garbage, _asked) = server("SSH-2.0-OpenSSH\r\n");
    for (url, kind) in [
        (format!("http://{closed}/secret"), TransportErrorKind::Connect),
        (format!("https://{closed}/secret"), TransportErrorKind::Connect),
        (format!("http://{garbage}/secret"), TransportErrorKind::Other),
        ("http://name.invalid/secret".to_owned(), TransportErrorKind::UnknownHost),
    ] {
        let limits = Limits::new(1_024, Duration::from_secs(2));
        let error = get(&url, limits).await.unwrap_err();
        let kinds = [kind, TransportErrorKind::Timeout];
        assert!(kinds.contains(&error.kind()), "{url}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
    let issuer = TestIssuer::start().await.unwrap();
    issuer.inject(Endpoint::Jwks, Fault::truncated());
    let error = get(&issuer.jwks_uri(), LIMITS).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Other);
}

/// Answers with an empty key set, over TLS and with such a certificate.
async fn tls_server(
    authority: &CertifiedIssuer<'_, KeyPair>,
    host: &str,
    until: i32,
) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([host.to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let chain = vec![params.signed_by(&key, authority).unwrap().der().clone()];
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key.serialize_der().try_into().unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut asked = [0; 1_024];
            let _ = stream.read(&mut asked).await.unwrap();
            stream.write_all(&http("connection: close", br#"{"keys":[]}"#)).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_certificate_that_cant_be_trusted_is_told_from_a_server_that_is_gone() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let ours = reqwest::Certificate::from_der(authority.der()).unwrap();
    let builder = reqwest::Client::builder().tls_certs_only([ours]);
    let ours = ReqwestTransport::from_builder(builder).unwrap();
    let systems = ReqwestTransport::new().unwrap();

    let (plain, garbage) = (TestIssuer::start().await.unwrap(), garbage_server());
    let plain = plain.address();
    let good = tls_server(&authority, "localhost", 4096).await;
    for (transport, server, expected) in [
        (&ours, good, Ok(StatusCode::OK)),
        (&systems, good, Err(TransportErrorKind::Tls)),
        (&ours, tls_server(&authority, "another.test", 4096).await, Err(TransportErrorKind::Tls)),
        (&ours, tls_server(&authority, "localhost", 2020).await, Err(TransportErrorKind::Tls)),
        (&ours, plain, Err(TransportErrorKind::Tls)),
        (&ours, garbage, Err(TransportErrorKind::Tls)),
    ] {
        let url = format!("https://localhost:{}/", server.port());
        let answer = get_through(transport, &url, LIMITS).await;
        assert_eq!(answer.map(|answer| answer.status()).map_err(|error| error.kind()), expected);
    }

    // The operator is told so.
    let url = format!("https://localhost:{}/", good.port());
    let source = |transport| Jwks::url("https://localhost", &url).transport(transport).build();
    assert_eq!(source(systems).unwrap().refresh().await, Err(FetchErrorKind::Tls.into()));
    assert_eq!(source(ours).unwrap().refresh().await, Err(FetchErrorKind::NoUsableKey.into()));
}

/// Says something as soon as anybody connects, which isn't TLS.
fn garbage_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let streams: Vec<_> = listener
            .incoming()
            .map(|stream| {
                let mut stream = stream.unwrap();
                stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
                stream
            })
            .collect();
        drop(streams);
    });
    address
}

#[tokio::test]
async fn finds_and_fetches_keys_by_default() {
    let issuer = TestIssuer::start().await.unwrap();
    let jwks = Jwks::discover(issuer.issuer()).build().unwrap();
    jwks.ready(Duration::from_secs(20)).await.unwrap();
    assert_eq!(jwks.status().keys.len(), 1);
    jwks.refresh().await.unwrap();
    assert_eq!(issuer.counters().not_modified(), 1);
}
