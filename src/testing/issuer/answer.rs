//! Routes a request to an endpoint of the embedded issuer, with the fault that is in force.

use bytes::Bytes;
use http::header::{ALLOW, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::testing::issuer::client::AuthMethod;
use crate::testing::issuer::delegation::{EXCHANGE, JWT_BEARER};
use crate::testing::issuer::endpoint::Endpoint;
use crate::testing::issuer::fault::{Delivery, Effect};
use crate::testing::issuer::introspection_endpoint;
use crate::testing::issuer::response::{empty, json_response};
use crate::testing::issuer::state::{Discovery, State};
use crate::testing::issuer::token_endpoint;
use crate::testing::misuse::lock;

/// The outcome of one request.
pub(crate) enum Answer {
    Response(Response<Bytes>, Delivery),
    /// The connection is reset without a response.
    Reset,
}

/// Answers a request, with the fault that is in force.
pub(crate) async fn answer(state: &State, request: Request<Bytes>) -> Answer {
    let path = request.uri().path();
    let Some(endpoint) = endpoint(state, path) else {
        let realms = lock(&state.realms).clone();
        let Some(realm) = realms.iter().find(|realm| endpoint(realm, path).is_some()) else {
            return Answer::Response(empty(StatusCode::NOT_FOUND), Delivery::Whole);
        };
        // The path may belong to a realm.
        return Box::pin(answer(realm, request)).await;
    };
    let Some(fault) = state.arrived(endpoint, request.clone()) else {
        return Answer::Response(regular(state, endpoint, &request), Delivery::Whole);
    };
    let (delay, effect) = fault.into_parts();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let delivery = match effect {
        Effect::Reset => return Answer::Reset,
        Effect::Answer(response) => return Answer::Response(response, Delivery::Whole),
        Effect::Deliver(delivery) => delivery,
        Effect::None => Delivery::Whole,
        Effect::Hang => {
            let mut faults = state.faults.subscribe();
            // An error means that the issuer was dropped, and this task ends with it.
            let _ = faults.wait_for(|faults| !faults.hangs(endpoint)).await;
            Delivery::Whole
        }
    };
    Answer::Response(regular(state, endpoint, &request), delivery)
}

fn endpoint(state: &State, path: &str) -> Option<Endpoint> {
    let config = &state.config;
    let discovery = config.discovery;
    // RFC 8414 §3.1: inserted before the issuer's path, whose last slash is removed.
    let inserted = path.strip_prefix("/.well-known/oauth-authorization-server");
    if inserted == Some(config.path.as_str()) {
        let served = matches!(discovery, Discovery::Both | Discovery::OAuth);
        return served.then_some(Endpoint::OAuthMetadata);
    }
    match path.strip_prefix(config.path.as_str())? {
        // OpenID Connect Discovery §4.1: appended to the issuer without its last slash.
        "/.well-known/openid-configuration" => {
            let served = matches!(discovery, Discovery::Both | Discovery::OpenId);
            served.then_some(Endpoint::OpenIdMetadata)
        }
        "/jwks" => Some(Endpoint::Jwks),
        "/token" => Some(Endpoint::Token),
        "/introspect" => Some(Endpoint::Introspection),
        _ => None,
    }
}

fn regular(state: &State, endpoint: Endpoint, request: &Request<Bytes>) -> Response<Bytes> {
    let method = request.method();
    match endpoint {
        Endpoint::Token if method == Method::POST => token_endpoint::respond(state, request),
        Endpoint::Introspection if method == Method::POST => {
            introspection_endpoint::respond(state, request)
        }
        Endpoint::Token | Endpoint::Introspection => not_allowed("POST"),
        _ if method != Method::GET && method != Method::HEAD => not_allowed("GET, HEAD"),
        Endpoint::OAuthMetadata | Endpoint::OpenIdMetadata => {
            json_response(StatusCode::OK, &Value::Object(metadata(state, endpoint)))
        }
        Endpoint::Jwks => key_set(state, request.headers()),
    }
}

fn metadata(state: &State, endpoint: Endpoint) -> Map<String, Value> {
    let config = &state.config;
    let algorithms: Vec<_> =
        lock(&state.ring).algorithms().iter().map(|algorithm| algorithm.name()).collect();
    let methods = [
        AuthMethod::ClientSecretBasic,
        AuthMethod::ClientSecretPost,
        AuthMethod::PrivateKeyJwt,
        AuthMethod::None,
    ];
    let offered =
        |method: &AuthMethod| config.clients.iter().any(|client| client.auth.contains(method));
    let methods: Vec<_> = methods.iter().filter(|m| offered(m)).map(|m| m.name()).collect();
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| document.insert(name.into(), value);
    put("issuer", json!(config.issuer));
    put("jwks_uri", json!(config.url("jwks")));
    put("token_endpoint", json!(config.url("token")));
    put("token_endpoint_auth_methods_supported", json!(methods));
    put("introspection_endpoint", json!(config.url("introspect")));
    put("introspection_endpoint_auth_methods_supported", json!(methods));
    put("grant_types_supported", json!(["client_credentials", EXCHANGE, JWT_BEARER]));
    // Required by RFC 8414 §2, and there is no authorization endpoint.
    put("response_types_supported", json!([]));
    if methods.contains(&AuthMethod::PrivateKeyJwt.name()) {
        let all = crate::jose::Algorithm::ALL.iter().map(|it| it.name()).collect::<Vec<_>>();
        put("token_endpoint_auth_signing_alg_values_supported", json!(all));
    }
    #[cfg(feature = "dpop")]
    {
        let all = crate::binding::dpop::proof::every_short().map(crate::jose::Algorithm::name);
        let all = all.collect::<Vec<_>>();
        put("dpop_signing_alg_values_supported", json!(all));
    }
    if endpoint == Endpoint::OpenIdMetadata {
        put("subject_types_supported", json!(["public"]));
        put("id_token_signing_alg_values_supported", json!(algorithms));
    }
    for (name, value) in lock(&state.metadata).iter() {
        if value.is_null() {
            document.remove(name);
        } else {
            document.insert(name.clone(), value.clone());
        }
    }
    document
}

fn key_set(state: &State, headers: &HeaderMap) -> Response<Bytes> {
    let (keys, revision) = {
        let ring = lock(&state.ring);
        let own = ring.published().map(|key| {
            let mut jwk = key.jwk();
            (state.config.shape_jwk)(&mut jwk);
            Value::Object(jwk)
        });
        let keys: Vec<Value> = own.chain(ring.foreign().iter().cloned()).collect();
        (keys, ring.revision())
    };
    let mut response = json_response(StatusCode::OK, &json!({ "keys": keys }));
    if state.config.etag {
        let etag = format!("\"keys-{revision}\"");
        if matches(headers, &etag) {
            state.counters.send_modify(|counters| counters.count_not_modified());
            response = empty(StatusCode::NOT_MODIFIED);
        }
        if let Ok(etag) = HeaderValue::try_from(etag) {
            response.headers_mut().insert(ETAG, etag);
        }
    }
    response.headers_mut().extend(state.config.jwks_headers.clone());
    response
}

/// Compares `If-None-Match` with an entity tag, weakly (RFC 9110 §13.1.2).
fn matches(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag == etag)
}

fn not_allowed(allow: &'static str) -> Response<Bytes> {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}
