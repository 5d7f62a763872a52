//! Requests in the background, and a count of their answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

/// How many requests run at a time.
const WORKERS: usize = 6;

#[derive(Debug)]
struct Sent {
    token: String,
    /// Set before the server is told to do away with the token's key.
    retired: AtomicBool,
}

/// How often each status was answered.
pub(crate) type Statuses = BTreeMap<u16, usize>;

/// What a load was answered: to tokens that were valid, and to those that may no longer be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) valid: Statuses,
    pub(crate) retired: Statuses,
}

impl Outcome {
    /// Asserts that the load did run, and that no valid token was refused.
    pub(crate) fn assert_no_valid_request_refused(&self, at_least: usize) {
        let served = self.valid.get(&200).copied().unwrap_or_default();
        assert_eq!(self.valid.len(), 1, "valid requests were refused: {self:?}");
        assert!(served >= at_least, "the load was too small to tell: {self:?}");
    }
}

#[derive(Debug, Default)]
struct Shared {
    tokens: Mutex<Vec<Arc<Sent>>>,
    outcome: Mutex<Outcome>,
    stop: AtomicBool,
}

/// Requests that run until the load is stopped, each with one of its tokens in turn.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

impl Load {
    /// Starts requests to the URL with these tokens, of which there must be one.
    pub(crate) fn start(url: String, tokens: Vec<String>) -> Self {
        let shared = Arc::new(Shared::default());
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let mut load = Self { shared: Arc::clone(&shared), workers: JoinSet::new() };
        load.add(tokens);
        for worker in 0..WORKERS {
            load.workers.spawn(work(worker, url.clone(), http.clone(), Arc::clone(&shared)));
        }
        load
    }

    /// Adds tokens that are valid.
    pub(crate) fn add(&self, tokens: Vec<String>) {
        let sent = tokens
            .into_iter()
            .map(|token| Arc::new(Sent { token, retired: AtomicBool::new(false) }));
        lock(&self.shared.tokens).extend(sent);
    }

    /// Marks all tokens so far as ones that may be refused from now on. They are still sent.
    pub(crate) fn retire(&self) {
        for sent in lock(&self.shared.tokens).iter() {
            sent.retired.store(true, Ordering::SeqCst);
        }
    }

    /// Ends the load and returns what it was answered.
    pub(crate) async fn stop(self) -> Outcome {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.workers.join_all().await;
        lock(&self.shared.outcome).clone()
    }
}

async fn work(worker: usize, url: String, http: reqwest::Client, shared: Arc<Shared>) {
    let mut turn = worker;
    while !shared.stop.load(Ordering::SeqCst) {
        let sent = {
            let tokens = lock(&shared.tokens);
            turn += 1;
            let next = tokens.get(turn % tokens.len()).map(Arc::clone);
            next.expect("a remainder is an index")
        };
        let response = http.get(&url).bearer_auth(&sent.token).send().await;
        let status = response.map_or(0, |response| response.status().as_u16());
        // Read after the answer: what was sent as valid may have been retired on the way.
        let retired = sent.retired.load(Ordering::SeqCst);
        {
            let mut outcome = lock(&shared.outcome);
            let statuses = if retired { &mut outcome.retired } else { &mut outcome.valid };
            *statuses.entry(status).or_default() += 1;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
