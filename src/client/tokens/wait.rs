//! Gets a token for one call: takes the cached one, or starts a fetch and waits for it.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::grant::definition::Grant;
use crate::client::grant::error::{TokenError, TokenErrorKind};
use crate::client::tokens::cache::{Ask, Entry, Step};
use crate::client::tokens::core::Core;
use crate::client::tokens::flight;
use crate::client::tokens::flying::Flying;
use crate::client::tokens::refusals::Invalidation;
use crate::client::tokens::token::Token;
use crate::clock::{has_timers, monotonic};
use crate::telemetry::count;
use crate::transport::Origin;

/// How long a call waits for a fetch in another runtime before it checks whether that is run.
const LOOK: Duration = Duration::from_secs(1);

/// Until when a call waits, and the error at that time.
struct Until {
    time: Instant,
    kind: TokenErrorKind,
}

/// Gets a token as fast as possible: any usable one, or another than the one that a server has refused. The
/// call returns at `deadline`; the fetch continues then.
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
    // If it fails, the current token stays in use.
    let _ = step(core, grant, entry, None, runtime.as_ref());
}

/// Records that the server at a URL has refused a token; returns `true` if another one may help.
pub(crate) fn refuse_at(entry: &Entry, token: &Token, url: &str) -> bool {
    let origin = url.parse().ok().and_then(|uri| Origin::of(&uri));
    let origin = origin.map_or_else(|| url.into(), |it| it.to_string());
    refuse(entry, token, &origin)
}

/// Records that an origin has refused a token; returns `true` if another one may help.
pub(crate) fn refuse(entry: &Entry, token: &Token, origin: &str) -> bool {
    let invalidation = entry.refuse(token, origin, monotonic());
    let label = match invalidation {
        Invalidation::AskAgain => "ask_again",
        Invalidation::Pointless => "pointless",
    };
    count!("tower_bearer_client_tokens_refused_total", "result" => label);
    invalidation == Invalidation::AskAgain
}

enum Next {
    Serve(Token),
    /// Wait for the fetch that this call has started.
    Wait(Flying),
    /// Wait for another call's fetch.
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
                // Without a runtime the order is dropped, and the next call creates another.
                if let Some(runtime) = runtime.filter(|_| has_timers()) {
                    flight::start(core, grant, entry, *order, runtime);
                }
                (flying, serving)
            }
        };
    Ok(serving.map_or(Next::Wait(flying), Next::Serve))
}

/// Waits for a fetch; `None` if it makes no progress, since its runtime isn't run.
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
        () = stalled(there, here) => None,
        () = sleep_until(until.time) => Some(Err(TokenError::new(until.kind.clone()))),
    }
}

/// Ends when `there` turns out not to be run. The caller's own runtime is.
async fn stalled(there: Option<Handle>, here: &Handle) {
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
        // The fetch itself ends in time, unless its runtime isn't run.
        let patience = timeout.saturating_add(Duration::from_secs(1));
        let time = now.checked_add(patience).unwrap_or(now);
        match deadline.filter(|deadline| *deadline < time) {
            Some(deadline) => Self { time: deadline, kind: TokenErrorKind::Deadline },
            None => Self { time, kind: TokenErrorKind::TimedOut },
        }
    }
}
