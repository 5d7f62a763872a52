//! The table of answers: status, codes and text for each kind of refusal, the same in all protocols.

#![deny(clippy::wildcard_enum_match_arm)]

use http::StatusCode;

use crate::answer::absent::Absent;
use crate::refusal::{Refusal, RejectionKind};

/// The wire form of a refusal: the only thing that the HTTP and gRPC renderers read.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Wire {
    pub(crate) status: StatusCode,
    pub(crate) challenge: Challenged,
    /// `error` of the JSON body.
    pub(crate) code: &'static str,
    /// `error_description` of challenge and body, and the gRPC message: a closed list.
    pub(crate) description: &'static str,
    /// The JSON body.
    pub(crate) body: &'static str,
    /// The gRPC status code (grpc/grpc `statuscodes.md`).
    pub(crate) grpc_code: u8,
    /// `google.rpc.ErrorInfo.reason`.
    pub(crate) grpc_reason: Option<&'static str>,
}

/// What `WWW-Authenticate` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Challenged {
    /// The field is absent.
    No,
    /// A challenge without `error`: the request has no credentials (RFC 6750 §3.1).
    Bare,
    /// A challenge with this `error`.
    Error(&'static str),
}

const INVALID_REQUEST: Challenged = Challenged::Error("invalid_request");
const INVALID_TOKEN: Challenged = Challenged::Error("invalid_token");

const INVALID_ARGUMENT: u8 = 3;
const DEADLINE_EXCEEDED: u8 = 4;
const NOT_FOUND: u8 = 5;
const PERMISSION_DENIED: u8 = 7;
const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;
const UNAUTHENTICATED: u8 = 16;

/// Returns `true` if JSON and a quoted string need no escape for the text: the characters that RFC 6750
/// §3 allows in `error` and `error_description`.
const fn is_plain(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        if !matches!(first, b' '..=b'~') || matches!(first, b'"' | b'\\') {
            return false;
        }
        rest = others;
    }
    true
}

macro_rules! wires {
    ($($name:ident: $status:ident, $challenge:expr, $code:literal, $description:literal, $grpc:expr, $reason:expr;)+) => {
        $(pub(crate) static $name: Wire = Wire {
            status: StatusCode::$status,
            challenge: $challenge,
            code: $code,
            description: $description,
            body: concat!("{\"error\":\"", $code, "\",\"error_description\":\"", $description, "\"}"),
            grpc_code: $grpc,
            grpc_reason: $reason,
        };)+

        $(const _: () = assert!(
            is_plain($code) && is_plain($description),
            "the body and the challenge are written without escapes"
        );)+

        /// All wire forms but [`HIDDEN`].
        pub(crate) static ALL: &[&Wire] = &[$(&$name,)+];
    };
}

wires! {
    NO_CREDENTIALS: UNAUTHORIZED, Challenged::Bare, "unauthorized",
        "An access token is required", UNAUTHENTICATED, Some("CREDENTIALS_MISSING");
    MALFORMED: BAD_REQUEST, INVALID_REQUEST, "invalid_request",
        "The Authorization header field is malformed", UNAUTHENTICATED, Some("CREDENTIALS_MALFORMED");
    MULTIPLE: BAD_REQUEST, INVALID_REQUEST, "invalid_request",
        "More than one access token was sent", UNAUTHENTICATED, Some("CREDENTIALS_MALFORMED");
    // A gRPC server knows no method by such a path.
    AMBIGUOUS_PATH: BAD_REQUEST, INVALID_REQUEST, "invalid_request",
        "The path can be read in more than one way", UNIMPLEMENTED, Some("PATH_AMBIGUOUS");
    INVALID: UNAUTHORIZED, INVALID_TOKEN, "invalid_token",
        "The access token is invalid", UNAUTHENTICATED, Some("ACCESS_TOKEN_INVALID");
    EXPIRED: UNAUTHORIZED, INVALID_TOKEN, "invalid_token",
        "The access token expired", UNAUTHENTICATED, Some("ACCESS_TOKEN_EXPIRED");
    UNSUPPORTED: UNAUTHORIZED, INVALID_TOKEN, "invalid_token",
        "The access token is invalid", UNAUTHENTICATED, Some("ACCESS_TOKEN_TYPE_UNSUPPORTED");
    INVALID_PROOF: UNAUTHORIZED, Challenged::Error("invalid_dpop_proof"), "invalid_dpop_proof",
        "The DPoP proof is not valid", UNAUTHENTICATED, Some("DPOP_PROOF_INVALID");
    NONCE_REQUIRED: UNAUTHORIZED, Challenged::Error("use_dpop_nonce"), "use_dpop_nonce",
        "The DPoP proof needs a nonce", UNAUTHENTICATED, Some("DPOP_NONCE_REQUIRED");
    INSUFFICIENT_SCOPE: FORBIDDEN, Challenged::Error("insufficient_scope"), "insufficient_scope",
        "The request requires higher privileges than provided by the access token",
        PERMISSION_DENIED, Some("ACCESS_TOKEN_SCOPE_INSUFFICIENT");
    MALFORMED_MESSAGE: BAD_REQUEST, INVALID_REQUEST, "invalid_request",
        "The request is not one well-formed MCP message", INVALID_ARGUMENT, Some("MESSAGE_MALFORMED");
    MESSAGE_TOO_LARGE: PAYLOAD_TOO_LARGE, Challenged::No, "invalid_request",
        "The MCP message is too large", RESOURCE_EXHAUSTED, Some("MESSAGE_TOO_LARGE");
    MESSAGE_TIMED_OUT: REQUEST_TIMEOUT, Challenged::No, "invalid_request",
        "The MCP message took too long to arrive", DEADLINE_EXCEEDED, Some("MESSAGE_TIMED_OUT");
    // Clients begin a new session when they are answered 404.
    UNKNOWN_SESSION: NOT_FOUND, Challenged::No, "session_not_found",
        "The session does not exist", NOT_FOUND, Some("SESSION_NOT_FOUND");
    STEP_UP: UNAUTHORIZED, Challenged::Error("insufficient_user_authentication"),
        "insufficient_user_authentication", "The request requires a stronger or more recent login",
        UNAUTHENTICATED, Some("LOGIN_INSUFFICIENT");
    // No challenge: no other token would do.
    DENIED: FORBIDDEN, Challenged::No, "access_denied",
        "The request is not allowed", PERMISSION_DENIED, Some("ACCESS_DENIED");
    TEMPORARILY_UNAVAILABLE: SERVICE_UNAVAILABLE, Challenged::No, "temporarily_unavailable",
        "The access token cannot be checked at the moment", UNAVAILABLE, Some("AUTH_UNAVAILABLE");
    SERVER_ERROR: INTERNAL_SERVER_ERROR, Challenged::No, "server_error",
        "Internal server error", INTERNAL, None;
}

