//! Whose fields are read, and what is left of them.

use http::{Request, StatusCode};
use tower::Layer as _;
use tower_bearer::mtls::{ClientCertHeader, Mtls};
use tower_bearer::{Access, RouteTable};

use crate::fields::{alb_pem, escaped_pem, preset};
use crate::service::{PROXY, World, address, behind, from, vectors, verdict};
use crate::world::{bearer, get, send};

const CLIENT_CERT: &str = "client-cert";

#[tokio::test]
async fn mt14_only_listed_peers_are_believed_and_the_field_is_removed_in_any_case() {
    let world = World::new();
    let [own, _] = vectors();
    let mtls = Mtls::from_header(ClientCertHeader::rfc9440())
        .trusted_proxies(["10.0.0.0/24", "2001:db8::7"], address)
        .and_then(|it| it.trusted_proxies(["192.0.2.1"], address))
        .unwrap();
    let service = world.service(mtls);
    let field = format!(":{}:", own.der);
    let chain = ("client-cert-chain", ":AAAA:");
    for (peer, trusted) in [
        (PROXY, true),
        ("10.0.0.255", true),
        ("::ffff:10.0.0.7", true),
        ("2001:db8::7", true),
        ("192.0.2.1", true),
        ("10.0.1.7", false),
        ("127.0.0.1", false),
        ("::1", false),
        ("2001:db8::8", false),
        ("192.0.2.2", false),
    ] {
        let fields = [(CLIENT_CERT, &*field), chain, ("forwarded", "for=10.0.0.7")];
        let answer = send(&service, from(peer, &world.bound(&own), &fields)).await;
        let expected = if trusted { "accepted" } else { "certificate_missing" };
        assert_eq!(verdict(&answer), expected, "{peer}");
        if !trusted {
            let said = answer.refusal().unwrap().to_string();
            assert!(said.contains("a peer that isn't trusted"), "{said}");
        }
        // A token that isn't bound passes from anywhere, and a handler sees no such field.
        let answer = send(&service, from(peer, &world.unbound(), &fields)).await;
        assert_eq!(answer.status(), StatusCode::OK, "{peer}");
        for name in [CLIENT_CERT, "client-cert-chain"] {
            assert!(!world.inner.headers().contains_key(name), "{peer} {name}");
        }
        assert!(world.inner.headers().contains_key("forwarded"));
    }
}

#[tokio::test]
async fn mt15_nobody_is_believed_where_the_peer_is_unknown() {
    let world = World::new();
    let [own, _] = vectors();
    let field = format!(":{}:", own.der);
    let header = ClientCertHeader::rfc9440;
    let nobody_knows = Mtls::from_header(header())
        .trusted_proxies(["10.0.0.7"], |_: &axum::extract::ConnectInfo<std::net::SocketAddr>| None)
        .unwrap();
    for mtls in [behind(header()), nobody_knows] {
        let service = world.service(mtls);
        let request =
            |token: &str| get("/", &[("authorization", &bearer(token)), (CLIENT_CERT, &field)]);
        let answer = send(&service, request(&world.bound(&own))).await;
        assert_eq!((answer.status(), verdict(&answer)), (500, "misconfigured"));
        assert!(!answer.body().contains("extension"));
        assert_eq!(send(&service, request(&world.unbound())).await.status(), 200);
        assert!(!world.inner.headers().contains_key(CLIENT_CERT));
    }
}

#[derive(Clone)]
struct UnixSocket;

#[tokio::test]
async fn mt14_a_unix_socket_can_be_trusted() {
    let world = World::new();
    let [own, _] = vectors();
    let field = format!(":{}:", own.der);
    let mtls = behind(ClientCertHeader::rfc9440()).trusted_unix_socket::<UnixSocket>();
    let service = world.service(mtls);
    let mut request =
        get("/", &[("authorization", &bearer(&world.bound(&own))), (CLIENT_CERT, &field)]);
    request.extensions_mut().insert(UnixSocket);
    assert_eq!(verdict(&send(&service, request).await), "accepted");
    let answer =
        send(&service, from("10.0.1.7", &world.bound(&own), &[(CLIENT_CERT, &field)])).await;
    assert_eq!(verdict(&answer), "certificate_missing");
}

