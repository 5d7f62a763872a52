//! Checks DPoP proofs of token requests, and binds tokens to their keys.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};

use crate::binding::dpop::target::Target;
use crate::refusal::{Refusal, RejectionKind};
use crate::testing::issuer::state::State;
use crate::testing::issuer::token_request::TokenError;
use crate::testing::tokens::token::TokenBuilder;

pub(crate) const USE_NONCE: &str = "use_dpop_nonce";
pub(crate) const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Binds a token to the key of the request's proof, if there is one (RFC 9449 §5), and returns its
/// type.
pub(crate) fn bind<'s>(
    state: &State,
    request: &Request<Bytes>,
    token: TokenBuilder<'s>,
) -> Result<(TokenBuilder<'s>, &'static str), TokenError> {
    let refuse = |why| TokenError("invalid_dpop_proof", why);
    let mut proofs = request.headers().get_all("dpop").iter();
    let Some(proof) = proofs.next() else { return Ok((token, "Bearer")) };
    if proofs.next().is_some() {
        return Err(refuse("there is more than one proof"));
    }
    let checker = state.proofs.as_ref().ok_or(refuse("the issuer's own URL is no origin"))?;
    let target = Target::new(request.method(), request.uri(), request.headers());
    match checker.check_token_request(proof.as_bytes(), &target, state.now()) {
        Ok(jkt) => Ok((token.bound_to_thumbprint(&jkt), "DPoP")),
        Err(Refusal::Rejection(rejection))
            if rejection.kind() == RejectionKind::DpopNonceRequired =>
        {
            Err(TokenError(USE_NONCE, "the proof needs a nonce"))
        }
        Err(refusal) => Err(refuse(refusal.code())),
    }
}

pub(crate) fn newest_nonce(state: &State) -> Option<HeaderValue> {
    let nonce = state.proofs.as_ref()?.newest_nonce(state.now())?;
    HeaderValue::try_from(&*nonce).ok()
}
