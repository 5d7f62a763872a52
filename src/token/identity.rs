//! Issuer and subject together, the key for records about users.

use std::fmt;
use std::sync::Arc;

/// The subject of a token, which is meaningful only together with its issuer.
///
/// Two authorization servers may have the same `sub` for different users (RFC 7519 §4.1.2), so records
/// of a service with several issuers are kept by this, and never by `sub` alone.
///
/// ```
/// use std::collections::HashMap;
/// use tower_bearer::AccessToken;
/// use tower_bearer::token::Identity;
///
/// fn visits(seen: &mut HashMap<Identity, u64>, token: &AccessToken) -> Option<u64> {
///     let count = seen.entry(token.identity()?).or_default();
///     *count += 1;
///     Some(*count)
/// }
/// ```
///
/// `Debug` shows neither of the two.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Identity {
    issuer: Arc<str>,
    subject: Arc<str>,
}

impl Identity {
    pub(crate) fn new(issuer: Arc<str>, subject: &str) -> Self {
        Self { issuer, subject: subject.into() }
    }

    /// Returns the issuer: the same text for all spellings of one configured issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns `sub`.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}
