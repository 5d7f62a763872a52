//! What the targets share: the world of `fixtures/`, in which it is always the same second.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
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

/// Any JSON in which no object has a name twice, or one that `serde_json` gives a meaning.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, Self)) = map.next_entry::<String, Self>()? {
            if name.starts_with("$serde_json::private::") || !names.insert(name) {
                return Err(Error::custom("a name that must not be here"));
            }
        }
        Ok(self)
    }
}

/// Whether a second reader finds nothing that two readers could read in two ways.
pub fn is_strict(json: &[u8]) -> bool {
    serde_json::from_slice::<Strict>(json).is_ok()
}
