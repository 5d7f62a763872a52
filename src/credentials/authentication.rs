use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::clock::UnixTime;
use crate::credentials::assertion::{Assertion, Recipient};
use crate::credentials::form::{Space, encode_into};
use crate::credentials::known::Known;
use crate::credentials::provider::{SecretError, SecretErrorKind};
use crate::credentials::source::SecretSource;
use crate::credentials::text::fault;
use crate::digest::Parts;

/// How the client authenticates to the token endpoint.
///
/// Exactly this one way is used, and no other is tried if the server refuses it.
///
/// ```
/// use tower_bearer::client::{BasicEncoding, ClientAuth};
///
/// let usual = ClientAuth::basic("billing", "s3cret");
/// // For servers that don't decode what RFC 6749 has clients encode.
/// let raw = ClientAuth::basic_encoded("billing", "p%:+/ &=s", BasicEncoding::Raw);
/// ```
#[derive(Clone, Debug)]
pub struct ClientAuth {
    client_id: Box<str>,
    method: Method,
}

#[derive(Clone, Debug)]
enum Method {
    Basic(SecretSource, BasicEncoding),
    Body(SecretSource),
    PrivateKey(Assertion),
    SecretJwt(Assertion),
    Tls,
}

/// How identifier and secret are encoded before they are joined for HTTP Basic.
///
/// It makes a difference to characters other than letters, digits and `*-._`, and servers don't
/// agree. If a secret with such characters is refused, choose another encoding, or
/// [`ClientAuth::body`].
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BasicEncoding {
    /// Form-encoded, a space as `+`: as RFC 6749 §2.3.1 says.
    #[default]
    Form,
    /// Percent-encoded, a space as `%20`, for servers that leave a `+` as it is.
    Percent,
    /// Not at all, for servers that decode nothing.
    Raw,
}

/// What goes into a request so that the server knows the client.
pub(crate) struct Proof {
    pub(crate) header: Option<HeaderValue>,
    pub(crate) parameters: Vec<(&'static str, Zeroizing<Vec<u8>>)>,
}

impl ClientAuth {
    /// By HTTP Basic (`client_secret_basic`).
    pub fn basic(client_id: &str, secret: impl Into<SecretSource>) -> Self {
        Self::basic_encoded(client_id, secret, BasicEncoding::Form)
    }

    /// By HTTP Basic, with another encoding than RFC 6749 demands.
    pub fn basic_encoded(
        client_id: &str,
        secret: impl Into<SecretSource>,
        encoding: BasicEncoding,
    ) -> Self {
        Self::new(client_id, Method::Basic(secret.into(), encoding))
    }

    /// By parameters in the request's body (`client_secret_post`).
    ///
    /// RFC 6749 §2.3.1 advises against it; it is for servers that offer nothing else, or whose
    /// decoding of Basic can't be guessed.
    pub fn body(client_id: &str, secret: impl Into<SecretSource>) -> Self {
        Self::new(client_id, Method::Body(secret.into()))
    }

    /// By a JWT signed with a private key (`private_key_jwt`, RFC 7523 §2.2): no secret leaves the
    /// client.
    pub fn private_key_jwt(client_id: &str, assertion: Assertion) -> Self {
        Self::new(client_id, Method::PrivateKey(assertion))
    }

    /// By a JWT with an HMAC of the client's secret (`client_secret_jwt`).
    pub fn client_secret_jwt(client_id: &str, assertion: Assertion) -> Self {
        Self::new(client_id, Method::SecretJwt(assertion))
    }

    /// By the TLS certificate that the transport presents (`tls_client_auth`, RFC 8705 §2): nothing
    /// but the client's identifier is in the request.
    ///
    /// The transport must bring the certificate along; see `ReqwestTransportBuilder::client_certificate`. Where the
    /// token endpoint is discovered, it is that of the metadata's `mtls_endpoint_aliases` (RFC 8705
    /// §5), if there is one. Such tokens are never put into a shared cache: they may be bound to the
    /// certificate of one process.
    pub fn tls(client_id: &str) -> Self {
        Self::new(client_id, Method::Tls)
    }

