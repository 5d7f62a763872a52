//! Checks the settings of a grant against each other, and builds it.

use std::sync::Arc;
use std::time::Duration;

use crate::client::dpop::Dpop;
use crate::client::grant::builder::GrantBuilder;
use crate::client::grant::builder::parameters::check_token_type;
use crate::client::grant::definition::{Definition, Grant, Server};
use crate::client::grant::kind::Kind;
use crate::client::grant::party::Party;
use crate::digest::Parts;
use crate::error::{ConfigError, within};
use crate::issuer::{check_issuer, check_issuer_text};
use crate::scope::Scope;
use crate::transport::{parse_url, printable};

const SECOND: Duration = Duration::from_secs(1);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

const ALLOWED: &str =
    ", after .allow_loopback_http(), or to any host after .dangerous_allow_http()";

impl GrantBuilder {
    /// Builds the grant. Nothing is sent.
    ///
    /// # Errors
    ///
    /// If an address, a scope, a parameter or the way of authentication isn't valid.
    pub fn build(mut self) -> Result<Grant, ConfigError> {
        within("default_lifetime", self.default_lifetime, SECOND..=MONTH)?;
        if self.tenant.as_deref() == Some("") {
            return Err(ConfigError::new("the tenant is empty: name it, or leave .tenant(…) out"));
        }
        let server = self.server()?;
        self.auth.check().map_err(ConfigError::new)?;
        if self.auth.is_none() && matches!(self.kind, Kind::ClientCredentials) {
            return Err(ConfigError::new(
                "client credentials need a client that authenticates (RFC 6749 section 4.4): choose \
                 another way than ClientAuth::none",
            ));
        }
        let signed = self.kind.signed();
        if let Some(assertion) = signed {
            assertion.check(false).map_err(ConfigError::new)?;
        }
        let mut assertions = self.auth.assertion().into_iter().chain(signed);
        let needs_issuer = assertions.any(|it| it.needs_issuer());
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
        self.parameters.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for token_type in &self.answers.token_types {
            check_token_type(token_type)?;
        }
        self.answers.token_types.sort_unstable();
        self.answers.token_types.dedup();
        let dpop = self.bind()?;
        let (distinction, tenant) = self.digests();
        let key = Parts::new("grant").part(distinction).part(self.auth.identity());
        let key = key.part(dpop.as_ref().map(Dpop::identity).unwrap_or_default());
        let key = key.part(self.kind.identity()).finish();
        let party = Arc::new(self.party());
        let by_certificate = self.certificate_bound || self.auth.is_by_certificate();
        Ok(Grant::new(Definition {
            server,
            party,
            auth: self.auth,
            scopes,
            resources: self.resources,
            audiences: self.audiences,
            kind: self.kind,
            wider_scope: self.wider_scope,
            parameters: self.parameters,
            all_scopes_required: self.all_scopes_required,
            default_lifetime: self.default_lifetime,
            bounded_by_jwt: self.bounded_by_jwt,
            by_certificate,
            root_endpoint: self.root_endpoint,
            answers: self.answers,
            dpop,
            distinction,
            key,
            tenant,
        }))
    }

    /// Checks the DPoP key, and creates the binding of the tokens to it.
    fn bind(&mut self) -> Result<Option<Dpop>, ConfigError> {
        #[cfg(feature = "dpop")]
        match self.dpop.take() {
            Some(key) => {
                let registration = Parts::new("registration").part(&self.address);
                key.check(registration.part(self.auth.client_id()).finish())?;
                self.answers.proved = true;
                return Ok(Some(Dpop::new(key)));
            }
            None if self.answers.bearer_for_proof => {
                return Err(ConfigError::new(
                    "without .dpop(…), every token is a bearer token: leave \
                     .dangerous_accept_bearer() out",
                ));
            }
            None => {}
        }
        Ok(None)
    }

    fn party(&self) -> Party {
        let address = printable(&self.address);
        let (issuer, endpoint) = match self.discover {
            true => (Some(address), None),
            false => (self.issuer.as_deref().map(printable), Some(address)),
        };
        Party {
            client_id: self.auth.client_id().into(),
            tenant: self.tenant.as_deref().map(Into::into),
            issuer: issuer.map(Into::into),
            endpoint: endpoint.map(Into::into),
        }
    }

