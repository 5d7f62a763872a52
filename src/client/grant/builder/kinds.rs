//! Settings for grants other than client credentials: token exchange and JWT bearer.

use crate::client::grant::builder::GrantBuilder;
use crate::client::grant::kind::{BearerAssertion, Kind, OnBehalfOf, Subject, TokenExchange};
use crate::credentials::workload::WorkloadToken;

/// Tokens that are granted for something other than the client's own credentials.
impl GrantBuilder {
    /// Exchanges this token of the platform for one of the authorization server's (RFC 8693), as workload
    /// identity federation has it. [`TokenType::Jwt`](crate::client::TokenType::Jwt) is what most servers
    /// call such a token.
    ///
    /// ```
    /// # fn example() -> Result<(), tower_bearer::ConfigError> {
    /// use tower_bearer::client::{ClientAuth, Grant, TokenExchange, TokenType, WorkloadToken};
    ///
    /// // At Google, where a pool's provider is the audience and there is no client.
    /// let tokens = Grant::endpoint("https://sts.googleapis.com/v1/token", ClientAuth::none(""))
    ///     .audience(
    ///         "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k",
    ///     )
    ///     .scope("https://www.googleapis.com/auth/cloud-platform")
    ///     .token_exchange(
    ///         WorkloadToken::file("/var/run/secrets/tokens/gcp"),
    ///         TokenExchange::new()
    ///             .subject_token_type(TokenType::Jwt)
    ///             .requested_token_type(TokenType::AccessToken),
    ///     )
    ///     .source()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn token_exchange(mut self, token: WorkloadToken, how: TokenExchange) -> Self {
        self.kind = Kind::Exchange(Subject::Workload(token), Box::new(how));
        self
    }

    /// Asks with an assertion as the grant (RFC 7523 §2.1): a [`WorkloadToken`], or an
    /// [`Assertion`](crate::client::Assertion) that this client signs about itself or a
    /// [subject](crate::client::Assertion::subject).
    ///
    /// ```
    /// # fn example() -> Result<(), tower_bearer::ConfigError> {
    /// use tower_bearer::client::{ClientAuth, Grant, WorkloadToken};
    ///
    /// let tokens = Grant::discover("https://issuer.example", ClientAuth::none("billing"))
    ///     .jwt_bearer(WorkloadToken::file("/var/run/secrets/tokens/issuer"))
    ///     .source()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn jwt_bearer(mut self, assertion: impl Into<BearerAssertion>) -> Self {
        self.kind = Kind::JwtBearer(assertion.into().0);
        self
    }

    /// Accepts a token that has more scopes than were asked for, though it was obtained by an exchange or
    /// with an assertion. By default it is refused.
    ///
    /// A service that gets such a token can do more in the caller's name than this service has asked
    /// for. It is needed with servers that add scopes to every token, such as Keycloak's default scopes.
    pub fn dangerous_accept_wider_scope(mut self) -> Self {
        self.wider_scope = true;
        self
    }

    /// Makes it a grant on behalf of callers.
    pub(crate) fn for_callers(mut self, how: OnBehalfOf) -> Self {
        self.kind = how.kind;
        match how.parameter {
            Some((name, value)) => self.parameter(name, value),
            None => self,
        }
    }
}
