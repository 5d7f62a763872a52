//! The `acr_values` and `max_age` of a challenge that asks the user to log in again (RFC 9470).

use std::time::Duration;

use http::HeaderValue;

use crate::answer::wire::Wire;
use crate::refusal::{Detail, Refusal};

/// The login that would have sufficed (RFC 9470 §3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepUp<'a> {
    pub(crate) acr_values: &'a str,
    pub(crate) max_age: Option<Duration>,
}

impl<'a> StepUp<'a> {
    pub(crate) fn of(refusal: &'a Refusal) -> Option<Self> {
        match refusal {
            Refusal::Rejection(rejection) => match rejection.detail() {
                Detail::Login { acr_values, max_age, .. } => {
                    Some(Self { acr_values, max_age: *max_age })
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns its parameters with their values, as challenges contain them.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&'static str, String)> {
        let acr = (!self.acr_values.is_empty()).then(|| ("acr_values", self.acr_values.to_owned()));
        acr.into_iter().chain(self.max_age.map(|age| ("max_age", age.as_secs().to_string())))
    }

    /// Adds the parameters to a challenge, behind the description: one without it is of a scheme that
    /// wasn't used.
    pub(crate) fn add_to(&self, challenge: &HeaderValue, wire: &Wire) -> HeaderValue {
        let description = format!(", error_description=\"{}\"", wire.description);
        let Ok(text) = challenge.to_str() else { return challenge.clone() };
        let Some((before, after)) = text.split_once(&description) else { return challenge.clone() };
        let mut text = format!("{before}{description}");
        for (name, value) in self.parameters() {
            text.push_str(&match name {
                "max_age" => format!(", {name}={value}"),
                _ => format!(", {name}=\"{value}\""),
            });
        }
        text.push_str(after);
        // The values were checked when they were set.
        HeaderValue::try_from(text).unwrap_or_else(|_| challenge.clone())
    }
}
