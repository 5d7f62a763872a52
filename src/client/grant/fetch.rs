//! Fetches a token: sends requests until one is answered with a token, or a further one can't help.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Uri};
use tokio::time::{Instant, sleep};

use crate::client::dpop::{Dpop, Key, Side, Target};
use crate::client::grant::definition::{Definition, Grant, Server};
use crate::client::grant::error::{AnswerFault, ErrorCode, TokenError, TokenErrorKind};
use crate::client::grant::on_behalf_error::is_about_client;
use crate::client::grant::request::token_request;
use crate::client::grant::response::{self, Granted, Lifetime};
use crate::client::grant::subject;
use crate::client::tokens::backoff;
use crate::client::tokens::callers::Callers;
use crate::client::tokens::core::Core;
use crate::client::tokens::failed::RefusedFetch;
use crate::client::tokens::slots::Urgency;
use crate::client::tokens::token::Token;
use crate::clock::{UnixTime, jitter, monotonic};
use crate::credentials::audience::Recipient;
use crate::credentials::authentication::ClientProof;
use crate::credentials::fingerprinted::FingerprintedSecret;
use crate::credentials::jwt;
use crate::scope::ScopeSet;
use crate::telemetry::event;
use crate::transport::{Coding, Origin, TransportError, TransportErrorKind};

/// A token that was fetched, and what is known about it.
pub(crate) struct Fetched {
    pub(crate) token: Token,
    /// `None` if it must not be kept.
    pub(crate) lifetime: Option<Duration>,
    /// Whether no other token could be valid for longer.
    pub(crate) is_last: bool,
    /// When it was requested: its lifetime begins here.
    pub(crate) asked: Instant,
    pub(crate) obtained: UnixTime,
    /// The secret that it was requested with.
    pub(crate) known: Option<FingerprintedSecret>,
}

/// How many different secrets a fetch tries: the one that is known, a newer one, and the last accepted one.
const MOST_SECRETS: usize = 3;

/// How urgently a fetch wants to use the network, and until when it may.
#[derive(Clone, Copy)]
pub(crate) struct Gate<'a> {
    pub(crate) urgency: &'a Urgency,
    /// When the fetch ends.
    pub(crate) deadline: Instant,
    /// What concerns all callers, if it is on behalf of one.
    pub(crate) callers: Option<&'a Callers>,
}

/// Fetches a token, with pauses between attempts that may help, and with another secret if this one
/// is refused. `secrets` are those that were refused before.
pub(crate) async fn fetch(
    core: &Core,
    grant: &Grant,
    known: Option<FingerprintedSecret>,
    key: Option<&Arc<Key>>,
    mut secrets: Vec<FingerprintedSecret>,
    gate: Gate<'_>,
) -> Result<Fetched, RefusedFetch> {
    let definition = grant.definition();
    let source = definition.auth.source();
    let mut known = known;
    let mut left = MOST_SECRETS;
    let mut attempt = 0_u32;
    loop {
        attempt = attempt.saturating_add(1);
        let allowed = gate.callers.map_or(Ok(()), |callers| callers.look(monotonic()));
        if let Err(error) = allowed {
            return Err(RefusedFetch { error, secrets, is_unsent: attempt == 1 });
        }
        let slot =
            core.slots.enter(definition.server.authority(), gate.urgency, gate.deadline).await;
        // The server may have fallen silent while this fetch waited.
        let sent = monotonic();
        if let Err(error) = gate.callers.map_or(Ok(()), |callers| callers.enter(sent)) {
            return Err(RefusedFetch { error, secrets, is_unsent: attempt == 1 });
        }
        let fetched = attempt_once(core, grant, known.clone(), key).await;
        drop(slot);
        if let Some(callers) = gate.callers {
            callers.asked(&fetched, sent, monotonic());
        }
        let error = match fetched {
            Ok(fetched) => {
                if let (Some(source), Some(known)) = (source, &known) {
                    source.accepted(known);
                }
                return Ok(fetched);
            }
            Err(error) => error,
        };
        // Where there is a subject, only some codes blame the client.
        let has_subject = definition.kind.subject().is_some();
        let is_coded = matches!(error.kind(), TokenErrorKind::Refused(_));
        let blames =
            error.blames_credentials() && (!has_subject || !is_coded || is_about_client(&error));
        if let Some(source) = source.filter(|_| blames) {
            secrets.extend(known.take());
            let older = secrets.len().saturating_sub(MOST_SECRETS);
            secrets.drain(..older);
            left = left.saturating_sub(1);
            known = match left {
                0 => None,
                _ => source.other_than(&secrets, core.limits.timeout).await,
            };
            if known.is_none() {
                return Err(RefusedFetch::new(error, secrets));
            }
            event!(
                INFO,
                client_id = grant.client_id(),
                tenant = grant.party().tenant.as_deref(),
                issuer = grant.party().issuer.as_deref(),
                error = %crate::cause::Report(&error),
                "client_secret_replaced: trying another secret"
            );
            continue;
        }
        match backoff::pause(error.cause(), attempt, jitter()) {
            Some(pause) => sleep(pause).await,
            None => return Err(RefusedFetch::new(error, secrets)),
        }
    }
}

