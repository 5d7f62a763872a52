//! How a client authenticates at an authorization server, and where its secrets come from.
//!
//! `authentication` adds the client's proof to a request, by the way in `method`: `basic`, parameters, an
//! `assertion` with an `algorithm`, or a `workload` token. Secrets come from a `source`: a value, or a
//! `provider` such as `file`, `vault` and `aws_secrets_manager`, which `inquiry` asks and caches.

pub(crate) mod algorithm;
pub(crate) mod assertion;
pub(crate) mod audience;
pub(crate) mod authentication;
#[cfg(feature = "aws-secrets-manager")]
pub(crate) mod aws_secrets_manager;
pub(crate) mod basic;
#[cfg(any(feature = "aws-secrets-manager", feature = "vault"))]
pub(crate) mod field;
pub(crate) mod file;
pub(crate) mod fingerprinted;
pub(crate) mod form;
pub(crate) mod inquiry;
pub(crate) mod jwt;
pub(crate) mod method;
pub(crate) mod provider;
pub(crate) mod signer;
pub(crate) mod source;
pub(crate) mod text;
pub(crate) mod thumbprint;
#[cfg(feature = "vault")]
pub(crate) mod vault;
pub(crate) mod workload;
