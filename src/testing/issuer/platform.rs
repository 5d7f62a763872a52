//! Clients that authenticate with tokens of another embedded issuer, the platform.

use serde_json::{Value, json};

use crate::testing::issuer::client::TestClient;
use crate::testing::issuer::handle::TestIssuer;
use crate::testing::tokens::key::TestKey;

impl TestClient {
    /// Creates a client that authenticates with tokens of another issuer (the platform that it runs on,
    /// such as Kubernetes) about this subject.
    ///
    /// A token must be signed by a key that the platform publishes when this is called, and its `aud`
    /// must be this issuer, or its token endpoint. It may be used again until it expires.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_bearer::Secret;
    /// use tower_bearer::client::{ClientAuth, Grant, WorkloadToken};
    /// use tower_bearer::testing::{TestClient, TestIssuer};
    ///
    /// let platform = TestIssuer::start().await?;
    /// let subject = "system:serviceaccount:shop:billing";
    /// let client = TestClient::workload("billing", &platform, subject);
    /// let issuer = TestIssuer::builder().client(client).start().await?;
    ///
    /// let token = platform.token().subject(subject).audience(issuer.issuer()).sign();
    /// let token = WorkloadToken::from_fn(move || {
    ///     let token = Secret::new(token.clone());
    ///     async { Ok(token) }
    /// });
    /// let tokens = Grant::discover(issuer.issuer(), ClientAuth::workload("billing", token))
    ///     .allow_loopback_http()
    ///     .source()?;
    /// assert!(tokens.token().await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn workload(id: &str, platform: &TestIssuer, subject: &str) -> Self {
        let keys = platform.published_keys();
        let keys: Vec<Value> = keys.iter().map(TestKey::public_jwk).collect();
        let platform = Some((platform.issuer().into(), subject.into()));
        Self { platform, ..Self::jwks(id, json!({ "keys": keys })) }
    }
}
