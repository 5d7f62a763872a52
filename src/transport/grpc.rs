//! Reads and shortens the `grpc-timeout` of a call.

use std::time::Duration;

use http::HeaderMap;
#[cfg(feature = "client")]
use http::HeaderValue;

const NAME: &str = "grpc-timeout";

/// Returns the timeout of a gRPC call, if it has one: at most eight digits and a unit.
pub(crate) fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    parse(headers.get(NAME)?.as_bytes())
}

/// Subtracts `elapsed` from the timeout of a gRPC call, if it has one.
#[cfg(feature = "client")]
pub(crate) fn shorten_grpc_timeout(headers: &mut HeaderMap, elapsed: Duration) {
    let Some(timeout) = grpc_timeout(headers) else { return };
    headers.insert(NAME, write(timeout.saturating_sub(elapsed)));
}

/// Writes a timeout in the smallest unit in which it fits eight digits.
#[cfg(feature = "client")]
fn write(timeout: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let seconds = u128::from(timeout.as_secs());
    let (number, unit) = [
        (timeout.as_nanos(), 'n'),
        (timeout.as_micros(), 'u'),
        (timeout.as_millis(), 'm'),
        (seconds, 'S'),
        (seconds / 60, 'M'),
    ]
    .into_iter()
    .find(|(number, _)| *number <= MOST)
    .unwrap_or(((seconds / 3_600).min(MOST), 'H'));
    HeaderValue::try_from(format!("{number}{unit}")).unwrap_or(HeaderValue::from_static("0n"))
}

fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number.saturating_mul(3600)),
        b'M' => Duration::from_secs(number.saturating_mul(60)),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g9_timeouts_are_read_as_grpc_writes_them() {
        for (value, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("500m", Some(Duration::from_millis(500))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("123456789n", None),
            ("S", None),
            ("1", None),
            ("1s", None),
            ("+1S", None),
            ("-1S", None),
            ("", None),
        ] {
            assert_eq!(parse(value.as_bytes()), expected, "{value}");
        }
    }

    #[cfg(feature = "client")]
    #[test]
    fn fc6_what_is_left_of_a_timeout_is_written_in_eight_digits() {
        let left = |timeout: &str, elapsed| {
            let mut headers = HeaderMap::new();
            headers.insert(NAME, timeout.parse().unwrap());
            shorten_grpc_timeout(&mut headers, elapsed);
            headers[NAME].to_str().unwrap().to_owned()
        };
        assert_eq!(left("1S", Duration::from_millis(400)), "600000u");
        assert_eq!(left("1S", Duration::from_secs(2)), "0n");
        assert_eq!(left("50m", Duration::from_nanos(1)), "49999999n");
        assert_eq!(left("1H", Duration::from_secs(1)), "3599000m");
        assert_eq!(left("99999999H", Duration::ZERO), "99999999H");
        assert_eq!(left("soon", Duration::ZERO), "soon");
        let mut none = HeaderMap::new();
        shorten_grpc_timeout(&mut none, Duration::ZERO);
        assert!(none.is_empty());
    }
}
