//! Which claim holds the id of the client that obtained the token, for servers that don't follow RFC 9068.

use crate::error::ConfigError;
use crate::token::taken::is_taken;

/// Where the id of the client that obtained the token is found.
///
/// RFC 9068 §2.2 knows one place, the claim `client_id`. Authorization servers know more. The first
/// of these claims that a token has is what [`Claims::client_id`](crate::token::Claims::client_id)
/// returns, and what [`RequiredClaim::ClientId`](crate::RequiredClaim::ClientId) asks for. Each of
/// them must be a string wherever it is.
///
/// ```
/// use tower_bearer::token::ClientIdSource;
///
/// let source = ClientIdSource::claims(["client_id", "azp"])?;
/// assert_eq!(source, ClientIdSource::keycloak());
/// # Ok::<(), tower_bearer::ConfigError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientIdSource {
    /// Names of top-level claims, the first the best; at least one.
    claims: Vec<Box<str>>,
}

impl ClientIdSource {
    const MAX: usize = 8;

    fn of<const N: usize>(claims: [&str; N]) -> Self {
        Self { claims: claims.into_iter().map(Box::from).collect() }
    }

    /// `client_id`, as in RFC 9068: the default. Cognito, Ory Hydra, PingFederate and Zitadel use it.
    pub fn rfc9068() -> Self {
        Self::of(["client_id"])
    }

    /// Keycloak, and authentik: `client_id` where a mapper adds it, or else `azp`.
    pub fn keycloak() -> Self {
        Self::of(["client_id", "azp"])
    }

    /// Auth0: `client_id` with its profile of RFC 9068, or else `azp`.
    pub fn auth0() -> Self {
        Self::of(["client_id", "azp"])
    }

    /// Okta: `cid`.
    pub fn okta() -> Self {
        Self::of(["cid"])
    }

    /// Microsoft Entra: `azp` in tokens of version 2, `appid` in those of version 1.
    pub fn entra() -> Self {
        Self::of(["azp", "appid"])
    }

    /// AD FS: `appid`, or else `client_id`.
    pub fn adfs() -> Self {
        Self::of(["appid", "client_id"])
    }

    /// Google: `azp`.
    pub fn google() -> Self {
        Self::of(["azp"])
    }

    /// Kubernetes' bound service account tokens, JWT-SVIDs, and other tokens of workloads, which
    /// have no client beside the subject: `sub`.
    pub fn subject() -> Self {
        Self::of(["sub"])
    }

    /// The first of these top-level claims that is present: 1 to 8 of them.
    ///
    /// # Errors
    ///
    /// If there are none or too many, or one has no name, occurs twice, or has another meaning,
    /// such as `aud`.
    pub fn claims<'a>(claims: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        let claims: Vec<Box<str>> = claims.into_iter().map(Box::from).collect();
        if !(1..=Self::MAX).contains(&claims.len()) {
            return Err(ConfigError::new(format!(
                "{} claims that may hold the client's id: name 1 to {}",
                claims.len(),
                Self::MAX
            )));
        }
        for (at, claim) in claims.iter().enumerate() {
            if claim.trim().is_empty() || claims.iter().take(at).any(|before| before == claim) {
                return Err(ConfigError::new(format!(
                    "the claim {claim:?} for the client's id has no name, or occurs twice"
                )));
            }
            if is_taken(claim, &[]) {
                return Err(ConfigError::new(format!(
                    "the claim {claim:?} can't hold the client's id, it has another meaning: name \
                     another"
                )));
            }
        }
        Ok(Self { claims })
    }

    /// Returns the rank of a claim, 0 being the best; `None` if it isn't a source.
    pub(crate) fn rank(&self, claim: &str) -> Option<usize> {
        self.claims.iter().position(|name| **name == *claim)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.claims.iter().map(AsRef::as_ref)
    }
}

impl Default for ClientIdSource {
    fn default() -> Self {
        Self::rfc9068()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fb8_claims_that_cannot_hold_a_client_id_are_refused() {
        let refused = |claims: &[&str]| ClientIdSource::claims(claims.iter().copied()).is_err();
        for claims in [&[][..], &[""], &[" "], &["azp", "azp"], &["aud"], &["azp", "typ"]] {
            assert!(refused(claims), "{claims:?}");
        }
        assert!(refused(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]));
        for claims in [&["azp"][..], &["sub"], &["https://my.example/client", "client_id"]] {
            assert!(!refused(claims), "{claims:?}");
        }
    }
}
