//! The kinds of grants: client credentials, token exchange and JWT bearer.

use std::fmt;

use crate::credentials::assertion::Assertion;
use crate::credentials::workload::WorkloadToken;
use crate::digest::{Digest, Parts};

pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
pub(crate) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The grant.
#[derive(Clone, Default)]
pub(crate) enum Kind {
    /// RFC 6749 §4.4.
    #[default]
    ClientCredentials,
    /// RFC 8693.
    Exchange(Subject, Box<TokenExchange>),
    /// RFC 7523 §2.1.
    JwtBearer(Subject),
}

/// The token that is exchanged, or sent as assertion.
#[derive(Clone)]
pub(crate) enum Subject {
    /// The token of a caller, which comes with each call.
    Caller,
    Workload(WorkloadToken),
    Signed(Box<Assertion>),
}

/// The type of a token in an exchange (RFC 8693 §3).
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TokenType {
    /// `urn:ietf:params:oauth:token-type:access_token`
    #[default]
    AccessToken,
    /// `urn:ietf:params:oauth:token-type:id_token`
    IdToken,
    /// `urn:ietf:params:oauth:token-type:jwt`
    Jwt,
    /// Another URI.
    Other(String),
}

impl TokenType {
    /// Returns the URI.
    pub fn as_str(&self) -> &str {
        match self {
            Self::AccessToken => ACCESS_TOKEN,
            Self::IdToken => ID_TOKEN,
            Self::Jwt => JWT,
            Self::Other(uri) => uri,
        }
    }
}

/// How a token is exchanged for another (RFC 8693).
///
/// The target of the new token is set by the grant: [`resource`](crate::client::GrantBuilder::resource),
/// [`audience`](crate::client::GrantBuilder::audience) and [`scope`](crate::client::GrantBuilder::scope).
/// The answer must have an `issued_token_type`: the one that was asked for or, if none was, that of an
/// access token or JWT; a token that isn't sent as a bearer token (`token_type` of `N_A`) is refused.
///
/// ```
/// use tower_bearer::client::{TokenExchange, TokenType, WorkloadToken};
///
/// let usual = TokenExchange::new();
/// // The new token says who acts for the caller.
/// let delegation = TokenExchange::new()
///     .requested_token_type(TokenType::Jwt)
///     .actor(WorkloadToken::file("/var/run/secrets/tokens/orders"), TokenType::Jwt);
/// ```
#[derive(Clone, Debug, Default)]
pub struct TokenExchange {
    pub(crate) subject_type: TokenType,
    pub(crate) requested: Option<TokenType>,
    pub(crate) actor: Option<(WorkloadToken, TokenType)>,
}

impl TokenExchange {
    /// Creates an exchange of an access token for whatever the server issues.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what type the exchanged token is of (`subject_token_type`); an access token by default.
    #[must_use]
    pub fn subject_token_type(mut self, token_type: TokenType) -> Self {
        self.subject_type = token_type;
        self
    }

    /// Asks for a token of this type (`requested_token_type`).
    #[must_use]
    pub fn requested_token_type(mut self, token_type: TokenType) -> Self {
        self.requested = Some(token_type);
        self
    }

    /// Sends the token of the party that acts (`actor_token`), with its type.
    #[must_use]
    pub fn actor(mut self, token: WorkloadToken, token_type: TokenType) -> Self {
        self.actor = Some((token, token_type));
        self
    }

    /// Returns `true` if a token of this type may be the answer.
    pub(crate) fn accepts(&self, issued: &str) -> bool {
        match &self.requested {
            Some(requested) => requested.as_str() == issued,
            None => [ACCESS_TOKEN, JWT].contains(&issued),
        }
    }

    fn types(&self) -> [&str; 3] {
        let requested = self.requested.as_ref().map(TokenType::as_str).unwrap_or_default();
        let actor = self.actor.as_ref().map(|(_, it)| it.as_str()).unwrap_or_default();
        [self.subject_type.as_str(), requested, actor]
    }
}

