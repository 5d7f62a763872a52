//! The token endpoint of the embedded issuer: authenticates clients and grants tokens.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde_json::json;

use crate::scope::ScopeSet;
use crate::testing::issuer::assertion;
use crate::testing::issuer::client::{AuthMethod, TestClient};
use crate::testing::issuer::delegation::{self, Subject};
#[cfg(feature = "dpop")]
use crate::testing::issuer::dpop;
use crate::testing::issuer::form;
use crate::testing::issuer::response::json_response;
use crate::testing::issuer::state::State;
use crate::testing::issuer::token_request::{
    INVALID_CLIENT, INVALID_REQUEST, Parameters, TokenError, find_client,
};
use crate::testing::tokens::token::TokenBuilder;

/// Answers a POST to the token endpoint.
pub(crate) fn respond(state: &State, request: &Request<Bytes>) -> Response<Bytes> {
    let mut response = grant(state, request).unwrap_or_else(|error| refuse(state, error));
    // RFC 6749 §5.1.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// Answers with an error (RFC 6749 §5.2).
pub(crate) fn refuse(state: &State, TokenError(code, description): TokenError) -> Response<Bytes> {
    let status = match code {
        INVALID_CLIENT => StatusCode::UNAUTHORIZED,
        _ => StatusCode::BAD_REQUEST,
    };
    let body = json!({ "error": code, "error_description": description });
    let mut response = json_response(status, &body);
    #[cfg(feature = "dpop")]
    if code == dpop::USE_NONCE
        && let Some(nonce) = dpop::newest_nonce(state)
    {
        response.headers_mut().insert(dpop::NONCE, nonce);
    }
    #[cfg(not(feature = "dpop"))]
    let _ = state;
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Basic realm=\"token endpoint\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

fn grant(state: &State, request: &Request<Bytes>) -> Result<Response<Bytes>, TokenError> {
    let parameters = Parameters::read(request)?;
    let client = authenticate(state, request.headers(), &parameters)?;
    let subject = match parameters.get("grant_type") {
        Some("client_credentials") if client.auth.contains(&AuthMethod::None) => {
            return Err(TokenError("unauthorized_client", "the client is public"));
        }
        Some("client_credentials") => None,
        Some(delegation::EXCHANGE) => Some(delegation::exchange(state, client, &parameters)?),
        Some(delegation::JWT_BEARER) => Some(delegation::bearer(state, &parameters)?),
        Some(_) => return Err(TokenError("unsupported_grant_type", "there is no such grant")),
        None => return Err(TokenError(INVALID_REQUEST, "grant_type is missing")),
    };
    let scopes = scopes(client, parameters.get("scope"))?;
    let audiences = audiences(state, client, &parameters)?;
    let lifetime = lifetime(state, subject.as_ref());
    let token = TokenBuilder::new(state)
        .subject(subject.as_ref().map_or(&client.id, |subject| &subject.sub))
        .expires_in(lifetime)
        .client_id(&client.id)
        .audiences(audiences.iter().map(String::as_str))
        .scope(scopes.as_str());
    #[cfg(feature = "mtls")]
    let token = match &client.certificate {
        Some(certificate) => token.bound_to_certificate(certificate),
        None => token,
    };
    let act = subject.as_ref().and_then(|subject| subject.act.clone());
    let token = act.into_iter().fold(token, |token, act| token.claim("act", act));
    #[cfg(feature = "dpop")]
    let (token, token_type) = dpop::bind(state, request, token)?;
    #[cfg(not(feature = "dpop"))]
    let token_type = "Bearer";
    let mut answer = json!({
        "access_token": if state.config.opaque_tokens { token.opaque() } else { token.sign() },
        "token_type": token_type,
        "expires_in": lifetime.as_secs(),
    });
    let issued = subject.and_then(|subject| subject.issued);
    if let (Some(issued), Some(answer)) = (issued, answer.as_object_mut()) {
        answer.insert("issued_token_type".into(), json!(issued));
    }
    if let (false, Some(answer)) = (scopes.is_empty(), answer.as_object_mut()) {
        answer.insert("scope".into(), json!(scopes.as_str()));
    }
    state.counters.send_modify(|counters| counters.count_granted());
    Ok(json_response(StatusCode::OK, &answer))
}

/// Returns the lifetime of a token: no longer than that of the token it is granted for.
fn lifetime(state: &State, subject: Option<&Subject>) -> Duration {
    let expires = subject.and_then(|subject| subject.expires);
    let left = expires.map(|expires| (expires - state.now().as_secs_f64()).max(0.0).floor());
    let left = left.and_then(|left| Duration::try_from_secs_f64(left).ok());
    left.unwrap_or(Duration::MAX).min(state.config.lifetime)
}

/// Authenticates the client, by exactly one method (RFC 6749 §2.3).
pub(crate) fn authenticate<'s>(
    state: &'s State,
    headers: &HeaderMap,
    parameters: &Parameters,
) -> Result<&'s TestClient, TokenError> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let header = lines.next();
    let secret = parameters.get("client_secret");
    let assertion = parameters.get("client_assertion");
    let methods =
        [header.is_some(), secret.is_some(), assertion.is_some()].into_iter().filter(|has| *has);
    if lines.next().is_some() || methods.count() > 1 {
        return Err(TokenError(INVALID_REQUEST, "the client authenticates in more than one way"));
    }
    if let Some(header) = header {
        let (id, secret) = basic(header).ok_or(TokenError(
            INVALID_CLIENT,
            "the Authorization header isn't valid Basic authentication",
        ))?;
        if parameters.get("client_id").is_some_and(|other| other != id) {
            return Err(TokenError(
                INVALID_REQUEST,
                "client_id differs from the one in the header",
            ));
        }
        return with_secret(state, &id, &secret, AuthMethod::ClientSecretBasic);
    }
    if let Some(secret) = secret {
        let id = parameters.get("client_id").unwrap_or_default();
        return with_secret(state, id, secret, AuthMethod::ClientSecretPost);
    }
    match assertion {
        Some(assertion) => assertion::authenticate(state, assertion, parameters),
        None => match parameters.get("client_id") {
            Some(id) => find_client(state, id, AuthMethod::None),
            None => Err(TokenError(INVALID_CLIENT, "the client doesn't authenticate")),
        },
    }
}

