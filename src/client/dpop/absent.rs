//! Stand-ins for the DPoP types without the feature `dpop`: no value of them exists.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use crate::client::dpop::side::{Side, Target};
use crate::clock::UnixTime;
use crate::credentials::provider::SecretError;
use crate::digest::Digest;
use crate::transport::Origin;

/// A key, which never exists without the feature.
pub(crate) enum Key {}

/// What binds tokens, which never exists without the feature.
pub(crate) enum Dpop {}

impl Key {
    pub(crate) const fn thumbprint(&self) -> &str {
        match *self {}
    }
}

impl Dpop {
    pub(crate) async fn current(&self, _: Duration) -> Result<std::sync::Arc<Key>, SecretError> {
        match *self {}
    }

    pub(crate) const fn reset(&self) {
        match *self {}
    }

    pub(crate) const fn algorithm(&self) -> &'static str {
        match *self {}
    }

    pub(crate) const fn look_again_after(&self) -> Option<Duration> {
        match *self {}
    }

    pub(crate) const fn is_of_this_process(&self) -> bool {
        match *self {}
    }

    pub(crate) fn identity(&self) -> Digest {
        match *self {}
    }

    pub(crate) fn prove(
        &self,
        _: &Key,
        _: Side,
        _: Target<'_>,
        _: Option<&str>,
        _: UnixTime,
    ) -> Result<HeaderValue, SecretError> {
        match *self {}
    }

    pub(crate) fn note(&self, _: Side, _: &Origin, _: &HeaderMap) -> bool {
        match *self {}
    }

    pub(crate) fn suspect_clock(&self, _: &HeaderMap, _: UnixTime) {
        match *self {}
    }
}

/// Returns the hash of a token that a proof for a call has.
pub(crate) const fn token_hash(_: &[u8]) -> Option<Box<str>> {
    None
}