    fn server(&self) -> Result<Server, ConfigError> {
        let what = if self.discover { "issuer" } else { "token endpoint" };
        if self.discover {
            check_issuer_text(&self.address)?;
        }
        let uri = parse_url(&self.address, self.plain_http)
            .map_err(|fault| fault.report(what, &self.address, ALLOWED))?;
        if let Some(issuer) = &self.issuer {
            check_issuer_text(issuer)?;
        }
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
                "the grant is discovered from its issuer already: leave .issuer(…) out",
            ));
        }
        Ok(Server::Issuer { uri, issuer: self.address.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::client::grant::builder::parameters::RESERVED;
    use crate::credentials::authentication::ClientAuth;
    use crate::digest::Digest;

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
        use crate::credentials::basic::BasicEncoding;
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
        // T5: empty values count as absent.
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

    // L1: a malformed address may contain a password.
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
                _ => return None,
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
    // FC16
    #[test]
    fn fc16_the_environment_may_name_issuer_audience_and_resources() {
        let vars = |set: &'static [(&str, &str)]| {
            move |name: &str| {
                let known = [("OAUTH_CLIENT_ID", "me"), ("OAUTH_CLIENT_SECRET", "secret\n")];
                let found = known.iter().chain(set).find(|(it, _)| *it == name);
                found.map(|(_, value)| (*value).to_owned())
            }
        };
        let of_vars = |set| *Grant::from_vars(vars(set)).unwrap().build().unwrap().key();
        let (issuer, endpoint) = ("https://as.example", "https://as.example/token");
        assert_eq!(
            of_vars(&[
                ("OAUTH_ISSUER", "https://as.example"),
                ("OAUTH_AUDIENCE", "orders"),
                ("OAUTH_RESOURCE", "https://b.example  https://a.example"),
            ]),
            key(Grant::discover(issuer, basic())
                .audience("orders")
                .resource("https://a.example")
                .resource("https://b.example"))
        );
        assert_eq!(
            of_vars(&[
                ("OAUTH_ISSUER", "https://as.example"),
                ("OAUTH_TOKEN_ENDPOINT", "https://as.example/token"),
            ]),
            key(Grant::endpoint(endpoint, basic()).issuer(issuer))
        );
        // Empty values count as absent.
        assert_eq!(
            of_vars(&[
                ("OAUTH_TOKEN_ENDPOINT", "https://as.example/token"),
                ("OAUTH_ISSUER", ""),
                ("OAUTH_AUDIENCE", ""),
                ("OAUTH_RESOURCE", ""),
            ]),
            key(builder())
        );
    }

    // FC16
    #[test]
    fn fc16_one_error_names_all_that_is_missing() {
        assert_eq!(
            Grant::from_vars(|_| None).unwrap_err().to_string(),
            "OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET and OAUTH_TOKEN_ENDPOINT (or OAUTH_ISSUER) are \
             missing or empty: set them in the environment"
        );
        let one =
            |name: &str| Some("https://as.example".into()).filter(|_| name != "OAUTH_CLIENT_ID");
        assert_eq!(
            Grant::from_vars(one).unwrap_err().to_string(),
            "OAUTH_CLIENT_ID is missing or empty: set it in the environment"
        );
    }

    // FC11
    #[test]
    fn fc11_plain_http_to_another_host_has_to_be_allowed() {
        for make in [Grant::endpoint, Grant::discover] {
            let mesh = || make("http://as.mesh", basic());
            assert!(error(mesh()).contains("dangerous_allow_http"));
            assert!(error(mesh().allow_loopback_http()).contains("dangerous_allow_http"));
            assert!(mesh().dangerous_allow_http().build().is_ok());
            // The order makes no difference.
            assert!(mesh().dangerous_allow_http().allow_loopback_http().build().is_ok());
            assert!(mesh().allow_loopback_http().dangerous_allow_http().build().is_ok());
        }
    }

    // FC3, FC15
    #[test]
    fn fc3_fc15_settings_for_answers_make_another_grant() {
        let all = [
            builder(),
            builder().accept_token_type("BearerToken"),
            builder().accept_missing_token_type(),
            builder().accept_created(),
            builder().comma_separated_scopes(),
        ];
        let count = all.len();
        assert_eq!(all.into_iter().map(key).collect::<HashSet<Digest>>().len(), count);
        let lower = builder().accept_token_type("bearertoken");
        assert_eq!(key(builder().accept_token_type("BearerToken")), key(lower));
        for (bad, why) in [("", "empty"), ("DPoP", "bearer"), ("mac", "bearer"), ("N_A", "bearer")]
        {
            assert!(error(builder().accept_token_type(bad)).contains(why), "{bad}");
        }
    }

    // FC4: a parameter is a secret, too.
    #[test]
    fn fc4_values_of_parameters_are_not_printed() {
        let builder = || builder().parameter("api_key", "canary").parameter("a", "canary");
        let shown = format!("{:?} {:?}", builder(), builder().build().unwrap());
        assert!(shown.contains("api_key") && !shown.contains("canary"), "{shown}");
        let error = error(builder().parameter("a", "canary"));
        assert!(error.contains("twice") && !error.contains("canary"), "{error}");
    }
}
