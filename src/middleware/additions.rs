//! The header fields that are added to a response because of the request's proof or certificate.

use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderName, HeaderValue, Request, Response};

use crate::middleware::authority::Authority;
#[cfg(feature = "dpop")]
use crate::middleware::proof::Sent;
#[cfg(feature = "dpop")]
use crate::refusal::{Refusal, RejectionKind};
use crate::token::AccessToken;

/// What is added to the inner service's response.
pub(crate) struct Additions {
    /// For the client's next proof.
    pub(crate) nonce: Option<HeaderValue>,
    /// The field of the request that let it pass.
    pub(crate) vary: Option<HeaderName>,
}

impl Additions {
    #[cold]
    pub(crate) fn add_to<B>(self, response: &mut Response<B>) {
        // RFC 9449 §8.2: the next request needs this nonce. A cache must not give it to others.
        if let Some(nonce) = self.nonce.filter(|_| response.status().is_success()) {
            response.headers_mut().insert(HeaderName::from_static("dpop-nonce"), nonce);
            let caching = response.headers_mut().entry(CACHE_CONTROL);
            caching.or_insert(HeaderValue::from_static("no-store"));
        }
        // RFC 9440 §4: another client must not get it from a cache either.
        if let Some(vary) = self.vary {
            response.headers_mut().append(VARY, vary.into());
        }
    }
}

impl<C> Authority<C> {
    /// Returns what is to be added to the response to a request that was accepted: nothing.
    #[cfg(not(any(feature = "dpop", feature = "mtls")))]
    pub(crate) const fn additions<B>(
        &self,
        _: &Request<B>,
        _: Option<&AccessToken<C>>,
    ) -> Option<Box<Additions>> {
        None
    }

    /// Returns what is to be added to the response to a request that was accepted.
    #[cfg(any(feature = "dpop", feature = "mtls"))]
    #[inline]
    pub(crate) fn additions<B>(
        &self,
        request: &Request<B>,
        token: Option<&AccessToken<C>>,
    ) -> Option<Box<Additions>> {
        match token {
            Some(token) if token.is_bound() => self.additions_for_bound(request, token),
            _ => None,
        }
    }

    #[cfg(any(feature = "dpop", feature = "mtls"))]
    #[cold]
    fn additions_for_bound<B>(
        &self,
        request: &Request<B>,
        token: &AccessToken<C>,
    ) -> Option<Box<Additions>> {
        #[cfg(feature = "dpop")]
        let nonce = self.newer_nonce(request, token);
        #[cfg(not(feature = "dpop"))]
        let nonce = {
            let _ = request;
            None
        };
        #[cfg(feature = "mtls")]
        let vary = token.certificate_thumbprint().and_then(|_| self.validator.mtls()?.field_name());
        #[cfg(not(feature = "mtls"))]
        let vary: Option<&HeaderName> = None;
        (nonce.is_some() || vary.is_some())
            .then(|| Box::new(Additions { nonce, vary: vary.cloned() }))
    }

    /// Returns a newer nonce than that of the request's proof, which was accepted.
    #[cfg(feature = "dpop")]
    fn newer_nonce<B>(&self, request: &Request<B>, token: &AccessToken<C>) -> Option<HeaderValue> {
        let checker = self.validator.dpop()?;
        token.key_thumbprint()?;
        let sent = Sent::read(request.headers())?.ok()?;
        let nonce = checker.newer_nonce(sent.proof(), self.validator.now())?;
        HeaderValue::try_from(&*nonce).ok()
    }

    /// Returns the nonce for a client that was refused because it had none (RFC 9449 §9).
    #[cfg(feature = "dpop")]
    pub(crate) fn nonce_for(&self, refusal: &Refusal) -> Option<HeaderValue> {
        match refusal {
            Refusal::Rejection(it) if it.kind() == RejectionKind::DpopNonceRequired => {
                let nonce = self.validator.dpop()?.newest_nonce(self.validator.now())?;
                HeaderValue::try_from(&*nonce).ok()
            }
            _ => None,
        }
    }
}