async fn attempt_once(
    core: &Core,
    grant: &Grant,
    known: Option<FingerprintedSecret>,
    key: Option<&Arc<Key>>,
) -> Result<Fetched, TokenError> {
    let Definition { server, auth, by_certificate, root_endpoint, dpop, .. } = grant.definition();
    let metadata;
    let (endpoint, issuer): (&Uri, Option<&str>) = match server {
        Server::Endpoint { uri, issuer } => (uri, issuer.as_deref()),
        Server::Issuer { uri, issuer } => {
            let (limits, now) = (core.limits, core.clock.now());
            metadata = core.discoveries.find(&core.transport, limits, (issuer, uri), now).await?;
            metadata.check(auth)?;
            if let Some(dpop) = dpop {
                metadata.check_proofs(dpop.algorithm())?;
            }
            (metadata.endpoint(*by_certificate && !root_endpoint)?, Some(issuer))
        }
    };
    let result = ask(core, grant, known, key, (endpoint, issuer)).await;
    let result = result.map_err(|error| error.at(endpoint));
    let may_have_moved = result.as_ref().is_err_and(TokenError::blames_address);
    if let (Server::Issuer { issuer, .. }, true) = (server, may_have_moved) {
        core.discoveries.invalidate(issuer);
    }
    result
}

async fn ask(
    core: &Core,
    grant: &Grant,
    known: Option<FingerprintedSecret>,
    key: Option<&Arc<Key>>,
    (endpoint, issuer): (&Uri, Option<&str>),
) -> Result<Fetched, TokenError> {
    let recipient = Recipient { issuer, token_endpoint: &endpoint.to_string() };
    let (definition, patience) = (grant.definition(), core.limits.timeout);
    // The key that the token is bound to, and the origin that its nonces are for.
    let dpop = definition.dpop.as_ref().zip(key).zip(Origin::of(endpoint));
    let mut asked_again = false;
    let (asked, obtained, granted) = loop {
        let (asked, obtained) = (monotonic(), core.clock.now());
        // All are new each time: a server may refuse an assertion that it has seen (RFC 7523 §3).
        let asked_for = subject::grant_parameters(grant, recipient, obtained, patience).await;
        let asked_for = asked_for.map_err(TokenError::credentials)?;
        let proof = definition.auth.prove(known.as_ref(), recipient, obtained, patience).await;
        let proof = proof.map_err(TokenError::credentials)?;
        let mut request = token_request(endpoint, definition, &asked_for, &proof);
        if let Some(((dpop, key), origin)) = &dpop {
            let target = Target { method: &Method::POST, origin, path: endpoint.path() };
            let proof = dpop.prove(key, Side::Authorization, target, None, obtained);
            request.headers_mut().insert("dpop", proof.map_err(TokenError::credentials)?);
        }
        let answer = core.transport.send(request, core.limits).await;
        let answer = answer.map_err(TokenError::transport)?;
        let noted = |((dpop, _), origin): &((&Dpop, _), _)| {
            dpop.note(Side::Authorization, origin, answer.headers())
        };
        let has_nonce = dpop.as_ref().is_some_and(noted);
        // A transport has decoded the codings that it asked for itself.
        if Coding::of(answer.headers()) != Coding::Identity {
            let encoded = TransportError::new(TransportErrorKind::ContentEncoding);
            return Err(TokenError::transport(encoded));
        }
        let secrets: Vec<&[u8]> = secrets(definition, known.as_ref(), &proof, endpoint)
            .into_iter()
            .chain(subject::secrets(&asked_for))
            .collect();
        let headers = answer.headers().clone();
        let now = core.clock.now();
        match response::read(answer, now, &definition.answers, &secrets) {
            Ok(granted) => break (asked, obtained, granted),
            Err(error) => match error.kind() {
                TokenErrorKind::Refused(ErrorCode::UseDpopNonce) if has_nonce && !asked_again => {
                    asked_again = true;
                }
                TokenErrorKind::Refused(ErrorCode::InvalidDpopProof) => {
                    return Err(proof_refused(definition, error, &headers, now));
                }
                _ => return Err(error),
            },
        }
    };
    check_issued(definition, granted.issued.as_deref())?;
    check_scopes(definition, granted.scopes.as_ref())?;
    let lifetime = lifetime(definition, &granted, obtained);
    // It is used no longer than the token that it was exchanged for.
    let caller = grant.caller().and_then(|caller| caller.expires);
    let left = caller.map(|expires| expires.saturating_since(obtained));
    let is_last = left.zip(lifetime).is_some_and(|(left, lifetime)| left <= lifetime);
    let lifetime = left.into_iter().chain(lifetime).min().filter(|_| lifetime.is_some());
    let expires = asked.checked_add(lifetime.unwrap_or_default()).unwrap_or(asked);
    let key = key.filter(|_| granted.is_bound).cloned();
    let token = Token::new(&granted.access_token, granted.scopes, asked, expires, key);
    let illegal = TokenErrorKind::Answer(AnswerFault::AccessTokenCharacters);
    let token = token.ok_or_else(|| TokenError::new(illegal))?;
    Ok(Fetched { token, lifetime, is_last, asked, obtained, known })
}

