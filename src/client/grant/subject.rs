//! The parameters of a token request that depend on the kind of grant: `grant_type`, tokens, assertions.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::client::grant::definition::Grant;
use crate::client::grant::kind::{Kind, Subject};
use crate::clock::UnixTime;
use crate::credentials::audience::Recipient;
use crate::credentials::provider::{SecretError, SecretErrorKind};
use crate::credentials::workload::WorkloadToken;

/// Names and values; the latter may be tokens.
pub(crate) type GrantParameters = Vec<(&'static str, Zeroizing<Vec<u8>>)>;

/// Returns `grant_type` and its parameters. Reading or signing a token for them is bounded by `patience`.
pub(crate) async fn grant_parameters(
    grant: &Grant,
    recipient: Recipient<'_>,
    now: UnixTime,
    patience: Duration,
) -> Result<GrantParameters, SecretError> {
    let definition = grant.definition();
    let mut asked = vec![("grant_type", text(definition.kind.grant_type()))];
    let Some(subject) = definition.kind.subject() else { return Ok(asked) };
    let token = match subject {
        Subject::Caller => {
            let caller = grant.caller().ok_or(SecretError::new(SecretErrorKind::NotFound))?;
            Zeroizing::new(caller.text.to_vec())
        }
        Subject::Workload(token) => read(token, now, patience).await?,
        Subject::Signed(assertion) => {
            let known = match assertion.source() {
                Some(source) => Some(source.current(patience).await?),
                None => None,
            };
            let id = definition.auth.client_id();
            assertion.make(id, known.as_ref(), recipient, now, patience).await?
        }
    };
    match &definition.kind {
        Kind::ClientCredentials => {}
        Kind::JwtBearer(_) => asked.push(("assertion", token)),
        Kind::Exchange(_, exchange) => {
            asked.push(("subject_token", token));
            asked.push(("subject_token_type", text(exchange.subject_type.as_str())));
            let requested = exchange.requested.iter();
            asked.extend(requested.map(|it| ("requested_token_type", text(it.as_str()))));
            if let Some((actor, token_type)) = &exchange.actor {
                asked.push(("actor_token", read(actor, now, patience).await?));
                asked.push(("actor_token_type", text(token_type.as_str())));
            }
        }
    }
    Ok(asked)
}

/// Returns the tokens among the parameters, which must not be shown of the server's answer.
pub(crate) fn secrets(asked: &GrantParameters) -> impl Iterator<Item = &[u8]> {
    let secret = |name: &str| ["subject_token", "actor_token", "assertion"].contains(&name);
    asked.iter().filter(move |(name, _)| secret(name)).map(|(_, value)| value.as_slice())
}

async fn read(
    token: &WorkloadToken,
    now: UnixTime,
    patience: Duration,
) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    WorkloadToken::assertion(&token.source().current(patience).await?, now)
}

fn text(text: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(text.into())
}
