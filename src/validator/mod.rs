//! What is accepted, and the pipeline that decides it.

mod build;
mod builder;
mod cache;
mod check;
mod faults;
mod handle;
mod metered;
mod policy;
mod table;
mod unreadable;

pub use self::builder::{KeySource, ValidatorBuilder};
pub(crate) use self::check::Check;
pub use self::handle::Validator;
pub use self::policy::RequiredClaim;
