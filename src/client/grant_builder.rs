use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::client::authentication::ClientAuth;
use crate::client::digest::{Digest, Parts};
use crate::client::grant::{Definition, Grant, Server};
use crate::client::token_source::TokenSource;
use crate::error::{ConfigError, within};
use crate::issuer::check_issuer;
use crate::scope::Scope;
use crate::transport::{PlainHttp, parse_url, printable};

/// Prepares a [`Grant`].
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
///     .default_lifetime(Duration::from_secs(60)) // of a server that doesn't tell
///     .require_all_scopes()
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a grant isn't there until it is built"]
pub struct GrantBuilder {
    address: String,
    discover: bool,
    issuer: Option<String>,
    auth: ClientAuth,
    scopes: Vec<String>,
    resources: Vec<String>,
    audiences: Vec<String>,
    parameters: Vec<(String, String)>,
    tenant: Option<String>,
    plain_http: PlainHttp,
    all_scopes_required: bool,
    default_lifetime: Duration,
    bounded_by_jwt: bool,
}

/// What RFC 6749 and its extensions give a meaning to; these have setters of their own.
const SECOND: Duration = Duration::from_secs(1);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

const RESERVED: [&str; 9] = [
    "grant_type",
    "scope",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "resource",
    "audience",
    "assertion",
];

