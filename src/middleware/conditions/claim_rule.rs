//! A condition on the value of a claim.

use std::sync::Arc;

use serde_json::Value;

use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::token::{Claims, Lookup};

/// A claim, and the values of which it must have one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClaimRule {
    pub(crate) claim: Arc<str>,
    /// Never empty.
    pub(crate) any_of: Box<[Value]>,
}

impl ClaimRule {
    /// Checks a token: a claim that is an array must have one of the values as an element.
    pub(crate) fn check(&self, claims: &Claims) -> Result<(), Rejection> {
        let is_wanted = |value: &Value| self.any_of.iter().any(|wanted| same(wanted, value));
        let absent = match claims.kept(&self.claim) {
            Lookup::NotKept | Lookup::Absent => true,
            Lookup::Is(Value::Array(values)) if values.iter().any(is_wanted) => return Ok(()),
            Lookup::Is(value) if is_wanted(value) => return Ok(()),
            Lookup::Is(_) => false,
        };
        let detail = Detail::Refused { claim: Arc::clone(&self.claim), absent };
        Err(Rejection::with(RejectionKind::ClaimRefused, detail))
    }
}

/// Compares values of the same type only: `"true"` isn't `true`. Numbers are compared as numbers, and
/// exactly: beyond 2^53 a number with a point stands for several integers.
fn same(wanted: &Value, value: &Value) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match (wanted, value) {
        (Value::Number(wanted), Value::Number(value)) if wanted.is_f64() != value.is_f64() => {
            let (wanted, value) = (wanted.as_f64(), value.as_f64());
            wanted.is_some_and(|wanted| wanted.abs() < EXACT) && wanted == value
        }
        _ => wanted == value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cl1_numbers_are_compared_exactly() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        for (wanted, value, expected) in [
            (json!(1), "1", true),
            (json!(1), "1.0", true),
            (json!(1.0), "1", true),
            (json!(-1), "-1e0", true),
            (json!(0.5), "0.5", true),
            (json!(0.5), "5e-1", true),
            (json!(1), "2", false),
            (json!(1), "1.5", false),
            (json!(1), "\"1\"", false),
            (json!(1), "true", false),
            (json!(u64::MAX), "18446744073709551615", true),
            (json!(u64::MAX), "18446744073709551614", false),
            (json!(u64::MAX), "18446744073709551616", false),
            (json!(9_007_199_254_740_993_u64), "9007199254740993", true),
            (json!(9_007_199_254_740_993_u64), "9007199254740992", false),
            (json!(9_007_199_254_740_993_u64), "9007199254740992.0", false),
            (json!(1_000_000_u64), "1000000.0", true),
            (json!(i64::MIN), "-9223372036854775807", false),
            (json!(i64::MIN), "-9223372036854775808", true),
        ] {
            assert_eq!(same(&wanted, &read(value)), expected, "{wanted} {value}");
        }
    }
}
