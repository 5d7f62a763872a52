//! What is accepted, and the pipeline that decides it. `builder` and `issuers` make `settings`, which `plan`
//! checks and turns into a `realm` for each issuer. A token passes `pipeline`: it is recalled from `cache`,
//! or read and verified by its realm or by `opaque`, remembered, and checked against its sender by `bind`.

mod audience;
#[cfg(any(feature = "dpop", feature = "mtls"))]
mod bind;
mod bound_to;
mod build;
mod builder;
mod cache;
mod checks;
mod directory;
mod environment;
mod examine;
mod fapi;
mod faults;
mod handle;
mod health;
mod in_force;
pub mod issuers;
mod key_source;
mod list;
mod live;
mod metered;
#[cfg(feature = "introspection")]
mod opaque;
mod opened;
mod pipeline;
mod plan;
mod policy;
mod presented;
mod quota;
mod realm;
mod realms;
mod set;
mod settings;
mod shared;
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
pub use self::in_force::InForce;
pub use self::key_source::KeySource;
pub use self::policy::RequiredClaim;
pub(crate) use self::presented::Presented;
#[cfg(feature = "dpop")]
pub(crate) use self::presented::Proof;
pub(crate) use self::summary::Summary;
