//! Stands in for `jose` until its keys land.
#![allow(dead_code)]

use crate::jose::Algorithm;

#[derive(Debug)]
pub(crate) struct VerificationKey {
    kid: Option<Box<str>>,
    algorithm: Algorithm,
    material: [u8; 32],
}

impl VerificationKey {
    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithm == algorithm
    }

    pub(crate) fn material(&self) -> &[u8; 32] {
        &self.material
    }
}
