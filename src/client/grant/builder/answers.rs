//! Settings for servers whose answers deviate from RFC 6749 §5.1.

use crate::client::grant::builder::GrantBuilder;

/// Which answers are accepted that deviate from RFC 6749 §5.1.
impl GrantBuilder {
    /// Accepts tokens of another `token_type` besides `Bearer`, and sends them as bearer tokens; may be
    /// called for several. Letter case makes no difference.
    ///
    /// Apigee sends `BearerToken`, and eBay `Application Access Token`. A type that needs more than the
    /// token to be sent, such as `DPoP`, is refused when the grant is built: `DPoP` is what
    /// `GrantBuilder::dpop` is for (feature `dpop`).
    pub fn accept_token_type(mut self, token_type: &str) -> Self {
        self.answers.token_types.push(token_type.to_ascii_lowercase());
        self
    }

    /// Accepts a token without `token_type`, as Shopify sends it, as a bearer token. By default it is
    /// refused, since RFC 6749 §5.1 requires the type.
    pub fn accept_missing_token_type(mut self) -> Self {
        self.answers.no_token_type = true;
        self
    }

    /// Accepts a token with status 201. By default only a response with 200 grants a token (RFC 6749
    /// §5.1).
    pub fn accept_created(mut self) -> Self {
        self.answers.created = true;
        self
    }

    /// Reads the granted scopes as separated by commas, besides spaces. By default a comma is part of
    /// a scope (RFC 6749 §3.3).
    pub fn comma_separated_scopes(mut self) -> Self {
        self.answers.comma_separated = true;
        self
    }
}
