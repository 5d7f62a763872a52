//! A secret with its fingerprint, by which secrets are compared.

use crate::credentials::text::trim;
use crate::digest::{Digest, Parts};
use crate::secret::Secret;

/// A secret with its fingerprint, which distinguishes it from others.
#[derive(Clone)]
pub(crate) struct FingerprintedSecret {
    secret: Secret,
    fingerprint: Digest,
}

impl FingerprintedSecret {
    pub(crate) fn new(secret: Secret) -> Self {
        let secret = trim(secret);
        let fingerprint = Parts::new("credential").part(secret.expose()).finish();
        Self { secret, fingerprint }
    }

    pub(crate) fn expose(&self) -> &[u8] {
        self.secret.expose()
    }

    pub(crate) fn fingerprint(&self) -> &Digest {
        &self.fingerprint
    }
}