    fn new(client_id: &str, method: Method) -> Self {
        Self { client_id: client_id.into(), method }
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Returns the name in the IANA registry "OAuth Token Endpoint Authentication Methods".
    pub(crate) const fn name(&self) -> &'static str {
        match self.method {
            Method::Basic(..) => "client_secret_basic",
            Method::Body(_) => "client_secret_post",
            Method::PrivateKey(_) => "private_key_jwt",
            Method::SecretJwt(_) => "client_secret_jwt",
            Method::Tls => "tls_client_auth",
        }
    }

    /// Returns `true` if the transport's TLS certificate says who the client is. Its tokens may be
    /// bound to it (RFC 8705 §3).
    pub(crate) const fn is_by_certificate(&self) -> bool {
        matches!(self.method, Method::Tls)
    }

    #[cfg(feature = "client")]
    pub(crate) const fn assertion(&self) -> Option<&Assertion> {
        match &self.method {
            Method::PrivateKey(assertion) | Method::SecretJwt(assertion) => Some(assertion),
            Method::Basic(..) | Method::Body(_) | Method::Tls => None,
        }
    }

    pub(crate) const fn source(&self) -> Option<&SecretSource> {
        match &self.method {
            Method::Basic(source, _) | Method::Body(source) => Some(source),
            Method::PrivateKey(assertion) | Method::SecretJwt(assertion) => Some(&assertion.key),
            Method::Tls => None,
        }
    }

    /// Returns `true` if the server has the secret, too.
    pub(crate) const fn shares_secret(&self) -> bool {
        !matches!(self.method, Method::PrivateKey(_))
    }

    /// Returns what is wrong with the settings, as far as it can be told.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.client_id.is_empty() {
            return Err("the client id is empty".into());
        }
        if let Some(fault) = fault(self.client_id.as_bytes()) {
            return Err(format!("the client id can't be sent: {fault} (RFC 6749 appendix A.1)"));
        }
        let fixed = self.source().and_then(SecretSource::fixed);
        if fixed.is_some_and(<[u8]>::is_empty) {
            return Err("the client's secret is empty".into());
        }
        if let Some(fault) = fixed.and_then(|secret| self.fault_of(secret)) {
            return Err(format!("the client's secret can't be sent: {fault}"));
        }
        match &self.method {
            Method::Basic(_, BasicEncoding::Raw) if self.client_id.contains(':') => {
                Err("a client id with ':' can't be sent by HTTP Basic without encoding".into())
            }
            Method::PrivateKey(assertion) => assertion.check(false),
            Method::SecretJwt(assertion) => assertion.check(true),
            Method::Basic(..) | Method::Body(_) | Method::Tls => Ok(()),
        }
    }

    /// Returns why this secret can't be one that a client sends, or signs with.
    fn fault_of(&self, secret: &[u8]) -> Option<String> {
        let fault = fault(secret).filter(|_| self.shares_secret())?;
        Some(format!("{fault} (RFC 6749 appendix A.2)"))
    }

    /// Makes what one request needs; an assertion is a new one each time.
    pub(crate) fn prove(
        &self,
        known: Option<&Known>,
        recipient: Recipient<'_>,
        now: UnixTime,
    ) -> Result<Proof, SecretError> {
        if let Some(fault) = known.and_then(|known| self.fault_of(known.expose())) {
            return Err(SecretError::malformed(fault));
        }
        let secret = || known.ok_or(SecretError::new(SecretErrorKind::NotFound));
        let client_id = || Zeroizing::new(self.client_id.as_bytes().to_vec());
        match &self.method {
            Method::Basic(_, encoding) => {
                let header = basic(&self.client_id, secret()?.expose(), *encoding);
                Ok(Proof { header: Some(header?), parameters: Vec::new() })
            }
            Method::Body(_) => {
                let secret = Zeroizing::new(secret()?.expose().to_vec());
                let parameters = vec![("client_id", client_id()), ("client_secret", secret)];
                Ok(Proof { header: None, parameters })
            }
            Method::PrivateKey(assertion) | Method::SecretJwt(assertion) => {
                const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                let assertion = assertion.make(&self.client_id, secret()?, recipient, now)?;
                let parameters = vec![
                    ("client_id", client_id()),
                    ("client_assertion_type", Zeroizing::new(JWT_BEARER.into())),
                    ("client_assertion", assertion),
                ];
                Ok(Proof { header: None, parameters })
            }
            Method::Tls => Ok(Proof { header: None, parameters: vec![("client_id", client_id())] }),
        }
    }

    /// Adds what tells this client from others, but for its secret.
    pub(crate) fn distinguish(&self, parts: Parts) -> Parts {
        let parts = parts.part(&*self.client_id).part(self.name());
        match &self.method {
            Method::Basic(_, encoding) => parts.part(format!("{encoding:?}")),
            Method::PrivateKey(assertion) | Method::SecretJwt(assertion) => {
                parts.list(assertion.distinction().into_iter())
            }
            Method::Body(_) | Method::Tls => parts,
        }
    }
}

