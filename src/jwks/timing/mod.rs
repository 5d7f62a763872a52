//! When key sets are fetched: `schedule` plans the regular fetches, `misses` decides within its `budget`
//! which unknown `kid`s cause another, and `wait` and `awaited` end the wait of a request.

pub(crate) mod awaited;
pub(crate) mod budget;
pub(crate) mod clocks;
pub(crate) mod control;
pub(crate) mod freshness;
pub(crate) mod misses;
pub(crate) mod offset;
pub(crate) mod schedule;
pub(crate) mod wait;
