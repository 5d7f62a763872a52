//! How a client authenticates: the public type, its checks, and what it adds to a request.

use std::time::Duration;

use http::HeaderValue;
use zeroize::Zeroizing;

use crate::clock::UnixTime;
#[cfg(test)]
use crate::credentials::algorithm::AssertionAlgorithm;
use crate::credentials::assertion::Assertion;
use crate::credentials::audience::Recipient;
use crate::credentials::basic::{BasicEncoding, basic};
use crate::credentials::fingerprinted::FingerprintedSecret;
use crate::credentials::method::{AssertionType, AuthMethod};
use crate::credentials::provider::{SecretError, SecretErrorKind};
use crate::credentials::source::SecretSource;
use crate::credentials::text::fault;
use crate::credentials::workload::WorkloadToken;
use crate::digest::{Digest, Parts};

/// How the client authenticates to the token endpoint.
///
/// Only this way is used: no other is tried if the server refuses it.
///
/// ```
/// use tower_bearer::client::{BasicEncoding, ClientAuth};
///
/// let usual = ClientAuth::basic("billing", "s3cret");
/// // For servers that don't decode the credentials as RFC 6749 requires.
/// let raw = ClientAuth::basic_encoded("billing", "p%:+/ &=s", BasicEncoding::Raw);
/// ```
#[derive(Clone, Debug)]
pub struct ClientAuth {
    client_id: Box<str>,
    method: AuthMethod,
    /// Whether `client_id` is left out beside an assertion.
    omits_client_id: bool,
}

/// The header field and parameters that authenticate the client in one request.
pub(crate) struct ClientProof {
    pub(crate) header: Option<HeaderValue>,
    pub(crate) parameters: Vec<Parameter>,
}

/// A parameter of the request's body.
pub(crate) struct Parameter {
    name: &'static str,
    value: Zeroizing<Vec<u8>>,
    /// Whether it could be used to authenticate as this client.
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "for what is shown"))]
    is_secret: bool,
}

impl Parameter {
    fn open(name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        Self { name, value: Zeroizing::new(value.into()), is_secret: false }
    }

    const fn secret(name: &'static str, value: Zeroizing<Vec<u8>>) -> Self {
        Self { name, value, is_secret: true }
    }

    /// Returns its name and value.
    pub(crate) fn pair(&self) -> (&str, &[u8]) {
        (self.name, &self.value)
    }
}

impl ClientAuth {
    /// Authenticates by HTTP Basic (`client_secret_basic`).
    pub fn basic(client_id: &str, secret: impl Into<SecretSource>) -> Self {
        Self::basic_encoded(client_id, secret, BasicEncoding::Form)
    }

    /// Authenticates by HTTP Basic, with another encoding than RFC 6749 requires.
    pub fn basic_encoded(
        client_id: &str,
        secret: impl Into<SecretSource>,
        encoding: BasicEncoding,
    ) -> Self {
        Self::new(client_id, AuthMethod::Basic(secret.into(), encoding))
    }

    /// Authenticates by parameters in the request's body (`client_secret_post`).
    ///
    /// RFC 6749 §2.3.1 advises against it; it is for servers that offer nothing else, or whose
    /// decoding of Basic isn't known.
    pub fn body(client_id: &str, secret: impl Into<SecretSource>) -> Self {
        Self::new(client_id, AuthMethod::Body(secret.into()))
    }

    /// Authenticates by a JWT signed with a private key (`private_key_jwt`, RFC 7523 §2.2): no secret leaves
    /// the client.
    pub fn private_key_jwt(client_id: &str, assertion: Assertion) -> Self {
        Self::new(client_id, AuthMethod::PrivateKey(assertion))
    }

    /// Authenticates by a JWT with an HMAC of the client's secret (`client_secret_jwt`).
    pub fn client_secret_jwt(client_id: &str, assertion: Assertion) -> Self {
        Self::new(client_id, AuthMethod::SecretJwt(assertion))
    }

    /// Authenticates by the JWT that the platform gives to this workload: there is no secret to distribute.
    ///
    /// The authorization server must trust the platform as an issuer of such tokens, and map their
    /// subject to this client.
    pub fn workload(client_id: &str, token: WorkloadToken) -> Self {
        Self::workload_as(client_id, token, AssertionType::JwtBearer)
    }

    /// Authenticates by the JWT that the platform gives to this workload, with this `client_assertion_type`.
    pub fn workload_as(client_id: &str, token: WorkloadToken, kind: AssertionType) -> Self {
        Self::new(client_id, AuthMethod::Workload(token, kind))
    }

