//! What a route needs: `builder` makes the `table` of `access` rules, and `lookup` finds those of a request,
//! by its `path`, its `methods` and the `nesting` of axum routers.

pub(crate) mod access;
#[cfg(any(feature = "dpop", feature = "mtls"))]
mod binding;
pub(crate) mod builder;
mod conditioned;
pub(crate) mod listing;
pub(crate) mod lookup;
pub(crate) mod methods;
pub(crate) mod missing;
pub(crate) mod nesting;
pub(crate) mod path;
mod rule_text;
pub(crate) mod table;
