//! Patterns with placeholders that an `iss` must match before a resolver is asked about it.

use std::sync::Arc;

use crate::error::ConfigError;

/// The longest text that a placeholder may match, in bytes.
const MAX_NAME: usize = 128;

/// The most placeholders of a pattern.
const MAX_NAMES: usize = 4;

/// An issuer's name with placeholders, such as `https://login.example/realms/{realm}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Pattern {
    text: Arc<str>,
    first: Box<str>,
    names: Box<[Name]>,
}

/// A placeholder, and what follows it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Name {
    place: Place,
    after: Box<str>,
}

/// What a placeholder may match.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// A whole host: letters, digits, `-` and `.`.
    Host,
    /// A part of a host: letters, digits and `-`.
    Label,
    /// A part of the path: letters, digits, `-`, `.`, `_` and `~` (RFC 3986 §2.3).
    Segment,
}

impl Place {
    const fn allows(self, byte: u8) -> bool {
        byte.is_ascii_alphanumeric()
            || byte == b'-'
            || match self {
                Self::Label => false,
                Self::Host => byte == b'.',
                Self::Segment => matches!(byte, b'.' | b'_' | b'~'),
            }
    }
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// If it isn't an `https` URL with one to four placeholders, or it is unclear where a placeholder
    /// ends.
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let wrong = |what: &str| ConfigError::new(format!("the issuer pattern {text:?} {what}"));
        let Some(rest) = text.strip_prefix("https://") else {
            return Err(wrong("doesn't begin with https://: tenants' issuers are URLs with TLS"));
        };
        if text.trim() != text || text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(wrong("has a space or another character that no URL has: remove it"));
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let whole_host = authority.starts_with('{')
            && authority.find('}').is_some_and(|at| at.saturating_add(1) == authority.len());
        let mut parts = text.split('{');
        let first = parts.next().unwrap_or_default();
        let mut names = Vec::new();
        let mut before = first.len();
        for part in parts {
            let Some((name, after)) = part.split_once('}') else {
                return Err(wrong("has a placeholder without an end: write {name}"));
            };
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(wrong("has a placeholder without a name: write {name}"));
            }
            let in_authority = before < "https://".len().saturating_add(authority.len());
            let place = match (in_authority, whole_host) {
                (true, true) => Place::Host,
                (true, false) => Place::Label,
                (false, _) => Place::Segment,
            };
            if after.bytes().next().is_some_and(|next| place.allows(next)) {
                return Err(wrong(
                    "has a placeholder whose end is unclear: let it end where the text or a part \
                     of the host or path ends",
                ));
            }
            before = before.saturating_add(part.len()).saturating_add(1);
            names.push(Name { place, after: after.into() });
        }
        let texts = || std::iter::once(first).chain(names.iter().map(|name| &*name.after));
        if texts().any(|text| text.contains(['}', '?', '#', '@', '\\'])) {
            return Err(wrong("has a character that no issuer has: remove it"));
        }
        let count = names.len();
        if !(1..=MAX_NAMES).contains(&count) {
            return Err(wrong(
                "has no placeholder, or more than four: write {name} for what differs",
            ));
        }
        let adjacent = names.iter().take(count.saturating_sub(1)).any(|it| it.after.is_empty());
        if adjacent {
            return Err(wrong("has two placeholders side by side: write something between them"));
        }
        Ok(Self { text: text.into(), first: first.into(), names: names.into() })
    }

    pub(crate) const fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Returns the texts that match the placeholders; `None` if the text doesn't match.
    pub(crate) fn capture<'a>(&self, iss: &'a str) -> Option<Vec<&'a str>> {
        let mut captured = Vec::with_capacity(self.names.len());
        let mut rest = iss.strip_prefix(&*self.first)?;
        for Name { place, after } in &self.names {
            let len = rest.bytes().take_while(|byte| place.allows(*byte)).count();
            let (name, behind) = rest.split_at_checked(len)?;
            if !is_name(name) {
                return None;
            }
            captured.push(name);
            rest = behind.strip_prefix(&**after)?;
        }
        rest.is_empty().then_some(captured)
    }
}

