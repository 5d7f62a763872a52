//! Conditions on a request's token beside its scopes: `builder` checks them, `set` decides by `claim_rule`
//! and `login`.

mod builder;
mod claim_rule;
mod login;
pub(crate) mod set;
pub(crate) mod terms;

pub use self::builder::ConditionsBuilder;
pub use self::set::Conditions;
