//! What to ask an authorization server for, how it is asked, and what it answers.

pub(crate) mod builder;
pub(crate) mod definition;
pub(crate) mod discovery;
pub(crate) mod echo;
pub(crate) mod environment;
pub(crate) mod error;
pub(crate) mod error_kind;
pub(crate) mod exchange;
pub(crate) mod party;
pub(crate) mod request;
pub(crate) mod response;
