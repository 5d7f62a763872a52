//! The embedded authorization server.
//!
//! `builder` makes the `state` and starts the `server`, or `in_process` goes without one. `answer` routes a
//! request to the metadata, the key set, `token_endpoint` or `introspection_endpoint`, unless a `fault` is in
//! force. `handle` is what tests hold.

pub(crate) mod answer;
pub(crate) mod assertion;
pub(crate) mod body;
pub(crate) mod builder;
pub(crate) mod client;
mod delegation;
#[cfg(feature = "dpop")]
pub(crate) mod dpop;
pub(crate) mod endpoint;
pub(crate) mod fault;
pub(crate) mod form;
pub(crate) mod handle;
pub(crate) mod in_process;
pub(crate) mod introspection_endpoint;
pub(crate) mod opaque;
pub(crate) mod own_tokens;
pub(crate) mod platform;
mod realms;
pub(crate) mod response;
pub(crate) mod ring;
pub(crate) mod server;
pub(crate) mod state;
pub(crate) mod token_endpoint;
pub(crate) mod token_request;
