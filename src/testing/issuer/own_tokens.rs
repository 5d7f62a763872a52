//! Recognizes tokens that the embedded issuer has made, for introspection and exchange.

use serde_json::{Map, Value, json};

use crate::jose::{Algorithm, Backend, Compact, Header, decode_segment, parse_jwk_set};
use crate::testing::issuer::state::State;
use crate::testing::misuse::lock;

/// Returns the claims of a token that is active.
pub(crate) fn claims(state: &State, token: &str) -> Option<Map<String, Value>> {
    if lock(&state.revoked).contains(token) {
        return None;
    }
    let opaque = lock(&state.opaque).get(token).cloned();
    let claims = opaque.or_else(|| claims_of_jwt(state, token))?;
    let now = state.now().as_secs_f64();
    let ended = |exp: &Value| exp.as_f64().is_some_and(|exp| exp <= now);
    (!claims.get("exp").is_some_and(ended)).then_some(claims)
}

/// Returns the claims of a JWT that is signed by one of the published keys.
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
