//! Calls the renderer, and enforces what holds for the answer of every renderer.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Response};

use crate::answer::challenges::{Challenges, Schemes};
use crate::answer::context::RefusalContext;
use crate::answer::head::RequestHead;
use crate::answer::renderer::Renderer;
use crate::answer::step_up::StepUp;
use crate::answer::wire::{self, Disclosure};
use crate::refusal::{Detail, Refusal};
use crate::scope::ScopeSet;

/// Renders a refusal, and enforces what holds for the answer of every renderer: the typed reason in the
/// extensions, a length that is that of the body, and no body for `HEAD`.
///
/// `needed` is for the challenge of a refusal that doesn't itself say which scopes would have sufficed.
pub(crate) fn respond(
    refusal: Refusal,
    request: RequestHead<'_>,
    renderer: &dyn Renderer,
    challenges: &Challenges,
    disclosure: Disclosure,
    needed: Option<&ScopeSet>,
    asked: Schemes,
) -> Response<Bytes> {
    let scopes = match &refusal {
        Refusal::Rejection(rejection) => match rejection.detail() {
            Detail::Scopes { needed, .. } | Detail::Login { scopes: needed, .. } => Some(&**needed),
            _ => needed,
        },
        _ => None,
    };
    let wire = wire::wire(&refusal, disclosure);
    let cx = RefusalContext::new(request, challenges, scopes, asked, wire);
    let cx = cx.with_login(StepUp::of(&refusal));
    let absent = disclosure.hidden.filter(|_| std::ptr::eq(wire, &raw const wire::HIDDEN));
    let mut response = match absent {
        Some(absent) => renderer.render_absent(absent, &cx),
        None => renderer.render(&refusal, &cx),
    };
    let length = response.body().len();
    let is_head = request.method == Method::HEAD;
    if absent.is_some() {
        // The fallback that it looks like decides whether there is one, and in which place.
        if let Some(field) = response.headers_mut().get_mut(CONTENT_LENGTH) {
            *field = length.into();
        }
    } else if is_head {
        // RFC 9110 §9.3.2: the fields that GET would get, the length among them.
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    } else if length != wire.body.len() {
        // A renderer may have replaced the body of the default's answer. The HTTP server adds the
        // length; a wrong one would break the connection.
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    if is_head {
        response.body_mut().clear();
    }
    response.extensions_mut().insert(refusal);
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
    use http::{HeaderValue, Request, StatusCode};
    use prost::Message as _;

    use super::*;
    use crate::answer::absent::Absent;
    use crate::answer::challenges::Space;
    use crate::answer::renderer::DefaultRenderer;
    use crate::refusal::{Misconfigured, Rejection, RejectionKind, Unavailable, UnavailableReason};

    const VERBOSE: Disclosure = Disclosure { verbose: true, hidden: None };
    const fn hidden(absent: Absent) -> Disclosure {
        Disclosure { verbose: false, hidden: Some(absent) }
    }

    fn ask(
        method: Method,
        content_type: Option<&str>,
        refusal: impl Into<Refusal>,
        disclosure: Disclosure,
    ) -> Response<Bytes> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        if let Some(content_type) = content_type {
            request.headers_mut().insert(CONTENT_TYPE, content_type.parse().unwrap());
        }
        let challenges = Challenges::new(Space::of("api"), []).unwrap();
        let head = RequestHead::from(&request);
        respond(
            refusal.into(),
            head,
            &DefaultRenderer,
            &challenges,
            disclosure,
            None,
            Schemes::Bearer,
        )
    }

    fn get(refusal: impl Into<Refusal>) -> Response<Bytes> {
        ask(Method::GET, None, refusal, Disclosure::default())
    }

    fn call(refusal: impl Into<Refusal>, disclosure: Disclosure) -> Response<Bytes> {
        ask(Method::POST, Some("application/grpc"), refusal, disclosure)
    }

    fn header<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
        response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    fn rejection(kind: RejectionKind) -> Refusal {
        Rejection::new(kind).into()
    }

    fn unavailable(retry_after: Duration) -> Refusal {
        Unavailable::new(UnavailableReason::KeysNotLoaded, retry_after).into()
    }

    fn needs(scopes: &str) -> Refusal {
        let needed = Arc::new(ScopeSet::parse(scopes));
        Rejection::with(
            RejectionKind::InsufficientScope,
            Detail::Scopes { needed, presented: None },
        )
        .into()
    }

    const BARE: Option<&str> = Some(r#"Bearer realm="api""#);
    const MALFORMED: Option<&str> = Some(
        r#"Bearer realm="api", error="invalid_request", error_description="The Authorization header field is malformed""#,
    );
    const MULTIPLE: Option<&str> = Some(
        r#"Bearer realm="api", error="invalid_request", error_description="More than one access token was sent""#,
    );
    const AMBIGUOUS: Option<&str> = Some(
        r#"Bearer realm="api", error="invalid_request", error_description="The path can be read in more than one way""#,
    );
    const INVALID: Option<&str> = Some(
        r#"Bearer realm="api", error="invalid_token", error_description="The access token is invalid""#,
    );
    const MESSAGE: Option<&str> = Some(
        r#"Bearer realm="api", error="invalid_request", error_description="The request is not one well-formed MCP message""#,
    );
    const SCOPE: Option<&str> = Some(
        r#"Bearer realm="api", error="insufficient_scope", error_description="The request requires higher privileges than provided by the access token""#,
    );

    const LOGIN: Option<&str> = Some(
        r#"Bearer realm="api", error="insufficient_user_authentication", error_description="The request requires a stronger or more recent login""#,
    );
    const PROOF: Option<&str> = Some(
        r#"Bearer realm="api", error="invalid_dpop_proof", error_description="The DPoP proof is not valid""#,
    );
    const NONCE: Option<&str> = Some(
        r#"Bearer realm="api", error="use_dpop_nonce", error_description="The DPoP proof needs a nonce""#,
    );

    type Row = (RejectionKind, u16, Option<&'static str>, &'static str, u8, &'static str);

    /// Kind, status, `WWW-Authenticate`, `error` of the body, gRPC code, reason.
    #[rustfmt::skip]
    const ROWS: &[Row] = &[
        (RejectionKind::NoCredentials, 401, BARE, "unauthorized", 16, "CREDENTIALS_MISSING"),
        (RejectionKind::MalformedCredentials, 400, MALFORMED, "invalid_request", 16, "CREDENTIALS_MALFORMED"),
        (RejectionKind::MultipleCredentials, 400, MULTIPLE, "invalid_request", 16, "CREDENTIALS_MALFORMED"),
        (RejectionKind::AmbiguousPath, 400, AMBIGUOUS, "invalid_request", 12, "PATH_AMBIGUOUS"),
        (RejectionKind::TokenTooLong, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::MalformedToken, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::EncryptedToken, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
        (RejectionKind::UnsupportedAlgorithm, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::UnsupportedCritical, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::WrongType, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::IdToken, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
        (RejectionKind::SenderConstrained, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
        (RejectionKind::TokenNotBound, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
        (RejectionKind::CertificateMissing, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::CertificateMismatch, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::CertificateMalformed, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::DpopKeyMismatch, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::DpopProofMissing, 401, PROOF, "invalid_dpop_proof", 16, "DPOP_PROOF_INVALID"),
        (RejectionKind::DpopProofMalformed, 401, PROOF, "invalid_dpop_proof", 16, "DPOP_PROOF_INVALID"),
        (RejectionKind::DpopProofMismatch, 401, PROOF, "invalid_dpop_proof", 16, "DPOP_PROOF_INVALID"),
        (RejectionKind::DpopProofOutOfTime, 401, PROOF, "invalid_dpop_proof", 16, "DPOP_PROOF_INVALID"),
        (RejectionKind::DpopProofBadSignature, 401, PROOF, "invalid_dpop_proof", 16, "DPOP_PROOF_INVALID"),
        (RejectionKind::DpopProofReplayed, 401, PROOF, "invalid_dpop_proof", 16, "DPOP_PROOF_INVALID"),
        (RejectionKind::DpopNonceRequired, 401, NONCE, "use_dpop_nonce", 16, "DPOP_NONCE_REQUIRED"),
        (RejectionKind::UnknownKey, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::AmbiguousKey, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::BadSignature, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::Inactive, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::WrongIssuer, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::WrongAudience, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::Expired, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::NotYetValid, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::TooOld, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::MissingClaim, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::MalformedClaim, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::InsufficientScope, 403, SCOPE, "insufficient_scope", 7, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
        (RejectionKind::MalformedMessage, 400, MESSAGE, "invalid_request", 3, "MESSAGE_MALFORMED"),
        (RejectionKind::MessageTooLarge, 413, None, "invalid_request", 8, "MESSAGE_TOO_LARGE"),
        (RejectionKind::MessageTimedOut, 408, None, "invalid_request", 4, "MESSAGE_TIMED_OUT"),
        (RejectionKind::UnknownSession, 404, None, "session_not_found", 5, "SESSION_NOT_FOUND"),
        (RejectionKind::InsufficientLogin, 401, LOGIN, "insufficient_user_authentication", 16, "LOGIN_INSUFFICIENT"),
        (RejectionKind::ClaimRefused, 403, None, "access_denied", 7, "ACCESS_DENIED"),
        (RejectionKind::IssuerNotAllowed, 403, None, "access_denied", 7, "ACCESS_DENIED"),
        (RejectionKind::WrongClient, 403, None, "access_denied", 7, "ACCESS_DENIED"),
        (RejectionKind::ExchangeRefused, 401, INVALID, "invalid_token", 16, "ACCESS_TOKEN_INVALID"),
        (RejectionKind::ExchangeForbidden, 403, None, "access_denied", 7, "ACCESS_DENIED"),
        (RejectionKind::Denied, 403, None, "access_denied", 7, "ACCESS_DENIED"),
    ];

    // W1, W2, W3, W5, W6, W22, W23, W26, W27: each kind, byte for byte.
    #[test]
    fn every_kind_has_its_answer() {
        assert_eq!(ROWS.len(), RejectionKind::ALL.len());
        for (kind, status, challenge, code, grpc_code, reason) in ROWS.iter().copied() {
            let plain = get(rejection(kind));
            assert_eq!(plain.status(), status, "{kind:?}");
            assert_eq!(header(&plain, "www-authenticate"), challenge, "{kind:?}");
            assert_eq!(header(&plain, "content-type"), Some("application/json"));
            assert_eq!(header(&plain, "cache-control"), Some("no-store"));
            let body: BTreeMap<String, String> = serde_json::from_slice(plain.body()).unwrap();
            assert_eq!(body["error"], code, "{kind:?}");
            assert_eq!(body.len(), 2);
            if let Some(challenge) = challenge.filter(|challenge| challenge.contains("error")) {
                let description = &body["error_description"];
                assert!(challenge.ends_with(&format!("error_description=\"{description}\"")));
                assert!(challenge.contains(&format!("error=\"{code}\"")), "{kind:?}");
            }

            let grpc = call(rejection(kind), Disclosure::default());
            assert_eq!(header(&grpc, "www-authenticate"), challenge, "{kind:?}");
            let status = details(&grpc);
            assert_eq!(status.code, i32::from(grpc_code), "{kind:?}");
            assert_eq!(status.message, body["error_description"]);
            assert_eq!(error_info(&status).reason, reason, "{kind:?}");
        }
    }

    // W30: distinguished only when the operator wants it.
    #[test]
    fn w30_expired_is_told_from_invalid_only_when_verbose() {
        let expired = rejection(RejectionKind::Expired);
        let other = rejection(RejectionKind::BadSignature);
        let quiet = get(expired.clone());
        assert_eq!(quiet.headers(), get(other.clone()).headers());
        assert_eq!(quiet.body(), get(other.clone()).body());

        let told = ask(Method::GET, None, expired.clone(), VERBOSE);
        assert_eq!(
            header(&told, "www-authenticate"),
            Some(
                r#"Bearer realm="api", error="invalid_token", error_description="The access token expired""#
            )
        );
        assert_eq!(error_info(&details(&call(expired, VERBOSE))).reason, "ACCESS_TOKEN_EXPIRED");
        assert_eq!(error_info(&details(&call(other, VERBOSE))).reason, "ACCESS_TOKEN_INVALID");
    }

    // W7: the header names the scopes that would have sufficed.
    #[test]
    fn w7_missing_scopes_are_named() {
        let response = get(needs("a b"));
        assert_eq!(response.status(), 403);
        assert_eq!(
            header(&response, "www-authenticate"),
            Some(
                r#"Bearer realm="api", error="insufficient_scope", error_description="The request requires higher privileges than provided by the access token", scope="a b""#
            )
        );
        let info = error_info(&details(&call(needs("a b"), Disclosure::default())));
        assert_eq!(info.metadata["required_scope"], "a b");
    }

    #[test]
    fn each_challenge_is_a_field_line_over_http_and_grpc() {
        let space = Space { proofs: Some("ES256"), ..Space::of("api") };
        let challenges = Challenges::new(space, []).unwrap();
        for content_type in ["text/plain", "application/grpc"] {
            for (refusal, end) in [
                (rejection(RejectionKind::InsufficientScope), "access token\""),
                (needs("a b"), ", scope=\"a b\""),
            ] {
                let request = Request::post("/").header(CONTENT_TYPE, content_type);
                let request = request.body(()).unwrap();
                let head = RequestHead::from(&request);
                let response = respond(
                    refusal,
                    head,
                    &DefaultRenderer,
                    &challenges,
                    Disclosure::default(),
                    None,
                    Schemes::Bearer,
                );
                let lines: Vec<_> = response.headers().get_all(WWW_AUTHENTICATE).iter().collect();
                assert_eq!(lines.len(), 2);
                let bearer = lines[0].to_str().unwrap();
                assert!(bearer.starts_with("Bearer ") && bearer.ends_with(end), "{bearer}");
                let dpop = lines[1].to_str().unwrap();
                assert!(
                    dpop.starts_with("DPoP realm=\"api\"") && !dpop.contains("error"),
                    "{dpop}"
                );
                assert!(dpop.contains("scope=") == bearer.contains("scope="), "{dpop}");
            }
        }
    }

    // W24: our own trouble isn't the caller's.
    #[test]
    fn w24_unavailable_is_503_with_retry_after() {
        for (after, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (30_000, "30")] {
            let response = get(unavailable(Duration::from_millis(after)));
            assert_eq!(response.status(), 503);
            assert_eq!(header(&response, "retry-after"), Some(seconds));
            assert_eq!(header(&response, "www-authenticate"), None);
            assert_eq!(header(&response, "cache-control"), Some("no-store"));
            assert_eq!(
                response.body(),
                r#"{"error":"temporarily_unavailable","error_description":"The access token cannot be checked at the moment"}"#
            );
        }
        assert_eq!(header(&get(rejection(RejectionKind::Expired)), "retry-after"), None);
    }

    // W25: the operator reads the log, the caller learns nothing.
    #[test]
    fn w25_misconfigured_is_500_without_detail() {
        let response = get(Refusal::from(Misconfigured::new("the layer is missing")));
        assert_eq!(response.status(), 500);
        assert_eq!(header(&response, "www-authenticate"), None);
        assert_eq!(
            response.body(),
            r#"{"error":"server_error","error_description":"Internal server error"}"#
        );
        let grpc =
            call(Refusal::from(Misconfigured::new("the layer is missing")), Disclosure::default());
        assert_eq!(header(&grpc, "grpc-status"), Some("13"));
        assert_eq!(header(&grpc, "grpc-status-details-bin"), None);
    }

    // W28: the fields of GET, the length among them, and no body.
    #[test]
    fn w28_head_gets_the_headers_of_get_and_no_body() {
        for refusal in [
            rejection(RejectionKind::NoCredentials),
            rejection(RejectionKind::Expired),
            needs("a"),
            unavailable(Duration::from_secs(1)),
        ] {
            let of_get = get(refusal.clone());
            let of_head = ask(Method::HEAD, None, refusal, Disclosure::default());
            assert_eq!(of_head.status(), of_get.status());
            assert_eq!(of_head.headers(), of_get.headers());
            assert!(of_head.body().is_empty() && !of_get.body().is_empty());
        }
    }

    // W31: as if nothing were there, for whatever request. `tests/hidden.rs` holds it against real
    // servers.
    #[test]
    fn w31_hidden_says_nothing() {
        for (absent, status, fields) in [
            (Absent::Path, 404, &[][..]),
            (Absent::GrpcService, 200, &["content-type", "grpc-status", "content-length"]),
            (Absent::GrpcMethod, 200, &["grpc-status", "content-type"]),
        ] {
            for refusal in [
                needs("a"),
                rejection(RejectionKind::Denied),
                rejection(RejectionKind::NoCredentials),
                rejection(RejectionKind::TokenNotBound),
                rejection(RejectionKind::MalformedClaim),
                Misconfigured::new("").into(),
            ] {
                for method in [Method::GET, Method::HEAD, Method::POST] {
                    for content_type in [None, Some("application/grpc"), Some("text/plain")] {
                        let method = method.clone();
                        let response = ask(method, content_type, refusal.clone(), hidden(absent));
                        assert_eq!(response.status(), status);
                        assert!(response.body().is_empty());
                        assert!(response.headers().keys().eq(fields), "{response:?}");
                        assert!(header(&response, "grpc-status").is_none_or(|code| code == "12"));
                        // The operator still learns what it was.
                        assert_eq!(response.extensions().get::<Refusal>(), Some(&refusal));
                    }
                }
            }
            // Where absent paths need a token, a 401 says nothing.
            let invalid = rejection(RejectionKind::BadSignature);
            assert_eq!(ask(Method::GET, None, invalid, hidden(absent)).status(), 401);
        }
    }

    // FA6: a renderer that renders everything in its own way shows nothing; one that renders what is
    // absent has the last word.
    #[test]
    fn fa6_a_renderer_gives_away_nothing_unless_it_is_asked_to() {
        struct Chatty;
        impl Renderer for Chatty {
            fn render(&self, _: &Refusal, cx: &RefusalContext<'_>) -> Response<Bytes> {
                Response::new(cx.status().to_string().into())
            }
        }
        struct Fallback;
        impl Renderer for Fallback {
            fn render(&self, refusal: &Refusal, cx: &RefusalContext<'_>) -> Response<Bytes> {
                Chatty.render(refusal, cx)
            }
            fn render_absent(&self, _: Absent, cx: &RefusalContext<'_>) -> Response<Bytes> {
                assert_eq!((cx.code(), cx.description(), cx.challenges().count()), ("", "", 0));
                let response = Response::builder().status(404).header("content-length", "7");
                response.header("x-last", "").body("no such page".into()).unwrap()
            }
        }
        let challenges = Challenges::new(Space::of("api"), []).unwrap();
        for method in [Method::GET, Method::HEAD] {
            let request = Request::builder().method(&method).body(()).unwrap();
            let head = RequestHead::from(&request);
            let chatty = respond(
                needs("a"),
                head,
                &Chatty,
                &challenges,
                hidden(Absent::Path),
                None,
                Schemes::Bearer,
            );
            assert_eq!((chatty.status().as_u16(), &**chatty.body()), (404, &b""[..]));
            assert!(chatty.headers().is_empty());
            let own = respond(
                needs("a"),
                head,
                &Fallback,
                &challenges,
                hidden(Absent::Path),
                None,
                Schemes::Bearer,
            );
            let body = if method == Method::HEAD { "" } else { "no such page" };
            assert_eq!((own.status().as_u16(), &**own.body()), (404, body.as_bytes()));
            // A wrong length is put right, in its place.
            assert!(own.headers().keys().eq(["content-length", "x-last"]));
            assert_eq!(header(&own, "content-length"), Some("12"));
            let shown = respond(
                needs("a"),
                head,
                &Fallback,
                &challenges,
                Disclosure::default(),
                None,
                Schemes::Bearer,
            );
            let body = if method == Method::HEAD { "" } else { "403 Forbidden" };
            assert_eq!(shown.body(), body);
        }
    }

    // G4: only the media type of gRPC proper.
    #[test]
    fn g4_grpc_is_told_by_the_content_type() {
        for (content_type, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc+json", true),
            ("application/grpc;charset=utf-8", true),
            ("Application/GRPC", true),
            ("application/grpc-web", true),
            ("application/grpc-web+proto", true),
            ("application/grpc-web-text", true),
            ("application/grpcx", false),
            ("application/grp", false),
            ("application/json", false),
            ("", false),
        ] {
            let refusal = rejection(RejectionKind::NoCredentials);
            let response = ask(Method::POST, Some(content_type), refusal, Disclosure::default());
            assert_eq!(response.status() == 200, grpc, "{content_type}");
            assert_eq!(header(&response, "grpc-status").is_some(), grpc, "{content_type}");
        }
        assert_eq!(get(rejection(RejectionKind::NoCredentials)).status(), 401);
    }

    // WB1: as for gRPC, with the call's content type.
    #[test]
    fn wb1_grpc_web_is_answered_with_its_content_type() {
        for (content_type, echoed) in [
            ("application/grpc-web", "application/grpc-web"),
            ("application/grpc-web+proto", "application/grpc-web+proto"),
            ("application/grpc-web-text", "application/grpc-web-text"),
            ("application/grpc-web-text+proto;x=y", "application/grpc-web-text+proto"),
            ("application/grpc-web+<x>", "application/grpc-web+proto"),
        ] {
            let web = ask(Method::POST, Some(content_type), needs("a"), Disclosure::default());
            let grpc = call(needs("a"), Disclosure::default());
            assert_eq!((web.status().as_u16(), web.body().len()), (200, 0));
            assert_eq!(header(&web, "content-type"), Some(echoed), "{content_type}");
            for name in
                ["grpc-status", "grpc-message", "grpc-status-details-bin", "www-authenticate"]
            {
                assert!(header(&web, name).is_some() && header(&web, name) == header(&grpc, name));
            }
        }
    }

    // WB3: the code's status and JSON, or a message that ends the stream.
    #[test]
    fn wb3_connect_is_answered_with_its_errors() {
        for (refusal, status, code, has_retry) in [
            (rejection(RejectionKind::NoCredentials), 401, "unauthenticated", false),
            (needs("a"), 403, "permission_denied", false),
            (unavailable(Duration::from_secs(2)), 503, "unavailable", true),
            (Misconfigured::new("x").into(), 500, "internal", false),
        ] {
            let mut request = Request::new(());
            *request.method_mut() = Method::POST;
            request.headers_mut().insert("connect-protocol-version", HeaderValue::from_static("1"));
            let challenges = Challenges::new(Space::of("api"), []).unwrap();
            let render = |request: &Request<()>| {
                let (refusal, disclosure) = (refusal.clone(), Disclosure::default());
                respond(
                    refusal,
                    request.into(),
                    &DefaultRenderer,
                    &challenges,
                    disclosure,
                    None,
                    Schemes::Bearer,
                )
            };
            let unary = render(&request);
            assert_eq!(unary.status(), status);
            assert_eq!(header(&unary, "content-type"), Some("application/json"));
            let error: serde_json::Value = serde_json::from_slice(unary.body()).unwrap();
            assert_eq!(error["code"], code);
            assert!(!error["message"].as_str().unwrap().is_empty());
            let plain = get(refusal.clone());
            assert_eq!(header(&unary, "www-authenticate"), header(&plain, "www-authenticate"));
            assert_eq!(header(&unary, "retry-after").is_some(), has_retry);

            let stream = HeaderValue::from_static("application/connect+json");
            request.headers_mut().insert(CONTENT_TYPE, stream);
            let streaming = render(&request);
            assert_eq!(streaming.status(), 200);
            assert_eq!(header(&streaming, "content-type"), Some("application/connect+json"));
            let (head, message) = streaming.body().split_at(5);
            assert_eq!(head[0], 2);
            assert_eq!(u32::from_be_bytes(head[1..].try_into().unwrap()) as usize, message.len());
            let end: serde_json::Value = serde_json::from_slice(message).unwrap();
            assert_eq!(end["error"], error);
        }
    }

    // G1, G3: the status is in the only header block, and the details agree with it.
    #[test]
    fn g1_g3_trailers_only_with_details() {
        let response = call(unavailable(Duration::from_millis(2500)), Disclosure::default());
        assert_eq!(response.status(), 200);
        assert!(response.body().is_empty());
        assert_eq!(header(&response, "content-type"), Some("application/grpc"));
        assert_eq!(header(&response, "grpc-status"), Some("14"));
        assert_eq!(
            header(&response, "grpc-message"),
            Some("The access token cannot be checked at the moment")
        );
        assert!(!header(&response, "grpc-status-details-bin").unwrap().contains('='));
        assert_eq!(header(&response, "content-length"), None);
        let status = details(&response);
        assert_eq!(status.code, 14);
        assert_eq!(status.details.len(), 2);
        let info = error_info(&status);
        assert_eq!((&*info.reason, &*info.domain), ("AUTH_UNAVAILABLE", "tower-bearer"));
        assert_eq!(status.details[1].type_url, "type.googleapis.com/google.rpc.RetryInfo");
        let delay = RetryInfo::decode(&*status.details[1].value).unwrap().retry_delay.unwrap();
        assert_eq!((delay.seconds, delay.nanos), (2, 500_000_000));
    }

    // Habit 6: the reason travels, even when the renderer ignores it.
    #[test]
    fn the_reason_travels_whatever_the_renderer_does() {
        struct Teapot;
        impl Renderer for Teapot {
            fn render(&self, _: &Refusal, _: &RefusalContext<'_>) -> Response<Bytes> {
                let mut response = Response::new(Bytes::from_static(b"short and stout"));
                *response.status_mut() = StatusCode::IM_A_TEAPOT;
                response
            }
        }
        let challenges = Challenges::new(Space::of("api"), []).unwrap();
        for (method, body) in [(Method::GET, "short and stout"), (Method::HEAD, "")] {
            let request = Request::builder().method(method).body(()).unwrap();
            let head = RequestHead::from(&request);
            let refusal = rejection(RejectionKind::Expired);
            let response = respond(
                refusal.clone(),
                head,
                &Teapot,
                &challenges,
                VERBOSE,
                None,
                Schemes::Bearer,
            );
            assert_eq!(response.status(), 418);
            assert_eq!(response.body(), body);
            assert_eq!(response.extensions().get::<Refusal>(), Some(&refusal));
        }
    }

    fn details(response: &Response<Bytes>) -> Status {
        let encoded = response.headers()["grpc-status-details-bin"].as_bytes();
        let status = Status::decode(&*STANDARD_NO_PAD.decode(encoded).unwrap()).unwrap();
        assert_eq!(header(response, "grpc-status"), Some(&*status.code.to_string()));
        status
    }

    fn error_info(status: &Status) -> ErrorInfo {
        assert_eq!(status.details[0].type_url, "type.googleapis.com/google.rpc.ErrorInfo");
        ErrorInfo::decode(&*status.details[0].value).unwrap()
    }

    #[derive(prost::Message)]
    struct Status {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
        #[prost(message, repeated, tag = "3")]
        details: Vec<Any>,
    }

    #[derive(prost::Message)]
    struct Any {
        #[prost(string, tag = "1")]
        type_url: String,
        #[prost(bytes = "vec", tag = "2")]
        value: Vec<u8>,
    }

    #[derive(prost::Message)]
    struct ErrorInfo {
        #[prost(string, tag = "1")]
        reason: String,
        #[prost(string, tag = "2")]
        domain: String,
        #[prost(btree_map = "string, string", tag = "3")]
        metadata: BTreeMap<String, String>,
    }

    #[derive(prost::Message)]
    struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        retry_delay: Option<Duration_>,
    }

    #[derive(prost::Message)]
    struct Duration_ {
        #[prost(int64, tag = "1")]
        seconds: i64,
        #[prost(int32, tag = "2")]
        nanos: i32,
    }
}
