//! What a request presents: its token, and its proof or certificate.

#[cfg(feature = "dpop")]
use crate::binding::dpop::target::{OwnTarget, Target};
#[cfg(feature = "mtls")]
use crate::binding::mtls::Certificate;
#[cfg(feature = "mtls")]
use crate::binding::mtls::checker::{Checker, Shown};
#[cfg(feature = "mtls")]
use crate::refusal::Refusal;

/// What a request presents to be authenticated.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) token: &'a [u8],
    /// The one issuer whose tokens the route accepts, if it names one: it may be asked about a token that
    /// doesn't name its issuer.
    pub(crate) issuer: Option<&'a str>,
    /// Proof that the sender has the key that the token is bound to (RFC 9449 §7.1). A bearer token
    /// (RFC 6750) has none: any party in possession of it may use it.
    #[cfg(feature = "dpop")]
    pub(crate) proof: Option<Proof<'a>>,
    /// Where the sender's certificate is found (RFC 8705 §3).
    #[cfg(feature = "mtls")]
    pub(crate) certificate: Option<Shown<'a>>,
}

/// A DPoP proof, and the request that it came with.
#[cfg(feature = "dpop")]
#[derive(Clone, Copy)]
pub(crate) struct Proof<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) target: Target<'a>,
}

impl<'a> Presented<'a> {
    pub(crate) const fn bearer(token: &'a [u8]) -> Self {
        Self {
            token,
            issuer: None,
            #[cfg(feature = "dpop")]
            proof: None,
            #[cfg(feature = "mtls")]
            certificate: None,
        }
    }

    #[cfg(feature = "dpop")]
    pub(crate) const fn with_proof(self, proof: Proof<'a>) -> Self {
        Self { proof: Some(proof), ..self }
    }

    #[cfg(feature = "mtls")]
    pub(crate) const fn with_certificate(self, certificate: Option<Shown<'a>>) -> Self {
        Self { certificate, ..self }
    }
}

/// What a request presents beside its token, for after a wait.
#[cfg(any(feature = "dpop", feature = "mtls"))]
pub(crate) struct OwnPresented {
    #[cfg(feature = "dpop")]
    proof: Option<(Box<[u8]>, OwnTarget)>,
    #[cfg(feature = "mtls")]
    certificate: Option<Result<Certificate, Refusal>>,
}

#[cfg(any(feature = "dpop", feature = "mtls"))]
impl OwnPresented {
    pub(crate) fn of(
        presented: &Presented<'_>,
        #[cfg(feature = "mtls")] checker: Option<&Checker>,
    ) -> Self {
        Self {
            #[cfg(feature = "dpop")]
            proof: presented.proof.map(|it| (it.text.into(), it.target.to_owned())),
            #[cfg(feature = "mtls")]
            certificate: checker.map(|checker| checker.certificate(presented.certificate)),
        }
    }

    pub(crate) fn borrow(&self) -> Presented<'_> {
        let presented = Presented::bearer(&[]);
        #[cfg(feature = "dpop")]
        let presented = match &self.proof {
            Some((text, target)) => presented.with_proof(Proof { text, target: target.borrow() }),
            None => presented,
        };
        #[cfg(feature = "mtls")]
        let presented = presented.with_certificate(self.certificate.as_ref().map(Shown::Read));
        presented
    }
}
