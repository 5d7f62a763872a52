//! A grant as it was built: the authorization server, the client, what is requested, and its digests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use zeroize::Zeroizing;

use crate::client::dpop::Dpop;
use crate::client::grant::kind::Kind;
use crate::client::grant::party::Party;
use crate::client::grant::response::AnswerRules;
use crate::clock::UnixTime;
use crate::credentials::authentication::ClientAuth;
use crate::digest::{Digest, Parts};
use crate::scope::Scope;
use crate::token::{CallerToken, KeptText};
use crate::transport::printable;

/// A grant: the authorization server, the client, and the token to request. It is a client
/// credentials grant unless it is built as another.
///
/// Two grants with equal settings are the same to a [`TokenClient`](crate::client::TokenClient):
/// they share their token. Two that differ in anything, the secret included, never do; a secret that a
/// provider reads, such as one in a file, equals only its clones. So keep such a grant, or a clone
/// of its secret: if it is built again for each call, each call fetches a token.
///
/// ```
/// # fn example() -> Result<(), tower_bearer::ConfigError> {
/// use tower_bearer::client::{ClientAuth, Grant};
///
/// let grant = Grant::discover("https://issuer.example", ClientAuth::basic("billing", "s3cret"))
///     .scope("orders:read orders:write")
///     .resource("https://orders.example")
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Grant {
    definition: Arc<Definition>,
    caller: Option<Arc<Caller>>,
}

/// The caller on whose behalf a token is requested.
pub(crate) struct Caller {
    pub(crate) text: KeptText,
    pub(crate) expires: Option<UnixTime>,
    /// A hash of the grant and this caller.
    distinction: Digest,
}

impl Caller {
    pub(crate) fn new(grant: &Grant, caller: &CallerToken) -> Self {
        let parts = Parts::new("on behalf").part(grant.distinction()).part(caller.digest());
        Self {
            text: KeptText::clone(caller.text()),
            expires: caller.expires_at(),
            distinction: parts.finish(),
        }
    }
}

pub(crate) struct Definition {
    pub(crate) server: Server,
    pub(crate) auth: ClientAuth,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) resources: Vec<String>,
    pub(crate) audiences: Vec<String>,
    pub(crate) kind: Kind,
    /// Whether a token may have more scopes than were asked for.
    pub(crate) wider_scope: bool,
    pub(crate) parameters: Vec<(String, Zeroizing<String>)>,
    pub(crate) all_scopes_required: bool,
    pub(crate) default_lifetime: Duration,
    pub(crate) bounded_by_jwt: bool,
    /// Whether tokens may be bound to the certificate of the transport (RFC 8705 §3).
    pub(crate) by_certificate: bool,
    /// Whether the alias for clients with a certificate is ignored (RFC 8705 §5).
    pub(crate) root_endpoint: bool,
    pub(crate) answers: AnswerRules,
    /// The key that tokens are bound to.
    pub(crate) dpop: Option<Dpop>,
    pub(crate) party: Arc<Party>,
    /// A hash of everything but the secret.
    pub(crate) distinction: Digest,
    /// A hash of everything.
    pub(crate) key: Digest,
    /// A hash of the tenant whose quota it counts against.
    pub(crate) tenant: Digest,
}

/// Where the token endpoint is.
pub(crate) enum Server {
    Endpoint { uri: Uri, issuer: Option<String> },
    Issuer { uri: Uri, issuer: String },
}

impl Server {
    /// Returns the configured host and port.
    pub(crate) fn authority(&self) -> &str {
        let (Self::Endpoint { uri, .. } | Self::Issuer { uri, .. }) = self;
        uri.authority().map(http::uri::Authority::as_str).unwrap_or_default()
    }
}

impl Definition {
    /// Forces the providers of the secret and of the key to be asked the next time.
    pub(crate) fn reset_sources(&self) {
        if let Some(source) = self.auth.source() {
            source.reset();
        }
        if let Some(dpop) = &self.dpop {
            dpop.reset();
        }
    }
}

impl Grant {
    pub(crate) fn new(definition: Definition) -> Self {
        Self { definition: Arc::new(definition), caller: None }
    }

    /// Returns the same grant for one caller.
    pub(crate) fn for_caller(&self, caller: Caller) -> Self {
        Self { definition: Arc::clone(&self.definition), caller: Some(Arc::new(caller)) }
    }

    /// Returns the client's identifier.
    pub fn client_id(&self) -> &str {
        self.definition.auth.client_id()
    }

    pub(crate) fn definition(&self) -> &Definition {
        &self.definition
    }

    pub(crate) fn caller(&self) -> Option<&Caller> {
        self.caller.as_deref()
    }

    pub(crate) fn party(&self) -> &Arc<Party> {
        &self.definition.party
    }

    /// Returns the host of the authorization server, for the logs.
    #[cfg(feature = "tracing")]
    pub(crate) fn host(&self) -> &str {
        let (Server::Endpoint { uri, .. } | Server::Issuer { uri, .. }) = &self.definition.server;
        uri.host().unwrap_or_default()
    }

    pub(crate) fn key(&self) -> &Digest {
        &self.definition.key
    }

    /// Returns `true` if other processes can use its tokens, which then depend neither on a certificate nor on
    /// a key or a subject of this process.
    pub(crate) fn is_shareable(&self) -> bool {
        let Definition { by_certificate, dpop, kind, .. } = &*self.definition;
        // Other processes may have other certificates.
        let is_own = *by_certificate || kind.is_private();
        !is_own && !dpop.as_ref().is_some_and(Dpop::is_of_this_process)
    }

    pub(crate) fn distinction(&self) -> &Digest {
        self.caller.as_ref().map_or(&self.definition.distinction, |caller| &caller.distinction)
    }

    pub(crate) fn tenant(&self) -> &Digest {
        &self.definition.tenant
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Definition { server, scopes, resources, audiences, .. } = &*self.definition;
        let server = match server {
            Server::Endpoint { uri, .. } => printable(&uri.to_string()),
            Server::Issuer { issuer, .. } => printable(issuer),
        };
        f.debug_struct("Grant")
            .field("server", &server)
            .field("client_id", &self.client_id())
            .field("scopes", scopes)
            .field("resources", resources)
            .field("audiences", audiences)
            .finish_non_exhaustive()
    }
}
