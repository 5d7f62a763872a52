//! Writes the token request (RFC 6749 §4.4.2, RFC 8693 §2.1, RFC 7523 §2.1).

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};

use crate::client::grant::definition::Definition;
use crate::client::grant::subject::GrantParameters;
use crate::credentials::authentication::{ClientProof, Parameter};
use crate::credentials::form::encode_pairs;
use crate::transport::user_agent;

/// Writes the request from the grant's parameters and the client's authentication.
pub(crate) fn token_request(
    endpoint: &Uri,
    grant: &Definition,
    asked: &GrantParameters,
    proof: &ClientProof,
) -> Request<Bytes> {
    let scopes: Vec<&str> = grant.scopes.iter().map(|scope| scope.as_str()).collect();
    let scopes = scopes.join(" ");
    let mut pairs: Vec<(&str, &[u8])> = Vec::new();
    pairs.extend(asked.iter().map(|(name, value)| (*name, &***value)));
    if !scopes.is_empty() {
        pairs.push(("scope", scopes.as_bytes()));
    }
    pairs.extend(grant.resources.iter().map(|resource| ("resource", resource.as_bytes())));
    pairs.extend(grant.audiences.iter().map(|audience| ("audience", audience.as_bytes())));
    let others = grant.parameters.iter();
    pairs.extend(others.map(|(name, value)| (name.as_str(), value.as_bytes())));
    pairs.extend(proof.parameters.iter().map(Parameter::pair));

    let mut request = Request::new(Bytes::from_owner(encode_pairs(&pairs)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.clone();
    let headers = request.headers_mut();
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, form);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, user_agent());
    if let Some(header) = &proof.header {
        headers.insert(AUTHORIZATION, header.clone());
    }
    request
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use crate::client::grant::builder::GrantBuilder;
    use crate::client::grant::definition::Grant;
    use crate::client::grant::subject;
    use crate::clock::UnixTime;
    use crate::credentials::audience::Recipient;
    use crate::credentials::authentication::ClientAuth;
    use crate::credentials::fingerprinted::FingerprintedSecret;
    use crate::secret::Secret;

    use super::*;

    fn request(builder: GrantBuilder) -> Request<Bytes> {
        let grant = builder.build().unwrap();
        let endpoint = Uri::from_static("https://as.example/token?tenant=a");
        let known = FingerprintedSecret::new(Secret::new("s p"));
        let recipient = Recipient { issuer: None, token_endpoint: "" };
        let (auth, now) = (&grant.definition().auth, UnixTime::from_secs(0));
        let proof = auth.prove(Some(&known), recipient, now, Duration::ZERO);
        let proof = proof.now_or_never().unwrap().unwrap();
        let asked =
            subject::grant_parameters(&grant, recipient, now, Duration::ZERO).now_or_never();
        token_request(&endpoint, grant.definition(), &asked.unwrap().unwrap(), &proof)
    }

    fn body(builder: GrantBuilder) -> String {
        String::from_utf8(request(builder).body().to_vec()).unwrap()
    }

    fn builder(auth: ClientAuth) -> GrantBuilder {
        Grant::endpoint("https://as.example/token?tenant=a", auth)
    }

    // T1, T2, T4, T6
    #[test]
    fn t1_t2_t4_t6_a_form_is_posted_and_the_secret_is_sent_once() {
        let request = request(builder(ClientAuth::basic("me", "s p")).scope("a b:c"));
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "https://as.example/token?tenant=a");
        assert_eq!(request.headers()[CONTENT_TYPE], "application/x-www-form-urlencoded");
        assert_eq!(request.headers()[ACCEPT], "application/json");
        assert!(request.headers()[USER_AGENT].to_str().unwrap().starts_with("tower-bearer/"));
        assert_eq!(request.headers()[AUTHORIZATION], "Basic bWU6cytw");
        assert_eq!(&request.body()[..], b"grant_type=client_credentials&scope=a+b%3Ac");
    }

    // T10: in the body, never in the address.
    #[test]
    fn t10_the_body_has_identifier_and_secret() {
        let request = request(builder(ClientAuth::body("me", "s p")));
        assert_eq!(
            &request.body()[..],
            b"grant_type=client_credentials&client_id=me&client_secret=s+p"
        );
        assert!(!request.headers().contains_key(AUTHORIZATION));
        assert_eq!(request.uri().query(), Some("tenant=a"));
    }

    // T5, T19
    #[test]
    fn t5_t19_resources_audience_and_other_parameters_are_sent_once_each() {
        let builder = builder(ClientAuth::tls("me"))
            .resource("https://b.example")
            .resource("https://a.example")
            .resource("https://b.example")
            .audience("api")
            .parameter("empty", "")
            .parameter("tenant", "ä&=");
        assert_eq!(
            body(builder),
            "grant_type=client_credentials&resource=https%3A%2F%2Fa.example\
             &resource=https%3A%2F%2Fb.example&audience=api&tenant=%C3%A4%26%3D&client_id=me"
        );
    }
}
