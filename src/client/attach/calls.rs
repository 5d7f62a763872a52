//! Tokens and DPoP proofs written into the header of a request, for HTTP clients that the layer doesn't
//! wrap.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::client::attach::challenge::{self, Objection};
use crate::client::dpop::{Side, Target};
use crate::client::grant::definition::Grant;
use crate::client::grant::error::TokenError;
use crate::client::tokens::on_behalf::OnBehalf;
use crate::client::tokens::source::TokenSource;
use crate::client::tokens::token::{Bound, Token};
use crate::clock::Clock;
use crate::credentials::provider::SecretError;
use crate::telemetry::event;
use crate::transport::Origin;

const PROOF: HeaderName = HeaderName::from_static("dpop");

/// For HTTP clients that aren't tower services, with tokens that may be bound to a key.
impl TokenSource {
    /// Writes a token into the header of a request: the field `Authorization`, and for a token that is
    /// bound to a key the field `DPoP` with a proof for this method and URL (RFC 9449 §7.1).
    ///
    /// A proof is valid for one request: call this again for every attempt.
    ///
    /// ```no_run
    /// use http::{HeaderMap, Method, StatusCode, Uri};
    /// use tower_bearer::client::TokenSource;
    ///
    /// # async fn send(_: &HeaderMap) -> Result<http::Response<()>, std::io::Error> {
    /// #     Ok(http::Response::new(()))
    /// # }
    /// # async fn example(tokens: TokenSource) -> Result<(), Box<dyn std::error::Error>> {
    /// let url = Uri::from_static("https://orders.example/orders/7");
    /// let token = tokens.token().await?;
    /// let mut headers = HeaderMap::new();
    ///
    /// tokens.authorize(&token, &Method::GET, &url, &mut headers)?;
    /// let mut answer = send(&headers).await?;
    /// if tokens.wants_nonce(&token, &url, answer.status(), answer.headers()) {
    ///     tokens.authorize(&token, &Method::GET, &url, &mut headers)?;
    ///     answer = send(&headers).await?;
    ///     tokens.wants_nonce(&token, &url, answer.status(), answer.headers());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If no proof can be made, as for a URL without a host.
    pub fn authorize(
        &self,
        token: &Token,
        method: &Method,
        url: &Uri,
        headers: &mut HeaderMap,
    ) -> Result<(), TokenError> {
        self.prover().authorize(token, method, url, headers)
    }

    /// Records the nonce that an answer to a request with a bound token may have, and returns `true` if the
    /// server wants the request once more with it (RFC 9449 §9).
    ///
    /// Call it for every answer, since the newest nonce is the one to use, and send a request once more
    /// at most: a server could ask for ever. For a token that isn't bound, nothing is recorded.
    pub fn wants_nonce(
        &self,
        token: &Token,
        url: &Uri,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> bool {
        self.prover().wants_nonce(token, url, status, headers)
    }
}

/// For tokens on behalf of callers that may be bound to a key.
impl OnBehalf {
    /// Writes a token into the header of a request, as
    /// [`TokenSource::authorize`](crate::client::TokenSource::authorize) does: the field `Authorization`, and
    /// for a token that is bound to a key ([`GrantBuilder::dpop`](crate::client::GrantBuilder::dpop)) the
    /// field `DPoP` with a proof for this method and URL.
    ///
    /// A proof is valid for one request: call this again for every attempt. The key is that of the grant, the
    /// same for all callers.
    ///
    /// # Errors
    ///
    /// If no proof can be made, as for a URL without a host, or for a bound token if this grant has no key.
    pub fn authorize(
        &self,
        token: &Token,
        method: &Method,
        url: &Uri,
        headers: &mut HeaderMap,
    ) -> Result<(), TokenError> {
        self.prover().authorize(token, method, url, headers)
    }

    /// Records the nonce that an answer to a request with a bound token may have, and returns `true` if the
    /// server wants the request once more with it, as
    /// [`TokenSource::wants_nonce`](crate::client::TokenSource::wants_nonce) does.
    pub fn wants_nonce(
        &self,
        token: &Token,
        url: &Uri,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> bool {
        self.prover().wants_nonce(token, url, status, headers)
    }

    fn prover(&self) -> Prover<'_> {
        Prover { grant: self.grant(), clock: self.clock() }
    }
}

impl TokenSource {
    pub(crate) fn prover(&self) -> Prover<'_> {
        Prover { grant: self.grant(), clock: self.clock() }
    }
}

/// Makes the proofs for the tokens of one grant, and records the nonces that they need.
pub(crate) struct Prover<'a> {
    grant: &'a Grant,
    clock: &'a dyn Clock,
}

impl Prover<'_> {
    fn authorize(
        &self,
        token: &Token,
        method: &Method,
        url: &Uri,
        headers: &mut HeaderMap,
    ) -> Result<(), TokenError> {
        let proof = match token.bound() {
            None => None,
            Some(bound) => {
                let no_host =
                    || SecretError::malformed("a proof needs the whole URL of the request");
                let origin =
                    Origin::of(url).ok_or_else(no_host).map_err(TokenError::credentials)?;
                self.prove(bound, Target { method, origin: &origin, path: url.path() })?
            }
        };
        write(token, proof, headers);
        Ok(())
    }

    fn wants_nonce(
        &self,
        token: &Token,
        url: &Uri,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> bool {
        let Some(origin) = Origin::of(url).filter(|_| token.bound().is_some()) else {
            return false;
        };
        self.objection(token, &origin, status, headers) == Objection::NonceWanted
    }

    /// Makes the proof of a request with a bound token.
    pub(crate) fn prove(
        &self,
        bound: &Bound,
        target: Target<'_>,
    ) -> Result<Option<HeaderValue>, TokenError> {
        let Some(dpop) = &self.grant.definition().dpop else {
            let foreign = SecretError::malformed("the token is bound to the key of another source");
            return Err(TokenError::credentials(foreign));
        };
        let hash = bound.hash.as_deref();
        let proof = dpop.prove(&bound.key, Side::Resource, target, hash, self.clock.now());
        proof.map(Some).map_err(|error| TokenError::credentials(error).about(self.grant.party()))
    }

    /// Reads what an answer says of the token, and records the nonce that it may have. An answer that wants
    /// a nonce and brings none is no reason for a retry.
    pub(crate) fn objection(
        &self,
        token: &Token,
        origin: &Origin,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Objection {
        let objection = challenge::read(status, headers, token.bound().is_some());
        let dpop = self.grant.definition().dpop.as_ref().filter(|_| token.bound().is_some());
        let Some(dpop) = dpop else { return objection };
        let has_nonce = dpop.note(Side::Resource, origin, headers);
        match objection {
            Objection::NonceWanted if !has_nonce => Objection::Nothing,
            Objection::ProofRefused => {
                event!(DEBUG, "client_dpop_refused: the server refuses the proof of a request");
                dpop.suspect_clock(headers, self.clock.now());
                objection
            }
            other => other,
        }
    }
}

/// Writes a token, and its proof, into a request's header. A proof that is there already, of an earlier attempt
/// or of the caller whose request is passed on, is for another token.
pub(crate) fn write(token: &Token, proof: Option<HeaderValue>, headers: &mut HeaderMap) {
    headers.insert(AUTHORIZATION, token.header_value());
    match proof {
        Some(proof) => drop(headers.insert(PROOF, proof)),
        None => drop(headers.remove(PROOF)),
    }
}
