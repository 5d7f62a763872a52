//! Measures what the summary in the log costs a request that is let in, in the time of the same request where
//! nobody listens: both in turns, in one process.
//!
//! A bench of its own, since the others measure the library without `tracing`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use support::case::{Case, Place};
use support::turns::turns;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, set_global_default};
use tracing::{Event, Metadata, Subscriber};

/// In nanoseconds.
const LIMIT: f64 = 15.0;

static IS_HEARD: AtomicBool = AtomicBool::new(false);

/// Listens to warnings, or to nothing.
struct Listener;

impl Subscriber for Listener {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let is_heard = IS_HEARD.load(Ordering::Relaxed);
        Some(if is_heard { LevelFilter::WARN } else { LevelFilter::OFF })
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        IS_HEARD.load(Ordering::Relaxed)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn listen(is_heard: bool) {
    IS_HEARD.store(is_heard, Ordering::Relaxed);
    tracing::callsite::rebuild_interest_cache();
    assert_eq!(LevelFilter::WARN <= LevelFilter::current(), is_heard);
}

fn main() -> ExitCode {
    set_global_default(Listener).expect("no other subscriber");
    let test = std::env::args().any(|argument| argument == "--test");
    let mut reached = true;
    for (name, place) in [("as layer", Place::Layer), ("around", Place::Around)] {
        let contender = |is_heard| Case::Warm(place).contender().prepared(move || listen(is_heard));
        let rounds = turns(if test { 1 } else { 2_000 }, [contender(false), contender(true)]);
        let unheard = rounds.median(|[unheard, _]| *unheard);
        let cost = rounds.median(|[unheard, heard]| heard - unheard);
        if !test {
            let missed = if cost <= LIMIT { "" } else { "  missed" };
            println!(
                "seen token, {name}: {unheard:.0} ns, the summary {cost:.1} ns more, at most \
                 {LIMIT:.0}{missed}"
            );
            reached &= cost <= LIMIT;
        }
    }
    if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
