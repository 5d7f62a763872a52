use serde_json::Value;

use crate::clock::UnixTime;
use crate::jose::{Algorithm, Backend, Compact, Header, decode_segment, parse_jwk_set};
use crate::testing::issuer::client::{AuthMethod, TestClient};
use crate::testing::issuer::state::State;
use crate::testing::issuer::token_request::{INVALID_CLIENT, Parameters, TokenError, find_client};
use crate::testing::misuse::lock;

/// The value of `client_assertion_type` (RFC 7523 §2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Authenticates a client by a signed assertion (RFC 7523 §3).
pub(crate) fn authenticate<'s>(
    state: &'s State,
    assertion: &str,
    parameters: &Parameters,
) -> Result<&'s TestClient, TokenError> {
    let refuse = |why| TokenError(INVALID_CLIENT, why);
    if parameters.get("client_assertion_type") != Some(ASSERTION_TYPE) {
        return Err(refuse("client_assertion_type isn't jwt-bearer"));
    }
    let malformed = || refuse("the assertion isn't a JWT");
    let compact = Compact::split(assertion.as_bytes()).map_err(|_| malformed())?;
    let payload = decode_segment(compact.payload).map_err(|_| malformed())?;
    let claims: Value = crate::json::parse(&payload).map_err(|_| malformed())?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);

    let client_id = text("iss").ok_or(refuse("the assertion has no iss"))?;
    if text("sub") != Some(client_id) {
        return Err(refuse("the assertion's sub isn't its iss"));
    }
    if parameters.get("client_id").is_some_and(|other| other != client_id) {
        return Err(refuse("client_id isn't the assertion's sub"));
    }
    let client = find_client(state, client_id, AuthMethod::PrivateKeyJwt)?;
    if !is_signed_by(client, &compact) {
        return Err(refuse("the assertion isn't signed by a key of the client"));
    }
    if !is_meant_for_us(state, claims.get("aud")) {
        return Err(refuse("the assertion's aud is neither the issuer nor the token endpoint"));
    }
    let now = state.now();
    let time = |name| claims.get(name).and_then(Value::as_f64).and_then(UnixTime::from_secs_f64);
    let expires = time("exp").ok_or(refuse("the assertion has no exp"))?;
    if now >= expires {
        return Err(refuse("the assertion expired"));
    }
    if claims.get("nbf").is_some() && time("nbf").is_none_or(|not_before| now < not_before) {
        return Err(refuse("the assertion isn't valid yet"));
    }
    // OpenID Connect Core §9 requires what RFC 7523 §3 leaves open.
    let id = text("jti").ok_or(refuse("the assertion has no jti"))?;
    let mut used = lock(&state.assertions);
    used.retain(|_, expires| *expires > now);
    match used.insert((client.id.clone(), id.to_owned()), expires) {
        None => Ok(client),
        Some(_) => Err(refuse("the assertion was used before")),
    }
}

fn is_signed_by(client: &TestClient, compact: &Compact<'_>) -> bool {
    let check = || {
        let header = decode_segment(compact.header).ok()?;
        let header = Header::parse(&header).ok()?;
        let algorithm = Algorithm::from_name(&header.alg)?;
        let signature = decode_segment(compact.signature).ok()?;
        let keys = client.jwks.to_string();
        let keys = parse_jwk_set(keys.as_bytes(), usize::MAX, Backend::AwsLcRs).ok()?.keys;
        let named = |key: &Option<&str>| header.kid.is_none() || *key == header.kid.as_deref();
        let holds = |key: &crate::jose::VerificationKey| {
            named(&key.kid()) && key.verify(algorithm, compact.signing_input, &signature)
        };
        Some(keys.iter().any(holds))
    };
    check().unwrap_or(false)
}

/// Accepts the issuer or the token endpoint, alone or in an array.
fn is_meant_for_us(state: &State, audience: Option<&Value>) -> bool {
    let token_endpoint = state.config.url("token");
    let ours = |value: &Value| {
        value.as_str().is_some_and(|aud| aud == state.config.issuer || aud == token_endpoint)
    };
    match audience {
        Some(Value::Array(several)) => several.iter().any(ours),
        Some(one) => ours(one),
        None => false,
    }
}
