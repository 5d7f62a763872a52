//! The builder of a grant: what is asked for, and its setters.

mod answers;
mod build;
#[cfg(feature = "dpop")]
mod dpop;
mod identity;
mod kinds;
mod parameters;

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

#[cfg(feature = "dpop")]
use crate::client::dpop::key::DpopKey;
use crate::client::grant::definition::Grant;
use crate::client::grant::kind::Kind;
use crate::client::grant::response::AnswerRules;
use crate::credentials::authentication::ClientAuth;
use crate::transport::{PlainHttp, printable};

/// Builds a [`Grant`].
///
/// ```
/// # fn example() -> Result<(), tower_bearer::ConfigError> {
/// use std::time::Duration;
///
/// use tower_bearer::client::{ClientAuth, Grant};
///
/// let auth = ClientAuth::basic("billing", "s3cret");
/// let grant = Grant::endpoint("https://issuer.example/token?tenant=7", auth)
///     .scope("orders:read")
///     .audience("orders") // what some servers take in place of a resource
///     .parameter("organization", "acme")
///     .default_lifetime(Duration::from_secs(60)) // if the server doesn't say
///     .require_all_scopes()
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct GrantBuilder {
    address: String,
    discover: bool,
    issuer: Option<String>,
    auth: ClientAuth,
    scopes: Vec<String>,
    resources: Vec<String>,
    audiences: Vec<String>,
    parameters: Vec<(String, Zeroizing<String>)>,
    tenant: Option<String>,
    plain_http: PlainHttp,
    all_scopes_required: bool,
    default_lifetime: Duration,
    bounded_by_jwt: bool,
    certificate_bound: bool,
    root_endpoint: bool,
    answers: AnswerRules,
    #[cfg(feature = "dpop")]
    dpop: Option<DpopKey>,
    kind: Kind,
    wider_scope: bool,
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
}

impl GrantBuilder {
    fn new(address: &str, discover: bool, auth: ClientAuth) -> Self {
        Self {
            address: address.into(),
            discover,
            issuer: None,
            auth,
            scopes: Vec::new(),
            resources: Vec::new(),
            audiences: Vec::new(),
            parameters: Vec::new(),
            tenant: None,
            plain_http: PlainHttp::Refused,
            all_scopes_required: false,
            default_lifetime: Duration::from_secs(300),
            bounded_by_jwt: false,
            certificate_bound: false,
            root_endpoint: false,
            answers: AnswerRules::default(),
            #[cfg(feature = "dpop")]
            dpop: None,
            kind: Kind::default(),
            wider_scope: false,
        }
    }

    /// Asks for these scopes, separated by spaces, besides those asked for before.
    pub fn scope(mut self, scopes: &str) -> Self {
        for scope in scopes.split(' ').filter(|scope| !scope.is_empty()) {
            if !self.scopes.iter().any(|earlier| earlier == scope) {
                self.scopes.push(scope.into());
            }
        }
        self
    }

    /// Asks for a token for this resource (RFC 8707), an absolute URI; may be called for several.
    pub fn resource(mut self, resource: &str) -> Self {
        self.resources.push(resource.into());
        self
    }

    /// Sends `audience`, which some servers take in place of `resource`. In a token exchange it may be
    /// called for several.
    pub fn audience(mut self, audience: &str) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Sends another parameter. An empty one is left out.
    ///
    /// The value counts as a secret: it is never printed, and wiped when the last clone of the grant is
    /// dropped.
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.into(), Zeroizing::new(value.into())));
        self
    }

    /// Names the issuer of a token endpoint that isn't discovered: the `aud` of assertions.
    pub fn issuer(mut self, issuer: &str) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Names the tenant that this grant belongs to.
    ///
    /// Grants of different tenants never share a token, and each tenant has a quota of its own in
    /// the cache. By default the client and its server are the tenant.
    pub fn tenant(mut self, tenant: &str) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Accepts an `http` address of this machine as token endpoint or issuer: for
    /// development and tests. Any other address must be `https`.
    pub fn allow_loopback_http(mut self) -> Self {
        if self.plain_http == PlainHttp::Refused {
            self.plain_http = PlainHttp::Loopback;
        }
        self
    }

    /// Accepts an `http` address of any host as token endpoint or issuer: for a mesh whose
    /// proxies encrypt what leaves the machine. The metadata of an `http` issuer may then name an
    /// `http` token endpoint; that of an `https` issuer never may.
    ///
    /// Otherwise, anyone on the network path can read the client's secret and its tokens.
    pub fn dangerous_allow_http(mut self) -> Self {
        self.plain_http = PlainHttp::Dangerous;
        self
    }

    /// Refuses a token that has fewer scopes than were asked for. By default the token is used, and
    /// [`Token::granted_scopes`](crate::client::Token::granted_scopes) returns what it has.
    pub fn require_all_scopes(mut self) -> Self {
        self.all_scopes_required = true;
        self
    }

    /// Sets the lifetime of a token whose `expires_in` the server left out: a second to 30 days, 5
    /// minutes by default.
    pub fn default_lifetime(mut self, lifetime: Duration) -> Self {
        self.default_lifetime = lifetime;
        self
    }

    /// Reads the `exp` of a token that is a JWT, and doesn't use the token beyond it, whatever
    /// `expires_in` says.
    ///
    /// Access tokens are opaque to clients (RFC 9068 §6), so this is off by default.
    pub fn bounded_by_jwt_expiry(mut self) -> Self {
        self.bounded_by_jwt = true;
        self
    }

    /// Declares that tokens are bound to the TLS certificate that the transport presents, though the
    /// client authenticates otherwise (RFC 8705 §3), as where the metadata has
    /// `tls_client_certificate_bound_access_tokens`. [`ClientAuth::tls`] implies it.
    ///
    /// A discovered token endpoint is then that of the metadata's `mtls_endpoint_aliases`, if there is
    /// one (RFC 8705 §5), and the tokens are never put into a shared cache: other processes may have
    /// other certificates.
    pub fn certificate_bound(mut self) -> Self {
        self.certificate_bound = true;
        self
    }

    /// Uses the metadata's `token_endpoint` and ignores its `mtls_endpoint_aliases`: for ecosystems in
    /// which every endpoint asks for certificates, as some of FAPI's do.
    pub fn root_endpoint(mut self) -> Self {
        self.root_endpoint = true;
        self
    }
}

impl fmt::Debug for GrantBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values of parameters may be secret.
        let parameters: Vec<&str> = self.parameters.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("GrantBuilder")
            .field("address", &printable(&self.address))
            .field("auth", &self.auth)
            .field("scopes", &self.scopes)
            .field("resources", &self.resources)
            .field("audiences", &self.audiences)
            .field("parameters", &parameters)
            .finish_non_exhaustive()
    }
}
