//! Waiting for the first token at start, and the health of a source.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::client::grant::error::{TokenError, TokenErrorKind};
use crate::client::tokens::health::TokenHealth;
use crate::client::tokens::source::TokenSource;
use crate::clock::monotonic;

/// The time between two lookups while there is no token.
const PAUSE: Duration = Duration::from_millis(500);

impl TokenSource {
    /// Waits until there is a token, for at most this long. Called at the start of a service, it finds a
    /// wrong secret before the first request does.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_bearer::client::TokenSource;
    ///
    /// let tokens = TokenSource::from_env()?;
    /// tokens.ready(Duration::from_secs(30)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The error of the last fetch: at once if it is [permanent](TokenError::is_permanent), else when the time
    /// is over.
    pub async fn ready(&self, within: Duration) -> Result<(), TokenError> {
        let began = monotonic();
        let deadline = began.checked_add(within);
        let mut last = None;
        loop {
            let Err(error) = self.token_until(deadline).await else { return Ok(()) };
            let is_over = *error.kind() == TokenErrorKind::Deadline;
            if is_over || error.is_permanent() || *error.kind() == TokenErrorKind::NoRuntime {
                return Err(last.filter(|_| is_over).unwrap_or(error));
            }
            let Some(next) = next(deadline) else { return Err(error) };
            last = Some(error);
            sleep_until(next).await;
        }
    }

    /// Returns the health of the grant. Nothing is fetched.
    ///
    /// A service whose probe asks for [`is_serving`](TokenHealth::is_serving) fails it only when the
    /// authorization server is down for longer than the tokens live.
    pub fn health(&self) -> TokenHealth {
        self.entry().health(monotonic())
    }
}

/// Returns when to look again; `None` if that is too late.
fn next(deadline: Option<Instant>) -> Option<Instant> {
    let next = monotonic().checked_add(PAUSE)?;
    Some(next).filter(|next| deadline.is_none_or(|deadline| *next < deadline))
}
