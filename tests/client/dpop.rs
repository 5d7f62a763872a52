//! Tokens bound to a key: the proofs of token requests and of calls, their nonces, and what is cached.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::time::advance;
use tower::{BoxError, Layer as _, ServiceExt as _, service_fn};
use tower_bearer::client::{
    AnswerFault, Assertion, AssertionAlgorithm, AttachTokenLayer, ClientAuth, DiscoveryFault,
    DpopKey, ErrorCode, Grant, GrantBuilder, ReplayBody, SecretFuture, SecretProvider,
    SecretSource, SendError, TokenClient, TokenErrorKind, TokenSource,
};
use tower_bearer::testing::{ManualClock, ScriptedAnswer, ScriptedTransport};
use tower_bearer::{Secret, UnixTime};

use crate::support::*;

const ORDERS: &str = "https://orders.test";
const P256: &str = include_str!("../../fixtures/keys/p256.pem");
const P256B: &str = include_str!("../../fixtures/keys/p256b.pem");

/// A proof as it arrived.
#[derive(Clone, Debug)]
struct Proof {
    header: Value,
    claims: Value,
}

impl Proof {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all("dpop").iter();
        let proof = fields.next()?;
        assert!(fields.next().is_none(), "one proof");
        assert!(proof.is_sensitive());
        let parts: Vec<&str> = proof.to_str().unwrap().split('.').collect();
        let decode = |part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
        let [header, claims, signature] = parts[..] else { panic!("{proof:?}") };
        assert_eq!(decode(signature).len(), 64);
        let json = |part| serde_json::from_slice(&decode(part)).unwrap();
        Some(Self { header: json(header), claims: json(claims) })
    }

    fn claim(&self, name: &str) -> &str {
        self.claims[name].as_str().unwrap_or_default()
    }

    fn names(&self) -> Vec<&str> {
        self.claims.as_object().unwrap().keys().map(String::as_str).collect()
    }
}

fn key() -> DpopKey {
    DpopKey::new(AssertionAlgorithm::ES256, P256)
}

fn bound_grant() -> GrantBuilder {
    scripted_grant().dpop(key())
}

fn bound(transport: &ScriptedTransport) -> TokenSource {
    client(transport).source(&bound_grant().build().unwrap())
}

fn typed(token: &str, token_type: &str) -> ScriptedAnswer {
    ScriptedAnswer::json(format!(
        r#"{{"access_token":"{token}","token_type":"{token_type}","expires_in":600}}"#
    ))
}

/// A server that binds `t1`, `t2` and so on.
fn binding() -> ScriptedTransport {
    let count = AtomicU64::new(0);
    ScriptedTransport::from_fn(move |_| {
        typed(&format!("t{}", count.fetch_add(1, Ordering::Relaxed) + 1), "DPoP")
    })
}

fn unavailable() -> ScriptedAnswer {
    ScriptedAnswer::status(StatusCode::SERVICE_UNAVAILABLE)
}

fn wants(nonce: &str) -> ScriptedAnswer {
    refused(400, "use_dpop_nonce").header("dpop-nonce", nonce)
}

fn proofs(transport: &ScriptedTransport) -> Vec<Proof> {
    transport.requests().iter().map(|it| Proof::of(it.headers()).unwrap()).collect()
}

async fn error(transport: &ScriptedTransport) -> TokenErrorKind {
    bound(transport).token().await.unwrap_err().kind().clone()
}

/// A server that is called: what it answers, and what arrived there.
#[derive(Clone)]
struct Orders {
    arrived: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    answer: Arc<dyn Fn(usize) -> Response<String> + Send + Sync>,
}

impl Orders {
    fn new(answer: impl Fn(usize) -> Response<String> + Send + Sync + 'static) -> Self {
        Self { arrived: Arc::default(), answer: Arc::new(answer) }
    }

    async fn call(
        &self,
        layer: &AttachTokenLayer,
        request: Request<Full<Bytes>>,
    ) -> Result<u16, SendError> {
        let server = self.clone();
        let service = service_fn(move |request: Request<ReplayBody<Full<Bytes>>>| {
            let server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let body = String::from_utf8(body.to_vec()).unwrap();
                let mut arrived = server.arrived.lock().unwrap();
                arrived.push((head.headers, body));
                Ok::<_, BoxError>((server.answer)(arrived.len()))
            }
        });
        layer.layer(service).oneshot(request).await.map(|answer| answer.status().as_u16())
    }

    async fn get(&self, layer: &AttachTokenLayer, uri: &str) -> u16 {
        self.call(layer, Request::get(uri).body(Full::default()).unwrap()).await.unwrap()
    }

    fn proofs(&self) -> Vec<Proof> {
        let arrived = self.arrived.lock().unwrap();
        arrived.iter().map(|(headers, _)| Proof::of(headers).unwrap()).collect()
    }

    fn nonces(&self) -> Vec<String> {
        self.proofs().iter().map(|proof| proof.claim("nonce").to_owned()).collect()
    }

    fn tokens(&self) -> Vec<String> {
        let arrived = self.arrived.lock().unwrap();
        let token = |headers: &HeaderMap| headers[AUTHORIZATION].to_str().unwrap().to_owned();
        arrived.iter().map(|(headers, _)| token(headers)).collect()
    }

    fn bodies(&self) -> Vec<String> {
        self.arrived.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }
}

