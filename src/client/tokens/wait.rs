//! What a call does for a token: takes the one that serves, or waits for a fetch.

use std::future::pending;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::grant::definition::Grant;
use crate::client::grant::error::{TokenError, TokenErrorKind};
use crate::client::tokens::cache::{Ask, Entry, Flying, Step};
use crate::client::tokens::core::Core;
use crate::client::tokens::flight;
use crate::client::tokens::token::Token;
use crate::clock::monotonic;
use crate::telemetry::count;

/// How long one waits for a fetch in another runtime before one looks whether that is run.
const LOOK: Duration = Duration::from_secs(1);

/// Until when a call waits, and what has run out then.
struct Until {
    time: Instant,
    kind: TokenErrorKind,
}

/// Gets a token, by whatever way is the shortest: any that serves, or another than the one that a
/// server has refused. The caller may have no time after `deadline`; the fetch goes on then.
pub(crate) async fn token(
    core: &Arc<Core>,
    grant: &Grant,
    entry: &Arc<Entry>,
    unlike: Option<&Token>,
    deadline: Option<Instant>,
) -> Result<Token, TokenError> {
    let until = Until::new(monotonic(), core.timeout, deadline);
    let runtime = Handle::try_current().ok();
    loop {
        let flying = match step(core, grant, entry, unlike, runtime.as_ref())? {
            Next::Serve(token) => return Ok(token),
            Next::Wait(flying) => flying,
            Next::Join(flying) => {
                count!("tower_bearer_client_fetch_waits_total");
                flying
            }
        };
        // The fetch may be in another runtime than the call that waits for it.
        let Some(here) = runtime.as_ref().filter(|_| has_timers()) else {
            return Err(TokenError::new(TokenErrorKind::NoRuntime));
        };
        match wait(flying.clone(), here, &until).await {
            Some(result) => return result,
            None => entry.give_up(&flying),
        }
    }
}

/// Starts to fetch another token than the one that was refused, without waiting for it.
pub(crate) fn renew(core: &Arc<Core>, grant: &Grant, entry: &Arc<Entry>) {
    let runtime = Handle::try_current().ok();
    // If it fails, the token that is there serves on.
    let _ = step(core, grant, entry, None, runtime.as_ref());
}

enum Next {
    Serve(Token),
    /// For the fetch that this call has begun.
    Wait(Flying),
    /// For another call's.
    Join(Flying),
}

fn step(
    core: &Arc<Core>,
    grant: &Grant,
    entry: &Arc<Entry>,
    unlike: Option<&Token>,
    runtime: Option<&Handle>,
) -> Result<Next, TokenError> {
    let source = grant.definition().auth.source();
    let secret_can_change = source.is_some_and(|source| source.fixed().is_none());
    let (flying, serving) =
        match entry.next(monotonic(), Ask { unlike, secret_can_change, runtime }) {
            Step::Serve(token) => {
                count!("tower_bearer_client_cache_hits_total", "cache" => "l1");
                return Ok(Next::Serve(token));
            }
            Step::Fail(error) => return Err(error),
            Step::Wait(flying) => return Ok(Next::Join(flying)),
            Step::Fetch(order, flying, serving) => {
                // Without a runtime the order is dropped, and the next call makes another.
                if let Some(runtime) = runtime.filter(|_| has_timers()) {
                    flight::start(core, grant, entry, *order, runtime);
                }
                (flying, serving)
            }
        };
    Ok(serving.map_or(Next::Wait(flying), Next::Serve))
}

/// Waits for a fetch; `None` if it doesn't go on, since its runtime isn't run.
async fn wait(
    mut flying: Flying,
    here: &Handle,
    until: &Until,
) -> Option<Result<Token, TokenError>> {
    let there = flying.runtime.clone();
    tokio::select! {
        biased;
        arrived = flying.arrival.wait_for(Option::is_some) => {
            let result = arrived.ok().and_then(|result| result.clone());
            Some(result.unwrap_or_else(|| Err(TokenError::new(TokenErrorKind::NoRuntime))))
        }
        () = stands_still(there, here) => None,
        () = sleep_until(until.time) => Some(Err(TokenError::new(until.kind.clone()))),
    }
}

/// Ends when `there` turns out not to be run. That which runs the caller is.
async fn stands_still(there: Option<Handle>, here: &Handle) {
    let Some(there) = there.filter(|there| there.id() != here.id()) else {
        return pending().await;
    };
    loop {
        sleep(LOOK).await;
        if !flight::is_run(&there).await {
            return;
        }
    }
}

impl Until {
    fn new(now: Instant, timeout: Duration, deadline: Option<Instant>) -> Self {
        // The fetch itself ends in time, unless its runtime stands still.
        let patience = timeout.saturating_add(Duration::from_secs(1));
        let time = now.checked_add(patience).unwrap_or(now);
        match deadline.filter(|deadline| *deadline < time) {
            Some(deadline) => Self { time: deadline, kind: TokenErrorKind::Deadline },
            None => Self { time, kind: TokenErrorKind::TimedOut },
        }
    }
}

/// Returns `true` if the runtime was built with timers. There is no other way to find out than to
/// see whether `tokio` panics.
fn has_timers() -> bool {
    catch_unwind(|| drop(sleep(Duration::ZERO))).is_ok()
}
