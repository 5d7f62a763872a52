//! Several embedded issuers at one address, as realms.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::error::ConfigError;
use crate::testing::issuer::builder::TestIssuerBuilder;
use crate::testing::issuer::handle::TestIssuer;
use crate::testing::issuer::state::State;
use crate::testing::misuse::lock;

impl TestIssuer {
    /// Adds another issuer at the same address, such as `/realms/b` beside `/realms/a`, with its own keys,
    /// clients, faults and counters.
    ///
    /// They are stopped and restarted together; the address is served until the last handle is dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_bearer::ConfigError> {
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// let a = TestIssuer::builder().issuer_path("/realms/a").start().await?;
    /// let b = a.add_realm(TestIssuer::builder().issuer_path("/realms/b"))?;
    /// assert_eq!(a.address(), b.address());
    /// assert!(b.issuer().ends_with("/realms/b"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If another issuer has its path, if it has an address or public URL of its own, or for the reasons of
    /// [`start`](TestIssuerBuilder::start).
    pub fn add_realm(&self, realm: TestIssuerBuilder) -> Result<Self, ConfigError> {
        let state = Arc::new(realm.beside(&self.served.config.root)?.run_with(&self.served));
        let mut realms = lock(&self.served.realms);
        let path = &state.config.path;
        if [&self.served].into_iter().chain(&*realms).any(|it| it.config.path == *path) {
            return Err(ConfigError::new(format!(
                "there is an issuer with the path {path:?} already: give each another"
            )));
        }
        realms.push(Arc::clone(&state));
        drop(realms);
        let (served, server) = (Arc::clone(&self.served), Arc::clone(&self.server));
        Ok(Self { state, served, server, address: self.address })
    }
}

impl TestIssuerBuilder {
    /// Builds an issuer that is served at this address.
    fn beside(mut self, root: &str) -> Result<State, ConfigError> {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        if self.listen != listen || self.public_url.is_some() {
            return Err(ConfigError::new(
                "a realm has the address of the issuer that it is added to: leave .listen(…) and \
                 .public_url(…) out",
            ));
        }
        self.check()?;
        self.public_url = Some(root.to_owned());
        Ok(self.into_state(listen))
    }
}
