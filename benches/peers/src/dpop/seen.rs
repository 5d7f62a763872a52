//! The record of used proofs that huskarl lets one bring along: it has the trait, and none of its
//! own.

use std::collections::HashSet;
use std::mem;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use huskarl_axum::resource_server::core::error::Error;
use huskarl_axum::resource_server::core::jwt::JtiUniquenessChecker;
use huskarl_axum::resource_server::core::platform::MaybeSendBoxFuture;

/// Longer than huskarl takes a proof: a minute, and ten seconds for clocks that differ, on both
/// sides.
const GENERATION: Duration = Duration::from_secs(90);

/// About the least that does it: two generations of names, of which the older one is dropped whole.
#[derive(Debug)]
pub(crate) struct Seen(Mutex<Generations>);

#[derive(Debug)]
struct Generations {
    young: HashSet<String>,
    old: HashSet<String>,
    since: Instant,
}

impl Default for Seen {
    fn default() -> Self {
        let (young, old) = (HashSet::new(), HashSet::new());
        Self(Mutex::new(Generations { young, old, since: Instant::now() }))
    }
}

impl Generations {
    /// Whether it was seen before.
    fn mark(&mut self, jti: &str) -> bool {
        if self.since.elapsed() > GENERATION {
            self.old = mem::take(&mut self.young);
            self.since = Instant::now();
        }
        self.old.contains(jti) || !self.young.insert(jti.to_owned())
    }
}

impl JtiUniquenessChecker for Seen {
    fn check_and_mark_seen(&self, jti: &str) -> MaybeSendBoxFuture<'_, Result<bool, Error>> {
        let seen = self.0.lock().expect("nobody panics with it").mark(jti);
        Box::pin(std::future::ready(Ok(seen)))
    }
}
