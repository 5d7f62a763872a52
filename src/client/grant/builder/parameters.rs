//! What may be asked for.

use crate::client::grant::builder::GrantBuilder;
use crate::error::ConfigError;

/// What RFC 6749 and its extensions give a meaning to; these have setters of their own.
pub(crate) const RESERVED: [&str; 9] = [
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
}

/// Refuses types whose tokens aren't sent as bearer tokens.
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
