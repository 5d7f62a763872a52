//! Computes how far the issuer's clock is ahead of this one.

use http::HeaderMap;
use http::header::{AGE, DATE};

use crate::clock::UnixTime;
use crate::transport::{date, delta_seconds, text};

/// Returns by how many seconds the issuer's clock is ahead of this one, by the `Date` of an answer that
/// was requested and received at these times. `None` if it has none.
///
/// `Date` has whole seconds, rounded down, and says when the answer was made or last validated: a
/// cache on the way adds the `Age` since then (RFC 9111 §4.2.3).
pub(crate) fn clock_offset(headers: &HeaderMap, asked: UnixTime, came: UnixTime) -> Option<i64> {
    let made = text(headers, &DATE).and_then(date)?;
    let theirs = made.plus(text(headers, &AGE).and_then(delta_seconds).unwrap_or_default());
    let ours = f64::midpoint(asked.as_secs_f64(), came.as_secs_f64());
    let offset = theirs.as_secs_f64() + 0.5 - ours;
    // Out of the range of an i64, `as` saturates.
    Some(offset.round() as i64)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const NOW: i64 = 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT

    fn offset(lines: &[(&'static str, &'static str)], asked: f64, came: f64) -> Option<i64> {
        let lines = lines.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        });
        let at = |secs: f64| UnixTime::from_secs_f64(NOW as f64 + secs).unwrap();
        clock_offset(&lines.collect(), at(asked), at(came))
    }

    #[test]
    fn the_offset_is_the_dates_difference_in_the_middle_of_the_exchange() {
        let date = |value| [("date", value)];
        assert_eq!(offset(&date("Sun, 06 Nov 1994 08:49:37 GMT"), 0.2, 0.4), Some(0));
        assert_eq!(offset(&date("Sun, 06 Nov 1994 09:49:37 GMT"), 0.2, 0.4), Some(3_600));
        assert_eq!(offset(&date("Sun, 06 Nov 1994 07:49:37 GMT"), 0.2, 0.4), Some(-3_600));
        // A slow answer isn't another time.
        assert_eq!(offset(&date("Sun, 06 Nov 1994 08:49:39 GMT"), 0.5, 4.5), Some(0));
    }

    #[test]
    fn what_a_cache_kept_has_grown_older_since() {
        let kept = [("date", "Sun, 06 Nov 1994 08:39:37 GMT"), ("age", "600")];
        assert_eq!(offset(&kept, 0.4, 0.6), Some(0));
    }

    #[test]
    fn without_a_date_nothing_is_known() {
        assert_eq!(offset(&[], 0.0, 0.0), None);
        assert_eq!(offset(&[("date", "yesterday")], 0.0, 0.0), None);
    }
}
