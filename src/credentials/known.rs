use crate::credentials::text::trim;
use crate::digest::{Digest, Parts};
use crate::secret::Secret;

/// A secret, and what it is told apart by.
#[derive(Clone)]
pub(crate) struct Known {
    secret: Secret,
    fingerprint: Digest,
}

impl Known {
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
