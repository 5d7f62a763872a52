use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::jose::{Algorithm, Backend, Compact, Header, decode_segment, parse_jwk_set};
use crate::testing::issuer::response::json_response;
use crate::testing::issuer::state::State;
use crate::testing::issuer::token_endpoint::{authenticate, refuse};
use crate::testing::issuer::token_request::{INVALID_REQUEST, Parameters, TokenError};
use crate::testing::misuse::lock;

/// The media type of a signed answer (RFC 9701 §4), and the `typ` of its JWT.
const SIGNED: &str = "application/token-introspection+jwt";
const TYP: &str = "token-introspection+jwt";

/// Answers a POST to the introspection endpoint (RFC 7662 §2).
pub(crate) fn respond(state: &State, request: &Request<Bytes>) -> Response<Bytes> {
    let mut response = introspect(state, request).unwrap_or_else(|error| refuse(state, error));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn introspect(state: &State, request: &Request<Bytes>) -> Result<Response<Bytes>, TokenError> {
    let parameters = Parameters::read(request)?;
    let client = authenticate(state, request.headers(), &parameters)?;
    let token = parameters.get("token").ok_or(TokenError(INVALID_REQUEST, "token is missing"))?;
    let mut answer = Map::new();
    match claims(state, token) {
        None => drop(answer.insert("active".into(), false.into())),
        Some(claims) => {
            answer.insert("active".into(), true.into());
            answer.insert("token_type".into(), "Bearer".into());
            answer.extend(claims);
            (state.config.shape_introspection)(&mut answer);
        }
    }
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_none_or(|accept| !accept.contains(SIGNED)) {
        return Ok(json_response(StatusCode::OK, &Value::Object(answer)));
    }
    let jwt = sign(state, &client.id, answer);
    let mut response = Response::new(Bytes::from(jwt));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(SIGNED));
    Ok(response)
}

/// Signs an answer for the client (RFC 9701 §5).
fn sign(state: &State, client_id: &str, answer: Map<String, Value>) -> String {
    let Some(key) = lock(&state.ring).default_signing().cloned() else { return String::new() };
    let header = json!({ "alg": key.algorithm().name(), "typ": TYP, "kid": key.kid() });
    let claims = json!({
        "iss": state.config.issuer,
        "aud": client_id,
        "iat": state.now().as_secs(),
        "token_introspection": answer,
    });
    key.sign(header.to_string(), claims.to_string())
}

/// Returns the claims of a token that is active.
fn claims(state: &State, token: &str) -> Option<Map<String, Value>> {
    if lock(&state.revoked).contains(token) {
        return None;
    }
    let opaque = lock(&state.opaque).get(token).cloned();
    let claims = opaque.or_else(|| claims_of_jwt(state, token))?;
    let now = state.now().as_secs_f64();
    let ended = |exp: &Value| exp.as_f64().is_some_and(|exp| exp <= now);
    (!claims.get("exp").is_some_and(ended)).then_some(claims)
}

/// Returns what a JWT says that one of the published keys has signed.
fn claims_of_jwt(state: &State, token: &str) -> Option<Map<String, Value>> {
    let compact = Compact::split(token.as_bytes()).ok()?;
    let header = decode_segment(compact.header).ok()?;
    let algorithm = Algorithm::from_name(&Header::parse(&header).ok()?.alg)?;
    let signature = decode_segment(compact.signature).ok()?;
    let keys: Vec<Value> = lock(&state.ring).published().map(|key| key.public_jwk()).collect();
    let keys = json!({ "keys": keys }).to_string();
    let keys = parse_jwk_set(keys.as_bytes(), usize::MAX, Backend::AwsLcRs).ok()?.keys;
    keys.iter()
        .any(|key| key.verify(algorithm, compact.signing_input, &signature))
        .then(|| crate::json::parse(&decode_segment(compact.payload).ok()?).ok())?
}