fn with_secret<'s>(
    state: &'s State,
    id: &str,
    secret: &str,
    method: AuthMethod,
) -> Result<&'s TestClient, TokenError> {
    let client = find_client(state, id, method)?;
    let registered = client.secret.as_ref().map(|secret| secret.expose());
    if registered == Some(secret.as_bytes()) {
        Ok(client)
    } else {
        Err(TokenError(INVALID_CLIENT, "the secret is wrong"))
    }
}

/// Reads `Basic` credentials, each half form-encoded (RFC 6749 §2.3.1).
fn basic(header: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = BASE64_STANDARD.decode(encoded.trim_start()).ok()?;
    let at = pair.iter().position(|byte| *byte == b':')?;
    let (id, secret) = pair.split_at_checked(at)?;
    Some((form::decode(id)?, form::decode(secret.strip_prefix(b":")?)?))
}

fn scopes(client: &TestClient, asked: Option<&str>) -> Result<ScopeSet, TokenError> {
    let Some(asked) = asked else {
        return Ok(client.scopes.clone().unwrap_or_default());
    };
    let scopes = ScopeSet::parse(asked);
    let legal = asked.split(' ').all(|scope| scopes.contains(scope));
    let granted = client.scopes.as_ref().is_none_or(|may| may.contains_all(scopes.iter()));
    if legal && granted {
        Ok(scopes)
    } else {
        Err(TokenError("invalid_scope", "the scope is malformed, or not for this client"))
    }
}

fn audiences(
    state: &State,
    client: &TestClient,
    parameters: &Parameters,
) -> Result<Vec<String>, TokenError> {
    const INVALID_TARGET: &str = "invalid_target";
    // RFC 8707 §2: an absolute URI without a fragment.
    let is_resource = |uri: &str| uri.contains(':') && !uri.contains('#');
    if !parameters.all("resource").all(is_resource) {
        return Err(TokenError(INVALID_TARGET, "the resource isn't an absolute URI"));
    }
    let asked = parameters.all("resource").chain(parameters.all("audience"));
    let asked: Vec<String> = asked.map(Into::into).collect();
    let may = client.audiences.as_deref();
    if asked.is_empty() {
        let default = may.and_then(|may| may.first()).unwrap_or(&state.config.audience);
        return Ok(vec![default.clone()]);
    }
    if may.is_none_or(|may| asked.iter().all(|one| may.contains(one))) {
        Ok(asked)
    } else {
        Err(TokenError(INVALID_TARGET, "the client gets no tokens for this audience"))
    }
}
