use std::sync::Arc;

use serde_json::Value;

use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::telemetry::event;
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
            Lookup::NotKept => {
                event!(
                    ERROR,
                    code = "misconfigured",
                    claim = &*self.claim,
                    "a condition asks for a claim that the validator doesn't keep: add it to .keep_claims([…])"
                );
                true
            }
            Lookup::Absent => true,
            Lookup::Is(Value::Array(values)) if values.iter().any(is_wanted) => return Ok(()),
            Lookup::Is(value) if is_wanted(value) => return Ok(()),
            Lookup::Is(_) => false,
        };
        let detail = Detail::Refused { claim: Arc::clone(&self.claim), absent };
        Err(Rejection::with(RejectionKind::ClaimRefused, detail))
    }
}

/// Compares values of the same type only: `"true"` isn't `true`. Numbers are compared as numbers.
fn same(wanted: &Value, value: &Value) -> bool {
    match (wanted, value) {
        (Value::Number(wanted), Value::Number(value)) => {
            wanted == value || wanted.as_f64().is_some_and(|wanted| Some(wanted) == value.as_f64())
        }
        _ => wanted == value,
    }
}
