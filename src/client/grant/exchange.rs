//! Fetching: one request after the other, until one is answered or there is no use in more.

use std::time::Duration;

use http::Uri;
use tokio::time::{Instant, sleep};

use crate::client::grant::definition::{Definition, Server};
use crate::client::grant::error::{AnswerFault, TokenError, TokenErrorKind};
use crate::client::grant::request::token_request;
use crate::client::grant::response::{self, Granted, Lifetime, jwt_expiry};
use crate::client::tokens::backoff;
use crate::client::tokens::core::Core;
use crate::client::tokens::failed::RefusedFetch;
use crate::client::tokens::slots::Urgency;
use crate::client::tokens::token::Token;
use crate::clock::{UnixTime, jitter, monotonic};
use crate::credentials::assertion::Recipient;
use crate::credentials::authentication::Proof;
use crate::credentials::known::Known;
use crate::scope::ScopeSet;
use crate::telemetry::event;
use crate::transport::{Coding, TransportError, TransportErrorKind};

/// A token as it came.
pub(crate) struct Fetched {
    pub(crate) token: Token,
    /// None if it must not be kept.
    pub(crate) lifetime: Option<Duration>,
    /// When it was asked for: from here on its time runs.
    pub(crate) asked: Instant,
    pub(crate) obtained: UnixTime,
    /// With which secret.
    pub(crate) known: Option<Known>,
}

/// So many different secrets are worth a request: the one at hand, a newer one, and the last good
/// one.
const MOST_SECRETS: usize = 3;

/// When a fetch may use the network.
#[derive(Clone, Copy)]
pub(crate) struct Gate<'a> {
    pub(crate) urgency: &'a Urgency,
    /// When the fetch ends.
    pub(crate) deadline: Instant,
}

/// Fetches a token, with pauses between attempts that may help, and with another secret if this one
/// is refused. `secrets` are those that were refused before.
pub(crate) async fn fetch(
    core: &Core,
    grant: &Definition,
    known: Option<Known>,
    mut secrets: Vec<Known>,
    gate: Gate<'_>,
) -> Result<Fetched, RefusedFetch> {
    let source = grant.auth.source();
    let mut known = known;
    let mut left = MOST_SECRETS;
    let mut attempt = 0_u32;
    loop {
        attempt = attempt.saturating_add(1);
        let slot = core.slots.enter(grant.server.authority(), gate.urgency, gate.deadline).await;
        let fetched = attempt_once(core, grant, known.clone()).await;
        drop(slot);
        let error = match fetched {
            Ok(fetched) => {
                if let (Some(source), Some(known)) = (source, &known) {
                    source.accepted(known);
                }
                return Ok(fetched);
            }
            Err(error) => error,
        };
        if error.blames_credentials() {
            secrets.extend(known.take());
            let older = secrets.len().saturating_sub(MOST_SECRETS);
            secrets.drain(..older);
            left = left.saturating_sub(1);
            known = match source {
                Some(source) if left > 0 => source.other_than(&secrets, core.limits.timeout).await,
                _ => None,
            };
            if known.is_none() {
                return Err(RefusedFetch { error, secrets });
            }
            event!(
                INFO,
                client_id = grant.auth.client_id(),
                error = %crate::cause::Report(&error),
                "client_secret_replaced: trying another secret"
            );
            continue;
        }
        match backoff::pause(error.cause(), attempt, jitter()) {
            Some(pause) => sleep(pause).await,
            None => return Err(RefusedFetch { error, secrets }),
        }
    }
}

async fn attempt_once(
    core: &Core,
    grant: &Definition,
    known: Option<Known>,
) -> Result<Fetched, TokenError> {
    let metadata;
    let (endpoint, issuer): (&Uri, Option<&str>) = match &grant.server {
        Server::Endpoint { uri, issuer } => (uri, issuer.as_deref()),
        Server::Issuer { uri, issuer } => {
            let (limits, now) = (core.limits, core.clock.now());
            metadata = core.discoveries.find(&core.transport, limits, (issuer, uri), now).await?;
            metadata.check(&grant.auth)?;
            (metadata.endpoint(grant.by_certificate)?, Some(issuer))
        }
    };
    let result = ask(core, grant, known, endpoint, issuer).await;
    let result = result.map_err(|error| error.at(endpoint));
    let may_have_moved = result.as_ref().is_err_and(TokenError::blames_address);
    if let (Server::Issuer { issuer, .. }, true) = (&grant.server, may_have_moved) {
        core.discoveries.doubt(issuer);
    }
    result
}