#[tokio::test]
async fn mt16_the_field_is_kept_on_purpose_only() {
    let world = World::new();
    let [own, other] = vectors();
    let field = format!(":{}:", own.der);
    for keep in [false, true] {
        let mtls = behind(ClientCertHeader::rfc9440());
        let service = world.service(if keep { mtls.keep_header() } else { mtls });
        for token in [world.bound(&own), world.unbound()] {
            let fields = [(CLIENT_CERT, &*field), ("client-cert-chain", ":AAAA:")];
            assert_eq!(send(&service, from(PROXY, &token, &fields)).await.status(), 200);
            let headers = world.inner.headers();
            assert_eq!(headers.contains_key(CLIENT_CERT), keep);
            assert_eq!(headers.contains_key("client-cert-chain"), keep);
        }
        // From others, never.
        let fields = [(CLIENT_CERT, &*field)];
        let answer = send(&service, from("10.0.1.7", &world.unbound(), &fields)).await;
        assert_eq!(answer.status(), 200);
        assert!(!world.inner.headers().contains_key(CLIENT_CERT));
        let answer = send(&service, from(PROXY, &world.bound(&other), &fields)).await;
        assert_eq!(verdict(&answer), "certificate_mismatch");
    }
}

#[tokio::test]
async fn mt16_the_field_is_removed_from_requests_that_need_no_token() {
    let world = World::new();
    let routes = RouteTable::builder()
        .any("/public", Access::public())
        .any("/optional", Access::optional())
        .build()
        .unwrap();
    let layer = world.layer(behind(ClientCertHeader::envoy())).allow_preflight().routes(routes);
    let service = layer.layer(world.inner.clone());
    for (method, path) in [("GET", "/public"), ("GET", "/optional"), ("OPTIONS", "/other")] {
        for peer in [PROXY, "10.0.1.7"] {
            let mut request = from(peer, "", &[("x-forwarded-client-cert", "Hash=00")]);
            request.headers_mut().remove("authorization");
            request.headers_mut().insert("origin", "https://a.example".parse().unwrap());
            request.headers_mut().insert("access-control-request-method", "GET".parse().unwrap());
            *request.uri_mut() = path.parse().unwrap();
            *request.method_mut() = method.parse().unwrap();
            assert_eq!(send(&service, request).await.status(), 200, "{path}");
            assert!(!world.inner.headers().contains_key("x-forwarded-client-cert"), "{path}");
        }
    }
}

#[tokio::test]
async fn mt20_the_chain_is_not_read() {
    let world = World::new();
    let [own, other] = vectors();
    let service = world.service(behind(ClientCertHeader::rfc9440()));
    let (field, chain) = (format!(":{}:", other.der), format!(":{}:", own.der));
    let fields = [(CLIENT_CERT, &*field), ("client-cert-chain", &*chain)];
    let answer = send(&service, from(PROXY, &world.bound(&own), &fields)).await;
    assert_eq!(verdict(&answer), "certificate_mismatch");
    let answer = send(&service, from(PROXY, &world.bound(&own), &fields[1..])).await;
    assert_eq!(verdict(&answer), "certificate_missing");
    let answer = send(&service, from(PROXY, &world.bound(&other), &fields)).await;
    assert_eq!(verdict(&answer), "accepted");
}

