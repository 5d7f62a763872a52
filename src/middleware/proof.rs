//! Reads a token and its proof from a request with the scheme `DPoP` (RFC 9449 §7.1).

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::middleware::bearer::{Credentials, parse_scheme};
use crate::progress::Progress;
use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::telemetry::count;

pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");
const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

const SCHEME: &[u8] = b"dpop";

/// The fields of a request whose token is sent with a proof.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    authorization: HeaderValue,
    proof: HeaderValue,
}

/// What was sent, and the address of the validator that accepted it.
pub(crate) type Proved = (Sent, usize);

impl Sent {
    /// Reads the fields; `None` if the scheme is another one.
    ///
    /// # Errors
    ///
    /// If the credentials are malformed, or there isn't exactly one proof: neither of two is read, since
    /// a proxy in front may have read the other one.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Result<Self, Rejection>> {
        let authorization = headers.get(AUTHORIZATION)?;
        match parse_scheme(authorization.as_bytes(), SCHEME) {
            Credentials::None => return None,
            Credentials::Refused(kind) => return Some(Err(kind.into())),
            Credentials::Token(_) => {}
        }
        let mut proofs = headers.get_all(DPOP).iter();
        Some(match (proofs.next(), proofs.next()) {
            (Some(proof), None) if !proof.as_bytes().contains(&b',') => {
                Ok(Self { authorization: authorization.clone(), proof: proof.clone() })
            }
            (None, _) => Err(missing("there is no field DPoP")),
            (Some(_), _) => Err(missing("there is more than one")),
        })
    }

    pub(crate) fn token(&self) -> &[u8] {
        match parse_scheme(self.authorization.as_bytes(), SCHEME) {
            Credentials::Token(token) => token,
            Credentials::None | Credentials::Refused(_) => &[],
        }
    }

    pub(crate) fn proof(&self) -> &[u8] {
        self.proof.as_bytes()
    }

    /// Returns `true` if both are the same fields.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.authorization == other.authorization && self.proof == other.proof
    }
}

/// Returns `true` if the request's credentials are of this scheme.
pub(crate) fn is_used(headers: &HeaderMap) -> bool {
    let field = headers.get(AUTHORIZATION);
    field.is_some_and(|field| parse_scheme(field.as_bytes(), SCHEME) != Credentials::None)
}

/// Marks proofs as sensitive: they aren't printed, nor put into a compression table. Returns `true` if
/// there are any.
pub(crate) fn hide(headers: &mut HeaderMap) -> bool {
    let has_any = headers.contains_key(DPOP);
    if has_any {
        let fields = headers.iter_mut().filter(|(name, _)| **name == DPOP);
        fields.for_each(|(_, field)| field.set_sensitive(true));
    }
    has_any
}

/// Counts a proof that came with a bearer token, if that is accepted without one.
pub(crate) fn ignored<T: 'static>(authenticated: Progress<T>) -> Progress<T> {
    authenticated.map(|token| {
        count!("tower_bearer_dpop_proofs_total", "result" => "ignored");
        token
    })
}

/// Adds the nonce to an answer, whatever renderer returned it.
pub(crate) fn with_nonce<B>(mut response: Response<B>, nonce: Option<HeaderValue>) -> Response<B> {
    if let Some(nonce) = nonce {
        response.headers_mut().insert(NONCE, nonce);
    }
    response
}

fn missing(note: &'static str) -> Rejection {
    Rejection::with(RejectionKind::DpopProofMissing, Detail::Note(note))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        authorization: &[&str],
        proofs: &[&str],
    ) -> Option<Result<(String, String), RejectionKind>> {
        let mut headers = HeaderMap::new();
        for field in authorization {
            headers.append(AUTHORIZATION, field.parse().unwrap());
        }
        for proof in proofs {
            headers.append(DPOP, proof.parse().unwrap());
        }
        hide(&mut headers);
        assert!(headers.get_all(DPOP).iter().all(HeaderValue::is_sensitive), "D24");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(Sent::read(&headers).is_some(), is_used(&headers));
        Some(match Sent::read(&headers)? {
            Ok(sent) => Ok((text(sent.token()), text(sent.proof()))),
            Err(rejection) => Err(rejection.kind()),
        })
    }

    #[test]
    fn d14_the_scheme_is_read_in_any_case() {
        for field in ["DPoP a.b.c", "dpop a.b.c", "DPOP a.b.c", "dPoP   a.b.c"] {
            assert_eq!(read(&[field], &["p"]), Some(Ok(("a.b.c".into(), "p".into()))), "{field}");
        }
        for field in ["DPoP\ta", "DPoP", " DPoP a"] {
            let kind = RejectionKind::MalformedCredentials;
            assert_eq!(read(&[field], &["p"]), Some(Err(kind)), "{field:?}");
        }
        for field in ["Bearer a", "DPoPx a", "DPo a", "", "Basic DPoP"] {
            assert_eq!(read(&[field], &["p"]), None, "{field}");
        }
        assert_eq!(read(&[], &["p"]), None);
    }

    #[test]
    fn d18_d19_there_is_exactly_one_proof() {
        let kind = RejectionKind::DpopProofMissing;
        for proofs in [&[][..], &["p", "p"], &["p", "q"], &["p,p"], &["p, q"], &[","]] {
            assert_eq!(read(&["DPoP a"], proofs), Some(Err(kind)), "{proofs:?}");
        }
    }
}
