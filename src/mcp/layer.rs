use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use crate::error::{ConfigError, within};
use crate::mcp::service::McpGuard;
use crate::mcp::session::Sessions;
use crate::mcp::settings::Settings;
use crate::mcp::table::OperationTable;
use crate::secret::Secret;

/// Lets requests through to an MCP server whose token may do what their message asks for.
///
/// It belongs within a [`BearerAuthLayer`](crate::BearerAuthLayer), which checks the token; without one
/// it answers 500 and logs what is missing. See the [module](crate::mcp) for an example.
///
/// # Which tool a request calls
///
/// That is in the body. It is read to its end, at most [1 MiB](Self::max_message_bytes) within
/// [5 seconds](Self::message_timeout), and handed on byte for byte, with its trailers. A larger one is
/// answered 413, a slower one 408. A body that two readers could read differently is answered 400:
/// several messages in an array, a member twice, a name that isn't a string, a byte order mark, data
/// after the message, another content type than `application/json`, a content coding.
///
/// # Sessions
///
/// A session belongs to whom it was given to: the token's issuer and subject, or client where there is
/// no subject. The guard adds a tag to each `Mcp-Session-Id` that the server hands out, and takes it off
/// again; the server sees its own ids. A request with the session of another principal is answered 404, as
/// is one of a session that another key made: by default a key is made with each layer, so that sessions
/// end with the process. Where several processes share sessions, share a [key](Self::session_key), too.
#[derive(Clone, Debug)]
pub struct McpGuardLayer {
    settings: Arc<Settings>,
}

const MAX_MESSAGE_BYTES: usize = 1 << 20;
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);

impl McpGuardLayer {
    /// Creates a layer that requires what the table says.
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

    /// Sets how many bytes of a message are read. The default is 1 MiB.
    ///
    /// # Errors
    ///
    /// If it is 0 or more than 64 MiB.
    pub fn max_message_bytes(self, bytes: usize) -> Result<Self, ConfigError> {
        within("max_message_bytes", bytes, 1..=64 << 20)?;
        Ok(self.set(|settings| settings.max_bytes = bytes))
    }

    /// Sets how long a message may take to arrive, from when it is first waited for. The default is 5
    /// seconds.
    ///
    /// # Errors
    ///
    /// If it is less than a millisecond or more than 10 minutes.
    pub fn message_timeout(self, timeout: Duration) -> Result<Self, ConfigError> {
        within("message_timeout", timeout, Duration::from_millis(1)..=Duration::from_secs(600))?;
        Ok(self.set(|settings| settings.timeout = timeout))
    }

    /// Sets the key that binds sessions to their principals: at least 32 random bytes, the same for all
    /// processes that share sessions.
    ///
    /// # Errors
    ///
    /// If it is shorter.
    pub fn session_key(self, key: Secret) -> Result<Self, ConfigError> {
        let sessions = Sessions::new(key)?;
        Ok(self.set(|settings| settings.sessions = Some(sessions)))
    }

    /// Leaves sessions unbound: whoever has a valid token and another's session id can go on with that
    /// session. For a server that binds them itself.
    #[must_use]
    pub fn dangerous_unbound_sessions(self) -> Self {
        self.set(|settings| settings.sessions = None)
    }

    /// Decides from the fields `Mcp-Method` and `Mcp-Name` in place of the body, for requests whose
    /// `MCP-Protocol-Version` is 2026-07-28 or later. The body is then handed on unread, whatever its
    /// size.
    ///
    /// Only for a server that refuses requests whose fields and body differ, as the specification
    /// demands from that version on and `rmcp` does from 3.11 on. Behind any other, a caller gets every
    /// tool by naming a harmless one in the field. Requests of older versions, and those that lack a
    /// field, are decided from their body as ever. A field that is malformed or there twice is answered
    /// 400.
    #[must_use]
    pub fn dangerous_trust_headers(self) -> Self {
        self.set(|settings| settings.trusts_headers = true)
    }

    /// Sets whether the challenge of a 403 names the token's scopes beside those that the operation
    /// needs. Off by default.
    ///
    /// Clients of protocol versions before 2026-07-28 may ask for what a challenge names and nothing
    /// else, and so lose what they had: two operations with different scopes then take turns in being
    /// refused. Later ones ask for both.
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
