//! One challenge of a `WWW-Authenticate` field, for the scheme Bearer or DPoP.

use std::fmt::Write as _;

use http::HeaderValue;

use crate::answer::wire::{Challenged, Wire};
use crate::error::ConfigError;
use crate::scope::ScopeSet;

/// The challenge of a scheme in one protection space: of Bearer (RFC 6750 §3) or DPoP (RFC 9449
/// §7.1).
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    /// `Bearer realm="…"`, which every challenge begins with: RFC 6750 §3 requires at least one
    /// parameter, and `error` isn't for requests without credentials.
    prefix: Box<str>,
    /// What every challenge ends with: `, resource_metadata="…"` where the layer has metadata
    /// (RFC 9728 §5.1), and `, algs="…"` for DPoP.
    suffix: Box<str>,
}

/// Parameters that some clients find in a challenge by their names alone, wherever they are.
const SEARCHED: [&str; 3] = ["scope=", "error=", "resource_metadata="];

impl Challenge {
    /// Creates the challenge of Bearer for a realm, and the URL of its metadata, which was checked.
    ///
    /// # Errors
    ///
    /// If the realm is empty, has a character other than printable ASCII, or the name of a parameter.
    pub(crate) fn bearer(realm: &str, metadata: Option<&str>) -> Result<Self, ConfigError> {
        Self::new("Bearer", realm, metadata)
    }

    /// Creates the same for DPoP, with the algorithms that proofs may be signed with.
    ///
    /// # Errors
    ///
    /// As [`bearer`](Self::bearer).
    pub(crate) fn dpop(
        realm: &str,
        metadata: Option<&str>,
        algorithms: &str,
    ) -> Result<Self, ConfigError> {
        let Self { prefix, suffix } = Self::new("DPoP", realm, metadata)?;
        Ok(Self { prefix, suffix: format!("{suffix}, algs=\"{algorithms}\"").into() })
    }

