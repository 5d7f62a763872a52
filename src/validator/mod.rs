//! What is accepted, and the pipeline that decides it.

mod audience;
#[cfg(feature = "dpop")]
mod bind;
mod build;
mod builder;
mod cache;
mod checks;
mod directory;
mod environment;
mod faults;
mod handle;
mod health;
mod in_force;
pub mod issuers;
mod key_source;
mod list;
mod metered;
#[cfg(feature = "introspection")]
mod opaque;
mod pipeline;
mod plan;
mod policy;
mod presented;
mod realm;
mod realms;
mod settings;
mod standing;
mod summary;
mod table;
mod template;
mod trust;
mod unreadable;
mod unverified;

pub use self::builder::ValidatorBuilder;
pub(crate) use self::checks::Check;
pub use self::handle::Validator;
pub(crate) use self::in_force::InForce;
pub use self::key_source::KeySource;
pub use self::policy::RequiredClaim;
pub(crate) use self::presented::Presented;
#[cfg(feature = "dpop")]
pub(crate) use self::presented::Proof;
pub(crate) use self::summary::Summary;
