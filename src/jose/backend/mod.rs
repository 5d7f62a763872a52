//! The crypto backends: `choice` picks one, `aws_lc` and `rust_crypto` verify and sign with it.

#[cfg(feature = "aws-lc-rs")]
pub(crate) mod aws_lc;
#[cfg(feature = "test-util")]
pub(crate) mod aws_lc_generate;
#[cfg(all(
    feature = "aws-lc-rs",
    any(feature = "client", feature = "introspection", feature = "test-util")
))]
pub(crate) mod aws_lc_sign;
pub(crate) mod choice;
#[cfg(feature = "rust-crypto")]
pub(crate) mod rust_crypto;