fn answer(status: u16, fields: &[(&'static str, &str)]) -> Response<String> {
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in fields {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    response
}

fn wants_nonce(nonce: &str) -> Response<String> {
    let dpop = r#"DPoP algs="ES256", error="use_dpop_nonce""#;
    let bearer = r#"Bearer realm="api""#;
    answer(401, &[("www-authenticate", bearer), ("dpop-nonce", nonce), ("www-authenticate", dpop)])
}

fn layer(tokens: TokenSource) -> AttachTokenLayer {
    AttachTokenLayer::new(tokens, [ORDERS]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn dc3_dc4_dc7_dc8_each_token_request_has_a_proof_of_its_own() {
    let transport = binding();
    transport.push(unavailable());
    let grant = Grant::endpoint("https://AS.test:443/to%6Ben?tenant=7", usual_auth()).dpop(key());
    client(&transport).source(&grant.build().unwrap()).token().await.unwrap();
    let sent = proofs(&transport);
    let [first, second] = &sent[..] else { panic!("{sent:?}") };
    for proof in [first, second] {
        assert_eq!(proof.header["typ"], "dpop+jwt");
        assert_eq!(proof.header["alg"], "ES256");
        let jwk = proof.header["jwk"].as_object().unwrap();
        let members: Vec<&str> = jwk.keys().map(String::as_str).collect();
        assert_eq!(members, ["crv", "kty", "x", "y"], "nothing of the private half");
        assert_eq!(proof.header.as_object().unwrap().len(), 3);
        // No `ath`, no `exp`, no `nbf`.
        assert_eq!(proof.names(), ["htm", "htu", "iat", "jti"]);
        assert_eq!(proof.claim("htm"), "POST");
        assert_eq!(proof.claim("htu"), "https://as.test/to%6Ben");
        assert!(BASE64_URL_SAFE_NO_PAD.decode(proof.claim("jti")).unwrap().len() >= 12);
    }
    assert_ne!(first.claim("jti"), second.claim("jti"));
}

#[tokio::test(start_paused = true)]
async fn dc6_a_bearer_token_for_a_proof_is_a_downgrade() {
    for token_type in ["DPoP", "dpop", "DPOP"] {
        let transport = ScriptedTransport::new();
        transport.push(typed("t", token_type));
        let token = bound(&transport).token().await.unwrap();
        assert_eq!(token.header_value(), "DPoP t");
        assert_eq!(token.expose_secret(), "t");
        assert!(token.key_thumbprint().is_some());
    }
    for (answer, fault) in [
        (typed("t", "Bearer"), AnswerFault::Downgraded),
        (typed("t", "bearer"), AnswerFault::Downgraded),
        (typed("t", "MAC"), AnswerFault::TokenType),
        (ScriptedAnswer::json(r#"{"access_token":"t"}"#), AnswerFault::NoTokenType),
    ] {
        let transport = ScriptedTransport::new();
        transport.push(answer);
        let error = bound(&transport).token().await.unwrap_err();
        assert_eq!(*error.kind(), TokenErrorKind::Answer(fault));
        assert!(error.is_permanent());
    }
    // Where types are accepted as bearer's, they are a downgrade as well.
    let transport = ScriptedTransport::new();
    transport.push(typed("t", "BearerToken"));
    let grant = bound_grant().accept_token_type("BearerToken").build().unwrap();
    let error = client(&transport).token(&grant).await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::Answer(AnswerFault::Downgraded));
    // Without a proof, a bound token is of no use.
    let transport = ScriptedTransport::new();
    transport.push(typed("t", "DPoP"));
    let error = source(&transport).token().await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::Answer(AnswerFault::TokenType));
}

#[tokio::test(start_paused = true)]
async fn dc6_a_downgrade_can_be_accepted_dangerously() {
    let grant = bound_grant().dangerous_accept_bearer().build().unwrap();
    for (token_type, header) in [("Bearer", "Bearer t"), ("DPoP", "DPoP t")] {
        let transport = ScriptedTransport::new();
        transport.push(typed("t", token_type));
        let tokens = client(&transport).source(&grant);
        let orders = Orders::new(|_| answer(200, &[]));
        let layer = layer(tokens.clone());
        assert_eq!(orders.get(&layer, "https://orders.test/").await, 200);
        assert_eq!(orders.tokens(), [header]);
        let has_proof = orders.arrived.lock().unwrap()[0].0.contains_key("dpop");
        assert_eq!(has_proof, token_type == "DPoP");
    }
    let error = scripted_grant().dangerous_accept_bearer().build().unwrap_err().to_string();
    assert!(error.contains(".dpop("), "{error}");
}

#[tokio::test(start_paused = true)]
async fn dc9_a_nonce_of_the_token_endpoint_costs_one_retry_with_all_made_anew() {
    let assertion = Assertion::new(AssertionAlgorithm::ES256, P256B).key_id("k");
    let auth = ClientAuth::private_key_jwt("me", assertion);
    for status in [400, 401] {
        let grant = Grant::endpoint("https://as.test/token", auth.clone());
        let grant = grant.issuer("https://as.test").dpop(key()).build().unwrap();
        let transport = ScriptedTransport::new();
        transport.push(refused(status, "use_dpop_nonce").header("dpop-nonce", "n-1"));
        transport.push(typed("t", "DPoP"));
        client(&transport).token(&grant).await.unwrap();
        let sent = proofs(&transport);
        assert_eq!(sent[0].claims.get("nonce"), None);
        assert_eq!(sent[1].claim("nonce"), "n-1");
        assert_ne!(sent[0].claim("jti"), sent[1].claim("jti"));
        let requests = transport.requests();
        let assertions: Vec<String> =
            requests.iter().map(|it| form(it)["client_assertion"].clone()).collect();
        assert_eq!(assertions.len(), 2);
        assert_ne!(assertions[0], assertions[1], "an assertion is used once (RFC 7523 section 3)");
    }
}

#[tokio::test(start_paused = true)]
async fn dc9_a_server_that_asks_for_nonces_for_ever_gets_two_requests() {
    let count = AtomicU64::new(0);
    let transport = ScriptedTransport::from_fn(move |_| {
        wants(&format!("n-{}", count.fetch_add(1, Ordering::Relaxed)))
    });
    let wanted = TokenErrorKind::Refused(ErrorCode::UseDpopNonce);
    assert_eq!(error(&transport).await, wanted);
    assert_eq!(transport.request_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn dc9_dc11_what_is_no_nonce_is_no_reason_to_ask_again() {
    let long = "a".repeat(1_025);
    let all: [&[&str]; 7] = [&[], &[""], &["a b"], &["a\"b"], &["ä"], &[&long], &["a", "b"]];
    for nonces in all {
        let transport = ScriptedTransport::new();
        let mut response = Response::new(Bytes::from(r#"{"error":"use_dpop_nonce"}"#));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        for nonce in nonces {
            let nonce = http::HeaderValue::from_bytes(nonce.as_bytes()).unwrap();
            response.headers_mut().append("dpop-nonce", nonce);
        }
        transport.push(ScriptedAnswer::new(response));
        let wanted = TokenErrorKind::Refused(ErrorCode::UseDpopNonce);
        assert_eq!(error(&transport).await, wanted, "{nonces:?}");
        assert_eq!(transport.request_count(), 1, "{nonces:?}");
    }
    // The longest that is one.
    let transport = binding();
    transport.push(wants(&"a".repeat(1_024)));
    bound(&transport).token().await.unwrap();
    assert_eq!(proofs(&transport)[1].claim("nonce").len(), 1_024);
}

// Every answer may bring the next one.
#[tokio::test(start_paused = true)]
async fn dc11_the_newest_nonce_of_the_token_endpoint_is_used() {
    let transport = ScriptedTransport::new();
    transport.push(typed("t1", "DPoP").header("dpop-nonce", "n-1"));
    transport.push(unavailable().header("dpop-nonce", "n-2"));
    transport.push(typed("t2", "DPoP"));
    let tokens = bound(&transport);
    tokens.token().await.unwrap();
    advance(Duration::from_secs(600)).await;
    tokens.token().await.unwrap();
    let nonces: Vec<_> =
        proofs(&transport).iter().map(|proof| proof.claim("nonce").to_owned()).collect();
    assert_eq!(nonces, ["", "n-1", "n-2"]);
}

#[tokio::test(start_paused = true)]
async fn dc3_dc5_dc8_each_call_has_a_proof_for_its_method_url_and_token() {
    let layer = layer(bound(&binding()));
    let orders = Orders::new(|_| answer(200, &[]));
    for (method, uri, htu) in [
        ("GET", "https://orders.test", "https://orders.test/"),
        ("GET", "https://ORDERS.test:443/a%2Fb/%7e?q=1&r=%20", "https://orders.test/a%2Fb/%7e"),
        ("DELETE", "https://orders.test//x/../y", "https://orders.test//x/../y"),
    ] {
        let request = Request::builder().method(method).uri(uri).header(HOST, "orders.test");
        orders.call(&layer, request.body(Full::default()).unwrap()).await.unwrap();
        let proof = orders.proofs().pop().unwrap();
        assert_eq!((proof.claim("htm"), proof.claim("htu")), (method, htu));
        assert_eq!(proof.names(), ["ath", "htm", "htu", "iat", "jti"]);
        // Of `t1`: `printf t1 | openssl dgst -sha256 -binary | basenc --base64url`
        assert_eq!(proof.claim("ath"), "YotJ2W3N6XpDDdT1l3BYmeCalo95NJHktwTK4zpA3AI");
    }
    assert_eq!(orders.tokens(), ["DPoP t1"; 3]);
    let ids: std::collections::HashSet<String> =
        orders.proofs().iter().map(|proof| proof.claim("jti").to_owned()).collect();
    assert_eq!(ids.len(), 3);
    let other = AttachTokenLayer::new(bound(&binding()), ["https://[0:0::1]:8443"]).unwrap();
    let uri = "https://[::1]:8443/x";
    orders.get(&other, uri).await;
    assert_eq!(orders.proofs().pop().unwrap().claim("htu"), uri);
}

#[tokio::test(start_paused = true)]
async fn dc10_dc13_a_nonce_and_a_refused_token_cost_one_retry_each() {
    for nonce_first in [true, false] {
        let orders = Orders::new(move |n| match (n, nonce_first) {
            (1, true) | (2, false) => wants_nonce("r-1"),
            (1, false) | (2, true) => {
                answer(401, &[("www-authenticate", r#"DPoP error="invalid_token""#)])
            }
            _ => answer(200, &[("dpop-nonce", "r-2")]),
        });
        let layer = layer(bound(&binding()));
        let request = Request::post("https://orders.test/").body(Full::from("body")).unwrap();
        assert_eq!(orders.call(&layer, request).await.unwrap(), 200);
        let tokens = if nonce_first { ["t1", "t1", "t2"] } else { ["t1", "t2", "t2"] };
        assert_eq!(orders.tokens(), tokens.map(|token| format!("DPoP {token}")));
        let nonces = if nonce_first { ["", "r-1", "r-1"] } else { ["", "", "r-1"] };
        assert_eq!(orders.nonces(), nonces);
        assert_eq!(orders.bodies(), ["body"; 3]);
        assert_eq!(orders.get(&layer, "https://orders.test/").await, 200);
        assert_eq!(orders.nonces()[3], "r-2");
    }
}

#[tokio::test(start_paused = true)]
async fn dc10_a_server_that_asks_for_nonces_for_ever_gets_two_requests() {
    let orders = Orders::new(|n| wants_nonce(&format!("r-{n}")));
    let transport = binding();
    let layer = layer(bound(&transport));
    assert_eq!(orders.get(&layer, "https://orders.test/").await, 401);
    assert_eq!(orders.nonces(), ["", "r-1"]);
    // It is no reason to get another token.
    assert_eq!(transport.request_count(), 1);
    // And for one that refuses everything, it is three.
    let orders = Orders::new(|n| match n % 2 {
        1 => wants_nonce(&format!("r-{n}")),
        _ => answer(401, &[("www-authenticate", r#"DPoP error="invalid_token""#)]),
    });
    assert_eq!(orders.get(&layer, "https://orders.test/").await, 401);
    assert_eq!(orders.tokens(), ["DPoP t1", "DPoP t1", "DPoP t2"]);
}

#[tokio::test(start_paused = true)]
async fn dc10_without_a_usable_nonce_the_answer_stands() {
    for nonce in [None, Some("a b"), Some("a\\b")] {
        let challenge = ("www-authenticate", r#"DPoP error="use_dpop_nonce""#);
        let fields: Vec<_> = nonce.map(|nonce| ("dpop-nonce", nonce)).into_iter().collect();
        let fields = [&fields[..], &[challenge]].concat();
        let orders = Orders::new(move |_| answer(401, &fields));
        let layer = layer(bound(&binding()));
        assert_eq!(orders.get(&layer, "https://orders.test/").await, 401);
        assert_eq!(orders.proofs().len(), 1);
    }
    // Nor is anything of it a bearer token's.
    let challenge = ("www-authenticate", r#"DPoP error="use_dpop_nonce""#);
    let orders = Orders::new(move |_| answer(401, &[challenge, ("dpop-nonce", "r-1")]));
    let layer = layer(source(&counting(600)));
    assert_eq!(orders.get(&layer, "https://orders.test/").await, 401);
    assert_eq!(orders.tokens(), ["Bearer t1"]);
}

// A flood of challenges is read, and costs one retry like any.
#[tokio::test(start_paused = true)]
async fn dc13_a_flood_of_challenges_is_read_to_its_end() {
    let flood = "Basic realm=\"x\", ".repeat(2_000);
    let orders = Orders::new(move |n| match n {
        1 => {
            let mut fields = vec![("www-authenticate", &*flood); 8];
            fields.push(("www-authenticate", r#"DPoP error="use_dpop_nonce""#));
            fields.push(("dpop-nonce", "r-1"));
            answer(401, &fields)
        }
        _ => answer(200, &[]),
    });
    let layer = layer(bound(&binding()));
    assert_eq!(orders.get(&layer, "https://orders.test/").await, 200);
    assert_eq!(orders.nonces(), ["", "r-1"]);
}

#[tokio::test(start_paused = true)]
async fn dc12_nonces_of_token_endpoint_and_of_calls_live_apart() {
    let transport = ScriptedTransport::new();
    transport.push(typed("t1", "DPoP").header("dpop-nonce", "as"));
    transport.push(typed("t2", "DPoP"));
    let tokens = bound(&transport);
    // One origin for both.
    let layer = AttachTokenLayer::new(tokens, ["https://as.test", ORDERS]).unwrap();
    let orders = Orders::new(|n| match n {
        1 => answer(200, &[("dpop-nonce", "rs")]),
        _ => answer(200, &[]),
    });
    orders.get(&layer, "https://as.test/me").await;
    orders.get(&layer, "https://as.test/me").await;
    orders.get(&layer, "https://orders.test/").await;
    assert_eq!(orders.nonces(), ["", "rs", ""], "one for each origin");
    advance(Duration::from_secs(600)).await;
    orders.get(&layer, "https://as.test/me").await;
    assert_eq!(proofs(&transport)[1].claim("nonce"), "as");
}

#[tokio::test(start_paused = true)]
async fn dc14_what_cannot_be_sent_twice_is_not_and_its_nonce_is_kept() {
    let layer = layer(bound(&binding())).replay_up_to(4);
    let orders = Orders::new(|n| if n == 1 { wants_nonce("r-1") } else { answer(200, &[]) });
    let post = |body: &'static str| Request::post(ORDERS).body(Full::from(body)).unwrap();
    assert_eq!(orders.call(&layer, post("12345")).await.unwrap(), 401);
    assert_eq!(orders.call(&layer, post("12345")).await.unwrap(), 200);
    assert_eq!(orders.nonces(), ["", "r-1"]);
    assert_eq!(orders.bodies(), ["12345", "12345"]);
}

// A process that has this key, and the store.
fn sharing(transport: &ScriptedTransport, store: &MemoryStore, key: DpopKey) -> TokenSource {
    let client = TokenClient::builder()
        .transport(transport.clone())
        .clock(running_clock())
        .shared(store.clone(), store_key());
    client.build().unwrap().source(&scripted_grant().dpop(key).build().unwrap())
}

#[tokio::test(start_paused = true)]
async fn dc15_processes_share_a_token_only_if_they_have_the_same_key() {
    // A JWT that says what it is bound to.
    let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"cnf":{"jkt":"x"}}"#);
    let count = AtomicU64::new(0);
    let transport = ScriptedTransport::from_fn(move |_| {
        let n = count.fetch_add(1, Ordering::Relaxed) + 1;
        typed(&format!("t{n}.{claims}.c"), "DPoP")
    });
    let store = MemoryStore::default();
    let get = async |key: DpopKey| {
        let token = sharing(&transport, &store, key).token().await.unwrap();
        tokio::time::sleep(SECOND).await;
        assert!(token.header_value().to_str().unwrap().starts_with("DPoP t"));
        (token.expose_secret()[..2].to_owned(), token.key_thumbprint().unwrap().to_owned())
    };
    let first = get(key()).await;
    assert_eq!(get(key()).await, first);
    let jwk = include_str!("keys/p256.jwk.json");
    assert_eq!(get(DpopKey::new(AssertionAlgorithm::ES256, jwk)).await, first, "in another form");
    let other = get(DpopKey::new(AssertionAlgorithm::ES256, P256B)).await;
    assert_eq!(other.0, "t2");
    assert_ne!(other.1, first.1);
    assert_eq!(store.values().len(), 2);
    // A key that no other process has is not worth a place there, nor a lock.
    store.calls();
    assert_eq!(get(DpopKey::generate().unwrap()).await.0, "t3");
    assert_eq!(get(DpopKey::generate().unwrap()).await.0, "t4");
    assert_eq!(store.calls(), [""; 0]);
    // And a bearer token has another name.
    let bearer = ScriptedTransport::new();
    bearer.push(granted("b", 600));
    assert_eq!(token(&process(&bearer, &store, &running_clock())).await, "b");
}

#[tokio::test(start_paused = true)]
async fn dc15_grants_with_different_keys_share_no_token() {
    let (transport, grant) = (binding(), |key| scripted_grant().dpop(key).build().unwrap());
    let client = client(&transport);
    let made = DpopKey::generate().unwrap();
    for (grant, expected) in [
        (grant(key()), "t1"),
        (grant(key()), "t1"),
        (grant(DpopKey::new(AssertionAlgorithm::ES256, P256B)), "t2"),
        (grant(made.clone()), "t3"),
        (grant(made), "t3"),
        (grant(DpopKey::generate().unwrap()), "t4"),
        (scripted_grant().dpop(key()).dangerous_accept_bearer().build().unwrap(), "t5"),
    ] {
        assert_eq!(client.token(&grant).await.unwrap().expose_secret(), expected);
    }
}

/// Has the key that it was given last.
#[derive(Clone)]
struct Keeper(Arc<Mutex<&'static str>>);

impl SecretProvider for Keeper {
    fn secret(&self) -> SecretFuture<'_> {
        let key = *self.0.lock().unwrap();
        Box::pin(async move { Ok(Secret::new(key)) })
    }
}

#[tokio::test(start_paused = true)]
async fn dc15_a_new_key_ends_the_tokens_of_the_one_before() {
    let keeper = Keeper(Arc::new(Mutex::new(P256)));
    let secret = SecretSource::from(keeper.clone()).max_age(60 * SECOND);
    let key = DpopKey::new(AssertionAlgorithm::ES256, secret);
    let transport = binding();
    let tokens = client(&transport).source(&scripted_grant().dpop(key).build().unwrap());
    let first = tokens.token().await.unwrap();
    // It is looked at again and again, and costs nothing as long as it is the same.
    for _ in 0..5 {
        advance(60 * SECOND).await;
        assert_eq!(token(&tokens).await, "t1");
        settle().await;
    }
    assert_eq!(transport.request_count(), 1);
    *keeper.0.lock().unwrap() = P256B;
    advance(60 * SECOND).await;
    assert_eq!(token(&tokens).await, "t1", "until the new one is there");
    settle().await;
    let second = tokens.token().await.unwrap();
    assert_eq!(second.expose_secret(), "t2");
    assert_ne!(second.key_thumbprint(), first.key_thumbprint());
    assert_eq!(proofs(&transport)[1].header["jwk"]["x"], json!(x_of(P256B)));
    // What is no key is no reason to give up the one that is known to work.
    *keeper.0.lock().unwrap() = "no key";
    advance(60 * SECOND).await;
    assert_eq!(token(&tokens).await, "t2");
    settle().await;
    assert_eq!(token(&tokens).await, "t2");
    advance(600 * SECOND).await;
    let error = tokens.token().await.unwrap_err();
    assert!(matches!(error.kind(), TokenErrorKind::Credentials(_)), "{error}");
}

// A look at the key, meanwhile a service refuses the token: that isn't lost.
#[tokio::test(start_paused = true)]
async fn dc15_a_refusal_while_the_key_is_looked_at_brings_another_token() {
    #[derive(Clone)]
    struct Slow(Arc<tokio::sync::Semaphore>);
    impl SecretProvider for Slow {
        fn secret(&self) -> SecretFuture<'_> {
            Box::pin(async {
                self.0.acquire().await.unwrap().forget();
                Ok(Secret::new(P256))
            })
        }
    }
    let slow = Slow(Arc::new(tokio::sync::Semaphore::new(1)));
    let secret = SecretSource::from(slow.clone()).max_age(60 * SECOND);
    let key = DpopKey::new(AssertionAlgorithm::ES256, secret);
    let transport = binding();
    let tokens = client(&transport).source(&scripted_grant().dpop(key).build().unwrap());
    let first = tokens.token().await.unwrap();
    advance(60 * SECOND).await;
    assert_eq!(token(&tokens).await, "t1", "while it is looked at");
    settle().await;
    let renewing = tokio::spawn({
        let (tokens, first) = (tokens.clone(), first.clone());
        async move { tokens.renew(&first, ORDERS).await }
    });
    settle().await;
    slow.0.add_permits(10);
    let second = renewing.await.unwrap().expect("another token");
    assert_eq!((second.expose_secret(), transport.request_count()), ("t2", 2));
    assert_eq!(token(&tokens).await, "t2");
}

/// The secret that a token request was authenticated with.
fn secret_of(transport: &ScriptedTransport, at: usize) -> String {
    let field = transport.requests()[at].headers()[AUTHORIZATION].to_str().unwrap().to_owned();
    let decoded = base64::prelude::BASE64_STANDARD.decode(&field["Basic ".len()..]).unwrap();
    String::from_utf8(decoded).unwrap().split_once(':').unwrap().1.to_owned()
}

// An operator replaces both, and says so: whatever happens first, the next token is got with them.
#[tokio::test(start_paused = true)]
async fn dc15_after_a_reset_the_next_token_is_got_with_what_the_providers_have_now() {
    let (secret, key) = (Keeper(Arc::new(Mutex::new("old"))), Keeper(Arc::new(Mutex::new(P256))));
    for looks in [false, true] {
        *secret.0.lock().unwrap() = "old";
        *key.0.lock().unwrap() = P256;
        let kept = |keeper: &Keeper| SecretSource::from(keeper.clone()).max_age(Duration::MAX);
        let other = Keeper(Arc::new(Mutex::new(P256)));
        let bound_by = match looks {
            // Its key is looked at often, and stays.
            true => SecretSource::from(other).max_age(60 * SECOND),
            false => kept(&key),
        };
        let transport = binding();
        let grant =
            Grant::endpoint("https://as.test/token", ClientAuth::basic("me", kept(&secret)));
        let grant = grant.dpop(DpopKey::new(AssertionAlgorithm::ES256, bound_by)).build().unwrap();
        let tokens = client(&transport).source(&grant);
        assert_eq!(token(&tokens).await, "t1");
        *secret.0.lock().unwrap() = "new";
        *key.0.lock().unwrap() = P256B;
        tokens.reset();
        if looks {
            advance(60 * SECOND).await;
            assert_eq!(token(&tokens).await, "t1");
            settle().await;
            assert_eq!((token(&tokens).await, transport.request_count()), ("t1".into(), 1));
        }
        advance(600 * SECOND).await;
        assert_eq!(token(&tokens).await, "t2");
        assert_eq!(secret_of(&transport, 1), "new", "{looks}");
        let expected = if looks { P256 } else { P256B };
        assert_eq!(proofs(&transport)[1].header["jwk"]["x"], json!(x_of(expected)));
    }
}

// The look has read the old key when the operator says that there is a new one.
#[tokio::test(start_paused = true)]
async fn dc15_a_reset_while_the_key_is_looked_at_is_not_lost() {
    #[derive(Clone)]
    struct Slow(Keeper, Arc<tokio::sync::Semaphore>);
    impl SecretProvider for Slow {
        fn secret(&self) -> SecretFuture<'_> {
            let key = *self.0.0.lock().unwrap();
            Box::pin(async move {
                self.1.acquire().await.unwrap().forget();
                Ok(Secret::new(key))
            })
        }
    }
    let slow = Slow(Keeper(Arc::new(Mutex::new(P256))), Arc::new(tokio::sync::Semaphore::new(1)));
    let secret = SecretSource::from(slow.clone()).max_age(60 * SECOND);
    let key = DpopKey::new(AssertionAlgorithm::ES256, secret);
    let transport = binding();
    let tokens = client(&transport).source(&scripted_grant().dpop(key).build().unwrap());
    assert_eq!(token(&tokens).await, "t1");
    advance(60 * SECOND).await;
    assert_eq!(token(&tokens).await, "t1", "while it is looked at");
    settle().await;
    *slow.0.0.lock().unwrap() = P256B;
    tokens.reset();
    assert_eq!(token(&tokens).await, "t1", "while it is looked at again");
    settle().await;
    slow.1.add_permits(10);
    settle().await;
    assert_eq!(token(&tokens).await, "t2");
    assert_eq!(proofs(&transport)[1].header["jwk"]["x"], json!(x_of(P256B)));
}

#[tokio::test(start_paused = true)]
async fn dc2_a_key_that_was_half_written_is_read_again() {
    #[derive(Clone)]
    struct Written(Arc<Mutex<Vec<&'static str>>>);
    impl SecretProvider for Written {
        fn secret(&self) -> SecretFuture<'_> {
            let mut left = self.0.lock().unwrap();
            let text = if left.len() > 1 { left.remove(0) } else { left[0] };
            Box::pin(async move { Ok(Secret::new(text)) })
        }
    }
    let written = Written(Arc::new(Mutex::new(vec![&P256[..60], P256])));
    let key = DpopKey::new(AssertionAlgorithm::ES256, SecretSource::from(written));
    let transport = binding();
    let tokens = client(&transport).source(&scripted_grant().dpop(key).build().unwrap());
    assert_eq!(token(&tokens).await, "t1");
}

#[tokio::test(start_paused = true)]
async fn dc6_a_bearer_token_that_is_accepted_is_kept_while_the_key_stays() {
    let keeper = Keeper(Arc::new(Mutex::new(P256)));
    let secret = SecretSource::from(keeper).max_age(60 * SECOND);
    let key = DpopKey::new(AssertionAlgorithm::ES256, secret);
    let transport = ScriptedTransport::from_fn(|_| typed("t", "Bearer"));
    let grant = scripted_grant().dpop(key).dangerous_accept_bearer().build().unwrap();
    let tokens = client(&transport).source(&grant);
    for _ in 0..5 {
        assert_eq!(token(&tokens).await, "t");
        settle().await;
        advance(60 * SECOND).await;
    }
    assert_eq!(transport.request_count(), 1);
}

fn x_of(pem: &str) -> &'static str {
    let jwk = match pem {
        P256B => include_str!("../../fixtures/keys/p256b.jwk.json"),
        _ => include_str!("../../fixtures/keys/p256.jwk.json"),
    };
    let at = jwk.find("\"x\"").unwrap();
    jwk[at + 3..].split('"').nth(1).unwrap()
}

#[tokio::test(start_paused = true)]
async fn dc16_an_issuer_that_takes_other_algorithms_only_is_not_asked() {
    for (algorithms, works) in [
        (json!(null), true),
        (json!(["ES256"]), true),
        (json!(["EdDSA", "ES256"]), true),
        (json!(["EdDSA", "es256"]), false),
        (json!([]), false),
        // That is no list, and no reason not to try.
        (json!("EdDSA"), true),
    ] {
        let algorithms2 = algorithms.clone();
        let transport = ScriptedTransport::from_fn(move |request| {
            if request.method() == Method::POST {
                return typed("t", "DPoP");
            }
            let mut document =
                json!({"issuer": "https://as.test", "token_endpoint": "https://as.test/token"});
            if !algorithms2.is_null() {
                document["dpop_signing_alg_values_supported"] = algorithms2.clone();
            }
            ScriptedAnswer::json(document.to_string())
        });
        let grant = Grant::discover("https://as.test", usual_auth());
        let client = client(&transport);
        let result = client.token(&grant.dpop(key()).build().unwrap()).await;
        match result {
            Ok(_) => assert!(works, "{algorithms}"),
            Err(error) => {
                assert!(!works, "{algorithms} {error}");
                let fault = TokenErrorKind::Discovery(DiscoveryFault::DpopAlgorithm);
                assert_eq!(*error.kind(), fault);
                assert!(error.is_permanent());
            }
        }
        // What the list says is no matter to a client without proofs.
        let plain = Grant::discover("https://as.test", usual_auth()).build().unwrap();
        let error = client.token(&plain).await.unwrap_err();
        assert_eq!(*error.kind(), TokenErrorKind::Answer(AnswerFault::TokenType));
    }
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn dc17_a_clock_that_is_off_is_spoken_of_once_and_not_adjusted() {
    let (log, _guard) = Log::of_this_thread(LevelFilter::TRACE);
    let said = || log.take().matches("client_dpop_clock").count();
    // The clock says 1 800 000 000, which is 08:00:00 there.
    for (date, times) in [
        ("Fri, 15 Jan 2027 08:00:31 GMT", 1),
        ("Fri, 15 Jan 2027 07:59:29 GMT", 1),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 0),
        ("Fri, 15 Jan 2027 07:59:30 GMT", 0),
        ("yesterday", 0),
    ] {
        let refusal = ("www-authenticate", r#"DPoP error="invalid_dpop_proof""#);
        let orders = Orders::new(move |_| answer(401, &[refusal, ("date", date)]));
        let clock = ManualClock::new(UnixTime::from_secs(1_800_000_000));
        let client = TokenClient::builder().transport(binding()).clock(clock).build().unwrap();
        let layer = layer(client.source(&bound_grant().build().unwrap()));
        for _ in 0..3 {
            assert_eq!(orders.get(&layer, "https://orders.test/").await, 401);
        }
        assert_eq!(said(), times, "{date}");
        // One request each, with the clock's own time.
        let times: Vec<_> = orders.proofs().iter().map(|it| it.claims["iat"].clone()).collect();
        assert_eq!(times, [1_800_000_000; 3]);
    }
    // At the token endpoint as well, and only where proofs are sent.
    for (grant, times) in [(bound_grant(), 1), (scripted_grant(), 0)] {
        let transport = ScriptedTransport::new();
        let date = "Fri, 15 Jan 2027 09:00:00 GMT";
        transport.push(refused(400, "invalid_dpop_proof").header("date", date));
        let clock = ManualClock::new(UnixTime::from_secs(1_800_000_000));
        let client = TokenClient::builder().transport(transport).clock(clock).build().unwrap();
        assert!(client.token(&grant.build().unwrap()).await.is_err());
        assert_eq!(said(), times);
    }
}

// gRPC says it in the head of an answer without a message ("trailers only").
#[tokio::test(start_paused = true)]
async fn dc18_a_grpc_call_is_made_again_with_the_nonce() {
    let layer = AttachTokenLayer::for_channel(bound(&binding()), ORDERS).unwrap();
    let orders = Orders::new(|n| match n {
        1 => answer(
            200,
            &[
                ("content-type", "application/grpc"),
                ("grpc-status", "16"),
                ("www-authenticate", r#"Bearer realm="a""#),
                ("www-authenticate", r#"DPoP error="use_dpop_nonce""#),
                ("dpop-nonce", "r-1"),
            ],
        ),
        _ => answer(200, &[("content-type", "application/grpc")]),
    });
    assert_eq!(orders.get(&layer, "/orders.Orders/Get").await, 200);
    assert_eq!(orders.nonces(), ["", "r-1"]);
    for proof in orders.proofs() {
        assert_eq!(proof.claim("htu"), "https://orders.test/orders.Orders/Get");
    }
}

#[tokio::test(start_paused = true)]
async fn dc19_a_server_that_wants_proofs_is_told_from_others() {
    let transport = ScriptedTransport::new();
    transport.push(refused(400, "invalid_dpop_proof"));
    let error = source(&transport).token().await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::Refused(ErrorCode::InvalidDpopProof));
    assert!(error.to_string().contains("GrantBuilder::dpop"), "{error}");
    // With proofs, it is another matter; the secret is to blame in no case.
    for status in [400, 401] {
        let transport = ScriptedTransport::new();
        transport.push(refused(status, "invalid_dpop_proof"));
        let error = bound(&transport).token().await.unwrap_err();
        assert!(!error.to_string().contains("GrantBuilder::dpop"), "{error}");
        assert!(error.is_permanent());
        assert_eq!(transport.request_count(), 1);
    }
}

#[test]
fn dc1_a_key_serves_one_client_of_one_server() {
    let made = DpopKey::generate().unwrap();
    let grant = |endpoint, id| {
        Grant::endpoint(endpoint, ClientAuth::basic(id, "secret")).dpop(made.clone())
    };
    assert!(grant("https://as.test/token", "me").build().is_ok());
    assert!(grant("https://as.test/token", "me").scope("orders").build().is_ok());
    for (endpoint, id) in [("https://other.test/token", "me"), ("https://as.test/token", "you")] {
        let error = grant(endpoint, id).build().unwrap_err().to_string();
        assert!(error.contains("serves another client"), "{error}");
    }
}

#[test]
fn dc2_what_cannot_be_a_key_is_refused_when_built_and_never_shown() {
    let error = |algorithm, key: &str| {
        let builder = scripted_grant().dpop(DpopKey::new(algorithm, key));
        let shown = format!("{builder:?}");
        let error = builder.build().unwrap_err().to_string();
        assert!(!(shown + &error).contains("canary"));
        error
    };
    let es256 = AssertionAlgorithm::ES256;
    assert!(error(AssertionAlgorithm::HS256, "canary").contains("private key, not with HS256"));
    assert!(error(es256, "canary").contains("PEM"));
    assert!(error(AssertionAlgorithm::ES384, P256).contains("ES384 needs P-384"));
    assert!(error(es256, include_str!("../../fixtures/keys/p256.pub.pem")).contains("public key"));
    assert!(error(es256, include_str!("../../fixtures/keys/rsa2048.pem")).contains("RSA"));
    let make = |algorithm| DpopKey::generate_for(algorithm).map(drop);
    assert!(make(AssertionAlgorithm::RS256).unwrap_err().to_string().contains("DpopKey::new"));
    assert!(make(AssertionAlgorithm::HS256).unwrap_err().to_string().contains("private key"));
    for algorithm in ["ES256", "ES384", "ES512", "EdDSA", "Ed25519"] {
        let algorithm = AssertionAlgorithm::ALL.iter().find(|it| it.name() == algorithm).unwrap();
        assert!(make(*algorithm).is_ok(), "{algorithm}");
    }
    assert_eq!(format!("{:?}", key()), "DpopKey { algorithm: ES256, .. }");
}

// The third way: by hand.
#[tokio::test(start_paused = true)]
async fn dc5_dc10_requests_are_authorized_by_hand_as_well() {
    let tokens = bound(&binding());
    let token = tokens.token().await.unwrap();
    let url = Uri::from_static("https://orders.test/a?b");
    let mut headers = HeaderMap::new();
    tokens.authorize(&token, &Method::PUT, &url, &mut headers).unwrap();
    let first = Proof::of(&headers).unwrap();
    assert_eq!(headers[AUTHORIZATION], "DPoP t1");
    assert_eq!((first.claim("htm"), first.claim("htu")), ("PUT", "https://orders.test/a"));
    let refusal = wants_nonce("r-1");
    let wants = |url, status, headers: &HeaderMap| tokens.wants_nonce(&token, url, status, headers);
    assert!(wants(&url, refusal.status(), refusal.headers()));
    tokens.authorize(&token, &Method::PUT, &url, &mut headers).unwrap();
    let second = Proof::of(&headers).unwrap();
    assert_eq!(second.claim("nonce"), "r-1");
    assert_ne!(first.claim("jti"), second.claim("jti"));
    let good = answer(200, &[("dpop-nonce", "r-2")]);
    assert!(!wants(&url, good.status(), good.headers()));
    tokens.authorize(&token, &Method::PUT, &url, &mut headers).unwrap();
    assert_eq!(Proof::of(&headers).unwrap().claim("nonce"), "r-2");
    // Without a host there is nothing to prove.
    let path = Uri::from_static("/a");
    assert!(tokens.authorize(&token, &Method::PUT, &path, &mut headers).is_err());
    assert!(!wants(&path, refusal.status(), refusal.headers()));
    // A bearer token has no proof, and takes that of another away.
    let bearer = source(&counting(600));
    let token = bearer.token().await.unwrap();
    bearer.authorize(&token, &Method::PUT, &path, &mut headers).unwrap();
    assert_eq!(headers[AUTHORIZATION], "Bearer t1");
    assert!(!headers.contains_key("dpop"));
    assert!(!bearer.wants_nonce(&token, &url, refusal.status(), refusal.headers()));
    // A bound token isn't sent without its proof, which only its own source can make.
    let bound = tokens.token().await.unwrap();
    assert!(bearer.authorize(&bound, &Method::PUT, &url, &mut headers).is_err());
}
