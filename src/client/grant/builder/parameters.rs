//! Checks the parameters of a token request: resources, audiences, additional parameters and token types.

use crate::client::grant::builder::GrantBuilder;
use crate::error::ConfigError;

/// Parameters that RFC 6749 and its extensions define, and that have setters of their own.
pub(crate) const RESERVED: [&str; 14] = [
    "grant_type",
    "scope",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "resource",
    "audience",
    "assertion",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
];

impl GrantBuilder {
    /// RFC 6749 §3.2: no parameter twice, and none without a value.
    pub(crate) fn check_parameters(&mut self) -> Result<(), ConfigError> {
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
        // Only RFC 8693 §2.1 allows several.
        if self.audiences.len() > 1 && self.kind.exchange().is_none() {
            return Err(ConfigError::new(
                "only a token exchange can ask for more than one audience",
            ));
        }
        self.parameters.retain(|(_, value)| !value.is_empty());
        for (at, (name, _)) in self.parameters.iter().enumerate() {
            if RESERVED.contains(&name.as_str()) || name.is_empty() {
                return Err(ConfigError::new(format!(
                    "the parameter {name:?} can't be set by .parameter(…): use its own method"
                )));
            }
            if self.parameters.iter().take(at).any(|(earlier, _)| earlier == name) {
                return Err(ConfigError::new(format!("the parameter {name:?} is set twice")));
            }
        }
        Ok(())
    }
}

/// Refuses token types that can't be sent as bearer tokens.
pub(crate) fn check_token_type(token_type: &str) -> Result<(), ConfigError> {
    if token_type.is_empty() {
        return Err(ConfigError::new(
            "the token type is empty: name it, or call .accept_missing_token_type()",
        ));
    }
    if ["dpop", "pop", "mac", "n_a"].contains(&token_type) {
        return Err(ConfigError::new(format!(
            "tokens of the type {token_type:?} can't be sent as bearer tokens"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::clock::UnixTime;
    use crate::credentials::audience::Recipient;
    use crate::credentials::authentication::ClientAuth;

    #[test]
    fn what_a_client_authenticates_with_is_reserved() {
        let issuer = Some("https://as.example");
        let recipient = Recipient { issuer, token_endpoint: "https://as.example/token" };
        let mut sent = Vec::new();
        for (client, known) in ClientAuth::one_of_each() {
            let proof =
                client.prove(Some(&known), recipient, UnixTime::from_secs(0), Duration::ZERO);
            let proof = proof.now_or_never().unwrap().unwrap();
            sent.extend(proof.parameters.iter().map(|parameter| parameter.pair().0.to_owned()));
        }
        let open: Vec<_> = sent.iter().filter(|name| !RESERVED.contains(&name.as_str())).collect();
        assert!(sent.len() > open.len());
        assert!(open.is_empty(), "parameters may set what the client authenticates with: {open:?}");
    }
}
