//! What a route needs: the table, and how a request is looked up in it.

pub(crate) mod access;
pub(crate) mod builder;
mod conditioned;
pub(crate) mod lookup;
pub(crate) mod methods;
pub(crate) mod missing;
pub(crate) mod nesting;
pub(crate) mod path;
mod rule_text;
pub(crate) mod table;
