//! When key sets are fetched: the schedule, and what requests with unknown keys may demand.

pub(crate) mod awaited;
pub(crate) mod budget;
pub(crate) mod clocks;
pub(crate) mod control;
pub(crate) mod freshness;
pub(crate) mod misses;
pub(crate) mod offset;
pub(crate) mod schedule;
pub(crate) mod wait;
