#[cfg(feature = "dpop")]
use crate::binding::dpop::target::Target;

/// What a request presents to be authenticated by.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) token: &'a [u8],
    /// What shows that the sender has the key that the token is bound to (RFC 9449 §7.1). A bearer token
    /// (RFC 6750) comes without: any party in possession of it may use it.
    #[cfg(feature = "dpop")]
    pub(crate) proof: Option<Proof<'a>>,
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
            #[cfg(feature = "dpop")]
            proof: None,
        }
    }

    #[cfg(feature = "dpop")]
    pub(crate) const fn proved(token: &'a [u8], proof: Proof<'a>) -> Self {
        Self { token, proof: Some(proof) }
    }
}
