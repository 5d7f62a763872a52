#![allow(missing_docs, clippy::todo, clippy::exhaustive_enums, dead_code)]
use crate::error::ConfigError;
use crate::jose::Backend;
use crate::jwks::Jwks;
use crate::refusal::Unavailable;
use std::time::Duration;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Ready,
    Degraded,
    NotReady,
}
#[derive(Debug)]
pub struct JwksBuilder {}
impl JwksBuilder {
    pub fn build(self) -> Result<Jwks, ConfigError> {
        todo!()
    }
}
impl Jwks {
    pub fn discover(_: &str) -> JwksBuilder {
        todo!()
    }
    pub fn static_set(_: &str, _: &str) -> Result<Self, ConfigError> {
        todo!()
    }
    pub fn issuer(&self) -> &str {
        todo!()
    }
    pub fn backend(&self) -> Backend {
        todo!()
    }
    pub async fn ready(&self, _: Duration) -> Result<(), Unavailable> {
        todo!()
    }
    pub fn health(&self) -> Health {
        todo!()
    }
}
