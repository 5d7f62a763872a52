//! The settings of tenants that are resolved when their first token arrives, and the resolver's trait.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::cause::Report;
use crate::transport::Transport;
use crate::validator::issuers::issuer::Issuer;

/// Issuers that aren't known when the service starts: each tenant has one.
///
/// An `iss` that isn't in the list of issuers, but matches the pattern, is passed to a [`Resolver`],
/// which returns how its tokens are verified, or that there is no such tenant.
///
/// ```
/// use tower_bearer::issuers::{Issuer, Tenant, Tenants};
/// use tower_bearer::{ConfigError, Validator};
///
/// # fn validator() -> Result<Validator, ConfigError> {
/// let realms = Tenants::new("https://login.example/realms/{realm}", async |realm: Tenant| {
///     let known = ["shop", "bank"].contains(&realm.name()); // or a look into a database
///     Ok(known.then(|| Issuer::keycloak("https://login.example", realm.name(), "orders")))
/// });
/// Validator::issuers([]).tenants(realms).build()
/// # }
/// ```
///
/// | setting | default | range |
/// |---|---|---|
/// | [`max_live`](Self::max_live) | 256 tenants | 1 to 10 000 |
/// | [`idle`](Self::idle) | 1 hour | 1 minute to 7 days |
/// | [`remember_unknown`](Self::remember_unknown) | 60 s | 1 s to 1 hour |
/// | [`wait`](Self::wait) | 2 s | 100 ms to 30 s |
/// | [`first_fetches`](Self::first_fetches) | 8 | 1 to 64 |
///
/// # What is bounded
///
/// Only a text that matches the pattern reaches the resolver, once for all requests that wait for it.
/// The first request of a tenant waits until its keys are loaded, for [`wait`](Self::wait) at most;
/// then it is answered 503. Unknown tenants are remembered for a while, in a list of 1 024;
/// a resolver that failed, hung or panicked is answered 503, and isn't remembered. Requests of
/// live tenants never wait for any of this.
///
/// The least recently used tenant is evicted when there are too many, and idle ones with the
/// next token that isn't remembered. The task that keeps a tenant's keys fresh ends with that.
///
/// An issuer that is asked about its tokens, by introspection, can't be a tenant: they are answered 503.
///
/// Protected-resource metadata can't list tenants: name the authorization servers that clients may use with
/// [`authorization_servers`](crate::metadata::ResourceMetadataBuilder::authorization_servers).
///
/// Keys are fetched from public addresses only, and with https, unless
/// [`dangerous_private_addresses`](Self::dangerous_private_addresses) is set. A resolver that returns a
/// [`Jwks`](crate::jwks::Jwks) which is already built must have called
/// [`public_addresses_only`](crate::jwks::JwksBuilder::public_addresses_only) on its builder, or the tenant's
/// tokens are answered 503; better return the builder. Static key sets are unaffected.
pub struct Tenants {
    pub(crate) pattern: String,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) transport: Option<Arc<dyn Transport>>,
    pub(crate) max_live: usize,
    pub(crate) idle: Duration,
    pub(crate) remember_unknown: Duration,
    pub(crate) wait: Duration,
    pub(crate) first_fetches: usize,
    pub(crate) private_addresses: bool,
}

impl Tenants {
    /// Starts the settings of tenants whose issuers match a pattern.
    ///
    /// The pattern is an `https` URL with one to four placeholders, such as
    /// `https://{tenant}.login.example/` or `https://login.example/realms/{realm}`. In a host, a
    /// placeholder matches letters, digits and `-`, and also `.` if it is the whole host; in a
    /// path, letters, digits, `-`, `.`, `_` and `~`, at most 128 of them.
    pub fn new(pattern: impl Into<String>, resolver: impl Resolver) -> Self {
        Self {
            pattern: pattern.into(),
            resolver: Arc::new(resolver),
            transport: None,
            max_live: 256,
            idle: Duration::from_secs(60 * 60),
            remember_unknown: Duration::from_secs(60),
            wait: Duration::from_secs(2),
            first_fetches: 8,
            private_addresses: false,
        }
    }

    /// Sets how many tenants have their keys kept fresh at a time.
    #[must_use]
    pub fn max_live(mut self, tenants: usize) -> Self {
        self.max_live = tenants;
        self
    }

    /// Sets how long a tenant without tokens is kept.
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Sets how long it is remembered that there is no such tenant.
    #[must_use]
    pub fn remember_unknown(mut self, time: Duration) -> Self {
        self.remember_unknown = time;
        self
    }

    /// Sets how long the resolver may take, and how long a request waits for a tenant that isn't live.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sets how many tenants are resolved, and their keys fetched for the first time, in parallel.
    #[must_use]
    pub fn first_fetches(mut self, number: usize) -> Self {
        self.first_fetches = number;
        self
    }

    /// Fetches the tenants' keys through this transport, unless a tenant's key source has its own.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Fetches keys from private, link-local and loopback addresses as well. Anyone who can add a tenant
    /// can then make this service send requests into its own network.
    #[must_use]
    pub fn dangerous_private_addresses(mut self) -> Self {
        self.private_addresses = true;
        self
    }
}

/// The issuer of a token that isn't known yet.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Tenant {
    issuer: Arc<str>,
    names: Vec<String>,
}

impl Tenant {
    pub(crate) const fn new(issuer: Arc<str>, names: Vec<String>) -> Self {
        Self { issuer, names }
    }

    /// Returns the `iss` of the token, which matches the pattern. The token isn't verified
    /// yet.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the text that matches the first placeholder.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Returns the text that matches each placeholder.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

/// Decides how the tokens of a tenant are verified: an async closure, or a type that implements this.
///
/// It returns an [`Issuer`] of exactly that `iss`, with or without a key source; `None` if there is no
/// such tenant; an error if that is unknown at the moment. An issuer that is asked about tokens, by
/// introspection, can't be a tenant, since an opaque token doesn't name its issuer: its requests are answered
/// 503, and the log says why.
pub trait Resolver: Send + Sync + 'static {
    /// Returns the tenant's issuer.
    fn resolve(&self, tenant: Tenant) -> ResolveFuture;
}

/// What a [`Resolver`] returns.
pub type ResolveFuture = Pin<Box<dyn Future<Output = Result<Option<Issuer>, ResolveError>> + Send>>;

impl<F, R> Resolver for F
where
    F: Fn(Tenant) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Option<Issuer>, ResolveError>> + Send + 'static,
{
    fn resolve(&self, tenant: Tenant) -> ResolveFuture {
        Box::pin(self(tenant))
    }
}

/// A [`Resolver`] couldn't determine whether there is such a tenant.
pub struct ResolveError {
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl ResolveError {
    /// Creates an error with its cause, which is logged and never shown to callers.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: source.into() }
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is unknown whether there is such a tenant")
    }
}

/// `main` prints the `Debug` of the error that it returns.
impl fmt::Debug for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Report(self))
    }
}

impl std::error::Error for ResolveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenants").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}