impl GrantBuilder {
    pub(crate) fn new(address: &str, discover: bool, auth: ClientAuth) -> Self {
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

    /// Sends `audience`, which some servers take in place of `resource`.
    pub fn audience(mut self, audience: &str) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Sends another parameter. An empty one is left out.
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.into(), value.into()));
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

    /// Lets the token endpoint, or the issuer, be an `http` address of this machine: for
    /// development and tests. Elsewhere `https` it must be.
    pub fn allow_loopback_http(mut self) -> Self {
        self.plain_http = PlainHttp::Loopback;
        self
    }

    /// Refuses a token that has less than the scopes asked for. By default the token is used, and
    /// [`Token::granted_scopes`](crate::client::Token::granted_scopes) tells what it has.
    pub fn require_all_scopes(mut self) -> Self {
        self.all_scopes_required = true;
        self
    }

    /// Sets how long a token serves whose `expires_in` the server left out: a second to 30 days, 5
    /// minutes by default.
    pub fn default_lifetime(mut self, lifetime: Duration) -> Self {
        self.default_lifetime = lifetime;
        self
    }

    /// Looks into a token that is a JWT, and doesn't use it beyond its own `exp`, whatever
    /// `expires_in` says.
    ///
    /// Access tokens are opaque to clients (RFC 9068 §6), so this is off by default.
    pub fn bounded_by_jwt_expiry(mut self) -> Self {
        self.bounded_by_jwt = true;
        self
    }

    /// Builds the grant. Nothing is sent.
    ///
    /// # Errors
    ///
    /// If an address, a scope, a parameter or the way of authentication can't be what it is set to.
    pub fn build(mut self) -> Result<Grant, ConfigError> {
        within("default_lifetime", self.default_lifetime, SECOND..=MONTH)?;
        if self.tenant.as_deref() == Some("") {
            return Err(ConfigError::new("the tenant is empty: name it, or leave .tenant(…) out"));
        }
        let server = self.server()?;
        self.auth.check().map_err(ConfigError::new)?;
        let needs_issuer = self.auth.assertion().is_some_and(|it| it.needs_issuer());
        if needs_issuer && matches!(server, Server::Endpoint { issuer: None, .. }) {
            return Err(ConfigError::new(
                "an assertion's audience is the issuer: name it with .issuer(\"…\"), or choose \
                 another with Assertion::audience",
            ));
        }
        let scopes = self.scopes.iter().map(|scope| Scope::new(scope)).collect::<Result<_, _>>()?;
        self.resources.sort_unstable();
        self.resources.dedup();
        self.check_parameters()?;
        self.parameters.sort_unstable();
        let (distinction, tenant) = self.digests();
        let secret = self.auth.source().map(|source| source.identity());
        let key = Parts::new("grant").part(distinction).part(secret.unwrap_or_default()).finish();
        Ok(Grant(Arc::new(Definition {
            server,
            auth: self.auth,
            scopes,
            resources: self.resources,
            audience: self.audiences.pop(),
            parameters: self.parameters,
            all_scopes_required: self.all_scopes_required,
            default_lifetime: self.default_lifetime,
            bounded_by_jwt: self.bounded_by_jwt,
            distinction,
            key,
            tenant,
        })))
    }

    /// Builds the grant, and a source of its tokens with a cache of its own.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build) and of [`TokenSource::new`].
    pub fn source(self) -> Result<TokenSource, ConfigError> {
        TokenSource::new(self.build()?)
    }

    fn server(&self) -> Result<Server, ConfigError> {
        let what = if self.discover { "issuer" } else { "token endpoint" };
        let uri = parse_url(&self.address, self.plain_http)
            .map_err(|fault| fault.report(what, &self.address, ", after .allow_loopback_http()"))?;
        if !self.discover {
            return Ok(Server::Endpoint { uri, issuer: self.issuer.clone() });
        }
        check_issuer(&uri)?;
        // RFC 8414 §2.
        if uri.query().is_some() {
            return Err(ConfigError::new(format!(
                "the issuer {:?} can't be used: take the query (\"?…\") away",
                printable(&self.address)
            )));
        }
        if self.issuer.is_some() {
            return Err(ConfigError::new(
                "the issuer is what the grant is discovered from: leave .issuer(…) out",
            ));
        }
        Ok(Server::Issuer { uri, issuer: self.address.clone() })
    }

    /// RFC 6749 §3.2: no parameter twice, and none without a value.
    fn check_parameters(&mut self) -> Result<(), ConfigError> {
        for resource in &self.resources {
            // RFC 8707 §2: an absolute URI without a fragment.
            let scheme = resource.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
            let absolute =
                scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(legal);
            if !absolute || resource.contains('#') {
                return Err(ConfigError::new(format!(
                    "the resource {resource:?} must be an absolute URI without fragment (RFC 8707 \
                     section 2)"
                )));
            }
        }
        self.audiences.retain(|audience| !audience.is_empty());
        self.audiences.dedup();
        if self.audiences.len() > 1 {
            return Err(ConfigError::new("only one audience can be asked for"));
        }
        self.parameters.retain(|(_, value)| !value.is_empty());
        for (at, (name, _)) in self.parameters.iter().enumerate() {
            if RESERVED.contains(&name.as_str()) || name.is_empty() {
                return Err(ConfigError::new(format!(
                    "the parameter {name:?} can't be set in this way: use its own method"
                )));
            }
            if self.parameters.iter().take(at).any(|(earlier, _)| earlier == name) {
                return Err(ConfigError::new(format!("the parameter {name:?} is set twice")));
            }
        }
        Ok(())
    }

    /// Returns what tells this grant, but for its secret, from all others, and its tenant.
    fn digests(&self) -> (Digest, Digest) {
        let mut scopes = self.scopes.clone();
        scopes.sort_unstable();
        let server = |purpose| {
            let discover: &[u8] = if self.discover { b"issuer" } else { b"endpoint" };
            let parts = Parts::new(purpose).part(discover).part(&self.address);
            let parts = parts.part(self.issuer.as_deref().unwrap_or_default());
            self.auth.distinguish(parts)
        };
        let secret = self.auth.source().map(|source| source.identity()).unwrap_or_default();
        let tenant = match &self.tenant {
            Some(name) => Parts::new("named tenant").part(name).finish(),
            None => server("tenant").part(secret).finish(),
        };
        let bools = [self.all_scopes_required, self.bounded_by_jwt].map(u8::from);
        let distinction = server("distinction")
            .part(self.tenant.as_deref().unwrap_or_default())
            .list(scopes.iter())
            .list(self.resources.iter())
            .list(self.audiences.iter())
            .list(self.parameters.iter().map(|(name, _)| name))
            .list(self.parameters.iter().map(|(_, value)| value))
            .part(bools)
            .part(self.default_lifetime.as_nanos().to_be_bytes())
            // The place of DPoP's key thumbprint.
            .part("")
            .finish();
        (distinction, tenant)
    }
}