#[tokio::test]
async fn mt21_to_mt25_no_preset_reads_the_field_of_another() {
    let world = World::new();
    let [own, _] = vectors();
    let written = [
        ("rfc9440", format!(":{}:", own.der)),
        ("envoy", format!("Hash={}", own.sha256)),
        ("nginx", escaped_pem(&own)),
        ("alb", alb_pem(&own)),
        ("base64_der", own.der.clone()),
    ];
    for (set, _) in &written {
        let (header, name) = preset(set);
        let service = world.service(behind(header));
        for (sent, value) in &written {
            let (_, other_name) = preset(sent);
            let in_its_own =
                send(&service, from(PROXY, &world.bound(&own), &[(other_name, value)])).await;
            assert_eq!(in_its_own.status() == 200, set == sent, "{set} {sent}");
            let renamed = send(&service, from(PROXY, &world.bound(&own), &[(name, value)])).await;
            let is_pem = |name: &str| ["nginx", "alb"].contains(&name);
            let fits = set == sent || (is_pem(set) && is_pem(sent));
            assert_eq!(renamed.status() == 200, fits, "{set} {sent}");
            if !fits {
                let said = renamed.refusal().unwrap().to_string();
                assert!(said.contains("use ClientCertHeader::"), "MT19: {said}");
            }
        }
    }
}

#[tokio::test]
async fn mt27_what_depends_on_the_field_says_so_to_caches() {
    let world = World::new();
    let [own, other] = vectors();
    let field = format!(":{}:", own.der);
    let fields = [(CLIENT_CERT, &*field)];
    let service = world.service(behind(ClientCertHeader::rfc9440()));
    let accepted = send(&service, from(PROXY, &world.bound(&own), &fields)).await;
    assert_eq!((accepted.status(), accepted.header("vary")), (200, Some("client-cert")));
    let refused = send(&service, from(PROXY, &world.bound(&other), &fields)).await;
    assert_eq!((refused.status(), refused.header("cache-control")), (401, Some("no-store")));
    // What doesn't, doesn't.
    let unbound = send(&service, from(PROXY, &world.unbound(), &fields)).await;
    assert_eq!((unbound.status(), unbound.header("vary")), (200, None));
    let service = world.service(crate::service::from_connection());
    let of_connection = send(&service, crate::service::over(Some(&own), &world.bound(&own))).await;
    assert_eq!((of_connection.status(), of_connection.header("vary")), (200, None));
}

#[tokio::test]
async fn mt28_one_connection_of_a_proxy_carries_many_clients() {
    let world = World::new();
    let [own, other] = vectors();
    let service = world.service(behind(ClientCertHeader::rfc9440()));
    for _ in 0..3 {
        for (token, shown, expected) in [
            (&own, Some(&own), "accepted"),
            (&other, Some(&own), "certificate_mismatch"),
            (&other, Some(&other), "accepted"),
            (&own, Some(&other), "certificate_mismatch"),
            (&own, None, "certificate_missing"),
        ] {
            let field = shown.map(|shown| format!(":{}:", shown.der));
            let fields: Vec<_> = field.iter().map(|field| (CLIENT_CERT, field.as_str())).collect();
            let answer = send(&service, from(PROXY, &world.bound(token), &fields)).await;
            assert_eq!(verdict(&answer), expected);
        }
    }
}

#[tokio::test]
async fn mt16_a_layer_within_another_sees_what_the_other_took() {
    let world = World::new();
    let [own, other] = vectors();
    let layer = world.layer(behind(ClientCertHeader::rfc9440()));
    let service = layer.layer(layer.layer(world.inner.clone()));
    let field = format!(":{}:", own.der);
    for (token, expected) in
        [(world.bound(&own), "accepted"), (world.bound(&other), "certificate_mismatch")]
    {
        let answer = send(&service, from(PROXY, &token, &[(CLIENT_CERT, &field)])).await;
        assert_eq!(verdict(&answer), expected);
    }
    assert!(!world.inner.headers().contains_key(CLIENT_CERT));
    // What one validator has taken is nothing to another one, whose proxies may be others.
    let outer = world.layer(behind(ClientCertHeader::rfc9440()));
    let service = outer.layer(layer.layer(world.inner.clone()));
    let request: Request<_> = from(PROXY, &world.bound(&own), &[(CLIENT_CERT, &field)]);
    assert_eq!(verdict(&send(&service, request).await), "certificate_missing");
}
