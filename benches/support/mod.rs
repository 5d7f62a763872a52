//! What the benches share: deterministic tokens, the router that is protected, ways to count and to
//! measure.

pub mod alloc;
pub mod callgrind;
pub mod capability;
pub mod case;
pub mod counts;
pub mod floors;
pub mod issuers;
pub mod opaque;
pub mod proofs;
pub mod replay;
pub mod resident;
pub mod scripted;
pub mod service;
pub mod tokens;
pub mod turns;

// What the library's file in `replay` asks for, as the library has it.

mod clock {
    pub(crate) use tower_bearer::UnixTime;
}

mod digest {
    pub type Digest = [u8; 32];
}

mod error {
    use std::ops::RangeInclusive;

    #[derive(Debug)]
    pub(crate) struct ConfigError;

    pub(crate) fn within(
        _: &str,
        value: usize,
        range: RangeInclusive<usize>,
    ) -> Result<(), ConfigError> {
        if range.contains(&value) { Ok(()) } else { Err(ConfigError) }
    }
}

mod telemetry {
    macro_rules! gauge {
        ($name:literal, $to:expr) => {
            let _ = &$to;
        };
    }

    pub(crate) use gauge;
}
