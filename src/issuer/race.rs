//! Runs several requests, each started a little later than the one before.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout_at;

use crate::clock::monotonic;

/// Runs futures until one succeeds. The next begins when one fails, or `apart` after the one before
/// has begun; those that have begun continue. `failed` takes each failure and returns `true` to stop.
///
/// Returns `None` if none succeeds.
pub(crate) async fn first_success<T, E, F: Future<Output = Result<T, E>>>(
    futures: impl IntoIterator<Item = F>,
    apart: Duration,
    mut failed: impl FnMut(&E) -> bool,
) -> Option<T> {
    let mut to_begin = futures.into_iter().peekable();
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    loop {
        running.extend(to_begin.next().map(Box::pin));
        if running.is_empty() {
            return None;
        }
        let turn = monotonic().checked_add(apart).filter(|_| to_begin.peek().is_some());
        let next = poll_fn(|cx| {
            for (at, future) in running.iter_mut().enumerate() {
                if let Poll::Ready(result) = future.as_mut().poll(cx) {
                    drop(running.swap_remove(at));
                    return Poll::Ready(result);
                }
            }
            Poll::Pending
        });
        let result = match turn {
            Some(turn) => timeout_at(turn, next).await.ok(),
            None => Some(next.await),
        };
        match result {
            Some(Ok(value)) => return Some(value),
            Some(Err(error)) if failed(&error) => return None,
            Some(Err(_)) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Runs futures that each end after some seconds; returns the result, and after how long.
    async fn race(futures: &[(u32, Result<u8, u8>)], last: u8) -> (Option<u8>, u64) {
        let began = monotonic();
        let futures = futures.iter().map(async |(seconds, result)| {
            sleep(SECOND * *seconds).await;
            *result
        });
        let won = first_success(futures, SECOND * 2, |error| *error == last).await;
        (won, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn fb3_the_next_begins_when_one_fails_or_takes_long() {
        assert_eq!(race(&[], 9).await, (None, 0));
        assert_eq!(race(&[(1, Ok(1)), (0, Ok(2))], 9).await, (Some(1), 1));
        assert_eq!(race(&[(1, Err(1)), (1, Ok(2))], 9).await, (Some(2), 2));
        assert_eq!(race(&[(9, Ok(1)), (1, Ok(2))], 9).await, (Some(2), 3));
        assert_eq!(race(&[(3, Ok(1)), (9, Ok(2))], 9).await, (Some(1), 3));
        assert_eq!(race(&[(9, Ok(1)), (1, Err(2)), (9, Ok(3))], 9).await, (Some(1), 9));
        assert_eq!(race(&[(5, Err(1)), (5, Err(2)), (5, Err(3))], 9).await, (None, 9));
        assert_eq!(race(&[(1, Err(9)), (1, Ok(2))], 9).await, (None, 1));
    }
}