impl fmt::Debug for GrantBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values of parameters are the server's affair, and may be secret.
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn basic() -> ClientAuth {
        ClientAuth::basic("me", "secret")
    }

    fn builder() -> GrantBuilder {
        Grant::endpoint("https://as.example/token", basic())
    }

    fn error(builder: GrantBuilder) -> String {
        builder.build().unwrap_err().to_string()
    }

    fn key(builder: GrantBuilder) -> Digest {
        *builder.build().unwrap().key()
    }

    // E5
    #[test]
    fn e5_whatever_differs_makes_another_key() {
        use crate::client::authentication::BasicEncoding;
        let endpoint = |url, auth| Grant::endpoint(url, auth);
        let url = "https://as.example/token";
        let different = [
            builder(),
            endpoint("https://as.example/token?x=1", basic()),
            endpoint("https://other.example/token", basic()),
            Grant::discover("https://as.example/token", basic()),
            builder().issuer("https://as.example"),
            endpoint(url, ClientAuth::basic("you", "secret")),
            endpoint(url, ClientAuth::basic("me", "another secret")),
            endpoint(url, ClientAuth::body("me", "secret")),
            endpoint(url, ClientAuth::basic_encoded("me", "secret", BasicEncoding::Raw)),
            endpoint(url, ClientAuth::tls("me")),
            builder().scope("a"),
            builder().scope("b"),
            builder().scope("a b"),
            builder().resource("https://a.example"),
            builder().resource("https://b.example"),
            builder().resource("https://a.example").resource("https://b.example"),
            builder().audience("https://a.example"),
            builder().parameter("a", "b"),
            builder().parameter("a", "c"),
            builder().parameter("a", "b").parameter("c", "d"),
            builder().tenant("one"),
            builder().tenant("two"),
            builder().require_all_scopes(),
            builder().bounded_by_jwt_expiry(),
            builder().default_lifetime(Duration::from_secs(1)),
        ];
        let count = different.len();
        let keys: HashSet<Digest> = different.into_iter().map(key).collect();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn what_would_have_no_effect_or_no_end_is_refused() {
        let discovered =
            || Grant::discover("https://as.example", ClientAuth::basic("me", "secret"));
        assert!(discovered().build().is_ok());
        assert!(discovered().issuer("https://as.example").build().is_err());
        assert!(discovered().tenant("").build().is_err());
        let metadata = "https://as.example/.well-known/openid-configuration";
        assert!(Grant::discover(metadata, ClientAuth::basic("me", "secret")).build().is_err());
        for (secs, is_accepted) in [
            (0, false),
            (1, true),
            (30 * 86_400, true),
            (30 * 86_400 + 1, false),
            (u64::MAX, false),
        ] {
            let grant = builder().default_lifetime(Duration::from_secs(secs)).build();
            assert_eq!(grant.is_ok(), is_accepted, "{secs}");
        }
    }

    // E5
    #[test]
    fn e5_order_and_repetition_make_no_difference() {
        let one = builder().scope("a b").resource("x:1").resource("y:2").parameter("p", "1");
        let two = builder().scope("b").scope("a a").resource("y:2").resource("x:1").resource("x:1");
        assert_eq!(key(one.parameter("q", "2")), key(two.parameter("q", "2").parameter("p", "1")));
        // T5: empty values are as good as none.
        assert_eq!(key(builder()), key(builder().scope("").audience("").parameter("p", "")));
    }

    // E5: two tenants with equal ids never share.
    #[test]
    fn e5_equal_ids_with_different_secrets_are_different_tenants() {
        let grant = |secret: &str| {
            Grant::endpoint("https://as.example/token", ClientAuth::basic("me", secret))
                .build()
                .unwrap()
        };
        assert_ne!(grant("a").tenant(), grant("b").tenant());
        assert_eq!(grant("a").tenant(), grant("a").tenant());
        assert_eq!(
            builder().scope("a").build().unwrap().tenant(),
            builder().scope("b").build().unwrap().tenant()
        );
    }

    // T2, T3, T4, T5
    #[test]
    fn t2_t3_t4_t5_what_cannot_be_sent_is_refused_when_built() {
        assert!(error(builder().scope("a\"b")).contains("scope"));
        let endpoint = |url| Grant::endpoint(url, basic());
        assert!(error(endpoint("http://as.example/token")).contains("https"));
        assert!(error(endpoint("http://127.0.0.1/token")).contains("allow_loopback_http"));
        assert!(endpoint("http://127.0.0.1/token").allow_loopback_http().build().is_ok());
        assert!(error(endpoint("https://as.example/token#a")).contains("fragment"));
        // L1
        let password = endpoint("https://me:canary@as.example/token");
        assert!(!format!("{password:?}").contains("canary"));
        assert!(!error(password).contains("canary"));
        assert!(endpoint("https://as.example/token?a=b").build().is_ok());
        for name in RESERVED {
            assert!(error(builder().parameter(name, "x")).contains("own method"), "{name}");
        }
        assert!(error(builder().parameter("a", "1").parameter("a", "2")).contains("twice"));
        assert!(error(builder().audience("a").audience("b")).contains("one audience"));
        let discover = |issuer| Grant::discover(issuer, basic());
        assert!(error(discover("https://as.example?a=b")).contains("query"));
        assert!(discover("https://as.example/realms/a/").build().is_ok());
    }

    // L1: an address that was put together wrongly may hold a password.
    #[test]
    fn l1_addresses_are_shown_without_passwords_and_queries() {
        for url in ["https://me:canary@as.example/token", "https://me:can#ary@as.example/canary"] {
            for builder in [Grant::endpoint(url, basic()), Grant::discover(url, basic())] {
                let shown = format!("{builder:?}") + &error(builder);
                assert!(!shown.contains("canary") && !shown.contains("ary@"), "{shown}");
            }
        }
        let builder = || Grant::endpoint("https://as.example/token?key=canary", basic());
        let shown = format!("{:?} {:?}", builder(), builder().build().unwrap());
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!(shown.matches("https://as.example/token?…").count(), 2, "{shown}");
        let error = error(Grant::discover("https://as.example?key=canary", basic()));
        assert!(error.contains("as.example") && !error.contains("canary"), "{error}");
    }

    // T19
    #[test]
    fn t19_a_resource_is_an_absolute_uri() {
        for good in ["https://orders.example", "urn:orders", "https://a.example/x?y=z"] {
            assert!(builder().resource(good).build().is_ok(), "{good}");
        }
        for bad in ["", "orders", "/orders", "https://a.example/#f", ":x", "1a:b", "ö:b"] {
            assert!(error(builder().resource(bad)).contains("RFC 8707"), "{bad}");
        }
    }

    #[test]
    fn the_environment_names_a_client() {
        let all = |name: &str| {
            Some(match name {
                "OAUTH_CLIENT_ID" => "me".into(),
                "OAUTH_CLIENT_SECRET" => "canary".into(),
                "OAUTH_TOKEN_ENDPOINT" => "https://as.example/token".into(),
                "OAUTH_SCOPE" => "a b".into(),
                other => unreachable!("{other}"),
            })
        };
        let grant = Grant::from_vars(all).unwrap().build().unwrap();
        let by_hand =
            Grant::endpoint("https://as.example/token", ClientAuth::basic("me", "canary"));
        assert_eq!(grant.key(), by_hand.scope("a b").build().unwrap().key());
        // L1
        assert!(!format!("{grant:?} {:?}", Grant::from_vars(all)).contains("canary"));

        for missing in ["OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_TOKEN_ENDPOINT"] {
            for instead in [None, Some(String::new())] {
                let vars = |name: &str| if name == missing { instead.clone() } else { all(name) };
                assert!(Grant::from_vars(vars).unwrap_err().to_string().contains(missing));
            }
        }
        let unscoped = |name: &str| all(name).filter(|_| name != "OAUTH_SCOPE");
        assert!(
            Grant::from_vars(unscoped).unwrap().build().unwrap().definition().scopes.is_empty()
        );
    }
}