    fn new(scheme: &str, realm: &str, metadata: Option<&str>) -> Result<Self, ConfigError> {
        // RFC 9110 §5.6.4 would allow more; control characters and those beyond ASCII don't arrive
        // everywhere as they were sent.
        if realm.is_empty() || !realm.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) {
            return Err(ConfigError::new(format!(
                "the realm {realm:?} can't be sent in a challenge: use one or more printable ASCII \
                 characters"
            )));
        }
        if SEARCHED.iter().any(|name| realm.contains(name)) {
            return Err(ConfigError::new(format!(
                "the realm {realm:?} contains the name of a challenge parameter, which some clients \
                 would take for that parameter: leave \"scope=\", \"error=\" and \"resource_metadata=\" out"
            )));
        }
        let mut prefix = format!("{scheme} realm=\"");
        for character in realm.chars() {
            if matches!(character, '"' | '\\') {
                prefix.push('\\');
            }
            prefix.push(character);
        }
        prefix.push('"');
        let suffix = metadata.map(|url| format!(", resource_metadata=\"{url}\""));
        Ok(Self { prefix: prefix.into(), suffix: suffix.unwrap_or_default().into() })
    }

    /// Renders the challenge for an answer, with these scopes if there are any; `None` if the answer
    /// has no challenge. Only that of the scheme which was used says what is wrong (RFC 9449 §7.2).
    ///
    /// # Errors
    ///
    /// If it is too long for a header field.
    pub(crate) fn challenge(
        &self,
        wire: &Wire,
        scopes: Option<&ScopeSet>,
        was_used: bool,
    ) -> Result<Option<HeaderValue>, ConfigError> {
        let error = match wire.challenge {
            Challenged::No => return Ok(None),
            Challenged::Bare => None,
            Challenged::Error(error) => Some(error).filter(|_| was_used),
        };
        // Every value is sent as a quoted-string: scopes and descriptions have spaces.
        let mut text = String::from(&*self.prefix);
        if let Some(error) = error {
            let description = wire.description;
            let _ = write!(text, ", error=\"{error}\", error_description=\"{description}\"");
        }
        if let Some(scopes) = scopes.filter(|scopes| !scopes.is_empty()) {
            let _ = write!(text, ", scope=\"{scopes}\"");
        }
        text.push_str(&self.suffix);
        let value = HeaderValue::try_from(text);
        value.map(Some).map_err(|_| {
            ConfigError::new("the challenge isn't a valid header field: shorten the realm")
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::answer::wire::{self, Disclosure, wire};
    use crate::refusal::{Refusal, Rejection, RejectionKind};

    fn challenge(realm: &str, kind: RejectionKind, scopes: Option<&str>) -> String {
        let refusal = Refusal::Rejection(Rejection::new(kind));
        let wire = wire(&refusal, Disclosure { verbose: true, hidden: None });
        let scopes = scopes.map(ScopeSet::parse);
        let value = Challenge::bearer(realm, None).unwrap().challenge(wire, scopes.as_ref(), true);
        let value = value.unwrap();
        value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    }

    // Whole challenges: W2, W3, W5, W6, W7, W13, W14.
    #[test]
    fn golden_challenges() {
        for (realm, kind, scopes, golden) in [
            ("api", RejectionKind::NoCredentials, None, r#"Bearer realm="api""#),
            (
                "api",
                RejectionKind::Expired,
                None,
                r#"Bearer realm="api", error="invalid_token", error_description="The access token expired""#,
            ),
            (
                "api",
                RejectionKind::InsufficientScope,
                Some("a b"),
                r#"Bearer realm="api", error="insufficient_scope", error_description="The request requires higher privileges than provided by the access token", scope="a b""#,
            ),
            (
                "api",
                RejectionKind::MultipleCredentials,
                None,
                r#"Bearer realm="api", error="invalid_request", error_description="More than one access token was sent""#,
            ),
            (r#"a"b\c"#, RejectionKind::NoCredentials, None, r#"Bearer realm="a\"b\\c""#),
        ] {
            assert_eq!(challenge(realm, kind, scopes), golden);
        }
    }

    // W4: what is needed may be said to those who sent nothing.
    #[test]
    fn w4_no_credentials_may_name_scopes_but_no_error() {
        assert_eq!(
            challenge("api", RejectionKind::NoCredentials, Some("a b")),
            r#"Bearer realm="api", scope="a b""#
        );
        assert_eq!(
            challenge("api", RejectionKind::NoCredentials, Some("")),
            r#"Bearer realm="api""#
        );
    }

    // W13, W15: told when the layer is built, not when a request is refused.
    #[test]
    fn w15_a_realm_outside_the_charset_is_refused_when_built() {
        for realm in ["", "a\tb", "a\r\nb", "a\0", "a\x7f", "caf\u{e9}"] {
            assert!(Challenge::bearer(realm, None).is_err(), "{realm:?}");
        }
        for realm in [" ", "a b", "caf\\e", "\"", "a=b, c"] {
            assert!(Challenge::bearer(realm, None).is_ok(), "{realm:?}");
        }
    }

    #[test]
    fn mc12_a_realm_with_the_name_of_a_parameter_is_refused_when_built() {
        for realm in ["a scope=b", "error=", "x resource_metadata=https://a.example"] {
            let error = Challenge::bearer(realm, None).unwrap_err().to_string();
            assert!(error.contains(realm), "{error}");
        }
        assert!(Challenge::bearer("scope error resource_metadata", None).is_ok());
        for wire in wire::ALL {
            assert!(!SEARCHED.iter().any(|name| wire.description.contains(name)));
        }
    }

    // W11: every description that can be sent is of the charset of RFC 6750 §3.
    #[test]
    fn w11_descriptions_and_codes_are_of_the_charset() {
        let legal = |byte: u8| matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        for wire in wire::ALL {
            assert!(wire.description.bytes().all(legal), "{}", wire.description);
            assert!(wire.code.bytes().all(legal), "{}", wire.code);
        }
    }

    /// A strict parser of one challenge: RFC 9110 §11.3, §5.6.4.
    fn parse(challenge: &str) -> Vec<(String, String)> {
        let mut rest = challenge.strip_prefix("Bearer ").expect("the scheme and one space");
        let mut params = Vec::new();
        loop {
            let (name, after) = rest.split_once("=\"").expect("a name and a quote");
            assert!(
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name:?} is no token"
            );
            let mut value = String::new();
            let mut chars = after.char_indices();
            let end = loop {
                match chars.next().expect("a closing quote") {
                    (at, '"') => break at,
                    (_, '\\') => value.push(chars.next().expect("an escaped character").1),
                    (_, c) => {
                        assert!(matches!(c, ' '..='~'), "{c:?} in a quoted-string");
                        value.push(c);
                    }
                }
            };
            params.push((name.to_owned(), value));
            rest = &after[end + 1..];
            if rest.is_empty() {
                return params;
            }
            rest = rest.strip_prefix(", ").expect("a comma between parameters");
        }
    }

    proptest! {
        // W8, W9, W10, W17: whatever realm and scopes, a strict parser reads them back. W12: there
        // is no `error_uri`, nor anything else.
        #[test]
        fn w17_challenges_survive_a_strict_parser(
            realm in "[ -~]{1,40}",
            scopes in proptest::collection::vec("[!#-\\[\\]-~]{1,8}", 0..6),
            kind in proptest::sample::select(RejectionKind::ALL),
        ) {
            let set: ScopeSet = scopes.iter().map(String::as_str).collect();
            let text = challenge(&realm, kind, Some(set.as_str()));
            if text.is_empty() {
                let refusal = Refusal::Rejection(Rejection::new(kind));
                let wire = wire(&refusal, Disclosure::default());
                prop_assert_eq!(wire.challenge, Challenged::No);
                return Ok(());
            }
            let params = parse(&text);
            let get = |name: &str| {
                let mut found = params.iter().filter(|(n, _)| n == name);
                let value = found.next().map(|(_, value)| value.clone());
                assert!(found.next().is_none(), "{name} occurs twice");
                value
            };
            let known = ["realm", "scope", "error", "error_description"];
            prop_assert!(params.iter().all(|(name, _)| known.contains(&&**name)));
            prop_assert_eq!(get("realm"), Some(realm));
            prop_assert_eq!(get("scope"), (!set.is_empty()).then(|| set.to_string()));
            prop_assert_eq!(get("error").is_some(), get("error_description").is_some());
            prop_assert_eq!(get("error").is_none(), kind == RejectionKind::NoCredentials);
        }
    }
}
