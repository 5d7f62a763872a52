//! One scope, and a set of scopes in the text form of RFC 6749.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use memchr::memchr_iter;

use crate::error::ConfigError;
use crate::kinds::Kinds;

/// One scope: a `scope-token` of RFC 6749 §3.3.
///
/// It has at least one character, all of them printable ASCII without the space, `"` and `\`.
/// Scopes are compared character by character, with regard to case.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Scope(Arc<str>);

impl Scope {
    /// Creates a scope.
    ///
    /// # Errors
    ///
    /// If it is empty or has a character that RFC 6749 §3.3 doesn't allow.
    ///
    /// ```
    /// # use tower_bearer::Scope;
    /// assert!(Scope::new("orders:read").is_ok());
    /// assert!(Scope::new("orders read").is_err());
    /// ```
    pub fn new(scope: &str) -> Result<Self, ConfigError> {
        if is_scope_token(scope) {
            Ok(Self(scope.into()))
        } else {
            Err(ConfigError::new(format!(
                "the scope {scope:?} is not a scope: use one or more printable ASCII characters \
                 without space, '\"' and '\\' (RFC 6749 section 3.3)"
            )))
        }
    }

    /// Takes a name that was checked at compile time.
    pub(crate) fn from_checked(scope: &'static str) -> Self {
        Self(scope.into())
    }

    /// Returns the scope as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_scope_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_scope_byte)
}

/// %x21 / %x23-5B / %x5D-7E, written so that the compiler can check many bytes at a time.
const fn is_scope_byte(byte: u8) -> bool {
    (byte > b' ') & (byte < 0x7f) & (byte != b'"') & (byte != b'\\')
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Scope {
    type Err = ConfigError;

    fn from_str(scope: &str) -> Result<Self, ConfigError> {
        Self::new(scope)
    }
}

impl AsRef<str> for Scope {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Scope {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A set of scopes, without duplicates.
///
/// It is kept as the text of RFC 6749 §3.3, scopes separated by one space each: one allocation for
/// the whole set, which is what a challenge or a token request wants to send.
#[derive(Clone, Default)]
pub struct ScopeSet {
    text: Box<str>,
}

impl ScopeSet {
    /// Reads a space-delimited list.
    ///
    /// Words that aren't scopes, such as one with a control character, and duplicates are dropped.
    ///
    /// ```
    /// # use tower_bearer::ScopeSet;
    /// let granted = ScopeSet::parse("orders:read orders:write orders:read");
    /// assert!(granted.contains("orders:read"));
    /// assert!(!granted.contains("orders"));
    /// assert_eq!(granted.to_string(), "orders:read orders:write");
    /// ```
    pub fn parse(list: &str) -> Self {
        if is_canonical(list) { Self { text: list.into() } } else { words(list).collect() }
    }

    /// Returns `true` if this scope is in the set.
    pub fn contains(&self, scope: &str) -> bool {
        self.iter().any(|held| held == scope)
    }

    /// Returns `true` if all of these scopes are in the set.
    pub fn contains_all<'a>(&self, scopes: impl IntoIterator<Item = &'a str>) -> bool {
        scopes.into_iter().all(|scope| self.contains(scope))
    }

    /// Iterates over the scopes, in the order of their first occurrence.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        words(&self.text).filter(|scope| !scope.is_empty())
    }

    /// Returns the scopes, separated by one space each.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the number of scopes.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Returns `true` if the set has no scope.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

/// Lists up to this long are searched for duplicates by comparing each with each.
const FEW: usize = 32;

/// Returns `true` if a list can be kept as it is written.
fn is_canonical(list: &str) -> bool {
    // No early exit, so that many bytes are checked at a time.
    if !list.bytes().fold(true, |ok, byte| ok & (is_scope_byte(byte) | (byte == b' '))) {
        return false;
    }
    let words = || list.as_bytes().split(|byte| *byte == b' ');
    let mut kinds = Kinds::default();
    words().enumerate().all(|(count, scope)| {
        let new = !kinds.add(scope) || !words().take(count).any(|earlier| earlier == scope);
        new && !scope.is_empty() && count < FEW
    })
}

/// Splits a list at its spaces.
fn words(list: &str) -> impl Iterator<Item = &str> {
    let spaces = memchr_iter(b' ', list.as_bytes()).chain([list.len()]);
    spaces.scan(0_usize, |start, end| {
        let word = list.get(*start..end);
        *start = end.saturating_add(1);
        word
    })
}

impl<'a> FromIterator<&'a str> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = &'a str>>(scopes: I) -> Self {
        let mut seen = std::collections::HashSet::new();
        let mut text = String::new();
        for scope in scopes {
            if is_scope_token(scope) && seen.insert(scope) {
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(scope);
            }
        }
        Self { text: text.into() }
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let scopes: Vec<Scope> = scopes.into_iter().collect();
        scopes.iter().map(Scope::as_str).collect()
    }
}

