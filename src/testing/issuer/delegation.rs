//! Grants for another party's token: exchange (RFC 8693) and JWT bearer (RFC 7523 §2.1).

use serde_json::{Map, Value, json};

use crate::testing::issuer::assertion;
use crate::testing::issuer::client::TestClient;
use crate::testing::issuer::own_tokens::claims;
use crate::testing::issuer::state::State;
use crate::testing::issuer::token_request::{
    INVALID_GRANT, INVALID_REQUEST, Parameters, TokenError,
};

pub(crate) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The subject of a token that is granted for another token.
pub(crate) struct Subject {
    pub(crate) sub: String,
    /// When the token expires that was presented.
    pub(crate) expires: Option<f64>,
    /// The chain of actors (RFC 8693 §4.1).
    pub(crate) act: Option<Value>,
    /// `issued_token_type`, of an exchange.
    pub(crate) issued: Option<String>,
}

/// Reads an exchange (RFC 8693 §2.1).
pub(crate) fn exchange(
    state: &State,
    client: &TestClient,
    parameters: &Parameters,
) -> Result<Subject, TokenError> {
    let refuse = |why| TokenError(INVALID_REQUEST, why);
    let token = parameters.get("subject_token").ok_or(refuse("subject_token is missing"))?;
    let token_type = parameters.get("subject_token_type");
    if ![Some(ACCESS_TOKEN), Some(JWT)].contains(&token_type) {
        return Err(refuse("subject_token_type is neither that of an access token nor of a JWT"));
    }
    let issued = parameters.get("requested_token_type").unwrap_or(ACCESS_TOKEN);
    if ![ACCESS_TOKEN, JWT].contains(&issued) {
        return Err(refuse("requested_token_type is neither that of an access token nor of a JWT"));
    }
    let subject = known(state, token).ok_or(refuse("the subject_token isn't valid"))?;
    let actor = match (parameters.get("actor_token"), parameters.get("actor_token_type")) {
        (None, None) => json!({ "sub": client.id }),
        (Some(actor), Some(_)) => {
            let actor = known(state, actor).ok_or(refuse("the actor_token isn't valid"))?;
            json!({ "sub": actor.get("sub"), "iss": actor.get("iss") })
        }
        _ => return Err(refuse("actor_token and actor_token_type belong together")),
    };
    let mut act = actor;
    if let (Some(earlier), Some(act)) = (subject.get("act"), act.as_object_mut()) {
        act.insert("act".into(), earlier.clone());
    }
    Ok(Subject { act: Some(act), issued: Some(issued.into()), ..subject_of(&subject) })
}

/// Reads an assertion that is a grant.
pub(crate) fn bearer(state: &State, parameters: &Parameters) -> Result<Subject, TokenError> {
    let assertion = parameters.get("assertion");
    let assertion = assertion.ok_or(TokenError(INVALID_REQUEST, "assertion is missing"))?;
    let claims = known(state, assertion);
    Ok(subject_of(&claims.ok_or(TokenError(INVALID_GRANT, "the assertion isn't valid"))?))
}

fn subject_of(claims: &Map<String, Value>) -> Subject {
    Subject {
        sub: claims.get("sub").and_then(Value::as_str).unwrap_or_default().into(),
        expires: claims.get("exp").and_then(Value::as_f64),
        act: None,
        issued: None,
    }
}

/// Returns the claims of a token of this issuer, of a platform's token about one of its workloads, or of a
/// client's assertion about itself.
fn known(state: &State, token: &str) -> Option<Map<String, Value>> {
    claims(state, token).or_else(|| assertion::about_client(state, token))
}
