//! The summary in the log: how many requests were refused of how many, and why. One line a period at
//! most, whatever callers send.

mod counts;
mod line;
mod periods;

pub(crate) use self::periods::Summary;
