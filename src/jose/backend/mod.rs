#[cfg(feature = "aws-lc-rs")]
pub(crate) mod aws_lc;
pub(crate) mod choice;
#[cfg(feature = "rust-crypto")]
pub(crate) mod rust_crypto;