impl PartialEq for ScopeSet {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.contains_all(other.iter())
    }
}

impl Eq for ScopeSet {}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The plain reading of RFC 6749 §3.3, not optimized.
    fn plainly(list: &str) -> Vec<&str> {
        let mut scopes = Vec::new();
        for word in list.split(' ') {
            let legal = |c: char| matches!(c, '!' | '#'..='[' | ']'..='~');
            if !word.is_empty() && word.chars().all(legal) && !scopes.contains(&word) {
                scopes.push(word);
            }
        }
        scopes
    }

    // C15, C16
    proptest! {
        #[test]
        fn c15_c16_every_list_is_read_as_it_would_be_plainly(
            list in prop_oneof!["[ab ]{0,12}", "[ -~\t\u{e9}]{0,12}", "([a-f]{1,2} ?){0,80}", any::<String>()],
        ) {
            let expected = plainly(&list);
            let set = ScopeSet::parse(&list);
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!(set.as_str(), expected.join(" "));
            prop_assert_eq!(words(&list).collect::<Vec<_>>(), list.split(' ').collect::<Vec<_>>());
            for word in list.split(' ') {
                prop_assert_eq!(set.contains(word), expected.contains(&word));
            }
        }
    }

    #[test]
    fn a_list_of_thirty_two_is_kept_as_it_is_and_a_longer_one_is_read() {
        for len in 30..36 {
            let list: Vec<String> = (0..len).map(|n| format!("s{n}")).collect();
            let text = list.join(" ");
            assert_eq!(ScopeSet::parse(&text).as_str(), text);
            let again = format!("{text} s0 s{}", len - 1);
            assert_eq!(ScopeSet::parse(&again).as_str(), text, "without duplicates");
        }
    }

    // C15: compared whole and with regard to case, in any order, duplicates harmless.
    #[test]
    fn c15_scopes_are_compared_whole() {
        let set = ScopeSet::parse("b a b");
        assert_eq!(set.to_string(), "b a");
        assert_eq!(set, ScopeSet::parse("a b"));
        assert_ne!(set, ScopeSet::parse("a"));
        assert_ne!(set, ScopeSet::parse("a c"));
        assert!(set.contains("a") && set.contains("b"));
        assert!(!set.contains("A") && !set.contains("a b") && !set.contains(""));
        assert!(!ScopeSet::parse("orders:readonly").contains("orders:read"));
    }

    // C16: what isn't a scope matches nothing.
    #[test]
    fn c16_illegal_words_are_left_out() {
        let set = ScopeSet::parse("a \u{e9} b\tc \"d\" e\\f g\n  h");
        assert_eq!(set.to_string(), "a h");
        for word in ["", "\u{e9}", "b\tc", "\"d\"", "e\\f", "g\n", "a\0"] {
            assert!(Scope::new(word).is_err(), "{word:?}");
            assert!(!set.contains(word), "{word:?}");
        }
        assert!(ScopeSet::parse("").is_empty());
        assert!(ScopeSet::parse("   ").is_empty());
    }

    #[test]
    fn long_lists_lose_their_duplicates_too() {
        let list: Vec<String> = (0..100).map(|n| format!("s{}", n % 50)).collect();
        let set = ScopeSet::parse(&list.join(" "));
        assert_eq!(set.len(), 50);
        assert!(set.contains("s0") && set.contains("s49") && !set.contains("s50"));
    }

    #[test]
    fn the_whole_range_of_rfc_6749_is_legal() {
        let legal: String =
            (0x21..=0x7e_u8).filter(|byte| !matches!(byte, b'"' | b'\\')).map(char::from).collect();
        assert_eq!(Scope::new(&legal).unwrap().as_str(), legal);
    }
}
