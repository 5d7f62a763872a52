//! What a proxy sends about the client's certificate: a header in one of its formats, or PEM, which the
//! target encodes.
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use libfuzzer_sys::fuzz_target;
use tower::{Layer as _, Service as _, service_fn};
use tower_bearer::jose::{Algorithm, Backend};
use tower_bearer::jwks::Jwks;
use tower_bearer::middleware::BearerAuth;
use tower_bearer::mtls::{ClientCertHeader, Mtls};
use tower_bearer::testing::TestKey;
use tower_bearer::{BearerAuthLayer, Validator};
use tower_bearer_fuzz::{AUDIENCE, FixedClock, ISSUER, NOW, at_once};

type Body = Empty<bytes::Bytes>;
type Answer = std::future::Ready<Result<Response<Body>, std::convert::Infallible>>;
type Inner = tower::util::ServiceFn<fn(Request<Body>) -> Answer>;

/// The peer is the proxy.
#[derive(Clone)]
struct Socket;

struct Preset {
    name: &'static str,
    service: BearerAuth<Inner>,
}

struct World {
    presets: Vec<Preset>,
    token: HeaderValue,
    thumbprint: &'static str,
}

/// That of RFC 9440 section 2.4.
const THUMBPRINT: &str = "v68ffgcPn6jdYpBfFY2nP4ShE2Yk-6_Mk5PI9yh6aes";

fn answer(request: Request<Body>) -> Answer {
    assert!(request.headers().keys().all(|name| name == "authorization"), "a field is left");
    std::future::ready(Ok(Response::new(Empty::new())))
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = TestKey::generate(Algorithm::EdDSA);
    let set = format!("{{\"keys\":[{}]}}", key.public_jwk());
    let keys = Jwks::static_set_with(ISSUER, &set, Backend::AwsLcRs).unwrap();
    let presets = [
        ("client-cert", ClientCertHeader::rfc9440()),
        ("x-forwarded-client-cert", ClientCertHeader::envoy()),
        ("x-forwarded-client-cert", ClientCertHeader::envoy_appended()),
        ("x-pem", ClientCertHeader::nginx("x-pem")),
        ("x-der", ClientCertHeader::base64_der("x-der")),
    ];
    let build = |(name, header)| {
        let mtls = Mtls::from_header(header).trusted_unix_socket::<Socket>();
        let builder = Validator::builder(ISSUER, AUDIENCE).keys(keys.clone()).clock(FixedClock);
        let layer = BearerAuthLayer::new(builder.mtls(mtls).build().unwrap());
        Preset { name, service: layer.layer(service_fn(answer as fn(_) -> _)) }
    };
    let claims = format!(
        r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":{},"cnf":{{"x5t#S256":"{THUMBPRINT}"}}}}"#,
        NOW + 60
    );
    let token = key.sign(r#"{"alg":"EdDSA","typ":"at+jwt","kid":"test-key"}"#, claims);
    let token = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    World { presets: presets.map(build).into(), token, thumbprint: THUMBPRINT }
});

fn is_its(der: &[u8]) -> bool {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, der)) == WORLD.thumbprint
}

/// Whether base64 of the certificate is in it, read by somebody more lenient.
fn holds_base64(text: &[u8]) -> bool {
    let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let mut parts = text.split(|byte| !is_base64(byte));
    parts.any(|part| BASE64_STANDARD.decode(part).is_ok_and(|der| is_its(&der)))
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((first, more)) = rest.split_first() {
        let digit = |at: usize| more.get(at).and_then(|it| char::from(*it).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &more[2..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    bytes
}

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else { return };
    let preset = &WORLD.presets[usize::from(first & 7) % WORLD.presets.len()];
    let encode = |byte: &u8| format!("%{byte:02x}");
    let field = match first & 8 {
        0 => data.to_vec(),
        _ => data.iter().map(encode).collect::<String>().into_bytes(),
    };
    let Ok(value) = HeaderValue::from_bytes(&field) else { return };
    let mut request = Request::new(Empty::new());
    request.headers_mut().insert("authorization", WORLD.token.clone());
    request.headers_mut().insert(preset.name, value);
    request.extensions_mut().insert(Socket);
    let response = at_once(preset.service.clone().call(request)).unwrap();
    if response.status().is_success() {
        let hash = "bfaf1f7e070f9fa8dd62905f158da73f84a1136624fbafcc9393c8f7287a69eb";
        let text = String::from_utf8_lossy(&field).to_ascii_lowercase();
        let holds = holds_base64(&field) || holds_base64(&unescaped(&field));
        assert!(holds || text.contains(hash), "{text}");
    } else {
        assert_eq!(response.status(), 401);
    }
});
