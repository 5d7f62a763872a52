//! The JWT that a platform issues to a workload, as a client's proof of identity.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::UnixTime;
use crate::credentials::file::FileSecret;
use crate::credentials::fingerprinted::FingerprintedSecret;
use crate::credentials::jwt;
use crate::credentials::provider::{SecretError, SecretErrorKind, SecretFn, SecretProvider};
use crate::credentials::source::SecretSource;
#[cfg(feature = "client")]
use crate::digest::{Digest, Parts};
use crate::secret::Secret;
use crate::telemetry::event;

/// The least time that a platform leaves before expiry when it replaces tokens: Kubernetes does so when a
/// fifth of the lifetime is left, which is ten minutes at least.
const LATE: Duration = Duration::from_secs(60);

/// The JWT that the platform gives to a workload, and replaces while it runs: a projected service
/// account token of Kubernetes, the federated token file of Azure, or a JWT-SVID of SPIFFE.
///
/// It takes the place of a client's secret ([`ClientAuth::workload`](crate::client::ClientAuth::workload)).
/// It is read again for each fetch of an access token, since it may be replaced at any time: by another
/// file moved over the old one, or by a symbolic link that leads elsewhere. If the authorization server
/// refuses it with `invalid_client`, it is read once more, and the fetch is repeated if it has changed.
///
/// A text that isn't a JWT, since it is empty, larger than 16 KiB or half written, is not used: while it is in
/// the file, or the file is missing, the previous token is used until its `exp`, if it has one. After that, and
/// if the token has expired, the fetch fails with [`SecretErrorKind::Expired`], and nothing is sent. The
/// signature, the audience and the rest are for the authorization server to check. A token that has less than a
/// minute left causes the event `client_workload_token_late`: the platform may have stopped replacing it.
///
/// Its `exp` brings no fetch forward: an access token is used until its own end, whatever becomes of the token it
/// was granted for, and the next fetch finds the one that the platform has put in place by then.
///
/// ```
/// use tower_bearer::Secret;
/// use tower_bearer::client::{AssertionType, ClientAuth, SecretError, SecretErrorKind, WorkloadToken};
///
/// // A projected service account token.
/// let token = WorkloadToken::file("/var/run/secrets/tokens/issuer-example");
/// let auth = ClientAuth::workload("billing", token);
///
/// // A JWT-SVID of the Workload API, such as from the crate `spiffe`.
/// # async fn fetch_jwt_svid(_audience: &str) -> Result<String, std::io::Error> { Ok(String::new()) }
/// let svid = WorkloadToken::from_fn(|| async {
///     match fetch_jwt_svid("https://issuer.example").await {
///         Ok(svid) => Ok(Secret::new(svid)),
///         Err(error) => Err(SecretError::new(SecretErrorKind::Unavailable).with_source(error)),
///     }
/// });
/// let id = "spiffe://example.org/billing";
/// let auth = ClientAuth::workload_as(id, svid, AssertionType::JwtSpiffe);
/// ```
#[derive(Clone)]
pub struct WorkloadToken(SecretSource);

impl WorkloadToken {
    /// Reads the token from the file at this path, which needn't exist yet.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::new(FileSecret::new(path))
    }

    /// Takes the token from this provider, which is asked for each fetch.
    pub fn new(provider: impl SecretProvider) -> Self {
        Self(SecretSource::of_workload(provider))
    }

    /// Takes the token from what this function returns, which is called for each fetch.
    pub fn from_fn<F, R>(token: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Secret, SecretError>> + Send + 'static,
    {
        Self::new(SecretFn::new(token))
    }

    pub(crate) const fn source(&self) -> &SecretSource {
        &self.0
    }

    /// Returns the token, unless it has expired.
    pub(crate) fn assertion(
        known: &FingerprintedSecret,
        now: UnixTime,
    ) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let token = known.expose();
        let expiry = jwt::expiry(token);
        if expiry.is_some_and(|expiry| expiry <= now) {
            return Err(SecretError::new(SecretErrorKind::Expired));
        }
        let left = expiry.map(|expiry| expiry.saturating_since(now));
        if left.is_some_and(|left| left < LATE) {
            event!(
                WARN,
                seconds_left = left.unwrap_or_default().as_secs(),
                "client_workload_token_late: the workload's token is about to expire, and wasn't replaced"
            );
        }
        Ok(Zeroizing::new(token.to_vec()))
    }

    /// Returns a digest of the workload: its processes share the tokens that are granted to it.
    #[cfg(feature = "client")]
    pub(crate) fn holder(known: &FingerprintedSecret) -> Digest {
        match jwt::holder(known.expose()) {
            Some((issuer, subject)) => Parts::new("workload").part(issuer).part(subject).finish(),
            // The token names no subject.
            None => *known.fingerprint(),
        }
    }
}

impl fmt::Debug for WorkloadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadToken").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    fn known(claims: &str) -> FingerprintedSecret {
        FingerprintedSecret::new(Secret::new(jwt(claims)))
    }

    #[test]
    fn wi2_wi3_an_expired_token_is_not_used_and_one_without_exp_is() {
        let at = UnixTime::from_secs;
        let made = |claims, now| WorkloadToken::assertion(&known(claims), at(now));
        assert!(made(r#"{"exp":100}"#, 99).is_ok());
        assert_eq!(made(r#"{"exp":100}"#, 100).unwrap_err().kind(), SecretErrorKind::Expired);
        assert_eq!(made(r#"{"exp":99.5}"#, 100).unwrap_err().kind(), SecretErrorKind::Expired);
        // Tokens of Kubernetes that are stored in secrets have no `exp`.
        assert!(made("{}", 100).is_ok());
    }

    #[cfg(feature = "client")]
    #[test]
    fn those_of_one_workload_have_one_holder() {
        let holder = |claims| WorkloadToken::holder(&known(claims));
        let first = holder(r#"{"iss":"i","sub":"s","exp":1}"#);
        assert_eq!(first, holder(r#"{"iss":"i","sub":"s","exp":2}"#));
        for other in [r#"{"iss":"i","sub":"t"}"#, r#"{"iss":"j","sub":"s"}"#, r#"{"sub":"s"}"#] {
            assert_ne!(first, holder(other));
        }
        // Tokens without a subject are never of the same workload.
        for anonymous in [[r#"{"jti":"1"}"#, r#"{"jti":"2"}"#], [r#"{"iss":"i","sub":7}"#, "{}"]] {
            assert_ne!(holder(anonymous[0]), holder(anonymous[1]));
        }
    }
}
