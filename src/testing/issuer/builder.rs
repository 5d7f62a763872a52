//! The builder of the embedded issuer: address, keys, clients, shapes of what it serves.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde_json::{Map, Value};

#[cfg(feature = "dpop")]
use crate::binding::dpop::NonceKeys;
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::jose::Algorithm;
use crate::testing::issuer::client::TestClient;
use crate::testing::issuer::handle::TestIssuer;
use crate::testing::issuer::ring::KeyRing;
use crate::testing::issuer::server::Server;
use crate::testing::issuer::state::{Config, Discovery, State};
#[cfg(feature = "dpop")]
use crate::testing::misuse::misuse;

/// Builds a [`TestIssuer`] with other settings than the default ones.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_bearer::ConfigError> {
/// use std::time::Duration;
///
/// use tower_bearer::jose::Algorithm;
/// use tower_bearer::testing::{Discovery, TestClient, TestIssuer};
///
/// // A realm such as Keycloak's: a path, no `at+jwt`, key sets that may be cached.
/// let issuer = TestIssuer::builder()
///     .issuer_path("/realms/shop")
///     .algorithms([Algorithm::RS256])
///     .typ("JWT")
///     .discovery(Discovery::OpenId)
///     .jwks_header("cache-control", "max-age=600")
///     .token_lifetime(Duration::from_secs(60))
///     .client(TestClient::secret("billing", "s3cret").scopes(["orders:read"]))
///     .start()
///     .await?;
/// assert!(issuer.issuer().ends_with("/realms/shop"));
/// # Ok(())
/// # }
/// ```
#[must_use = "an issuer does nothing until it is started"]
pub struct TestIssuerBuilder {
    pub(crate) listen: SocketAddr,
    pub(crate) public_url: Option<String>,
    issuer_path: String,
    algorithms: Vec<Algorithm>,
    jwks_headers: Vec<(String, String)>,
    metadata: Map<String, Value>,
    foreign_keys: Vec<Value>,
    pub(crate) config: Config,
}

impl TestIssuer {
    /// Starts an issuer with one ES256 key and one client, on a port that the system chooses.
    ///
    /// # Errors
    ///
    /// If no port of the loopback address can be bound.
    pub async fn start() -> Result<Self, ConfigError> {
        Self::builder().start().await
    }

    /// Starts building an issuer.
    pub fn builder() -> TestIssuerBuilder {
        TestIssuerBuilder::new()
    }
}

