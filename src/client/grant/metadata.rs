//! What the token client uses of an issuer's metadata: the token endpoint, and what the issuer offers there.

use http::Uri;
use serde::Deserialize;

use crate::client::grant::error::{DiscoveryFault, TokenError, TokenErrorKind};
use crate::clock::monotonic;
use crate::credentials::authentication::ClientAuth;
use crate::issuer::{self, Refused};
use crate::telemetry::{Repeats, event};
use crate::transport::{PlainHttp, parse_url};

/// What the client uses of an issuer's metadata.
#[derive(Debug)]
pub(crate) struct TokenMetadata {
    pub(crate) token_endpoint: Uri,
    mtls_alias: Alias,
    auth_methods: Option<Vec<String>>,
    signing_algorithms: Option<Vec<String>>,
    dpop_algorithms: Option<Vec<String>>,
}

/// The token endpoint for clients that present a TLS certificate (RFC 8705 §5).
#[derive(Debug, Eq, PartialEq)]
enum Alias {
    /// There is none: the token endpoint is the same for all clients.
    None,
    Endpoint(Uri),
    /// There is one that must not be used.
    Unusable,
}

impl TokenMetadata {
    /// Returns the token endpoint, for clients that present a certificate or for others.
    pub(crate) fn endpoint(&self, by_certificate: bool) -> Result<&Uri, TokenError> {
        match &self.mtls_alias {
            // RFC 8705 §5: a client that does mutual TLS must use the alias.
            Alias::Endpoint(alias) if by_certificate => Ok(alias),
            Alias::Unusable if by_certificate => Err(fault(DiscoveryFault::TokenEndpoint)),
            _ => Ok(&self.token_endpoint),
        }
    }

    /// Returns an error if the issuer's metadata lists algorithms for proofs and not this one (RFC 9449
    /// §5.1).
    pub(crate) fn check_proofs(&self, algorithm: &str) -> Result<(), TokenError> {
        match &self.dpop_algorithms {
            Some(offered) if !offered.iter().any(|it| it == algorithm) => {
                event!(
                    WARN,
                    algorithm,
                    "client_dpop_algorithm: the issuer doesn't accept proofs of the key's algorithm"
                );
                Err(fault(DiscoveryFault::DpopAlgorithm))
            }
            _ => Ok(()),
        }
    }

    /// Returns an error if the issuer's metadata lists ways of authentication and not this one.
    pub(crate) fn check(&self, auth: &ClientAuth) -> Result<(), TokenError> {
        if !auth.is_advertised() {
            return Ok(());
        }
        let offers = |list: &Option<Vec<String>>, name: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|it| it == name))
        };
        // A self-signed certificate that is registered makes the same request (RFC 8705 §2.2).
        let self_signed =
            auth.is_by_certificate() && offers(&self.auth_methods, "self_signed_tls_client_auth");
        let algorithm = auth.assertion().map(|assertion| assertion.algorithm().name());
        if (offers(&self.auth_methods, auth.name()) || self_signed)
            && algorithm.is_none_or(|name| offers(&self.signing_algorithms, name))
        {
            return Ok(());
        }
        event!(
            WARN,
            method = auth.name(),
            algorithm,
            offered = self.known_methods().join(" "),
            "client_auth_method: the issuer doesn't offer the chosen client authentication"
        );
        Err(fault(DiscoveryFault::AuthMethod))
    }
}

impl TokenMetadata {
    /// Returns the ways of authentication that the issuer offers and this crate knows. Other entries of the
    /// list are text of the server, which isn't logged.
    #[cfg(feature = "tracing")]
    fn known_methods(&self) -> Vec<&'static str> {
        let offered = self.auth_methods.as_deref().unwrap_or_default();
        KNOWN.into_iter().filter(|known| offered.iter().any(|it| it == known)).collect()
    }
}

/// The names of the ways of authentication that this crate knows.
#[cfg(any(feature = "tracing", test))]
const KNOWN: [&str; 8] = [
    "client_secret_basic",
    "client_secret_post",
    "client_secret_jwt",
    "private_key_jwt",
    "spiffe_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "none",
];

fn fault(fault: DiscoveryFault) -> TokenError {
    TokenError::new(TokenErrorKind::Discovery(fault))
}

/// Reads a document. Its `issuer` was checked.
pub(crate) fn read(
    document: &[u8],
    plain_http: PlainHttp,
    warned: &Repeats<Box<str>>,
) -> Result<TokenMetadata, Refused> {
    #[derive(Deserialize)]
    struct Members {
        token_endpoint: Option<String>,
        mtls_endpoint_aliases: Option<serde_json::Value>,
        token_endpoint_auth_methods_supported: Option<Vec<String>>,
        token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
        dpop_signing_alg_values_supported: Option<serde_json::Value>,
    }
    let members: Members = issuer::read(document)?;
    let usable = |endpoint: &str| {
        parse_url(endpoint, plain_http)
            .inspect_err(|fault| {
                if let Some(_times) = warned.record(fault.to_string().into(), monotonic()) {
                    event!(
                        WARN,
                        reason = %fault,
                        times = _times,
                        "client_token_endpoint: the metadata's token_endpoint is refused"
                    );
                }
            })
            .ok()
    };
    let endpoint = members.token_endpoint.as_deref().ok_or(Refused::Unacceptable)?;
    Ok(TokenMetadata {
        token_endpoint: usable(endpoint).ok_or(Refused::Unacceptable)?,
        mtls_alias: alias(members.mtls_endpoint_aliases.as_ref(), usable),
        auth_methods: members.token_endpoint_auth_methods_supported,
        signing_algorithms: members.token_endpoint_auth_signing_alg_values_supported,
        dpop_algorithms: members.dpop_signing_alg_values_supported.as_ref().and_then(names),
    })
}