/// Refuses text that would have another meaning in a path or a host.
fn is_name(name: &str) -> bool {
    let edge = |c: char| c == '-' || c == '.';
    (1..=MAX_NAME).contains(&name.len()) && !name.starts_with(edge) && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn capture<'a>(pattern: &str, iss: &'a str) -> Option<Vec<&'a str>> {
        Pattern::parse(pattern).unwrap().capture(iss)
    }

    #[test]
    fn n15_n22_a_placeholder_is_one_part_of_a_host_or_path() {
        let realm = "https://kc.example/realms/{realm}";
        assert_eq!(capture(realm, "https://kc.example/realms/shop"), Some(vec!["shop"]));
        assert_eq!(capture(realm, "https://kc.example/realms/a.b_c~d-1"), Some(vec!["a.b_c~d-1"]));
        for other in [
            "https://kc.example/realms/",
            "https://kc.example/realms/a/",
            "https://kc.example/realms/a/b",
            "https://kc.example/realms/..",
            "https://kc.example/realms/.",
            "https://kc.example/realms/a..b",
            "https://kc.example/realms/a%2fb",
            "https://kc.example/realms/a?b",
            "https://kc.example/realms/a#b",
            "https://kc.example/realms/a b",
            "https://kc.example/realms/a\0",
            "https://kc.example/realms/\u{e9}",
            "https://kc.example/Realms/shop",
            "http://kc.example/realms/shop",
            "https://kc.example.evil.example/realms/shop",
            "",
        ] {
            assert_eq!(capture(realm, other), None, "{other:?}");
        }
        let host = "https://{tenant}.login.example/";
        assert_eq!(capture(host, "https://a-1.login.example/"), Some(vec!["a-1"]));
        for other in [
            "https://a.b.login.example/",
            "https://evil.example/.login.example/",
            "https://evil.example#.login.example/",
            "https://user@a.login.example/",
            "https://.login.example/",
            "https://-a.login.example/",
            "https://a.login.example",
            "https://a.login.example:8443/",
        ] {
            assert_eq!(capture(host, other), None, "{other:?}");
        }
        let whole = "https://{host}/";
        assert_eq!(capture(whole, "https://login.shop.example/"), Some(vec!["login.shop.example"]));
        assert_eq!(capture(whole, "https://a..b/"), None);
        let two = "https://cognito-idp.{region}.amazonaws.com/{pool}";
        assert_eq!(
            capture(two, "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC"),
            Some(vec!["eu-west-1", "eu-west-1_AbC"])
        );
        let long = |len| format!("https://kc.example/realms/{}", "a".repeat(len));
        assert!(capture(realm, &long(128)).is_some() && capture(realm, &long(129)).is_none());
    }

    #[test]
    fn n23_a_pattern_that_could_match_anything_or_nothing_is_a_configuration_error() {
        for pattern in [
            "https://kc.example/realms/shop",
            "http://kc.example/{realm}",
            "{anything}",
            "https://kc.example/{a}{b}",
            "https://kc.example/{a}-{b}",
            "https://{a}-{b}.example/",
            "https://kc.example/{",
            "https://kc.example/{}",
            "https://kc.example/{a b}",
            "https://kc.example/a}/{b}",
            "https://kc.example/{a}?x",
            "https://user@{host}/",
            "https://kc.example/{a}/{b}/{c}/{d}/{e}",
            " https://kc.example/{a}",
        ] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
        for pattern in ["https://kc.example/{a}/v2.0", "https://{a}.{b}.example/{c}/{d}"] {
            assert!(Pattern::parse(pattern).is_ok(), "{pattern}");
        }
    }

    /// Pieces of patterns, good and bad ones.
    fn pieces() -> impl Strategy<Value = Vec<&'static str>> {
        let pieces = [
            "https://",
            "{a}",
            "{b1}",
            "kc.example",
            ".",
            "-",
            "/",
            "realms",
            "{",
            "}",
            "{}",
            "?",
            "@",
            ":8443",
            "\u{e9}",
            " ",
            "%2f",
            "\0",
            "..",
            "{a}/{b}",
        ];
        proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..10)
    }

    /// The pattern with these texts in place of its placeholders.
    fn filled<'a>(pattern: &str, mut names: impl Iterator<Item = &'a str>) -> String {
        let mut parts = pattern.split('{');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            text.push_str(names.next().unwrap_or_default());
            text.push_str(part.split_once('}').map_or(part, |(_, after)| after));
        }
        text
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        /// For any text: no panic, and what matches is the pattern with plain names filled in.
        #[test]
        fn n23_any_pattern_and_any_iss(
            rest in pieces(),
            names in proptest::collection::vec("[a-z0-9.~-]{0,4}|[ -~]{0,6}|.{0,3}", 4),
            garbage in proptest::option::of(".{0,40}"),
            whole in proptest::bool::weighted(0.1),
        ) {
            let begin = if whole { "" } else { "https://" };
            let pattern = format!("{begin}{}", rest.concat());
            let iss = filled(&pattern, names.iter().map(String::as_str));
            let iss = garbage.filter(|_| names[0].len() % 3 == 0).unwrap_or(iss);
            if let Ok(parsed) = Pattern::parse(&pattern) {
                prop_assert!(pattern.starts_with("https://"));
                if let Some(captured) = parsed.capture(&iss) {
                    prop_assert_eq!(filled(&pattern, captured.iter().copied()), iss.clone());
                    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
                    for name in captured {
                        prop_assert!(!name.is_empty() && name.chars().all(is_plain), "{}", name);
                        prop_assert!(!name.contains("..") && !name.starts_with(['.', '-']));
                    }
                    prop_assert!(!iss.contains(['?', '#', '@', '\\', ' ']), "{}", iss);
                }
            }
        }

        /// What matches is the pattern with the captured texts put in, and nothing else.
        #[test]
        fn what_is_captured_put_in_is_the_text_again(
            names in proptest::collection::vec("[a-zA-Z0-9._~/%?#@-]{0,12}", 2),
            pattern in prop_oneof![
                Just("https://{a}.example/realms/{b}"),
                Just("https://{a}/{b}/v2.0"),
                Just("https://x.{a}.example/{b}/"),
            ],
        ) {
            let fill = |a: &str, b: &str| pattern.replace("{a}", a).replace("{b}", b);
            let iss = fill(&names[0], &names[1]);
            let parsed = Pattern::parse(pattern).unwrap();
            if let Some(captured) = parsed.capture(&iss) {
                prop_assert_eq!(&fill(captured[0], captured[1]), &iss);
                prop_assert!(captured.iter().all(|name| !name.contains(['/', '%', '?', '#', '@'])));
            }
        }
    }
}
