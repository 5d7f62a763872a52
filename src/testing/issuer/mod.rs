//! The embedded authorization server.

pub(crate) mod answer;
pub(crate) mod assertion;
pub(crate) mod body;
pub(crate) mod builder;
pub(crate) mod client;
#[cfg(feature = "dpop")]
pub(crate) mod dpop;
pub(crate) mod endpoint;
pub(crate) mod fault;
pub(crate) mod form;
pub(crate) mod handle;
pub(crate) mod in_process;
pub(crate) mod introspection_endpoint;
pub(crate) mod opaque;
pub(crate) mod response;
pub(crate) mod ring;
pub(crate) mod server;
pub(crate) mod state;
pub(crate) mod token_endpoint;
pub(crate) mod token_request;