impl Proof {
    /// Returns what was made of the secret or key, but for what a text is searched for anyway.
    #[cfg(feature = "client")]
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        let assertions = self.parameters.iter().filter(|(name, _)| *name == "client_assertion");
        assertions.map(|(_, value)| value.as_slice())
    }
}

/// `Basic`, and the base64 of identifier, colon and secret (RFC 7617 §2).
fn basic(id: &str, secret: &[u8], encoding: BasicEncoding) -> Result<HeaderValue, SecretError> {
    let longest = id.len().saturating_add(secret.len()).saturating_mul(3).saturating_add(1);
    let mut pair = Zeroizing::new(Vec::with_capacity(longest));
    let encode = |pair: &mut Vec<u8>, text: &[u8]| match encoding {
        BasicEncoding::Form => encode_into(pair, text, Space::Plus),
        BasicEncoding::Percent => encode_into(pair, text, Space::Percent20),
        BasicEncoding::Raw => pair.extend_from_slice(text),
    };
    encode(&mut pair, id.as_bytes());
    pair.push(b':');
    encode(&mut pair, secret);
    // Four characters for each three bytes begun, after "Basic ".
    let mut value =
        String::with_capacity(pair.len().div_ceil(3).saturating_mul(4).saturating_add(6));
    value.push_str("Basic ");
    BASE64_STANDARD.encode_string(&*pair, &mut value);
    let value = Bytes::from_owner(Zeroizing::new(value.into_bytes()));
    let mut value = HeaderValue::from_maybe_shared(value)
        .map_err(|_| SecretError::new(SecretErrorKind::Malformed))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: Recipient<'_> =
        Recipient { issuer: Some("https://as.example"), token_endpoint: "https://as.example/t" };

    fn header(id: &str, secret: &str, encoding: BasicEncoding) -> String {
        let auth = ClientAuth::basic_encoded(id, secret, encoding);
        let known = Known::new(crate::secret::Secret::new(secret));
        let proof = auth.prove(Some(&known), NOWHERE, UnixTime::from_secs(0)).unwrap();
        assert!(proof.parameters.is_empty(), "T6: one method only");
        let header = proof.header.unwrap();
        assert!(header.is_sensitive());
        header.to_str().unwrap().to_owned()
    }

    fn pair(id: &str, secret: &str, encoding: BasicEncoding) -> String {
        let header = header(id, secret, encoding);
        let decoded = BASE64_STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap();
        String::from_utf8(decoded).unwrap()
    }

    // T7: the vector of AppAuth-Android #337.
    #[test]
    fn t7_basic_encodes_each_half() {
        assert_eq!(
            header(
                "1PpG/Q 1",
                "z/tZ9VwFZqApmIQ+ZH1I5pLk/uB4ud:X2/8bL+wfFTt1rFw=",
                BasicEncoding::Form
            ),
            "Basic MVBwRyUyRlErMTp6JTJGdFo5VndGWnFBcG1JUSUyQlpIMUk1cExrJTJGdUI0dWQlM0FYMiUyRjhiTC\
             UyQndmRlR0MXJGdyUzRA=="
        );
    }

    // T9
    #[test]
    fn t9_servers_that_decode_otherwise_are_catered_for() {
        let secret = "p%:+/ &=s";
        assert_eq!(pair("a b", secret, BasicEncoding::Form), "a+b:p%25%3A%2B%2F+%26%3Ds");
        assert_eq!(pair("a b", secret, BasicEncoding::Percent), "a%20b:p%25%3A%2B%2F%20%26%3Ds");
        assert_eq!(pair("a b", secret, BasicEncoding::Raw), "a b:p%:+/ &=s");
        let raw = |id| ClientAuth::basic_encoded(id, "s", BasicEncoding::Raw).check();
        assert!(raw("a:b").unwrap_err().contains("':'"));
        assert!(raw("ab").is_ok() && ClientAuth::basic("a:b", "s").check().is_ok());
    }

    // T6, T10, T18
    #[test]
    fn t6_t10_t18_each_method_sends_its_own_parameters_and_no_other() {
        let known = Known::new(crate::secret::Secret::new("s p"));
        let prove = |auth: ClientAuth| {
            let proof = auth.prove(Some(&known), NOWHERE, UnixTime::from_secs(0)).unwrap();
            assert!(proof.header.is_none());
            proof
                .parameters
                .into_iter()
                .map(|(name, value)| (name, String::from_utf8(value.to_vec()).unwrap()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            prove(ClientAuth::body("me", "s p")),
            [("client_id", "me".into()), ("client_secret", "s p".into())]
        );
        assert_eq!(prove(ClientAuth::tls("me")), [("client_id", "me".into())]);
    }

    #[test]
    fn empty_credentials_are_refused() {
        assert!(ClientAuth::basic("", "s").check().unwrap_err().contains("client id"));
        assert!(ClientAuth::body("me", "").check().unwrap_err().contains("secret"));
        assert!(ClientAuth::tls("me").check().is_ok());
    }

    // FC13
    #[test]
    fn fc13_an_identifier_or_secret_that_cannot_be_sent_is_refused_with_a_sentence() {
        let makes: [fn(&str, &str) -> ClientAuth; 2] =
            [|id, secret| ClientAuth::basic(id, secret), |id, secret| ClientAuth::body(id, secret)];
        for make in makes {
            assert_eq!(make("me", "p%:+/ &=s\r\n").check(), Ok(()));
            for (secret, why) in [("s\n\n", "line end"), ("sécret", "ASCII"), ("s\0e\0", "UTF-16")]
            {
                let error = make("me", secret).check().unwrap_err();
                assert!(error.contains(why) && error.contains("A.2"), "{error}");
                let known = Known::new(crate::secret::Secret::new(secret));
                let late = make("me", "x").prove(Some(&known), NOWHERE, UnixTime::from_secs(0));
                let late = format!("{:?}", late.err().unwrap());
                assert!(late.contains(why), "{late}");
            }
            for id in ["me\n", "\u{feff}me", "mé"] {
                let error = make(id, "s").check().unwrap_err();
                assert!(error.contains("client id") && error.contains("A.1"), "{error}");
            }
        }
        assert!(ClientAuth::tls("me\n").check().is_err() && ClientAuth::tls("me").check().is_ok());
    }

    // FC13: with one line end and a byte order mark less, the same is sent.
    #[test]
    fn fc13_what_is_cut_is_not_sent() {
        for secret in ["s3cret\n", "s3cret\r\n", "\u{feff}s3cret\n"] {
            assert_eq!(pair("me", secret, BasicEncoding::Form), "me:s3cret");
        }
    }

    // L1
    #[test]
    fn l1_debug_shows_no_secret() {
        let printed = format!("{:?}", ClientAuth::basic("me", "canary"));
        assert!(printed.contains("me") && !printed.contains("canary"), "{printed}");
    }
}
