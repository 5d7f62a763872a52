//! Whether an issuer's tokens can be checked now, and the wait until they can.

use std::time::Duration;

#[cfg(feature = "introspection")]
use crate::jwks::State;
use crate::jwks::{Health, Jwks, NotReady};
use crate::validator::realm::Realm;

impl Realm {
    /// Returns whether its tokens can be checked now.
    pub(crate) fn health(&self) -> Health {
        let keys = self.jwks().map_or(Health::Ready, Jwks::health);
        #[cfg(feature = "introspection")]
        if let Some(asked) = &self.asked {
            return match keys {
                Health::Ready => asked.introspector.health(),
                // Opaque tokens need no keys, and some servers that have them publish none.
                Health::NotReady if self.has_failed_to_load() => Health::Degraded,
                other => other,
            };
        }
        keys
    }

    /// Waits until its tokens can be checked, for at most this long.
    pub(crate) async fn ready(&self, deadline: Duration) -> Result<(), NotReady> {
        let Some(jwks) = self.jwks() else { return Ok(()) };
        let ready = jwks.ready(deadline).await;
        ready.or_else(|error| if self.health().is_ready() { Ok(()) } else { Err(error) })
    }

    #[cfg(feature = "introspection")]
    fn has_failed_to_load(&self) -> bool {
        let status = self.jwks().map(Jwks::status);
        status.is_some_and(|status| status.last_error.is_some() && status.state != State::ShutDown)
    }
}
