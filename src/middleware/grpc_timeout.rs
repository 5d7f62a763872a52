//! How long a gRPC call may wait, by its `grpc-timeout` field.

use std::time::Duration;

use http::HeaderMap;

use crate::answer::is_grpc;
use crate::transport::grpc_timeout;

/// Returns how long a gRPC call may wait for keys, so that it is answered before the client gives
/// up; `None` if its client doesn't say when.
pub(crate) fn longest_wait(headers: &HeaderMap) -> Option<Duration> {
    /// Reserved for sending the answer, if the timeout is long enough.
    const MARGIN: Duration = Duration::from_millis(250);
    if !is_grpc(headers) {
        return None;
    }
    let timeout = grpc_timeout(headers)?;
    let margin = timeout.checked_div(4).unwrap_or_default().min(MARGIN);
    Some(timeout.saturating_sub(margin))
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;

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