/// Adds a hint where the server wants a proof, or another one.
fn proof_refused(
    grant: &Definition,
    error: TokenError,
    headers: &HeaderMap,
    now: UnixTime,
) -> TokenError {
    match &grant.dpop {
        Some(dpop) => {
            dpop.suspect_clock(headers, now);
            error
        }
        None => error.hinting(
            "the server binds this client's tokens to a key: GrantBuilder::dpop sends proofs",
        ),
    }
}

/// Returns what must not be shown of the server's answer: the client's secret and assertion, the values of
/// parameters, and the query of the endpoint's URL, which may be a key.
fn secrets<'a>(
    grant: &'a Definition,
    known: Option<&'a FingerprintedSecret>,
    proof: &'a ClientProof,
    endpoint: &'a Uri,
) -> Vec<&'a [u8]> {
    let parameters = grant.parameters.iter().map(|(_, value)| value.as_bytes());
    let query = endpoint.query().unwrap_or_default().split('&');
    let query = query.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value).as_bytes());
    // A private key isn't sent, and its public half is no secret.
    let known =
        known.filter(|_| grant.auth.shares_secret()).map(FingerprintedSecret::expose).into_iter();
    known.chain(proof.secrets()).chain(parameters).chain(query).collect()
}

/// Returns how long the token may be kept; `None` if it may be used only once.
fn lifetime(grant: &Definition, granted: &Granted, now: UnixTime) -> Option<Duration> {
    let said = match granted.lifetime {
        Lifetime::Known(lifetime) => lifetime,
        Lifetime::Unsaid => grant.default_lifetime,
        Lifetime::None => return None,
    };
    let bound = if grant.bounded_by_jwt { jwt::expiry(&granted.access_token) } else { None };
    let lifetime = bound.map_or(said, |expiry| said.min(expiry.saturating_since(now)));
    Some(lifetime).filter(|lifetime| !lifetime.is_zero())
}

/// Refuses a token of another type than was asked for in an exchange.
fn check_issued(grant: &Definition, issued: Option<&str>) -> Result<(), TokenError> {
    let fault = |fault| Err(TokenError::new(TokenErrorKind::Answer(fault)));
    match (grant.kind.exchange(), issued) {
        (None, _) => Ok(()),
        (Some(_), None) => fault(AnswerFault::NoIssuedTokenType),
        (Some(exchange), Some(issued)) if exchange.accepts(issued) => Ok(()),
        (Some(_), Some(_)) => fault(AnswerFault::IssuedTokenType),
    }
}

/// Compares the granted scopes with those asked for. If the answer has none, they are the same
/// (RFC 6749 §5.1).
fn check_scopes(grant: &Definition, granted: Option<&ScopeSet>) -> Result<(), TokenError> {
    let Some(granted) = granted else { return Ok(()) };
    let was_asked = |scope: &str| grant.scopes.iter().any(|asked| asked.as_str() == scope);
    let may_be_wider = grant.wider_scope || grant.scopes.is_empty();
    if grant.kind.subject().is_some() && !may_be_wider && !granted.iter().all(was_asked) {
        return Err(TokenError::new(TokenErrorKind::Answer(AnswerFault::WiderScope)));
    }
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
        tenant = grant.party.tenant.as_deref(),
        issuer = grant.party.issuer.as_deref(),
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
