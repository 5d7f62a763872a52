//! The macros for events, metrics and spans. Without the features `tracing` and `metrics` they compile to
//! nothing.

#[cfg(feature = "metrics")]
mod described;
mod repeats;

use std::sync::Arc;

pub(crate) use self::repeats::Repeats;

/// Registers the descriptions of all metrics with the current recorder. Whatever counts calls this
/// when it is built, since no hook runs when a recorder is installed.
pub(crate) fn describe_metrics() {
    #[cfg(feature = "metrics")]
    described::describe();
}

/// Returns the label of an issuer's metrics; `None` if there are too many issuers for that.
pub(crate) fn issuer_label(issuer: &Arc<str>) -> Option<Arc<str>> {
    #[cfg(feature = "metrics")]
    return described::issuer_label(issuer);
    #[cfg(not(feature = "metrics"))]
    Some(Arc::clone(issuer))
}

/// Returns the label of a tenant's metrics; `None` if there are too many tenants for that.
#[cfg(feature = "client")]
pub(crate) fn tenant_label(tenant: &Arc<str>) -> Option<Arc<str>> {
    #[cfg(feature = "metrics")]
    return described::tenant_label(tenant);
    #[cfg(not(feature = "metrics"))]
    Some(Arc::clone(tenant))
}

/// Emits a `tracing` event: `event!(WARN, field = value, "message")`.
macro_rules! event {
    ($level:ident, $($rest:tt)+) => {{
        #[cfg(feature = "tracing")]
        tracing::event!(target: "tower_bearer", tracing::Level::$level, $($rest)+);
    }};
}

/// Returns `true` if a subscriber listens to warnings.
#[inline]
pub(crate) fn is_heard() -> bool {
    #[cfg(feature = "tracing")]
    return tracing::Level::WARN <= tracing::level_filters::LevelFilter::current();
    #[cfg(not(feature = "tracing"))]
    false
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

/// Adds to a gauge, or subtracts: `change!("name", value, "label" => value, …)`, from any thread.
macro_rules! change {
    ($name:literal, $by:expr $(, $label:literal => $value:expr)*) => {{
        #[cfg(feature = "metrics")]
        metrics::gauge!($name $(, $label => $value)*).increment($by);
        #[cfg(not(feature = "metrics"))]
        { let _ = &$by; $(let _ = &$value;)* }
    }};
}

/// Records into a histogram: `observe!("name", value, "label" => value, …)`.
macro_rules! observe {
    ($name:literal, $seen:expr $(, $label:literal => $value:expr)*) => {{
        #[cfg(feature = "metrics")]
        metrics::histogram!($name $(, $label => $value)*).record($seen);
        #[cfg(not(feature = "metrics"))]
        { let _ = &$seen; $(let _ = &$value;)* }
    }};
}

/// Runs a future within a `tracing` span: `in_span!(future, "name", field = value, …)`.
macro_rules! in_span {
    ($future:expr, $name:literal $(, $field:ident = $value:expr)*) => {{
        let future = $future;
        #[cfg(feature = "tracing")]
        let future = tracing::Instrument::instrument(
            future,
            tracing::info_span!(target: "tower_bearer", $name $(, $field = $value)*),
        );
        #[cfg(not(feature = "tracing"))]
        { $(let _ = &$value;)* }
        future
    }};
}

pub(crate) use {change, count, event, gauge, in_span, observe};