impl TestIssuerBuilder {
    fn new() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            public_url: None,
            issuer_path: String::new(),
            algorithms: vec![Algorithm::ES256],
            jwks_headers: Vec::new(),
            metadata: Map::new(),
            foreign_keys: Vec::new(),
            config: Config::default(),
        }
    }

    /// Sets the address to listen on. Port 0, the default, lets the system choose one.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Sets the scheme, host and port that clients use, if these differ from the address that is listened on:
    /// `http://localhost:8080`, `http://issuer` in a network of containers.
    pub fn public_url(mut self, url: &str) -> Self {
        self.public_url = Some(url.trim_end_matches('/').into());
        self
    }

    /// Sets the issuer's path, such as `/realms/shop`, or `/` for a slash at the end.
    ///
    /// There is none by default. A slash at its end is part of the issuer identifier, and is left out of
    /// all other URLs, as RFC 8414 §3.1 and OpenID Connect Discovery §4.1 require.
    pub fn issuer_path(mut self, path: &str) -> Self {
        self.issuer_path = path.into();
        self
    }

    /// Sets which metadata documents are served; both by default.
    pub fn discovery(mut self, discovery: Discovery) -> Self {
        self.config.discovery = discovery;
        self
    }

    /// Sets the algorithms, each of which gets a key; ES256 by default.
    ///
    /// The issuer signs with the first, unless a token is built with another. Generating an RSA key
    /// (RS256 to PS512) takes a tenth of a second.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = Vec::new();
        for algorithm in algorithms {
            if !self.algorithms.contains(&algorithm) {
                self.algorithms.push(algorithm);
            }
        }
        self
    }

    /// Accepts DPoP proofs at the token endpoint only with a nonce, which the issuer hands out with its
    /// error `use_dpop_nonce` (RFC 9449 §8). Without this, a proof needs none.
    ///
    /// # Panics
    ///
    /// If the operating system has no random numbers left.
    #[cfg(feature = "dpop")]
    #[cfg_attr(docsrs, doc(cfg(feature = "dpop")))]
    pub fn dpop_nonces(mut self) -> Self {
        match NonceKeys::random() {
            Ok(keys) => self.config.nonces = Some(keys),
            Err(_) => misuse("no random numbers left"),
        }
        self
    }

    /// Sets the `aud` of tokens that are requested without one; [`TestIssuer::AUDIENCE`] by default.
    pub fn audience(mut self, audience: &str) -> Self {
        self.config.audience = audience.into();
        self
    }

    /// Sets the `typ` of tokens: `at+jwt` (RFC 9068) by default; many servers write `JWT`.
    pub fn typ(mut self, typ: &str) -> Self {
        self.config.typ = typ.into();
        self
    }

    /// Sets how long tokens live; ten minutes by default.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.config.lifetime = lifetime;
        self
    }

    /// Adds a header, such as `cache-control`, to the key set's answers, including those with 304.
    pub fn jwks_header(mut self, name: &str, value: &str) -> Self {
        self.jwks_headers.push((name.into(), value.into()));
        self
    }

    /// Leaves `ETag` out of the key set's answers, so that there is no 304.
    pub fn without_etag(mut self) -> Self {
        self.config.etag = false;
        self
    }

    /// Registers a client.
    ///
    /// Without any, there is one with [`TestIssuer::CLIENT_ID`] and [`TestIssuer::CLIENT_SECRET`],
    /// which may have all scopes and audiences.
    pub fn client(mut self, client: TestClient) -> Self {
        self.config.clients.push(client);
        self
    }

    /// Sets the clock for dating tokens and checking assertions; the system's by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.config.clock = Arc::new(clock);
        self
    }

    /// Sets a member of the metadata, in both documents; `null` removes it.
    pub fn metadata(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// Adds any JSON to the key set: a foreign key, one of an unknown type, a broken one.
    pub fn publish_jwk(mut self, jwk: impl Into<Value>) -> Self {
        self.foreign_keys.push(jwk.into());
        self
    }

    /// Changes each of the issuer's own JWKs before it is published.
    ///
    /// ```
    /// # use tower_bearer::testing::TestIssuer;
    /// // Some servers publish neither `alg` nor `use`.
    /// let builder = TestIssuer::builder().shape_jwk(|jwk| {
    ///     jwk.remove("alg");
    ///     jwk.remove("use");
    /// });
    /// ```
    pub fn shape_jwk(
        mut self,
        shape: impl Fn(&mut Map<String, Value>) + Send + Sync + 'static,
    ) -> Self {
        self.config.shape_jwk = Arc::new(shape);
        self
    }

    /// Changes the header of each token before it is signed.
    ///
    /// ```
    /// # use tower_bearer::testing::TestIssuer;
    /// # use tower_bearer::jose::Algorithm;
    /// // The name that RFC 9864 gives to EdDSA.
    /// let builder = TestIssuer::builder().algorithms([Algorithm::EdDSA]).shape_header(|header| {
    ///     header.insert("alg".into(), "Ed25519".into());
    /// });
    /// ```
    pub fn shape_header(
        mut self,
        shape: impl Fn(&mut Map<String, Value>) + Send + Sync + 'static,
    ) -> Self {
        self.config.shape_header = Arc::new(shape);
        self
    }

    /// Changes the claims of each token before it is signed.
    ///
    /// ```
    /// # use tower_bearer::testing::TestIssuer;
    /// // Scopes as in Okta's tokens: an array named `scp`.
    /// let builder = TestIssuer::builder().shape_claims(|claims| {
    ///     if let Some(scope) = claims.remove("scope") {
    ///         let scopes: Vec<&str> = scope.as_str().unwrap_or_default().split(' ').collect();
    ///         claims.insert("scp".into(), scopes.into());
    ///     }
    /// });
    /// ```
    pub fn shape_claims(
        mut self,
        shape: impl Fn(&mut Map<String, Value>) + Send + Sync + 'static,
    ) -> Self {
        self.config.shape_claims = Arc::new(shape);
        self
    }

    /// Starts the issuer. This may be called in any runtime, or in none.
    ///
    /// # Errors
    ///
    /// If the address can't be listened on, if there is no algorithm, or if the path, the public
    /// URL or a header isn't valid.
    pub async fn start(mut self) -> Result<TestIssuer, ConfigError> {
        self.check()?;
        let listen = self.listen;
        let state = move |address| Arc::new(self.into_state(address));
        let (server, state, address) = Server::start(listen, state).await.map_err(|error| {
            ConfigError::new(format!("the embedded issuer can't listen on {listen}")).because(error)
        })?;
        Ok(TestIssuer::new(state, server, address))
    }

    pub(crate) fn check(&mut self) -> Result<(), ConfigError> {
        if self.algorithms.is_empty() {
            return Err(ConfigError::new("name at least one algorithm for the embedded issuer"));
        }
        let path = &self.issuer_path;
        if !path.is_empty() && (!path.starts_with('/') || !is_path(path)) {
            return Err(ConfigError::new(format!(
                "the issuer's path {path:?} must start with '/' and have no query or fragment"
            )));
        }
        if let Some(url) = self.public_url.as_deref().filter(|url| !is_origin(url)) {
            return Err(ConfigError::new(format!(
                "the public URL {url:?} must have a scheme and a host, and nothing after the port"
            )));
        }
        if self.config.clients.is_empty() {
            let default = TestClient::secret(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET);
            self.config.clients.push(default);
        }
        self.config.jwks_headers = headers(&self.jwks_headers)?;
        Ok(())
    }

    pub(crate) fn into_state(mut self, address: SocketAddr) -> State {
        let root = self.public_url.unwrap_or_else(|| format!("http://{address}"));
        self.config.issuer = format!("{root}{}", self.issuer_path);
        self.config.path = self.issuer_path.trim_end_matches('/').into();
        self.config.root = root;
        let ring = KeyRing::new(self.algorithms, self.foreign_keys);
        State::new(self.config, ring, self.metadata)
    }
}

fn is_path(path: &str) -> bool {
    path.parse::<Uri>().is_ok_and(|uri| uri.path() == path)
}

fn is_origin(url: &str) -> bool {
    let after = |uri: Uri| uri.path_and_query().is_none_or(|rest| rest == "/");
    url.parse()
        .is_ok_and(|uri: Uri| uri.scheme().is_some() && uri.authority().is_some() && after(uri))
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => drop(headers.append(name, value)),
            _ => {
                return Err(ConfigError::new(format!(
                    "the key set's header {name:?}: {value:?} can't be sent: change its name or \
                     its value"
                )));
            }
        }
    }
    Ok(headers)
}

impl fmt::Debug for TestIssuerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestIssuerBuilder")
            .field("listen", &self.listen)
            .field("issuer_path", &self.issuer_path)
            .field("algorithms", &self.algorithms)
            .field("clients", &self.config.clients)
            .finish_non_exhaustive()
    }
}
