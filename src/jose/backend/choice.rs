use crate::error::ConfigError;
use crate::jose::alg::Algorithm;

/// The implementation that checks signatures.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Backend {
    /// AWS-LC, through `aws-lc-rs`.
    #[cfg(feature = "aws-lc-rs")]
    AwsLcRs,
    /// The RustCrypto crates, through `jsonwebtoken`.
    #[cfg(feature = "rust-crypto")]
    RustCrypto,
}

impl Backend {
    /// Returns the backend that is used where none is chosen: `aws-lc-rs` if that feature is on,
    /// else `rust-crypto`; `None` if neither is.
    #[allow(unreachable_code, reason = "which lines are reached depends on the features")]
    pub const fn preferred() -> Option<Self> {
        #[cfg(feature = "aws-lc-rs")]
        return Some(Self::AwsLcRs);
        #[cfg(feature = "rust-crypto")]
        return Some(Self::RustCrypto);
        None
    }

    pub(crate) fn preferred_or_error() -> Result<Self, ConfigError> {
        Self::preferred().ok_or(ConfigError::new(
            "there is nothing to check signatures with: turn on the feature \"aws-lc-rs\" or \
             \"rust-crypto\" of tower-bearer",
        ))
    }

    /// Returns `true` if the backend has the algorithm.
    pub const fn supports(self, algorithm: Algorithm) -> bool {
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLcRs => {
                let _ = algorithm;
                true
            }
            #[cfg(feature = "rust-crypto")]
            Self::RustCrypto => !matches!(algorithm, Algorithm::ES512),
        }
    }
}
