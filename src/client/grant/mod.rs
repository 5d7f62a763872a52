//! One request for a token: what to ask for, how it is asked, and what the server answers.
//!
//! `builder` checks a grant and makes its `definition`, also from the `environment` or from `azure`'s. `fetch`
//! finds the endpoint (`discovery`, `metadata`), collects the parameters (`subject`), writes the `request` and reads the
//! `response`, whose words are shown only if they repeat no secret (`echo`). `error` is what can go wrong.

pub(crate) mod azure;
pub(crate) mod builder;
pub(crate) mod definition;
pub(crate) mod discovery;
pub(crate) mod echo;
pub(crate) mod environment;
pub(crate) mod error;
pub(crate) mod error_kind;
pub(crate) mod fetch;
pub(crate) mod kind;
pub(crate) mod metadata;
pub(crate) mod on_behalf_error;
pub(crate) mod party;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod subject;
