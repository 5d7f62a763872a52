//! Where the features `tracing` and `metrics` are switched on and off: without them, these macros
//! and functions compile to nothing.

/// Emits a `tracing` event: `event!(WARN, field = value, "message")`.
macro_rules! event {
    ($level:ident, $($rest:tt)+) => {{
        #[cfg(feature = "tracing")]
        tracing::event!(target: "tower_bearer", tracing::Level::$level, $($rest)+);
    }};
}

/// Adds one to a counter: `count!("name", "label" => value, …)`.
macro_rules! count {
    ($name:literal $(, $label:literal => $value:expr)*) => {{
        #[cfg(feature = "metrics")]
        metrics::counter!($name $(, $label => $value)*).increment(1);
        #[cfg(not(feature = "metrics"))]
        { $(let _ = &$value;)* }
    }};
}

/// Sets a gauge: `gauge!("name", value, "label" => value, …)`.
macro_rules! gauge {
    ($name:literal, $to:expr $(, $label:literal => $value:expr)*) => {{
        #[cfg(feature = "metrics")]
        metrics::gauge!($name $(, $label => $value)*).set($to);
        #[cfg(not(feature = "metrics"))]
        { let _ = &$to; $(let _ = &$value;)* }
    }};
}

/// Records into a histogram: `observe!("name", value)`.
macro_rules! observe {
    ($name:literal, $value:expr) => {{
        #[cfg(feature = "metrics")]
        metrics::histogram!($name).record($value);
        #[cfg(not(feature = "metrics"))]
        {
            let _ = &$value;
        }
    }};
}

pub(crate) use {count, event, gauge, observe};