/// The wire form of a refusal that is answered as if the resource didn't exist.
pub(crate) static HIDDEN: Wire = Wire {
    status: StatusCode::NOT_FOUND,
    challenge: Challenged::No,
    code: "",
    description: "",
    body: "",
    grpc_code: UNIMPLEMENTED,
    grpc_reason: None,
};

/// How much of a refusal the caller may learn.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Disclosure {
    /// Whether an expired token is answered differently from other invalid ones.
    pub(crate) verbose: bool,
    /// The answer in place of 403 and of a bare challenge.
    pub(crate) hidden: Option<Absent>,
}

/// Returns the wire form of a refusal: the one exhaustive table.
pub(crate) const fn wire(refusal: &Refusal, disclosure: Disclosure) -> &'static Wire {
    match refusal {
        Refusal::Rejection(rejection) => match rejection.kind() {
            RejectionKind::NoCredentials => {
                if disclosure.hidden.is_some() {
                    &HIDDEN
                } else {
                    &NO_CREDENTIALS
                }
            }
            RejectionKind::MalformedCredentials => &MALFORMED,
            RejectionKind::MultipleCredentials => &MULTIPLE,
            RejectionKind::AmbiguousPath => &AMBIGUOUS_PATH,
            RejectionKind::Expired => {
                if disclosure.verbose {
                    &EXPIRED
                } else {
                    &INVALID
                }
            }
            RejectionKind::TokenTooLong
            | RejectionKind::MalformedToken
            | RejectionKind::UnsupportedAlgorithm
            | RejectionKind::UnsupportedCritical
            | RejectionKind::WrongType
            | RejectionKind::UnknownKey
            | RejectionKind::AmbiguousKey
            | RejectionKind::BadSignature
            | RejectionKind::Inactive
            | RejectionKind::ExchangeRefused
            | RejectionKind::WrongIssuer
            | RejectionKind::WrongAudience
            | RejectionKind::NotYetValid
            | RejectionKind::TooOld
            | RejectionKind::MissingClaim => &INVALID,
            RejectionKind::MalformedClaim => {
                if disclosure.hidden.is_some() {
                    &HIDDEN
                } else {
                    &INVALID
                }
            }
            RejectionKind::EncryptedToken
            | RejectionKind::IdToken
            | RejectionKind::SenderConstrained => &UNSUPPORTED,
            RejectionKind::TokenNotBound => {
                if disclosure.hidden.is_some() {
                    &HIDDEN
                } else {
                    &UNSUPPORTED
                }
            }
            RejectionKind::DpopKeyMismatch
            | RejectionKind::CertificateMissing
            | RejectionKind::CertificateMismatch
            | RejectionKind::CertificateMalformed => &INVALID,
            RejectionKind::DpopProofMissing
            | RejectionKind::DpopProofMalformed
            | RejectionKind::DpopProofMismatch
            | RejectionKind::DpopProofOutOfTime
            | RejectionKind::DpopProofBadSignature
            | RejectionKind::DpopProofReplayed => &INVALID_PROOF,
            RejectionKind::DpopNonceRequired => &NONCE_REQUIRED,
            RejectionKind::InsufficientScope => {
                if disclosure.hidden.is_some() {
                    &HIDDEN
                } else {
                    &INSUFFICIENT_SCOPE
                }
            }
            RejectionKind::MalformedMessage => &MALFORMED_MESSAGE,
            RejectionKind::MessageTooLarge => &MESSAGE_TOO_LARGE,
            RejectionKind::MessageTimedOut => &MESSAGE_TIMED_OUT,
            RejectionKind::UnknownSession => &UNKNOWN_SESSION,
            RejectionKind::InsufficientLogin => {
                if disclosure.hidden.is_some() {
                    &HIDDEN
                } else {
                    &STEP_UP
                }
            }
            RejectionKind::Denied
            | RejectionKind::ClaimRefused
            | RejectionKind::ExchangeForbidden
            | RejectionKind::IssuerNotAllowed
            | RejectionKind::WrongClient => {
                if disclosure.hidden.is_some() {
                    &HIDDEN
                } else {
                    &DENIED
                }
            }
        },
        Refusal::Unavailable(_) => &TEMPORARILY_UNAVAILABLE,
        // The log has the reason; a caller would learn that the resource exists.
        Refusal::Misconfigured(_) if disclosure.hidden.is_some() => &HIDDEN,
        Refusal::Misconfigured(_) => &SERVER_ERROR,
    }
}
