//! The crate's own table, in a module of the name by which its files import each other.

#![allow(
    dead_code,
    unexpected_cfgs,
    reason = "what the crate's validator needs besides, and its features"
)]

#[path = "../../../../../src/validator/quota.rs"]
pub(crate) mod quota;
#[path = "../../../../../src/validator/set.rs"]
pub(crate) mod set;
#[path = "../../../../../src/validator/table.rs"]
pub(crate) mod table;
