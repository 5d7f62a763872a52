//! Makes the tokens that a route check sends.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::testing::issuer::handle::TestIssuer;
use crate::testing::routes::sent::SentToken;
use crate::testing::tokens::key::TestKey;
use crate::testing::tokens::token::TokenBuilder;

/// Completes a token with what the application needs besides the issuer's claims.
pub(crate) type Shape<'a> = Box<dyn Fn(TokenBuilder<'_>) -> TokenBuilder<'_> + Send + Sync + 'a>;

/// How long ago an expired token expired, which is longer than any leeway.
const LONG_AGO: Duration = Duration::from_secs(86_400);

/// The tokens that are sent, each signed once.
pub(crate) struct Tokens<'a> {
    issuer: &'a TestIssuer,
    shape: &'a Shape<'a>,
    /// All listed scopes, which invalid tokens have.
    scopes: String,
    stranger: TestKey,
    signed: BTreeMap<SentToken, String>,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(issuer: &'a TestIssuer, shape: &'a Shape<'a>, scopes: String) -> Self {
        let key = issuer.signing_key();
        let stranger = TestKey::generate(key.algorithm()).with_kid(key.kid());
        Self { issuer, shape, scopes, stranger, signed: BTreeMap::new() }
    }

    /// Returns the value of the `Authorization` field.
    pub(crate) fn field(&mut self, token: &SentToken) -> Option<String> {
        if *token == SentToken::None {
            return None;
        }
        if let Some(known) = self.signed.get(token) {
            return Some(known.clone());
        }
        let field = format!("Bearer {}", self.sign(token));
        self.signed.insert(token.clone(), field.clone());
        Some(field)
    }

    fn sign(&self, token: &SentToken) -> String {
        let good = |scopes: &str| (self.shape)(self.issuer.token().scope(scopes));
        let all = || good(&self.scopes);
        match token {
            SentToken::None => String::new(),
            SentToken::Garbage => "garbage".to_owned(),
            SentToken::Expired => all().expired_for(LONG_AGO).sign(),
            SentToken::OtherIssuer => all().claim("iss", "https://other-issuer.test").sign(),
            SentToken::OtherAudience => all().claim("aud", "https://other-api.test").sign(),
            SentToken::Forged => all().signed_with(&self.stranger).sign(),
            SentToken::Unsecured => all().unsecured().sign(),
            SentToken::Scopes(scopes) => good(scopes).sign(),
        }
    }
}

impl fmt::Debug for Tokens<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("signed", &self.signed.len()).finish_non_exhaustive()
    }
}
