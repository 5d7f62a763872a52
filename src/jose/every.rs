//! The macro that lists all variants of an enum.

/// Defines `ALL`, the list of an enum's variants: it doesn't compile while one is missing.
macro_rules! every_variant {
    ($(#[$doc:meta])* $visibility:vis const ALL = [$($variant:ident),+ $(,)?]) => {
        $(#[$doc])*
        $visibility const ALL: &'static [Self] = {
            let _ = |it: Self| match it { $(Self::$variant => (),)+ };
            &[$(Self::$variant,)+]
        };
    };
}

pub(crate) use every_variant;
