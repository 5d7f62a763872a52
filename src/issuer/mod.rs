//! The metadata of an authorization server (RFC 8414, OpenID Connect Discovery 1.0): its locations, its
//! retrieval and the check of its issuer. The key source and the token client read its contents.
//!
//! `text` and `places` check the issuer and list the locations, which `search` requests in a `race`: each in one
//! `exchange`, whose answer `document` checks. `fault` says what failed, and whether the search goes on. `kept`
//! searches when something of the metadata is needed, and keeps that. `circuit` says when a server that doesn't
//! answer is asked again, for whatever else it is asked.

#[cfg(any(feature = "client", feature = "introspection"))]
mod circuit;
mod document;
mod exchange;
mod fault;
#[cfg(any(feature = "client", feature = "introspection"))]
mod kept;
mod places;
mod race;
mod search;
mod text;

#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) use self::circuit::Circuit;
#[cfg(feature = "introspection")]
pub(crate) use self::circuit::Pass;
pub(crate) use self::document::{Refused, read};
pub(crate) use self::exchange::{Network, ask};
pub(crate) use self::fault::{Fault, FaultKind};
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) use self::kept::Kept;
pub(crate) use self::places::check_issuer;
pub(crate) use self::search::Search;
pub(crate) use self::text::check_issuer_text;
