//! Checks client assertions and assertion grants at the embedded issuer (RFC 7523 §3).

use serde_json::{Map, Value};

use crate::clock::UnixTime;
use crate::jose::{Algorithm, Backend, Compact, Header, decode_segment, parse_jwk_set};
use crate::testing::issuer::client::{AuthMethod, TestClient};
use crate::testing::issuer::state::State;
use crate::testing::issuer::token_request::{INVALID_CLIENT, Parameters, TokenError, find_client};
use crate::testing::misuse::lock;

/// The value of `client_assertion_type` (RFC 7523 §2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The `client_assertion_type` of a JWT-SVID (draft-ietf-oauth-spiffe-client-auth).
const SPIFFE_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

/// Authenticates a client by a signed assertion (RFC 7523 §3).
pub(crate) fn authenticate<'s>(
    state: &'s State,
    assertion: &str,
    parameters: &Parameters,
) -> Result<&'s TestClient, TokenError> {
    let refuse = |why| TokenError(INVALID_CLIENT, why);
    let kind = parameters.get("client_assertion_type").unwrap_or_default();
    if ![ASSERTION_TYPE, SPIFFE_TYPE].contains(&kind) {
        return Err(refuse("client_assertion_type is neither jwt-bearer nor jwt-spiffe"));
    }
    let (client, claims) = check(state, assertion)?;
    if claims.get("sub") != claims.get("iss") && client.platform.is_none() {
        return Err(refuse("the assertion's sub isn't its iss, nor a workload's"));
    }
    if client.platform.is_none() && kind == SPIFFE_TYPE {
        return Err(refuse("jwt-spiffe is for workloads"));
    }
    if parameters.get("client_id").is_some_and(|other| other != client.id) {
        return Err(refuse("client_id isn't the subject of the assertion"));
    }
    Ok(client)
}

/// Returns the claims of an assertion that a client, or its platform, has signed as a grant.
pub(crate) fn about_client(state: &State, assertion: &str) -> Option<Map<String, Value>> {
    check(state, assertion).ok().map(|(_, claims)| claims)
}

/// Checks an assertion, and finds the client whose keys have signed it.
fn check<'s>(
    state: &'s State,
    assertion: &str,
) -> Result<(&'s TestClient, Map<String, Value>), TokenError> {
    let refuse = |why| TokenError(INVALID_CLIENT, why);
    let malformed = || refuse("the assertion isn't a JWT");
    let compact = Compact::split(assertion.as_bytes()).map_err(|_| malformed())?;
    let payload = decode_segment(compact.payload).map_err(|_| malformed())?;
    let claims: Map<String, Value> = crate::json::parse(&payload).map_err(|_| malformed())?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);

    let issuer = text("iss").ok_or(refuse("the assertion has no iss"))?;
    let subject = text("sub").ok_or(refuse("the assertion has no sub"))?;
    let platform = Some((issuer.to_owned(), subject.to_owned()));
    let of_platform = state.config.clients.iter().find(|client| client.platform == platform);
    let client_id = of_platform.map_or(issuer, |client| &client.id);
    let client = find_client(state, client_id, AuthMethod::PrivateKeyJwt)?;
    if client.platform.is_some() != of_platform.is_some() {
        return Err(refuse("a workload doesn't sign its own assertions"));
    }
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
    // A platform's token may be used repeatedly until it expires.
    if of_platform.is_some() {
        return Ok((client, claims));
    }
    // OpenID Connect Core §9 requires what RFC 7523 §3 leaves open.
    let id = text("jti").ok_or(refuse("the assertion has no jti"))?.to_owned();
    let mut used = lock(&state.assertions);
    used.retain(|_, expires| *expires > now);
    match used.insert((client.id.clone(), id), expires) {
        None => Ok((client, claims)),
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
