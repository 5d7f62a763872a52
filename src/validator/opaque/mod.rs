//! Tokens whose issuer is asked about them: `shape` tells which, `ask` asks, `judge` checks the answer, and
//! `memory` keeps the decision for as long as `asked` allows.

mod ask;
mod asked;
mod build;
mod invalidate;
mod judge;
mod memory;
mod realm;
mod setters;
mod shape;

pub(crate) use self::asked::Asked;
pub(crate) use self::build::{asked, introspection, is_as_before};
pub(crate) use self::memory::Remembering;
pub(crate) use self::shape::begins_as_jwt;
