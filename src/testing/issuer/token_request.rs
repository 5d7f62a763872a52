//! The parameters of a token request, and its errors, before the client is authenticated.

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;

use crate::testing::issuer::client::{AuthMethod, TestClient};
use crate::testing::issuer::form;
use crate::testing::issuer::state::State;

/// An error answer of RFC 6749 §5.2: its code and a description.
pub(crate) struct TokenError(pub(crate) &'static str, pub(crate) &'static str);

pub(crate) const INVALID_REQUEST: &str = "invalid_request";
pub(crate) const INVALID_GRANT: &str = "invalid_grant";
pub(crate) const INVALID_CLIENT: &str = "invalid_client";

/// The parameters of the request's body.
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn read(request: &Request<Bytes>) -> Result<Self, TokenError> {
        let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
        if !essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(TokenError(INVALID_REQUEST, "the body isn't form-encoded"));
        }
        let parameters = form::parse(request.body())
            .ok_or(TokenError(INVALID_REQUEST, "the body's encoding is broken"))?;
        // RFC 6749 §3.2: no parameter more than once. RFC 8707 §2 allows several `resource`s, and servers
        // that take `audience` allow several of those.
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

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Returns the client of this identifier, if it may authenticate by this method.
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
