//! The embedded issuer.

mod answer;
mod assertion;
mod body;
mod builder;
mod client;
mod clock;
mod endpoint;
mod fault;
mod form;
mod issuer;
mod key;
mod mint;
mod misuse;
mod ring;
mod server;
mod state;
mod token_endpoint;

pub use self::builder::TestIssuerBuilder;
pub use self::client::{ClientAuth, TestClient};
pub use self::clock::ManualClock;
pub use self::endpoint::{Counters, Endpoint};
pub use self::fault::Fault;
pub use self::issuer::TestIssuer;
pub use self::key::TestKey;
pub use self::mint::TokenBuilder;
pub use self::state::Discovery;
