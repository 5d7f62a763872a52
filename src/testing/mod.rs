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
mod in_process;
mod issuer;
mod key;
mod mint;
mod misuse;
mod ring;
mod scripted;
mod server;
mod state;
mod token;
mod token_endpoint;

pub use self::builder::TestIssuerBuilder;
pub use self::client::{ClientAuth, TestClient};
pub use self::clock::ManualClock;
pub use self::endpoint::{Counters, Endpoint};
pub use self::fault::Fault;
pub use self::in_process::IssuerTransport;
pub use self::issuer::TestIssuer;
pub use self::key::TestKey;
pub use self::scripted::{Gate, ScriptedAnswer, ScriptedTransport};
pub use self::state::Discovery;
pub use self::token::TokenBuilder;
