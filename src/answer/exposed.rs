//! The header fields of refusals that a CORS layer must expose to scripts.

use http::HeaderName;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};

/// The header fields of refusals that scripts of other origins need: for a CORS layer around the
/// [`BearerAuthLayer`](crate::BearerAuthLayer).
///
/// ```
/// use tower_bearer::answer::EXPOSED_HEADERS;
/// use tower_http::cors::{Any, CorsLayer};
///
/// let cors = CorsLayer::new().allow_origin(Any).allow_headers(Any).expose_headers(EXPOSED_HEADERS);
/// ```
pub const EXPOSED_HEADERS: [HeaderName; 5] = [
    WWW_AUTHENTICATE,
    RETRY_AFTER,
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
];
