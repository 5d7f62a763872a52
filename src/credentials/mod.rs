//! How a client authenticates at an authorization server, and where its secrets come from.

pub(crate) mod algorithm;
pub(crate) mod assertion;
pub(crate) mod authentication;
#[cfg(feature = "aws-secrets-manager")]
pub(crate) mod aws_secrets_manager;
pub(crate) mod file;
pub(crate) mod form;
pub(crate) mod inquiry;
pub(crate) mod known;
pub(crate) mod provider;
pub(crate) mod source;
pub(crate) mod text;
