//! Cached tokens: when they end, and which call fetches the next one.
//!
//! A `source` or `on_behalf` takes the `cache` entry of a grant (`pool`) or caller (`subjects`), and `wait` does
//! what the entry decides: use the `held` token, wait, or start a `flight`, which enters through `slots`.
//! `expiry`, `backoff`, `failed` and `refusals` are the policies; `callers` has what concerns all callers of one
//! `on_behalf`.

pub(crate) mod backoff;
pub(crate) mod cache;
pub(crate) mod callers;
pub(crate) mod client;
pub(crate) mod core;
pub(crate) mod expiry;
pub(crate) mod failed;
pub(crate) mod flight;
pub(crate) mod flying;
pub(crate) mod health;
pub(crate) mod held;
pub(crate) mod on_behalf;
pub(crate) mod polled;
pub(crate) mod pool;
pub(crate) mod readiness;
pub(crate) mod refusals;
pub(crate) mod report;
pub(crate) mod slots;
pub(crate) mod source;
pub(crate) mod subjects;
pub(crate) mod token;
pub(crate) mod token_binding;
pub(crate) mod wait;
