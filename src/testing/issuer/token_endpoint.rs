use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde_json::json;

use crate::scope::ScopeSet;
use crate::testing::issuer::answer::json_response;
use crate::testing::issuer::assertion;
use crate::testing::issuer::client::{AuthMethod, TestClient};
use crate::testing::issuer::form;
use crate::testing::issuer::state::State;
use crate::testing::tokens::token::TokenBuilder;

/// An error answer of RFC 6749 §5.2: its code and a description.
pub(crate) struct TokenError(pub(crate) &'static str, pub(crate) &'static str);

const INVALID_REQUEST: &str = "invalid_request";
pub(crate) const INVALID_CLIENT: &str = "invalid_client";

/// Answers a POST to the token endpoint.
pub(crate) fn respond(state: &State, request: &Request<Bytes>) -> Response<Bytes> {
    let mut response = grant(state, request).unwrap_or_else(|TokenError(code, description)| {
        let status = match code {
            INVALID_CLIENT => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = json!({ "error": code, "error_description": description });
        let mut response = json_response(status, &body);
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"token endpoint\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    });
    // RFC 6749 §5.1.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

fn grant(state: &State, request: &Request<Bytes>) -> Result<Response<Bytes>, TokenError> {
    let parameters = Parameters::read(request)?;
    let client = authenticate(state, request.headers(), &parameters)?;
    match parameters.get("grant_type") {
        Some("client_credentials") => {}
        Some(_) => {
            return Err(TokenError("unsupported_grant_type", "only client_credentials is"));
        }
        None => return Err(TokenError(INVALID_REQUEST, "grant_type is missing")),
    }
    let scopes = scopes(client, parameters.get("scope"))?;
    let audiences = audiences(state, client, &parameters)?;
    let mut answer = json!({
        "access_token": TokenBuilder::new(state)
            .subject(&client.id)
            .client_id(&client.id)
            .audiences(audiences.iter().map(String::as_str))
            .scope(scopes.as_str())
            .sign(),
        "token_type": "Bearer",
        "expires_in": state.config.lifetime.as_secs(),
    });
    if let (false, Some(answer)) = (scopes.is_empty(), answer.as_object_mut()) {
        answer.insert("scope".into(), json!(scopes.as_str()));
    }
    state.counters.send_modify(|counters| counters.count_granted());
    Ok(json_response(StatusCode::OK, &answer))
}

/// The parameters of the request's body.
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn read(request: &Request<Bytes>) -> Result<Self, TokenError> {
        let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
        if !essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(TokenError(INVALID_REQUEST, "the body isn't form-encoded"));
        }
        let parameters = form::parse(request.body())
            .ok_or(TokenError(INVALID_REQUEST, "the body's encoding is broken"))?;
        // RFC 6749 §3.2: none more than once. RFC 8707 §2 lets `resource` repeat, and what takes
        // `audience` does the same.
        let repeats = parameters.iter().enumerate().any(|(at, (name, _))| {
            name != "resource"
                && name != "audience"
                && parameters.iter().take(at).any(|(earlier, _)| earlier == name)
        });
        if repeats {
            return Err(TokenError(INVALID_REQUEST, "a parameter is repeated"));
        }
        Ok(Self(parameters))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Finds out who asks: by exactly one method (RFC 6749 §2.3).
fn authenticate<'s>(
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
        let (id, secret) = basic(header)
            .ok_or(TokenError(INVALID_CLIENT, "the Authorization header isn't good Basic"))?;
        if parameters.get("client_id").is_some_and(|other| other != id) {
            return Err(TokenError(INVALID_REQUEST, "client_id is another than in the header"));
        }
        return with_secret(state, &id, &secret, AuthMethod::ClientSecretBasic);
    }
    if let Some(secret) = secret {
        let id = parameters.get("client_id").unwrap_or_default();
        return with_secret(state, id, secret, AuthMethod::ClientSecretPost);
    }
    match assertion {
        Some(assertion) => assertion::authenticate(state, assertion, parameters),
        None => Err(TokenError(INVALID_CLIENT, "the client doesn't authenticate")),
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

pub(crate) fn find_client<'s>(
    state: &'s State,
    id: &str,
    method: AuthMethod,
) -> Result<&'s TestClient, TokenError> {
    let client = state.config.clients.iter().find(|client| client.id == id);
    let client = client.ok_or(TokenError(INVALID_CLIENT, "there is no such client"))?;
    if client.auth.contains(&method) {
        Ok(client)
    } else {
        Err(TokenError(INVALID_CLIENT, "the client may not authenticate in this way"))
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
