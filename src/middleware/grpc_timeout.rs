use std::time::Duration;

use http::HeaderMap;

use crate::refusal::renderer::is_grpc;

/// Returns how long a gRPC call may wait for keys, so that it is answered before the client gives
/// up; `None` if its client doesn't say when.
pub(crate) fn longest_wait(headers: &HeaderMap) -> Option<Duration> {
    /// What is kept for the way of the answer, if there is so much.
    const MARGIN: Duration = Duration::from_millis(250);
    if !is_grpc(headers) {
        return None;
    }
    let timeout = parse(headers.get("grpc-timeout")?.as_bytes())?;
    let margin = timeout.checked_div(4).unwrap_or_default().min(MARGIN);
    Some(timeout.saturating_sub(margin))
}

/// `Timeout` of the gRPC protocol: at most eight digits and a unit.
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
    use http::header::CONTENT_TYPE;

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

    // G9: less than the client waits; and only gRPC has such timeouts.
    #[test]
    fn g9_the_wait_ends_before_the_clients_deadline() {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", "100m".parse().unwrap());
        assert_eq!(longest_wait(&headers), None);
        headers.insert(CONTENT_TYPE, "application/grpc".parse().unwrap());
        assert_eq!(longest_wait(&headers), Some(Duration::from_millis(75)));
        headers.insert("grpc-timeout", "2S".parse().unwrap());
        assert_eq!(longest_wait(&headers), Some(Duration::from_millis(1750)));
    }
}