/// Returns the names in a list, or `None` if it is no list: clients without proofs don't need it.
fn names(listed: &serde_json::Value) -> Option<Vec<String>> {
    let named = listed.as_array()?.iter().filter_map(|it| it.as_str());
    Some(named.map(str::to_owned).collect())
}

fn alias(aliases: Option<&serde_json::Value>, usable: impl Fn(&str) -> Option<Uri>) -> Alias {
    let Some(aliases) = aliases else { return Alias::None };
    let Some(aliases) = aliases.as_object() else { return Alias::Unusable };
    match aliases.get("token_endpoint") {
        None | Some(serde_json::Value::Null) => Alias::None,
        Some(endpoint) => {
            endpoint.as_str().and_then(usable).map_or(Alias::Unusable, Alias::Endpoint)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://as.example/realms/a";

    fn document(token_endpoint: &str) -> String {
        format!(r#"{{"issuer":"{ISSUER}","token_endpoint":"{token_endpoint}","x":[1]}}"#)
    }

    // L4
    #[test]
    fn l4_the_token_endpoint_must_be_usable() {
        let read = |body: &str| read(body.as_bytes(), PlainHttp::Refused, &Repeats::new());
        let found = read(&document("https://login.example/token?a=b")).unwrap();
        assert_eq!(found.token_endpoint, "https://login.example/token?a=b");
        for (body, refused) in [
            (r#"["https://as.example/realms/a","https://as.example/token"]"#, Refused::Unreadable),
            (r#"{"token_endpoint":["https://as.example/token"]}"#, Refused::Unreadable),
            (r#"{"issuer":"https://as.example/realms/a"}"#, Refused::Unacceptable),
            (&document("http://as.example/token"), Refused::Unacceptable),
            (&document("http://127.0.0.1/token"), Refused::Unacceptable),
            (&document("/token"), Refused::Unacceptable),
            (&document("https://as.example/token#f"), Refused::Unacceptable),
        ] {
            assert_eq!(read(body).unwrap_err(), refused, "{body}");
        }
    }

    // RFC 8705 §5
    #[test]
    fn fc7_a_client_with_a_certificate_uses_the_alias_and_no_other_does() {
        const USUAL: &str = "https://as.example/token";
        let alias = |aliases: &str| {
            let document =
                format!(r#"{{"token_endpoint":"{USUAL}","mtls_endpoint_aliases":{aliases}}}"#);
            let metadata = read(document.as_bytes(), PlainHttp::Refused, &Repeats::new()).unwrap();
            let by_secret = metadata.endpoint(false).unwrap();
            assert_eq!(by_secret, USUAL, "{aliases}");
            metadata.endpoint(true).ok().map(ToString::to_string)
        };
        let found = alias(r#"{"token_endpoint":"https://mtls.as.example/token"}"#);
        assert_eq!(found.as_deref(), Some("https://mtls.as.example/token"));
        for none in ["null", "{}", r#"{"token_endpoint":null}"#, r#"{"revocation_endpoint":"x"}"#] {
            assert_eq!(alias(none).as_deref(), Some(USUAL), "{none}");
        }
        for unusable in [
            r#"{"token_endpoint":"http://mtls.as.example/token"}"#,
            r#"{"token_endpoint":"/token"}"#,
            r#"{"token_endpoint":""}"#,
            r#"{"token_endpoint":7}"#,
            r#"["https://mtls.as.example/token"]"#,
            r#""https://mtls.as.example/token""#,
        ] {
            assert_eq!(alias(unusable), None, "{unusable}");
        }
    }

    // L4
    #[test]
    fn l4_a_method_that_is_not_offered_is_not_tried() {
        let metadata = |methods: &[&str]| TokenMetadata {
            token_endpoint: Uri::from_static("https://as.example/token"),
            mtls_alias: Alias::None,
            auth_methods: Some(methods.iter().map(|&method| method.into()).collect()),
            dpop_algorithms: None,
            signing_algorithms: None,
        };
        let basic = ClientAuth::basic("me", "s");
        assert!(metadata(&["client_secret_post", "client_secret_basic"]).check(&basic).is_ok());
        let error = metadata(&["client_secret_post"]).check(&basic).unwrap_err();
        assert_eq!(*error.kind(), TokenErrorKind::Discovery(DiscoveryFault::AuthMethod));
        let silent = TokenMetadata { auth_methods: None, ..metadata(&[]) };
        assert!(silent.check(&basic).is_ok());
        let tls = ClientAuth::tls("me");
        assert!(metadata(&["tls_client_auth"]).check(&tls).is_ok());
        assert!(metadata(&["self_signed_tls_client_auth"]).check(&tls).is_ok());
        assert!(metadata(&["client_secret_basic"]).check(&tls).is_err());
        assert!(metadata(&["self_signed_tls_client_auth"]).check(&basic).is_err());
    }

    #[test]
    fn every_way_of_authentication_is_known_by_its_name() {
        for (client, _) in ClientAuth::one_of_each() {
            assert!(KNOWN.contains(&client.name()), "{}", client.name());
        }
    }
}