    /// Doesn't authenticate: for public clients, and for grants whose assertion or exchanged token is
    /// sufficient. An empty identifier isn't sent, as Google's Security Token Service expects.
    pub fn none(client_id: &str) -> Self {
        Self::new(client_id, AuthMethod::None)
    }

    /// Leaves `client_id` out of requests with an assertion, whose `sub` says the same (RFC 7521
    /// §4.2), for servers that refuse both.
    ///
    /// If the request has no assertion, building the grant fails.
    #[must_use]
    pub fn without_client_id(mut self) -> Self {
        self.omits_client_id = true;
        self
    }

    /// Authenticates by the TLS certificate that the transport presents (`tls_client_auth`, RFC 8705 §2):
    /// the request has nothing but the client's identifier.
    ///
    /// The transport must present the certificate; see `ReqwestTransportBuilder::client_certificate_files`. A
    /// discovered token endpoint is that of the metadata's `mtls_endpoint_aliases` (RFC 8705 §5), if there
    /// is one. Such tokens are never put into a shared cache: they may be bound to the certificate of one
    /// process.
    pub fn tls(client_id: &str) -> Self {
        Self::new(client_id, AuthMethod::Tls)
    }

    fn new(client_id: &str, method: AuthMethod) -> Self {
        Self { client_id: client_id.into(), method, omits_client_id: false }
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Returns the name in the IANA registry "OAuth Token Endpoint Authentication Methods".
    pub(crate) const fn name(&self) -> &'static str {
        self.method.name()
    }

    /// Returns `true` if the client authenticates by the transport's TLS certificate.
    pub(crate) const fn is_by_certificate(&self) -> bool {
        self.method.is_by_certificate()
    }

    /// Returns `true` if servers that accept this way list it in their metadata.
    #[cfg(feature = "client")]
    pub(crate) const fn is_advertised(&self) -> bool {
        self.method.is_advertised()
    }

    /// Returns `true` if the client doesn't authenticate.
    pub(crate) const fn is_none(&self) -> bool {
        self.method.is_none()
    }

    #[cfg(feature = "client")]
    pub(crate) const fn assertion(&self) -> Option<&Assertion> {
        self.method.assertion()
    }

    pub(crate) const fn source(&self) -> Option<&SecretSource> {
        self.method.source()
    }

    /// Returns what distinguishes the secret or key from others in this process.
    pub(crate) fn identity(&self) -> Digest {
        self.method.identity()
    }

    /// Returns what distinguishes the holder of the secret from others in all processes.
    #[cfg(feature = "client")]
    pub(crate) fn holder(&self, known: Option<&FingerprintedSecret>) -> Digest {
        self.method.holder(known)
    }

    /// Returns `true` if the server has the same secret.
    pub(crate) const fn shares_secret(&self) -> bool {
        self.method.shares_secret()
    }

