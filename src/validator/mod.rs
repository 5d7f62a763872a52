//! What is accepted, and the pipeline that decides it.

mod builder;
mod check;
mod policy;

pub use self::builder::{KeySource, ValidatorBuilder};
pub(crate) use self::check::Check;
pub use self::check::Validator;
pub use self::policy::RequiredClaim;
