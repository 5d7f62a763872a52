//! An access token that was granted: its header value, scopes, lifetime and key.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::client::dpop::{Key, token_hash};
use crate::clock::monotonic;
use crate::scope::ScopeSet;

/// The value of an `Authorization` field begins with this (RFC 6750 §2.1).
const BEARER: &str = "Bearer ";

/// The same for a token that is bound to a key (RFC 9449 §7.1).
const DPOP: &str = "DPoP ";

/// An access token that the authorization server granted.
///
/// Clones are cheap and share one text, which is wiped from memory when the last of them and of
/// the header values made from it is dropped. It is never printed.
#[derive(Clone)]
pub struct Token(Arc<Granted>);

struct Granted {
    /// The scheme and the token, checked, sensitive.
    header: HeaderValue,
    /// The key that proofs for it are signed with.
    bound: Option<Bound>,
    scopes: Option<ScopeSet>,
    obtained: Instant,
    expires: Instant,
}

/// A key that a token is bound to.
pub(crate) struct Bound {
    pub(crate) key: Arc<Key>,
    /// The token's hash, which each proof has.
    pub(crate) hash: Option<Box<str>>,
}

impl Token {
    /// Takes a text; `None` if it isn't `1*VSCHAR` (RFC 6749 appendix A.12): widely used servers issue
    /// tokens with characters beyond the `b64token` of RFC 6750 §2.1.
    pub(crate) fn new(
        access_token: &[u8],
        scopes: Option<ScopeSet>,
        obtained: Instant,
        expires: Instant,
        key: Option<Arc<Key>>,
    ) -> Option<Self> {
        if !is_access_token(access_token) {
            return None;
        }
        let scheme = if key.is_some() { DPOP } else { BEARER };
        let mut text =
            Zeroizing::new(Vec::with_capacity(scheme.len().saturating_add(access_token.len())));
        text.extend_from_slice(scheme.as_bytes());
        text.extend_from_slice(access_token);
        let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
        header.set_sensitive(true);
        let bound = key.map(|key| Bound { key, hash: token_hash(access_token) });
        Some(Self(Arc::new(Granted { header, bound, scopes, obtained, expires })))
    }

    /// Returns the value of an `Authorization` field: `Bearer`, a space, and the token; `DPoP` if it is
    /// bound to a key, and then each request needs a proof besides
    /// ([`TokenSource::authorize`](crate::client::TokenSource::authorize),
    /// [`OnBehalf::authorize`](crate::client::OnBehalf::authorize)).
    ///
    /// It is marked as sensitive, and shares its memory with the token.
    pub fn header_value(&self) -> HeaderValue {
        self.0.header.clone()
    }

    /// Returns the token itself, for uses that [`header_value`](Self::header_value) doesn't cover.
    ///
    /// Copies of the text are neither redacted nor wiped.
    pub fn expose_secret(&self) -> &str {
        let scheme = if self.0.bound.is_some() { DPOP } else { BEARER };
        // The header was made of ASCII.
        self.0.header.to_str().ok().and_then(|text| text.get(scheme.len()..)).unwrap_or_default()
    }

    /// Returns the scopes that were granted, if the server said which; if it didn't, they should be
    /// those that were asked for (RFC 6749 §5.1).
    pub fn granted_scopes(&self) -> Option<&ScopeSet> {
        self.0.scopes.as_ref()
    }

    /// Returns the rest of the token's lifetime, as far as the server declared it.
    pub fn remaining(&self) -> Duration {
        self.0.expires.saturating_duration_since(monotonic())
    }

    /// Returns the thumbprint (RFC 7638) of the key that the token is bound to by DPoP, if it is.
    pub fn key_thumbprint(&self) -> Option<&str> {
        self.0.bound.as_ref().map(|bound| bound.key.thumbprint())
    }

    pub(crate) fn bound(&self) -> Option<&Bound> {
        self.0.bound.as_ref()
    }

    /// Returns `true` if the token is bound to this key, or to none if there is none.
    pub(crate) fn is_bound_to(&self, key: Option<&Key>) -> bool {
        self.key_thumbprint() == key.map(Key::thumbprint)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.header == other.0.header
    }

    pub(crate) fn age(&self) -> Duration {
        monotonic().saturating_duration_since(self.0.obtained)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            // Scopes are the server's text, which may repeat a secret.
            .field("granted_scopes", &self.0.scopes.as_ref().map(|it| it.iter().count()))
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}

/// `1*VSCHAR`
fn is_access_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Option<Token> {
        Token::new(text.as_bytes(), None, monotonic(), monotonic(), None)
    }

    // R4
    #[test]
    fn r4_fc3_only_visible_ascii_reaches_a_header() {
        for good in [
            "a",
            "eyJh.bGci-_.x~+/",
            "YQ==",
            "0",
            "=",
            "a=b",
            "00D50000000IZ3Z!AQ0AQDpEDKYsn7ioKug2aSmgCjgrPjG9",
            "Atc|MQEWYJxEnP3I1ND03ZzbY_NxQkA7Kn7",
            "v^1.1#i^1#p^1#r^0#I^3#f^0#t^H4sIAAAA",
            "a\"b,c\\",
            "!~",
        ] {
            let token = token(good).unwrap();
            assert_eq!(token.expose_secret(), good);
            assert_eq!(token.header_value(), format!("Bearer {good}").as_str());
        }
        for bad in
            ["", " ", "a b", " a", "a ", "a\r\nX-Evil: 1", "a\n", "a\0", "a\t", "ä", "a\u{7f}"]
        {
            assert!(token(bad).is_none(), "{bad:?}");
        }
    }

    // L1
    #[test]
    fn l1_the_header_is_sensitive_and_nothing_is_printed() {
        let token = token("canary-token").unwrap();
        assert!(token.header_value().is_sensitive());
        let printed = format!("{token:?} {:#?} {:?}", token, token.header_value());
        assert!(!printed.contains("canary"), "{printed}");
    }

    #[test]
    fn equal_texts_are_the_same_token() {
        let (a, b, c) = (token("a").unwrap(), token("a").unwrap(), token("c").unwrap());
        assert!(a.is_same(&a.clone()) && a.is_same(&b) && !a.is_same(&c));
    }

    // P8: the header value is made once.
    #[test]
    fn header_values_share_their_memory() {
        let token = token("a").unwrap();
        let at = |value: &HeaderValue| value.as_bytes().as_ptr();
        assert_eq!(at(&token.header_value()), at(&token.header_value()));
    }
}
