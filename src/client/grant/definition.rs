use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use zeroize::Zeroizing;

use crate::client::grant::party::Party;
use crate::client::grant::response::AnswerRules;
use crate::credentials::authentication::ClientAuth;
use crate::digest::Digest;
use crate::scope::Scope;
use crate::transport::printable;

/// A client-credentials grant: the authorization server, the client, and the token to request.
///
/// Two grants that say the same are the same to a [`TokenClient`](crate::client::TokenClient):
/// they share their token. Two that differ in anything, the secret included, never do; of a secret
/// that a provider reads, such as a file's, only clones are the same. So keep such a grant, or a clone
/// of its secret: one that is built anew for each call costs a token each.
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
pub struct Grant(pub(crate) Arc<Definition>);

pub(crate) struct Definition {
    pub(crate) server: Server,
    pub(crate) auth: ClientAuth,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) resources: Vec<String>,
    pub(crate) audience: Option<String>,
    pub(crate) parameters: Vec<(String, Zeroizing<String>)>,
    pub(crate) all_scopes_required: bool,
    pub(crate) default_lifetime: Duration,
    pub(crate) bounded_by_jwt: bool,
    /// Tokens may be bound to the certificate of the transport (RFC 8705 §3).
    pub(crate) by_certificate: bool,
    pub(crate) answers: AnswerRules,
    pub(crate) party: Arc<Party>,
    /// Everything but the secret, hashed.
    pub(crate) distinction: Digest,
    /// Everything, hashed.
    pub(crate) key: Digest,
    /// Whose quota it counts against.
    pub(crate) tenant: Digest,
}

/// Where the token endpoint is.
pub(crate) enum Server {
    Endpoint { uri: Uri, issuer: Option<String> },
    Issuer { uri: Uri, issuer: String },
}

impl Server {
    /// Returns the host and the port that the operator has named.
    pub(crate) fn authority(&self) -> &str {
        let (Self::Endpoint { uri, .. } | Self::Issuer { uri, .. }) = self;
        uri.authority().map(http::uri::Authority::as_str).unwrap_or_default()
    }
}

impl Grant {
    /// Returns the client's identifier.
    pub fn client_id(&self) -> &str {
        self.0.auth.client_id()
    }

    pub(crate) fn definition(&self) -> &Definition {
        &self.0
    }

    pub(crate) fn party(&self) -> &Arc<Party> {
        &self.0.party
    }

    /// Returns the host of the authorization server, for the logs.
    #[cfg(feature = "tracing")]
    pub(crate) fn host(&self) -> &str {
        let (Server::Endpoint { uri, .. } | Server::Issuer { uri, .. }) = &self.0.server;
        uri.host().unwrap_or_default()
    }

    pub(crate) fn key(&self) -> &Digest {
        &self.0.key
    }

    pub(crate) fn distinction(&self) -> &Digest {
        &self.0.distinction
    }

    pub(crate) fn tenant(&self) -> &Digest {
        &self.0.tenant
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Definition { server, scopes, resources, audience, .. } = &*self.0;
        let server = match server {
            Server::Endpoint { uri, .. } => printable(&uri.to_string()),
            Server::Issuer { issuer, .. } => printable(issuer),
        };
        f.debug_struct("Grant")
            .field("server", &server)
            .field("client_id", &self.client_id())
            .field("scopes", scopes)
            .field("resources", resources)
            .field("audience", audience)
            .finish_non_exhaustive()
    }
}
