//! The methods and header fields that a CORS layer around an MCP server must allow.

use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};

use crate::mcp::session::SESSION_ID;

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// Returns the methods that a browser's MCP client uses, for a CORS layer's `allow_methods`.
///
/// ```
/// use tower_bearer::mcp;
/// use tower_http::cors::{Any, CorsLayer};
///
/// let cors = CorsLayer::new()
///     .allow_origin(Any)
///     .allow_methods(mcp::cors_methods())
///     .allow_headers(mcp::cors_request_headers())
///     .expose_headers(mcp::cors_exposed_headers());
/// ```
///
/// The CORS layer belongs around the [`BearerAuthLayer`](crate::BearerAuthLayer), so that it answers
/// preflight requests, which have no token, and scripts can read refusals.
pub const fn cors_methods() -> [Method; 4] {
    [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS]
}

/// Returns the header fields that a browser's MCP client sends, for a CORS layer's `allow_headers`.
/// See [`cors_methods`].
pub const fn cors_request_headers() -> [HeaderName; 9] {
    [
        AUTHORIZATION,
        HeaderName::from_static("dpop"),
        CONTENT_TYPE,
        ACCEPT,
        HeaderName::from_static("last-event-id"),
        SESSION_ID,
        PROTOCOL_VERSION,
        HeaderName::from_static("mcp-method"),
        HeaderName::from_static("mcp-name"),
    ]
}

/// Returns the response fields that a browser's MCP client must be able to read, for a CORS layer's
/// `expose_headers`. See [`cors_methods`].
pub const fn cors_exposed_headers() -> [HeaderName; 4] {
    [WWW_AUTHENTICATE, SESSION_ID, HeaderName::from_static("dpop-nonce"), PROTOCOL_VERSION]
}
