//! The summary in the log: how many requests were refused of how many, and why, at most one line per period
//! whatever callers send. `counts` counts, `periods` decides when to report, and `line` writes the text.

mod counts;
mod line;
mod periods;

pub(crate) use self::periods::Summary;
