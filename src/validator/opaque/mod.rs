//! Tokens whose issuer is asked about them.

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
