//! What the targets share: the world of `fixtures/`, in which it is always the same second.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde_json::{Map, Value};
use tower_bearer::jose::Backend;
use tower_bearer::jwks::Jwks;
use tower_bearer::{Clock, UnixTime, Validator};

pub const ISSUER: &str = "https://issuer.example";
pub const AUDIENCE: &str = "https://api.example";
pub const NOW: i64 = 1_800_000_000;
pub const GOOD_SET: &str = include_str!("../fixtures/jwks/good.json");

#[derive(Debug)]
pub struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(NOW)
    }
}

pub type Extra = Map<String, Value>;

/// The validator of the fixtures' good key set.
pub fn validator(backend: Backend) -> Validator<Extra> {
    Validator::builder(ISSUER, AUDIENCE)
        .claims()
        .clock(FixedClock)
        .keys(Jwks::static_set_with(ISSUER, GOOD_SET, backend).unwrap())
        .build()
        .unwrap()
}

/// Polls once. Whatever the bytes, nothing here may wait.
pub fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("this waits"),
    }
}