    /// Checks the settings, and the secret if it is known already.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.client_id.is_empty() && !self.is_none() {
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
            AuthMethod::Basic(..) | AuthMethod::Body(_) | AuthMethod::Tls | AuthMethod::None
                if self.omits_client_id =>
            {
                Err("the client id can only be left out beside an assertion".into())
            }
            AuthMethod::Basic(_, BasicEncoding::Raw) if self.client_id.contains(':') => {
                Err("a client id with ':' can't be sent by HTTP Basic without encoding".into())
            }
            AuthMethod::PrivateKey(assertion) => assertion.check(false),
            AuthMethod::SecretJwt(assertion) => assertion.check(true),
            AuthMethod::Basic(..)
            | AuthMethod::Body(_)
            | AuthMethod::Workload(..)
            | AuthMethod::Tls
            | AuthMethod::None => Ok(()),
        }
    }

    /// Returns why this secret can't be sent, or signed with.
    fn fault_of(&self, secret: &[u8]) -> Option<String> {
        let fault = fault(secret).filter(|_| self.shares_secret())?;
        Some(format!("{fault} (RFC 6749 appendix A.2)"))
    }

    /// Creates the proof for one request. An assertion is a new one each time, and an external signer has
    /// `patience` to answer.
    pub(crate) async fn prove(
        &self,
        known: Option<&FingerprintedSecret>,
        recipient: Recipient<'_>,
        now: UnixTime,
        patience: Duration,
    ) -> Result<ClientProof, SecretError> {
        if let Some(fault) = known.and_then(|known| self.fault_of(known.expose())) {
            return Err(SecretError::malformed(fault));
        }
        let secret = || known.ok_or(SecretError::new(SecretErrorKind::NotFound));
        let client_id = || Parameter::open("client_id", self.client_id.as_bytes());
        match &self.method {
            AuthMethod::Basic(_, encoding) => {
                let header = basic(&self.client_id, secret()?.expose(), *encoding);
                Ok(ClientProof { header: Some(header?), parameters: Vec::new() })
            }
            AuthMethod::Body(_) => {
                let secret = Zeroizing::new(secret()?.expose().to_vec());
                let parameters = vec![client_id(), Parameter::secret("client_secret", secret)];
                Ok(ClientProof { header: None, parameters })
            }
            AuthMethod::PrivateKey(assertion) | AuthMethod::SecretJwt(assertion) => {
                let id = &self.client_id;
                let assertion = assertion.make(id, known, recipient, now, patience).await?;
                Ok(self.asserted(AssertionType::JwtBearer, assertion))
            }
            AuthMethod::Workload(_, kind) => {
                Ok(self.asserted(*kind, WorkloadToken::assertion(secret()?, now)?))
            }
            AuthMethod::None if self.client_id.is_empty() => {
                Ok(ClientProof { header: None, parameters: Vec::new() })
            }
            AuthMethod::Tls | AuthMethod::None => {
                Ok(ClientProof { header: None, parameters: vec![client_id()] })
            }
        }
    }

    fn asserted(&self, kind: AssertionType, assertion: Zeroizing<Vec<u8>>) -> ClientProof {
        let id = || Parameter::open("client_id", self.client_id.as_bytes());
        let mut parameters = Vec::with_capacity(3);
        parameters.extend((!self.omits_client_id).then(id));
        parameters.push(Parameter::open("client_assertion_type", kind.urn()));
        parameters.push(Parameter::secret("client_assertion", assertion));
        ClientProof { header: None, parameters }
    }

    /// Adds everything that distinguishes this client from others, except the secret. It must differ for any
    /// two that differ, since they would share tokens otherwise.
    pub(crate) fn distinguish(&self, parts: Parts) -> Parts {
        let parts = parts.part(&*self.client_id).part(self.name());
        self.method.distinguish(parts.part([u8::from(self.omits_client_id)]))
    }
}

impl ClientProof {
    /// Returns the secrets among the parameters, which must not be shown. The header's isn't among them.
    #[cfg(any(feature = "client", test))]
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        let secrets = self.parameters.iter().filter(|parameter| parameter.is_secret);
        secrets.map(|parameter| parameter.value.as_slice())
    }
}

