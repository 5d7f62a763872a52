use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use zeroize::Zeroizing;

use crate::client::grant::builder::GrantBuilder;
use crate::client::grant::party::Party;
use crate::client::grant::response::AnswerRules;
use crate::credentials::authentication::ClientAuth;
use crate::digest::Digest;
use crate::error::ConfigError;
use crate::scope::Scope;
use crate::secret::Secret;
use crate::transport::printable;

/// Which token to ask for, where, and as whom.
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
    /// Asks at this token endpoint. A query in its address is kept.
    pub fn endpoint(token_endpoint: &str, auth: ClientAuth) -> GrantBuilder {
        GrantBuilder::new(token_endpoint, false, auth)
    }

    /// Asks at the token endpoint that the metadata of this issuer names (RFC 8414, or OpenID
    /// Connect Discovery).
    pub fn discover(issuer: &str, auth: ClientAuth) -> GrantBuilder {
        GrantBuilder::new(issuer, true, auth)
    }

    /// Reads a grant from the environment. The client authenticates by HTTP Basic.
    ///
    /// | variable | what |
    /// |---|---|
    /// | `OAUTH_CLIENT_ID`, `OAUTH_CLIENT_SECRET` | required |
    /// | `OAUTH_TOKEN_ENDPOINT`, `OAUTH_ISSUER` | one is required: as in [`endpoint`](Self::endpoint), or in [`discover`](Self::discover). With both, the endpoint isn't discovered, and the issuer is what [`GrantBuilder::issuer`] names |
    /// | `OAUTH_SCOPE` | scopes, separated by spaces |
    /// | `OAUTH_AUDIENCE` | as in [`GrantBuilder::audience`] |
    /// | `OAUTH_RESOURCE` | as in [`GrantBuilder::resource`]; several are separated by spaces |
    ///
    /// An empty variable is as good as none.
    ///
    /// # Errors
    ///
    /// If a required one is missing, empty or not Unicode; the error names all of these.
    pub fn from_env() -> Result<GrantBuilder, ConfigError> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// Reads the same variables from elsewhere: under other names, or from a configuration file.
    ///
    /// ```
    /// # fn example() -> Result<(), tower_bearer::ConfigError> {
    /// use tower_bearer::client::Grant;
    ///
    /// // ORDERS_OAUTH_CLIENT_ID and so on.
    /// let grant = Grant::from_vars(|name| std::env::var(format!("ORDERS_{name}")).ok())?.build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If a required one is missing or empty; the error names all of these.
    pub fn from_vars(lookup: impl Fn(&str) -> Option<String>) -> Result<GrantBuilder, ConfigError> {
        let lookup = |name| lookup(name).filter(|value| !value.is_empty());
        let (id, secret) =
            (lookup("OAUTH_CLIENT_ID"), lookup("OAUTH_CLIENT_SECRET").map(Secret::new));
        let (endpoint, issuer) = (lookup("OAUTH_TOKEN_ENDPOINT"), lookup("OAUTH_ISSUER"));
        let missing = [
            (id.is_none(), "OAUTH_CLIENT_ID"),
            (secret.is_none(), "OAUTH_CLIENT_SECRET"),
            (endpoint.is_none() && issuer.is_none(), "OAUTH_TOKEN_ENDPOINT (or OAUTH_ISSUER)"),
        ];
        let missing = missing.iter().filter(|(is_missing, _)| *is_missing).map(|(_, name)| *name);
        let missing: Vec<&str> = missing.collect();
        if let ([], Some(id), Some(secret)) = (&*missing, id, secret) {
            let auth = ClientAuth::basic(&id, secret);
            let builder = match (endpoint, issuer) {
                (Some(endpoint), Some(issuer)) => Self::endpoint(&endpoint, auth).issuer(&issuer),
                (Some(endpoint), None) => Self::endpoint(&endpoint, auth),
                (None, issuer) => Self::discover(&issuer.unwrap_or_default(), auth),
            };
            let builder = builder
                .scope(&lookup("OAUTH_SCOPE").unwrap_or_default())
                .audience(&lookup("OAUTH_AUDIENCE").unwrap_or_default());
            let resources = lookup("OAUTH_RESOURCE").unwrap_or_default();
            return Ok(resources.split_whitespace().fold(builder, GrantBuilder::resource));
        }
        let (last, others) = missing.split_last().unwrap_or((&"", &[]));
        Err(ConfigError::new(match others {
            [] => format!("{last} is missing or empty: set it in the environment"),
            others => format!(
                "{} and {last} are missing or empty: set them in the environment",
                others.join(", ")
            ),
        }))
    }

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
