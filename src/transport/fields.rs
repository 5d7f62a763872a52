//! Header fields that several clients of the transport write or read: `User-Agent`, `Retry-After`, dates.

use std::time::Duration;

use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};

use crate::clock::UnixTime;

/// Returns the `User-Agent`. Some firewalls refuse requests without one.
pub(crate) const fn user_agent() -> HeaderValue {
    HeaderValue::from_static(concat!("tower-bearer/", env!("CARGO_PKG_VERSION")))
}

/// Returns the delay of `Retry-After`: seconds, or a date (RFC 9110 §10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    let value = text(headers, &RETRY_AFTER)?;
    delta_seconds(value).or_else(|| Some(date(value)?.saturating_since(now)))
}

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

pub(crate) fn date(value: &str) -> Option<UnixTime> {
    httpdate::parse_http_date(value).ok().map(UnixTime::from)
}

/// RFC 9111 §1.2.2: digits only; what is too large counts as 2^31.
pub(crate) fn delta_seconds(value: &str) -> Option<Duration> {
    const LARGEST: u64 = 1 << 31;
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(value.parse().unwrap_or(LARGEST).min(LARGEST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // R12
    #[test]
    fn r12_retry_after_is_seconds_or_a_date() {
        let after = |value: &str| {
            let headers = [(RETRY_AFTER, value.parse().unwrap())].into_iter().collect();
            // Sun, 06 Nov 1994 08:49:37 GMT
            retry_after(&headers, UnixTime::from_secs(784_111_777)).map(|after| after.as_secs())
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after(" 7 "), Some(7));
        assert_eq!(after("99999999999999999999"), Some(1 << 31));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(after("Sun, 06 Nov 1994 08:40:37 GMT"), Some(0));
        for nonsense in ["later", "", "-1", "+1", "1.5"] {
            assert_eq!(after(nonsense), None, "{nonsense}");
        }
    }
}
