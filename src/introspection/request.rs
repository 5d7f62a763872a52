//! Writes the introspection request (RFC 7662 §2.1).

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};

use crate::clock::UnixTime;
use crate::credentials::audience::Recipient;
use crate::credentials::authentication::{ClientProof, Parameter};
use crate::credentials::fingerprinted::FingerprintedSecret;
use crate::credentials::form::encode_pairs;
use crate::credentials::provider::{SecretError, SecretErrorKind};
use crate::introspection::auth::{Caller, bearer};
use crate::transport::user_agent;

/// The media type of a signed answer (RFC 9701 §4).
pub(crate) const SIGNED: &str = "application/token-introspection+jwt";

/// The settings that all requests share.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) caller: Caller,
    pub(crate) hint: bool,
    pub(crate) signed: bool,
}

impl Form {
    /// Writes the request about this token.
    ///
    /// # Errors
    ///
    /// If the secret can't be used.
    pub(crate) async fn write(
        &self,
        token: &[u8],
        endpoint: &Uri,
        issuer: &str,
        known: Option<&FingerprintedSecret>,
        now: UnixTime,
        patience: Duration,
    ) -> Result<Request<Bytes>, SecretError> {
        let mut pairs: Vec<(&str, &[u8])> = vec![("token", token)];
        if self.hint {
            pairs.push(("token_type_hint", b"access_token"));
        }
        let proof = self.prove(endpoint, issuer, known, now, patience).await?;
        pairs.extend(proof.parameters.iter().map(Parameter::pair));

        let mut request = Request::new(Bytes::from_owner(encode_pairs(&pairs)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = endpoint.clone();
        let headers = request.headers_mut();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form);
        let accept = if self.signed { SIGNED } else { "application/json" };
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        headers.insert(USER_AGENT, user_agent());
        if let Some(header) = proof.header {
            headers.insert(AUTHORIZATION, header);
        }
        Ok(request)
    }

    async fn prove(
        &self,
        endpoint: &Uri,
        issuer: &str,
        known: Option<&FingerprintedSecret>,
        now: UnixTime,
        patience: Duration,
    ) -> Result<ClientProof, SecretError> {
        match &self.caller {
            Caller::Client(client) => {
                let recipient =
                    Recipient { issuer: Some(issuer), token_endpoint: &endpoint.to_string() };
                client.prove(known, recipient, now, patience).await
            }
            Caller::Bearer(_) => {
                let token = known.ok_or(SecretError::new(SecretErrorKind::NotFound))?;
                let malformed = || SecretError::malformed("it isn't a valid access token");
                let header = bearer(token.expose()).ok_or_else(malformed)?;
                Ok(ClientProof { header: Some(header), parameters: Vec::new() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::credentials::authentication::ClientAuth;
    use crate::credentials::basic::BasicEncoding;
    use crate::introspection::auth::IntrospectionAuth;
    use crate::secret::Secret;

    fn request(auth: impl Into<IntrospectionAuth>, hint: bool, signed: bool) -> Request<Bytes> {
        let IntrospectionAuth(caller) = auth.into();
        let form = Form { caller, hint, signed };
        let endpoint = Uri::from_static("https://as.example/introspect?tenant=a");
        let known = FingerprintedSecret::new(Secret::new("s p"));
        let now = UnixTime::from_secs(0);
        let issuer = "https://as.example";
        let written =
            form.write(b"to+ken/==", &endpoint, issuer, Some(&known), now, Duration::ZERO);
        written.now_or_never().unwrap().unwrap()
    }

    fn body(request: &Request<Bytes>) -> &str {
        std::str::from_utf8(request.body()).unwrap()
    }

    #[test]
    fn i1_i5_i10_a_form_is_posted_with_the_token_once_and_nowhere_else() {
        let request = request(ClientAuth::basic("me", "x"), false, false);
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "https://as.example/introspect?tenant=a");
        assert_eq!(request.headers()[CONTENT_TYPE], "application/x-www-form-urlencoded");
        assert_eq!(request.headers()[ACCEPT], "application/json");
        assert_eq!(request.headers()[AUTHORIZATION], "Basic bWU6cytw");
        assert_eq!(body(&request), "token=to%2Bken%2F%3D%3D");
        assert!(!format!("{:?}", request.headers()).contains("bWU6"));
    }

    #[test]
    fn i5_a_hint_is_sent_where_it_is_set() {
        let request = request(ClientAuth::basic("me", "x"), true, false);
        assert_eq!(body(&request), "token=to%2Bken%2F%3D%3D&token_type_hint=access_token");
    }

    #[test]
    fn i6_every_method_sends_its_own_credentials_and_no_other() {
        let raw = ClientAuth::basic_encoded("me", "x", BasicEncoding::Raw);
        assert_eq!(request(raw, false, false).headers()[AUTHORIZATION], "Basic bWU6cyBw");
        let post = request(ClientAuth::body("me", "x"), false, false);
        assert_eq!(body(&post), "token=to%2Bken%2F%3D%3D&client_id=me&client_secret=s+p");
        let tls = request(ClientAuth::tls("me"), false, false);
        assert_eq!(body(&tls), "token=to%2Bken%2F%3D%3D&client_id=me");
        for request in [post, tls] {
            assert!(!request.headers().contains_key(AUTHORIZATION));
        }
        let form = Form { caller: IntrospectionAuth::bearer("x").0, hint: false, signed: false };
        let endpoint = Uri::from_static("https://as.example/i");
        let known = FingerprintedSecret::new(Secret::new("own"));
        let write = |known| {
            let now = UnixTime::from_secs(0);
            form.write(b"t", &endpoint, "i", known, now, Duration::ZERO).now_or_never().unwrap()
        };
        let own = write(Some(&known)).unwrap();
        assert_eq!(own.headers()[AUTHORIZATION], "Bearer own");
        assert!(own.headers()[AUTHORIZATION].is_sensitive());
        assert_eq!(body(&own), "token=t");
        let illegal = FingerprintedSecret::new(Secret::new("o wn"));
        assert!(write(Some(&illegal)).is_err() && write(None).is_err());
    }

    #[test]
    fn i44_a_signed_answer_is_asked_for_by_accept() {
        let request = request(ClientAuth::basic("me", "x"), false, true);
        assert_eq!(request.headers()[ACCEPT], "application/token-introspection+jwt");
    }

    #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
    #[test]
    fn i8_an_assertion_is_for_the_issuer_and_a_new_one_each_time() {
        use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

        use crate::credentials::algorithm::AssertionAlgorithm;
        use crate::credentials::assertion::Assertion;
        let secret = "0123456789abcdef0123456789abcdef";
        let assertion = Assertion::new(AssertionAlgorithm::HS256, secret);
        let caller = Caller::Client(ClientAuth::client_secret_jwt("me", assertion));
        let form = Form { caller, hint: false, signed: false };
        let known = FingerprintedSecret::new(Secret::new(secret));
        let endpoint = Uri::from_static("https://as.example/introspect");
        let made: Vec<serde_json::Value> = (0..2)
            .map(|_| {
                let now = UnixTime::from_secs(1_000);
                let (issuer, patience) = ("https://as.example", Duration::ZERO);
                let request = form.write(b"t", &endpoint, issuer, Some(&known), now, patience);
                let request = request.now_or_never().unwrap().unwrap();
                let (_, jwt) = body(&request).split_once("client_assertion=").unwrap();
                let claims = jwt.split('.').nth(1).unwrap();
                serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
            })
            .collect();
        assert_eq!(made[0]["aud"], "https://as.example");
        assert_ne!(made[0]["jti"], made[1]["jti"]);
    }
}
