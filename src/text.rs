//! Makes text of other parties safe to print: excerpts, lists and log lines.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

/// The first 64 bytes of a value from a token or a key set, made safe to print.
///
/// Bytes other than printable ASCII, and `"` and `\`, are replaced by `?`. `Display` adds quotes, and an
/// ellipsis if the value is longer.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Excerpt {
    bytes: [u8; Self::MAX],
    len: u8,
    cut: bool,
}

impl Excerpt {
    const MAX: usize = 64;

    pub(crate) fn new(value: &str) -> Self {
        let mut bytes = [0; Self::MAX];
        let mut len = 0_u8;
        for (slot, byte) in bytes.iter_mut().zip(value.bytes()) {
            *slot = if is_plain(byte) { byte } else { b'?' };
            len = len.saturating_add(1);
        }
        Self { bytes, len, cut: value.len() > Self::MAX }
    }

    /// Returns the kept bytes, without quotes.
    pub fn as_str(&self) -> &str {
        let kept = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(kept).unwrap_or_default()
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_str())?;
        if self.cut { f.write_char('…') } else { Ok(()) }
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The first 8 of several values, each made safe to print as an [`Excerpt`] is.
///
/// `Display` separates them by commas, and ends with the number of values that are left out.
#[derive(Clone, Eq, PartialEq)]
pub struct Excerpts {
    first: Excerpt,
    /// `None` if there is only one, so that one value takes no allocation. A thin pointer keeps
    /// refusals small.
    more: Option<Arc<String>>,
}

impl Excerpts {
    const MAX: usize = 8;

    pub(crate) fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut values = values.into_iter();
        let first = Excerpt::new(values.next().unwrap_or_default());
        let more = listed(values.map(Excerpt::new), Self::MAX.saturating_sub(1));
        Self { first, more: (!more.is_empty()).then(|| Arc::new(more)) }
    }
}

impl fmt::Display for Excerpts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.more.as_ref().map_or(Ok(()), |more| write!(f, ", {more}"))
    }
}

impl fmt::Debug for Excerpts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the first `max` values, separated by commas, and the number of those left out.
pub(crate) fn listed<T: fmt::Display>(values: impl IntoIterator<Item = T>, max: usize) -> String {
    joined(values, max, ", ", "and")
}

/// Returns the first `max` values, of which any will do, and the number of those left out.
pub(crate) fn any_of<T: fmt::Display>(values: impl IntoIterator<Item = T>, max: usize) -> String {
    joined(values, max, " or ", "or")
}

fn joined<T: fmt::Display>(
    values: impl IntoIterator<Item = T>,
    max: usize,
    between: &str,
    last: &str,
) -> String {
    let (mut text, mut left) = (String::new(), 0_usize);
    for (at, value) in values.into_iter().enumerate() {
        if at >= max {
            left = left.saturating_add(1);
            continue;
        }
        let between = if at == 0 { "" } else { between };
        let _ = write!(text, "{between}{value}");
    }
    if left > 0 {
        let _ = write!(text, " {last} {left} more");
    }
    text
}

/// A length of time for people: `50 min`.
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        match secs {
            0..120 => write!(f, "{secs} s"),
            120..7_200 => write!(f, "{} min", secs / 60),
            7_200..172_800 => write!(f, "{} h", secs / 3_600),
            _ => write!(f, "{} days", secs / 86_400),
        }
    }
}

/// Returns at most `longest` characters of an error's text for a log line, with all but printable ASCII
/// and our own ellipsis replaced by `?`.
pub(crate) fn one_line(text: &str, longest: usize) -> String {
    let plain = |c: char| if matches!(c, ' '..='~' | '…') { c } else { '?' };
    text.chars().take(longest).map(plain).collect()
}

/// Returns at most `longest` characters of a text, with all but the characters of an
/// `error_description` (RFC 6749 §5.2) replaced by `?`.
#[cfg(feature = "client")]
pub(crate) fn plain(text: &str, longest: usize) -> Box<str> {
    let plain = |c: char| if u8::try_from(c).is_ok_and(is_plain) { c } else { '?' };
    text.chars().take(longest).map(plain).collect()
}

/// Printable ASCII without `"` and `\`: it needs no escapes in a log line or a quoted-string.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'!' | b'#'..=b'[' | b']'..=b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_printable() {
        let excerpt = Excerpt::new("a\r\n\"\u{e9}b");
        assert_eq!(excerpt.as_str(), "a?????b");
        let long = Excerpt::new(&"x".repeat(65));
        assert_eq!(long.as_str().len(), 64);
        assert!(long.to_string().ends_with('…'));
        assert!(!Excerpt::new(&"x".repeat(64)).to_string().ends_with('…'));
    }

    #[test]
    fn fb6_of_several_values_each_is_cut_and_only_so_many_are_shown() {
        let values = |count: usize| (0..count).map(|n| format!("v{n}")).collect::<Vec<_>>();
        let shown =
            |values: &[String]| Excerpts::new(values.iter().map(String::as_str)).to_string();
        assert_eq!(shown(&values(1)), "\"v0\"");
        assert_eq!(shown(&values(3)), "\"v0\", \"v1\", \"v2\"");
        assert!(shown(&values(8)).ends_with("\"v7\""));
        assert!(shown(&values(4_000)).ends_with("\"v7\" and 3992 more"));
        let long = shown(&["x".into(), "y".repeat(5_000), "a\r\nb".into()]);
        assert_eq!(long, format!("\"x\", \"{}\"…, \"a??b\"", "y".repeat(64)));
    }

    #[test]
    fn values_are_joined_by_what_they_are_to_each_other() {
        assert_eq!(listed(["a", "b", "c", "d"], 2), "a, b and 2 more");
        assert_eq!(any_of(["a", "b", "c", "d"], 2), "a or b or 2 more");
        assert_eq!((listed(["a"], 2), any_of(["a"], 2)), ("a".to_owned(), "a".to_owned()));
        assert_eq!(any_of::<&str>([], 2), "");
    }

    #[test]
    fn lengths_of_time_are_in_the_unit_that_fits() {
        for (secs, expected) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (3_000, "50 min"),
            (7_199, "119 min"),
            (7_200, "2 h"),
            (172_799, "47 h"),
            (172_800, "2 days"),
            (86_400_000, "1000 days"),
        ] {
            assert_eq!(Span(Duration::from_secs(secs)).to_string(), expected);
        }
    }

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(one_line("from \"x\"…: a\r\n\u{1b}[0m\u{202e}é", 100), "from \"x\"…: a???[0m??");
        assert_eq!(one_line(&"x".repeat(600), 500).len(), 500);
    }

    // R11
    #[cfg(feature = "client")]
    #[test]
    fn r11_what_the_server_says_is_made_printable() {
        assert_eq!(&*plain("all is well!", 256), "all is well!");
        assert_eq!(&*plain("a\r\nb\"c\\d\u{1b}[0mé\u{202e}", 256), "a??b?c?d?[0m??");
        assert_eq!(plain(&"x".repeat(1_000), 256).len(), 256);
    }
}
