//! The trait of a signer that keeps the private key elsewhere, such as a key management service.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use crate::credentials::inquiry::PATIENCE;
use crate::credentials::provider::{SecretError, SecretErrorKind};
use crate::credentials::source::SecretSource;
use crate::digest::{Digest, Parts};

/// The future of [`AssertionSigner::sign`].
pub type SignatureFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<u8>, SecretError>> + Send + 'a>>;

/// Signs with a private key that is kept elsewhere: in a cloud's key management service, a hardware
/// security module or an agent.
///
/// It is called once for each token request, since each has its own assertion, and has five
/// seconds at most to answer, or half of the fetch's timeout if that is less.
///
/// # Errors
///
/// [`sign`](Self::sign) fails with a [`SecretError`]; after one of the kind
/// [`Unavailable`](SecretErrorKind::Unavailable) it is asked again within the same fetch.
///
/// # Examples
///
/// ```
/// use tower_bearer::client::{
///     Assertion, AssertionAlgorithm, AssertionSigner, ClientAuth, SecretError, SecretErrorKind,
///     SignatureFuture,
/// };
///
/// # struct Kms;
/// # impl Kms {
/// #     async fn sign(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, std::io::Error> { Ok(vec![]) }
/// # }
/// struct Key(Kms);
///
/// impl AssertionSigner for Key {
///     fn sign<'a>(&'a self, message: &'a [u8]) -> SignatureFuture<'a> {
///         Box::pin(async move {
///             let signature = self.0.sign("alias/billing", message).await;
///             signature.map_err(|error| SecretError::new(SecretErrorKind::Unavailable).with_source(error))
///         })
///     }
/// }
///
/// # fn example(kms: Kms) {
/// let assertion = Assertion::signed_by(AssertionAlgorithm::ES256, Key(kms)).key_id("2027-01");
/// let auth = ClientAuth::private_key_jwt("billing", assertion);
/// # }
/// ```
pub trait AssertionSigner: Send + Sync + 'static {
    /// Signs this message; the signer hashes it as the algorithm requires.
    ///
    /// An ECDSA signature may be in the form of JWS (RFC 7518 §3.4), which is two numbers of fixed
    /// length, or in DER, as most key management services return it.
    fn sign<'a>(&'a self, message: &'a [u8]) -> SignatureFuture<'a>;
}

impl<S: AssertionSigner + ?Sized> AssertionSigner for Arc<S> {
    fn sign<'a>(&'a self, message: &'a [u8]) -> SignatureFuture<'a> {
        (**self).sign(message)
    }
}

/// The key of an assertion: in this process, or with a signer.
#[derive(Clone)]
pub(crate) enum Key {
    Here(SecretSource),
    Elsewhere(Remote),
}

/// A signer, and its number within the process.
#[derive(Clone)]
pub(crate) struct Remote {
    signer: Arc<dyn AssertionSigner>,
    id: u64,
}

impl Remote {
    pub(crate) fn new(signer: impl AssertionSigner) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { signer: Arc::new(signer), id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// Returns what distinguishes this signer from others within the process.
    pub(crate) fn identity(&self) -> Digest {
        Parts::new("signer").part(self.id.to_be_bytes()).finish()
    }

    pub(crate) async fn sign(
        &self,
        message: &[u8],
        patience: Duration,
    ) -> Result<Vec<u8>, SecretError> {
        let signed = timeout(patience.min(PATIENCE), self.signer.sign(message)).await;
        signed.unwrap_or(Err(SecretError::new(SecretErrorKind::Unavailable)))
    }
}
