//! Settings of the embedded issuer for opaque tokens.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::testing::issuer::builder::TestIssuerBuilder;

impl TestIssuerBuilder {
    /// Changes what the introspection endpoint answers about each active token.
    ///
    /// ```
    /// # use tower_bearer::testing::TestIssuer;
    /// // As django-oauth-toolkit: neither `iss` nor `aud` nor `iat`.
    /// let builder = TestIssuer::builder().shape_introspection(|answer| {
    ///     answer.retain(|name, _| !["iss", "aud", "iat"].contains(&name.as_str()));
    /// });
    /// ```
    pub fn shape_introspection(
        mut self,
        shape: impl Fn(&mut Map<String, Value>) + Send + Sync + 'static,
    ) -> Self {
        self.config.shape_introspection = Arc::new(shape);
        self
    }

    /// Changes the header and the claims of each signed answer of the introspection endpoint (RFC 9701 §5),
    /// which are signed as they are then. The answer itself is the claim `token_introspection`, also about a
    /// token that isn't active.
    ///
    /// ```
    /// # use tower_bearer::testing::TestIssuer;
    /// // An answer that was meant for another service.
    /// let builder = TestIssuer::builder().shape_signed_introspection(|_header, claims| {
    ///     claims.insert("aud".into(), "another".into());
    /// });
    /// ```
    pub fn shape_signed_introspection(
        mut self,
        shape: impl Fn(&mut Map<String, Value>, &mut Map<String, Value>) + Send + Sync + 'static,
    ) -> Self {
        self.config.shape_signed_introspection = Arc::new(shape);
        self
    }

    /// Makes the token endpoint grant opaque tokens instead of JWTs.
    pub fn opaque_tokens(mut self) -> Self {
        self.config.opaque_tokens = true;
        self
    }
}
