//! The proof and the certificate that a request shows beside its token.

#[cfg(feature = "mtls")]
use http::Extensions;
use http::Request;
use serde::de::DeserializeOwned;

#[cfg(feature = "dpop")]
use crate::binding::dpop::target::Target;
#[cfg(feature = "mtls")]
use crate::binding::mtls::checker::{Field, Shown};
#[cfg(feature = "dpop")]
use crate::metadata::full_uri;
use crate::middleware::authority::Authority;
#[cfg(feature = "mtls")]
use crate::middleware::bearer;
#[cfg(feature = "dpop")]
use crate::middleware::context::Context;
#[cfg(feature = "dpop")]
use crate::middleware::proof::Sent;
#[cfg(feature = "dpop")]
use crate::middleware::routes::access::Rules;
#[cfg(feature = "dpop")]
use crate::progress::Progress;
#[cfg(feature = "dpop")]
use crate::token::AccessToken;
use crate::validator::Presented;
#[cfg(feature = "dpop")]
use crate::validator::Proof;

/// What a layer removed from a request, for inner layers with the same validator.
#[cfg(feature = "mtls")]
#[derive(Clone)]
struct Taken {
    field: Field,
    /// The address of the validator.
    by: usize,
}

impl<C: DeserializeOwned + Send + Sync + 'static> Authority<C> {
    /// Removes a proxy's field with the client's certificate from a request.
    #[cfg(feature = "mtls")]
    pub(crate) fn take_field<B>(&self, request: &mut Request<B>) -> Field {
        let Some(checker) = self.validator.mtls() else { return Field::None };
        if checker.field_name().is_none() {
            return Field::None;
        }
        let by = self.validator.address();
        match request.extensions().get::<Taken>() {
            Some(taken) if taken.by == by => return taken.field.clone(),
            _ => {}
        }
        let field = checker.take(request);
        if matches!(field, Field::One(_) | Field::Many) {
            request.extensions_mut().insert(Taken { field: field.clone(), by });
        }
        field
    }

    /// Returns what a request with a bearer token presents.
    #[cfg(feature = "mtls")]
    pub(crate) fn presented<'a, B>(
        &self,
        request: &'a Request<B>,
        field: &'a Field,
    ) -> Presented<'a> {
        let presented = Presented::bearer(bearer::token(request.headers()));
        presented.with_certificate(self.shown(field, request.extensions()))
    }

    #[cfg(feature = "mtls")]
    fn shown<'a>(&self, field: &'a Field, extensions: &'a Extensions) -> Option<Shown<'a>> {
        self.validator.mtls().map(|_| Shown::Unread { field, extensions })
    }

    /// Decides about a token that is sent with the scheme `DPoP`; `None` if it isn't, or that scheme is
    /// unknown.
    #[cfg(feature = "dpop")]
    pub(crate) fn authenticate_proved<B>(
        &self,
        request: &Request<B>,
        rules: &Rules<'_>,
        #[cfg(feature = "mtls")] field: &Field,
    ) -> Option<Progress<AccessToken<C>>> {
        self.validator.dpop()?;
        let sent = match Sent::read(request.headers())? {
            Ok(sent) => sent,
            Err(rejection) => return Some(Progress::Ready(Err(rejection.into()))),
        };
        if let Some(token) = Context::proved(request.extensions(), &sent, self.validator.address())
        {
            return Some(Progress::Ready(Ok(token)));
        }
        let target = Target::new(request.method(), full_uri(request), request.headers());
        let target = match &self.validator.dpop()?.forwarded {
            None => target,
            Some(trusted) => match trusted.place(request.extensions(), request.headers()) {
                Ok(place) => target.at(place),
                Err(refusal) => return Some(Progress::Ready(Err(refusal))),
            },
        };
        let proof = Proof { text: sent.proof(), target };
        let presented = Presented::bearer(sent.token()).with_proof(proof);
        #[cfg(feature = "mtls")]
        let presented = presented.with_certificate(self.shown(field, request.extensions()));
        Some(self.authenticate(&presented, rules))
    }
}