async fn ask(
    core: &Core,
    grant: &Definition,
    known: Option<Known>,
    endpoint: &Uri,
    issuer: Option<&str>,
) -> Result<Fetched, TokenError> {
    let (asked, obtained) = (monotonic(), core.clock.now());
    let recipient = Recipient { issuer, token_endpoint: &endpoint.to_string() };
    let proof =
        grant.auth.prove(known.as_ref(), recipient, obtained).map_err(TokenError::credentials)?;
    let request = token_request(endpoint, grant, &proof);
    let answer = core.transport.send(request, core.limits).await;
    let answer = answer.map_err(TokenError::transport)?;
    // Transports undo what they have asked for.
    if Coding::of(answer.headers()) != Coding::Identity {
        let encoded = TransportError::new(TransportErrorKind::ContentEncoding);
        return Err(TokenError::transport(encoded));
    }
    let secrets = secrets(grant, known.as_ref(), &proof, endpoint);
    let granted = response::read(answer, core.clock.now(), &grant.answers, &secrets)?;
    check_scopes(grant, granted.scopes.as_ref())?;
    let lifetime = lifetime(grant, &granted, obtained);
    let expires = asked.checked_add(lifetime.unwrap_or_default()).unwrap_or(asked);
    let token = Token::new(&granted.access_token, granted.scopes, asked, expires);
    let illegal = TokenErrorKind::Answer(AnswerFault::AccessTokenCharacters);
    let token = token.ok_or_else(|| TokenError::new(illegal))?;
    Ok(Fetched { token, lifetime, asked, obtained, known })
}

/// Returns what the server's words must not repeat: the client's secret and assertion, the values of
/// parameters, and what may be a key in the query of the endpoint's address.
fn secrets<'a>(
    grant: &'a Definition,
    known: Option<&'a Known>,
    proof: &'a Proof,
    endpoint: &'a Uri,
) -> Vec<&'a [u8]> {
    let parameters = grant.parameters.iter().map(|(_, value)| value.as_bytes());
    let query = endpoint.query().unwrap_or_default().split('&');
    let query = query.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value).as_bytes());
    // A private key was not sent, and its public half may be spoken of.
    let known = known.filter(|_| grant.auth.shares_secret()).map(Known::expose).into_iter();
    known.chain(proof.secrets()).chain(parameters).chain(query).collect()
}

/// Returns how long the token may be kept; none if it may be used only once.
fn lifetime(grant: &Definition, granted: &Granted, now: UnixTime) -> Option<Duration> {
    let said = match granted.lifetime {
        Lifetime::Known(lifetime) => lifetime,
        Lifetime::Unsaid => grant.default_lifetime,
        Lifetime::None => return None,
    };
    let bound = if grant.bounded_by_jwt { jwt_expiry(&granted.access_token) } else { None };
    let lifetime = bound.map_or(said, |expiry| said.min(expiry.saturating_since(now)));
    Some(lifetime).filter(|lifetime| !lifetime.is_zero())
}

/// Compares what was granted with what was asked for. If the server is silent, it is the same
/// (RFC 6749 §5.1).
fn check_scopes(grant: &Definition, granted: Option<&ScopeSet>) -> Result<(), TokenError> {
    let Some(granted) = granted else { return Ok(()) };
    let missing: ScopeSet =
        grant.scopes.iter().filter(|scope| !granted.contains(scope.as_str())).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let commas = granted.iter().any(|scope| scope.contains(','));
    let hint = "GrantBuilder::comma_separated_scopes reads scopes that commas separate";
    let hint = Some(hint).filter(|_| commas);
    event!(
        WARN,
        client_id = grant.auth.client_id(),
        missing = missing.as_str(),
        hint,
        "client_scope_missing: the server granted less than was asked for"
    );
    if grant.all_scopes_required {
        let kind = TokenErrorKind::MissingScopes(missing);
        return Err(TokenError::with(kind, hint.map(Into::into), None));
    }
    Ok(())
}

impl Fetched {
    /// Returns the secret's fingerprint, for the shared cache.
    pub(crate) fn fingerprint(&self) -> crate::digest::Digest {
        self.known.as_ref().map(|known| *known.fingerprint()).unwrap_or_default()
    }
}