#[cfg(test)]
impl ClientAuth {
    /// Returns one client of each way to authenticate, with its secret.
    pub(crate) fn one_of_each() -> Vec<(Self, FingerprintedSecret)> {
        const SECRET: &str = "0123456789 s3cret 0123456789 s3cret";
        const KEY: &str = include_str!("../../fixtures/keys/p256.pem");
        const JWT: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";
        let token = || WorkloadToken::file("/nowhere");
        let assertion = |algorithm, key: &str| Assertion::new(algorithm, key).key_id("k");
        macro_rules! each {
            ($($way:pat => $client:expr, $secret:expr;)+) => {{
                // Doesn't compile until every way is here.
                let _ = |method: &AuthMethod| match method { $($way => (),)+ };
                vec![$({
                    let client: Self = $client;
                    assert!(matches!(client.method, $way), "another way: {client:?}");
                    (client, FingerprintedSecret::new(crate::secret::Secret::new($secret)))
                },)+]
            }};
        }
        each! {
            AuthMethod::Basic(..) => Self::basic("me", SECRET), SECRET;
            AuthMethod::Body(_) => Self::body("me", SECRET), SECRET;
            AuthMethod::PrivateKey(_) =>
                Self::private_key_jwt("me", assertion(AssertionAlgorithm::ES256, KEY)), KEY;
            AuthMethod::SecretJwt(_) =>
                Self::client_secret_jwt("me", assertion(AssertionAlgorithm::HS256, SECRET)), SECRET;
            AuthMethod::Workload(_, AssertionType::JwtBearer) => Self::workload("me", token()), JWT;
            AuthMethod::Workload(_, AssertionType::JwtSpiffe) =>
                Self::workload_as("me", token(), AssertionType::JwtSpiffe), JWT;
            AuthMethod::Tls => Self::tls("me"), "";
            AuthMethod::None => Self::none("me"), "";
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    use futures_util::FutureExt as _;

    use super::*;

    const NOWHERE: Recipient<'_> =
        Recipient { issuer: Some("https://as.example"), token_endpoint: "https://as.example/t" };

    fn prove(auth: &ClientAuth, known: &FingerprintedSecret) -> Result<ClientProof, SecretError> {
        let proof = auth.prove(Some(known), NOWHERE, UnixTime::from_secs(0), Duration::ZERO);
        proof.now_or_never().unwrap()
    }

    fn header(id: &str, secret: &str, encoding: BasicEncoding) -> String {
        let auth = ClientAuth::basic_encoded(id, secret, encoding);
        let known = FingerprintedSecret::new(crate::secret::Secret::new(secret));
        let proof = prove(&auth, &known).unwrap();
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
        let known = FingerprintedSecret::new(crate::secret::Secret::new("s p"));
        let sent = |auth: ClientAuth| {
            let proof = prove(&auth, &known).unwrap();
            assert!(proof.header.is_none());
            proof
                .parameters
                .into_iter()
                .map(|it| (it.name, String::from_utf8(it.value.to_vec()).unwrap()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            sent(ClientAuth::body("me", "s p")),
            [("client_id", "me".into()), ("client_secret", "s p".into())]
        );
        assert_eq!(sent(ClientAuth::tls("me")), [("client_id", "me".into())]);
    }

    // WI5
    #[test]
    fn wi5_a_workload_sends_its_token_and_says_which_type_it_is() {
        let jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";
        let known = FingerprintedSecret::new(crate::secret::Secret::new(jwt));
        let token = || WorkloadToken::file("/nowhere");
        let sent = |auth: ClientAuth| {
            assert_eq!(auth.check(), Ok(()));
            let proof = prove(&auth, &known).unwrap();
            assert!(proof.header.is_none());
            let text = |value: Zeroizing<Vec<u8>>| String::from_utf8(value.to_vec()).unwrap();
            let parameters = proof.parameters.into_iter();
            parameters.map(|it| (it.name, text(it.value))).collect::<Vec<_>>()
        };
        let urn = |kind| format!("urn:ietf:params:oauth:client-assertion-type:{kind}");
        let (kind, assertion) = ("client_assertion_type", ("client_assertion", jwt.to_owned()));
        let usual = [("client_id", "me".into()), (kind, urn("jwt-bearer")), assertion.clone()];
        assert_eq!(sent(ClientAuth::workload("me", token())), usual);
        let spiffe = ClientAuth::workload_as("me", token(), AssertionType::JwtSpiffe);
        let svid = [(kind, urn("jwt-spiffe")), assertion];
        assert_eq!(sent(spiffe.without_client_id()), svid);
        for nameless in
            [ClientAuth::basic("me", "s"), ClientAuth::body("me", "s"), ClientAuth::tls("me")]
        {
            let error = nameless.without_client_id().check().unwrap_err();
            assert!(error.contains("assertion"), "{error}");
        }
    }

    #[test]
    fn every_way_says_which_of_its_parameters_are_secret() {
        for (client, known) in ClientAuth::one_of_each() {
            let secret: &[&str] = match &client.method {
                // The secret itself is searched for, in base64 too.
                AuthMethod::Basic(..) => &[],
                AuthMethod::Body(_) => &["client_secret"],
                AuthMethod::PrivateKey(_) | AuthMethod::SecretJwt(_) | AuthMethod::Workload(..) => {
                    &["client_assertion"]
                }
                AuthMethod::Tls | AuthMethod::None => &[],
            };
            let proof = prove(&client, &known).unwrap();
            let is_secret = |parameter: &&Parameter| secret.contains(&parameter.name);
            let expected: Vec<_> =
                proof.parameters.iter().filter(is_secret).map(|it| it.pair().1).collect();
            assert_eq!(expected.len(), secret.len(), "{client:?}");
            assert_eq!(proof.secrets().collect::<Vec<_>>(), expected, "{client:?}");
            // Whatever else is sent is known to all.
            let urns = [AssertionType::JwtBearer.urn(), AssertionType::JwtSpiffe.urn()];
            for open in proof.parameters.iter().filter(|it| !it.is_secret) {
                let value = str::from_utf8(open.pair().1).unwrap();
                assert!(value == "me" || urns.contains(&value), "{} is secret", open.name);
            }
        }
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
                let known = FingerprintedSecret::new(crate::secret::Secret::new(secret));
                let late = prove(&make("me", "x"), &known);
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
