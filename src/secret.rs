//! Bytes that are never printed, and are wiped when dropped.

use std::fmt;

use zeroize::Zeroizing;

/// Bytes that are never printed, and are wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Creates a secret from these bytes. The caller must wipe any copy that it keeps.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Compares in time that depends on the lengths only.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(other.0.iter());
        let differences = pairs.fold(0, |differences, (a, b)| differences | (a ^ b));
        self.0.len() == other.0.len() && differences == 0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_are_those_of_the_same_bytes() {
        let secret = Secret::new("secret");
        assert_eq!(secret, Secret::new(*b"secret"));
        for other in ["", "secreT", "Secret", "secre", "secrets"] {
            assert_ne!(secret, Secret::new(other), "{other}");
        }
    }
}
