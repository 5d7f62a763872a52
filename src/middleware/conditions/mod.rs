//! What a request's token must say beside its scopes.

mod builder;
mod claim_rule;
mod login;
pub(crate) mod set;
pub(crate) mod terms;

pub use self::builder::ConditionsBuilder;
pub use self::set::Conditions;
