//! The record of used proofs: the library's own file, included as it is, since nobody gets at it
//! without a signature.

#[allow(dead_code, reason = "the library uses all of it")]
#[path = "../../src/binding/replay/memory.rs"]
mod memory;

use tower_bearer::UnixTime;

use self::memory::{Memory, Recorded};
use crate::digest::Digest;

/// How long a proof is remembered, in seconds, and how many come in each.
pub const REMEMBERED: u64 = 70;
pub const A_SECOND: u64 = 10_000;

const START: u64 = 1_800_000_000;

pub struct Record(Memory);

impl Record {
    /// In so much memory, or in as much as it is by default.
    pub fn new(bytes: Option<usize>) -> Self {
        Self(Memory::new(bytes).unwrap())
    }

    /// Records the proof of this number at this second, as one that is new. Says whether there was room.
    #[inline]
    pub fn record(&self, number: u64, second: u64) -> bool {
        let now = START + second;
        let [until, now] = [now + REMEMBERED, now].map(|it| UnixTime::from_secs(it as i64));
        match self.0.record(&key(number), until, now) {
            Recorded::Fresh => true,
            Recorded::Full => false,
            Recorded::Seen => panic!("{number} is new"),
        }
    }
}

/// What a hash looks like.
#[inline]
pub fn key(number: u64) -> Digest {
    let mut key = [0; 32];
    for (at, part) in key.chunks_exact_mut(8).enumerate() {
        let mixed = (number * 4 + at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        part.copy_from_slice(&(mixed ^ (mixed >> 27)).to_ne_bytes());
    }
    key
}

/// Proofs that come one after the other, as many as do in a second in each.
pub struct Stream {
    pub number: u64,
    pub step: u64,
}

impl Stream {
    #[inline]
    pub fn advance(&mut self) -> (u64, u64) {
        let number = self.number;
        self.number += self.step;
        (number, number / A_SECOND)
    }

    #[inline]
    pub fn record(&mut self, record: &Record) {
        let (number, second) = self.advance();
        assert!(record.record(number, second));
    }
}