/// How a token is obtained on a caller's behalf.
///
/// ```
/// use tower_bearer::client::{OnBehalfOf, TokenExchange};
///
/// let by_exchange = OnBehalfOf::token_exchange(TokenExchange::new());
/// // Microsoft Entra ID has a grant of its own.
/// let at_entra = OnBehalfOf::entra();
/// ```
#[derive(Clone)]
pub struct OnBehalfOf {
    pub(crate) kind: Kind,
    pub(crate) parameter: Option<(&'static str, &'static str)>,
}

impl OnBehalfOf {
    /// Exchanges the caller's token (RFC 8693).
    pub fn token_exchange(exchange: TokenExchange) -> Self {
        Self { kind: Kind::Exchange(Subject::Caller, Box::new(exchange)), parameter: None }
    }

    /// Sends the caller's token as the assertion of a JWT bearer grant (RFC 7523 §2.1).
    pub fn jwt_bearer() -> Self {
        Self { kind: Kind::JwtBearer(Subject::Caller), parameter: None }
    }

    /// Uses the on-behalf-of flow of Microsoft Entra ID: a JWT bearer grant with
    /// `requested_token_use=on_behalf_of`.
    pub fn entra() -> Self {
        Self { parameter: Some(("requested_token_use", "on_behalf_of")), ..Self::jwt_bearer() }
    }
}

impl fmt::Debug for OnBehalfOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnBehalfOf").field(&self.kind.grant_type()).finish()
    }
}

/// The assertion of a JWT bearer grant (RFC 7523 §2.1): a [`WorkloadToken`], or an [`Assertion`] that this
/// client signs.
#[derive(Clone)]
pub struct BearerAssertion(pub(crate) Subject);

impl From<WorkloadToken> for BearerAssertion {
    fn from(token: WorkloadToken) -> Self {
        Self(Subject::Workload(token))
    }
}

impl From<Assertion> for BearerAssertion {
    fn from(assertion: Assertion) -> Self {
        Self(Subject::Signed(Box::new(assertion.for_grant())))
    }
}

impl fmt::Debug for BearerAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerAssertion").finish_non_exhaustive()
    }
}

impl Kind {
    pub(crate) const fn grant_type(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Exchange(..) => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::JwtBearer(_) => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }

    pub(crate) const fn exchange(&self) -> Option<&TokenExchange> {
        match self {
            Self::Exchange(_, exchange) => Some(exchange),
            Self::ClientCredentials | Self::JwtBearer(_) => None,
        }
    }

    pub(crate) const fn subject(&self) -> Option<&Subject> {
        match self {
            Self::ClientCredentials => None,
            Self::Exchange(subject, _) | Self::JwtBearer(subject) => Some(subject),
        }
    }

    /// Returns the assertion that the client signs, if that is what the token is granted for.
    pub(crate) fn signed(&self) -> Option<&Assertion> {
        match self.subject() {
            Some(Subject::Signed(assertion)) => Some(assertion),
            _ => None,
        }
    }

    /// Returns `true` if what it is granted for belongs to this process: other processes may have another.
    pub(crate) fn is_private(&self) -> bool {
        let acts = self.exchange().is_some_and(|exchange| exchange.actor.is_some());
        acts || matches!(self.subject(), Some(Subject::Workload(_) | Subject::Signed(_)))
    }

    /// Adds everything that distinguishes it from other grants, except secrets.
    pub(crate) fn distinguish(&self, parts: Parts) -> Parts {
        let types = self.exchange().map(TokenExchange::types).unwrap_or_default();
        let signed = self.signed().map(Assertion::distinction).unwrap_or_default();
        parts.part(self.grant_type()).list(types.into_iter()).list(signed.into_iter())
    }

    /// Returns what distinguishes its tokens and keys from others within the process.
    pub(crate) fn identity(&self) -> Digest {
        let subject = match self.subject() {
            None | Some(Subject::Caller) => Digest::default(),
            Some(Subject::Workload(token)) => token.source().identity(),
            Some(Subject::Signed(assertion)) => assertion.key_identity(),
        };
        let actor = self.exchange().and_then(|exchange| exchange.actor.as_ref());
        let actor = actor.map(|(token, _)| token.source().identity()).unwrap_or_default();
        Parts::new("kind").part(subject).part(actor).finish()
    }
}
