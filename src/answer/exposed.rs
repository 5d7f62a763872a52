//! The header fields of refusals that a CORS layer must expose to scripts.

use http::HeaderName;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};

/// The header fields of refusals that scripts of other origins need: for a CORS layer around the
/// [`BearerAuthLayer`](crate::BearerAuthLayer).
///
/// Among the fields that scripts may send, `*` never covers `Authorization` (Fetch, "CORS non-wildcard
/// request-header name"): it is named, and `DPoP` where proofs are accepted.
///
/// ```
/// use http::{HeaderName, header::AUTHORIZATION};
/// use tower_bearer::answer::EXPOSED_HEADERS;
/// use tower_http::cors::{Any, CorsLayer};
///
/// let cors = CorsLayer::new()
///     .allow_origin(Any)
///     .allow_headers([AUTHORIZATION, HeaderName::from_static("dpop")])
///     .expose_headers(EXPOSED_HEADERS);
/// ```
pub const EXPOSED_HEADERS: [HeaderName; 6] = [
    WWW_AUTHENTICATE,
    RETRY_AFTER,
    HeaderName::from_static("dpop-nonce"),
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    // W29, D72
    #[test]
    fn w29_d72_scripts_can_read_all_that_a_refusal_says() {
        let names = EXPOSED_HEADERS.map(|name| name.to_string());
        let expected = [
            "www-authenticate",
            "retry-after",
            "dpop-nonce",
            "grpc-status",
            "grpc-message",
            "grpc-status-details-bin",
        ];
        assert_eq!(names, expected);
    }
}
