//! The layer that applies an operation table, and its settings.

use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use crate::error::{ConfigError, within};
use crate::mcp::service::McpGuard;
use crate::mcp::session::Sessions;
use crate::mcp::settings::Settings;
use crate::mcp::table::OperationTable;
use crate::secret::Secret;

/// Applies the access rules of an [`OperationTable`](crate::mcp::OperationTable) to requests for an MCP
/// server.
///
/// It belongs within a [`BearerAuthLayer`](crate::BearerAuthLayer), which checks the token; without one
/// it answers 500 and logs what is missing. See the [module](crate::mcp) for an example.
///
/// # Which tool a request calls
///
/// The operation is read from the body, which is buffered whole, at most
/// [1 MiB](Self::max_message_bytes) within [5 seconds](Self::message_timeout), and forwarded byte for byte,
/// with its trailers. A larger body is answered 413, a slower one 408. A body that two parsers could read
/// differently is answered 400: a batch, a duplicate member, a name that isn't a string, a byte order
/// mark, data after the message, a content type other than `application/json`, a content coding.
///
/// # Sessions
///
/// A session is bound to the principal that started it: the token's issuer and subject, or its client if it
/// has no subject. The guard appends a tag to each `Mcp-Session-Id` that the server issues, and to each `id` of
/// events in its responses (`text/event-stream`), and strips it from `Mcp-Session-Id` and `Last-Event-ID` of
/// requests; the server sees its own ids. A request with the session of another principal, or with the id of an
/// event that another one received, is answered 404, and so is one with a tag made by another key. A stream that
/// the server sends with a content coding can't be resumed. By default each layer generates a key, so sessions
/// end with the process. Processes that share sessions, or a store of events, must share a
/// [key](Self::session_key) as well.
#[derive(Clone, Debug)]
pub struct McpGuardLayer {
    settings: Arc<Settings>,
}

const MAX_MESSAGE_BYTES: usize = 1 << 20;
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);

impl McpGuardLayer {
    /// Creates a layer that enforces a table.
    ///
    /// # Errors
    ///
    /// If the operating system gives no random numbers for the key of sessions.
    pub fn new(operations: OperationTable) -> Result<Self, ConfigError> {
        let sessions = Sessions::random().map_err(|_| {
            ConfigError::new(
                "the operating system gives no random numbers: give a key with .session_key(…)",
            )
        })?;
        let settings = Settings {
            operations,
            max_bytes: MAX_MESSAGE_BYTES,
            timeout: MESSAGE_TIMEOUT,
            trusts_headers: false,
            sessions: Some(sessions),
            names_granted: false,
        };
        Ok(Self { settings: Arc::new(settings) })
    }

    /// Sets the maximum size of a message. The default is 1 MiB.
    ///
    /// # Errors
    ///
    /// If it is 0 or more than 64 MiB.
    pub fn max_message_bytes(self, bytes: usize) -> Result<Self, ConfigError> {
        within("max_message_bytes", bytes, 1..=64 << 20)?;
        Ok(self.set(|settings| settings.max_bytes = bytes))
    }

    /// Sets how long a message may take to arrive, from the first poll of its body. The default is 5
    /// seconds.
    ///
    /// # Errors
    ///
    /// If it is less than a millisecond or more than 10 minutes.
    pub fn message_timeout(self, timeout: Duration) -> Result<Self, ConfigError> {
        within("message_timeout", timeout, Duration::from_millis(1)..=Duration::from_secs(600))?;
        Ok(self.set(|settings| settings.timeout = timeout))
    }

    /// Sets the key that binds sessions and events to their principals: at least 32 random bytes, the same for all
    /// processes that share sessions, or a store of events.
    ///
    /// # Errors
    ///
    /// If it is shorter.
    pub fn session_key(self, key: Secret) -> Result<Self, ConfigError> {
        let sessions = Sessions::new(key)?;
        Ok(self.set(|settings| settings.sessions = Some(sessions)))
    }

    /// Disables the binding of sessions and events to principals, for a server that binds them itself.
    ///
    /// Otherwise any caller with a valid token and the session id of another can continue that session, and
    /// read another's stream from any event whose id it guesses.
    #[must_use]
    pub fn dangerous_unbound_sessions(self) -> Self {
        self.set(|settings| settings.sessions = None)
    }

    /// Reads the operation from the fields `Mcp-Method` and `Mcp-Name` instead of the body, for requests
    /// whose `MCP-Protocol-Version` is 2026-07-28 or later. The body is then forwarded unread, whatever its
    /// size.
    ///
    /// Only for a server that refuses requests whose fields and body differ, as the specification
    /// requires from that version on and `rmcp` does from 3.11 on. Behind any other server, a caller can call
    /// every tool by naming an allowed one in the field. Requests of older versions, and those that lack a
    /// field, are still decided from their body. A field that is malformed or occurs twice is answered
    /// 400.
    #[must_use]
    pub fn dangerous_trust_headers(self) -> Self {
        self.set(|settings| settings.trusts_headers = true)
    }

    /// Sets whether the challenge of a 403 names the token's scopes beside those that the operation
    /// needs. Off by default.
    ///
    /// Clients of protocol versions before 2026-07-28 may request only the scopes that a challenge names,
    /// and lose those they had: two operations with different scopes are then refused in turn. Later
    /// versions request both.
    #[must_use]
    pub fn name_granted_scopes(self, name: bool) -> Self {
        self.set(|settings| settings.names_granted = name)
    }

    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S> Layer<S> for McpGuardLayer {
    type Service = McpGuard<S>;

    fn layer(&self, inner: S) -> McpGuard<S> {
        McpGuard::new(inner, Arc::clone(&self.settings))
    }
}
