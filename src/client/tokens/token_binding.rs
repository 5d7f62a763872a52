//! What tokens are bound to, and whether that has changed: a DPoP key, the transport's certificate.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::client::dpop::{Dpop, Key};
use crate::client::grant::definition::Definition;
use crate::client::grant::error::TokenError;
use crate::client::tokens::core::Core;
use crate::client::tokens::held::Held;
use crate::credentials::provider::{SecretError, SecretErrorKind};

/// The time between two checks of a certificate that may be replaced.
const LOOK_AT_CERTIFICATE: Duration = Duration::from_secs(5);

/// The share of a fetch's time that such a check may take.
const PATIENCE: u32 = 4;

/// What the next token is bound to.
pub(crate) struct TokenBinding {
    pub(crate) key: Option<Arc<Key>>,
    /// The version of the certificate: 0 if there is none that may be replaced, `None` if it couldn't be
    /// determined.
    pub(crate) certificate: Option<u64>,
    /// When to check whether the key or the certificate was replaced.
    pub(crate) look_again_after: Option<Duration>,
}

impl TokenBinding {
    /// Reads the current key and the version of the certificate.
    pub(crate) async fn current(
        core: &Core,
        grant: &Definition,
        deadline: Instant,
    ) -> Result<Self, TokenError> {
        let key = match &grant.dpop {
            None => None,
            Some(dpop) => {
                let key = timeout_at(deadline, dpop.current(core.limits.timeout)).await;
                let late = Err(SecretError::new(SecretErrorKind::Unavailable));
                Some(key.unwrap_or(late).map_err(TokenError::credentials)?)
            }
        };
        let certificate = match grant.by_certificate {
            false => Some(0),
            true => {
                let version = core.transport.client_certificate_version();
                let patience = core.timeout.checked_div(PATIENCE).unwrap_or_default();
                timeout_at(deadline, timeout(patience, version)).await.ok().and_then(Result::ok)
            }
        };
        let looks = grant.dpop.as_ref().and_then(Dpop::look_again_after);
        let may_change = certificate != Some(0);
        let looks = looks.into_iter().chain(may_change.then_some(LOOK_AT_CERTIFICATE));
        Ok(Self { key, certificate, look_again_after: looks.min() })
    }

    /// Returns `true` if this token is bound to the same, or to no key at all, as where the server answers
    /// proofs with bearer tokens. A certificate that couldn't be checked counts as unchanged.
    pub(crate) fn matches(&self, held: &Held) -> bool {
        let is_free = held.token.bound().is_none();
        self.certificate.is_none_or(|version| held.certificate == version)
            && (is_free || held.token.is_bound_to(self.key.as_deref()))
    }

    /// Records this binding on a token that was obtained with it.
    pub(crate) fn apply_to(&self, held: Held, now: Instant) -> Held {
        let certificate = self.certificate.unwrap_or(held.certificate);
        Held { certificate, ..held }.looked_at(now, self.look_again_after)
    }
}
