//! Reads how long an answer is fresh from its header fields (RFC 9111 §4.2).

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES};

use crate::clock::UnixTime;
use crate::transport::{date, delta_seconds, text};

/// How long an answer is fresh, and how old it already was.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Freshness {
    /// `None` if the answer doesn't say.
    pub(crate) lifetime: Option<Duration>,
    pub(crate) age: Duration,
}

impl Freshness {
    /// Reads an answer's fields, received at `now`.
    pub(crate) fn of(headers: &HeaderMap, now: UnixTime) -> Self {
        let lifetime = cache_control(headers).or_else(|| expires(headers, now));
        let age = text(headers, &AGE).and_then(delta_seconds).unwrap_or_default();
        Self { lifetime, age }
    }

    /// Takes the lifetime from an earlier answer if this one, a 304, doesn't give one
    /// (RFC 9111 §3.2: the fields that a 304 doesn't have stay as they were).
    pub(crate) fn or_as_before(self, before: Option<Duration>) -> Self {
        Self { lifetime: self.lifetime.or(before), ..self }
    }

    /// Returns how long the answer stays fresh from now on.
    pub(crate) fn remaining(self) -> Option<Duration> {
        self.lifetime.map(|lifetime| lifetime.saturating_sub(self.age))
    }
}

fn cache_control(headers: &HeaderMap) -> Option<Duration> {
    let mut max_age = None;
    for line in headers.get_all(CACHE_CONTROL) {
        // A field that can't be read may have said `no-store`.
        let Ok(line) = line.to_str() else { return Some(Duration::ZERO) };
        for directive in split_unquoted(line) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let name = name.trim();
            if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
                return Some(Duration::ZERO);
            }
            if name.eq_ignore_ascii_case("max-age") && max_age.is_none() {
                // RFC 9111 §4.2.1: a value that can't be read means stale.
                max_age = Some(delta_seconds(value.trim().trim_matches('"')).unwrap_or_default());
            }
        }
    }
    max_age
}

fn expires(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    let expires = text(headers, &EXPIRES)?;
    // RFC 9111 §5.3: an invalid date, in particular "0", has already passed.
    let Some(expires) = date(expires) else { return Some(Duration::ZERO) };
    let date = text(headers, &DATE).and_then(date).unwrap_or(now);
    Some(expires.saturating_since(date))
}

/// Splits at commas, but not at those within quotes (`private="a, b"`).
fn split_unquoted(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use http::header::HeaderName;

    use super::*;

    const NOW: i64 = 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            (HeaderName::from_static(name), http::HeaderValue::from_str(value).unwrap())
        });
        lines.collect()
    }

    fn remaining(lines: &[(&'static str, &str)]) -> Option<u64> {
        let freshness = Freshness::of(&headers(lines), UnixTime::from_secs(NOW));
        freshness.remaining().map(|remaining| remaining.as_secs())
    }

    #[test]
    fn cache_control_in_all_its_spellings() {
        for (value, expected) in [
            ("max-age=60", Some(60)),
            ("public, max-age=60", Some(60)),
            ("Public,Max-Age = 60", Some(60)),
            ("max-age=\"60\"", Some(60)),
            ("max-age=60, max-age=90", Some(60)),
            ("max-age=99999999999999999999", Some(1 << 31)),
            ("max-age=0", Some(0)),
            ("max-age", Some(0)),
            ("max-age=-1", Some(0)),
            ("max-age=1.5", Some(0)),
            ("no-store, max-age=60", Some(0)),
            ("max-age=60, NO-CACHE", Some(0)),
            ("no-cache=\"set-cookie\", max-age=60", Some(0)),
            ("private=\"a, no-store\", max-age=60", Some(60)),
            ("s-maxage=60", None),
            ("public", None),
            ("", None),
        ] {
            assert_eq!(remaining(&[("cache-control", value)]), expected, "{value}");
        }
        assert_eq!(
            remaining(&[("cache-control", "public"), ("cache-control", "no-store")]),
            Some(0)
        );
    }

    #[test]
    fn age_is_taken_off() {
        let max = ("cache-control", "max-age=60");
        assert_eq!(remaining(&[max, ("age", "20")]), Some(40));
        assert_eq!(remaining(&[max, ("age", "90")]), Some(0));
        assert_eq!(remaining(&[max, ("age", "soon")]), Some(60));
        assert_eq!(remaining(&[("age", "20")]), None);
    }

    #[test]
    fn expires_counts_from_date_unless_max_age_is_there() {
        let expires = ("expires", "Sun, 06 Nov 1994 08:59:37 GMT");
        assert_eq!(remaining(&[expires]), Some(600));
        assert_eq!(remaining(&[expires, ("date", "Sun, 06 Nov 1994 08:58:37 GMT")]), Some(60));
        assert_eq!(remaining(&[expires, ("date", "Sun, 06 Nov 1994 09:49:37 GMT")]), Some(0));
        assert_eq!(remaining(&[expires, ("date", "yesterday")]), Some(600));
        assert_eq!(remaining(&[expires, ("cache-control", "max-age=7")]), Some(7));
        assert_eq!(remaining(&[expires, ("cache-control", "public")]), Some(600));
        assert_eq!(remaining(&[("expires", "0")]), Some(0));
    }

    #[test]
    fn a_304_keeps_the_lifetime_it_doesnt_give() {
        let minute = Some(Duration::from_secs(60));
        let silent = Freshness { lifetime: None, age: Duration::from_secs(5) };
        assert_eq!(silent.or_as_before(minute).remaining(), Some(Duration::from_secs(55)));
        assert_eq!(silent.or_as_before(None).remaining(), None);
        let given = Freshness { lifetime: Some(Duration::from_secs(9)), age: Duration::ZERO };
        assert_eq!(given.or_as_before(minute).remaining(), Some(Duration::from_secs(9)));
    }
}
