//! The introspection endpoint of the embedded issuer, with signed answers.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::{Map, Value};

use crate::testing::issuer::own_tokens::claims;
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
    let mut header = Map::from_iter([
        ("alg".to_owned(), key.algorithm().name().into()),
        ("typ".to_owned(), TYP.into()),
        ("kid".to_owned(), key.kid().into()),
    ]);
    let mut claims = Map::from_iter([
        ("iss".to_owned(), state.config.issuer.as_str().into()),
        ("aud".to_owned(), client_id.into()),
        ("iat".to_owned(), state.now().as_secs().into()),
        ("token_introspection".to_owned(), answer.into()),
    ]);
    (state.config.shape_signed_introspection)(&mut header, &mut claims);
    key.sign(Value::Object(header).to_string(), Value::Object(claims).to_string())
}
