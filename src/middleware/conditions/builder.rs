//! Builds and checks conditions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::error::ConfigError;
use crate::middleware::conditions::claim_rule::ClaimRule;
use crate::middleware::conditions::login::Login;
use crate::middleware::conditions::set::Conditions;

/// Builds [`Conditions`].
#[derive(Clone, Default)]
#[must_use]
pub struct ConditionsBuilder {
    login: Login,
    claims: Vec<(String, Vec<Result<Value, String>>)>,
    clients: Option<Vec<String>>,
    issuers: Option<Vec<String>>,
}

impl Conditions {
    /// Starts conditions. A request must meet all of them.
    pub fn builder() -> ConditionsBuilder {
        ConditionsBuilder::default()
    }
}

impl ConditionsBuilder {
    /// Requires `acr` to be one of these, in order of preference: the authorization server's names for ways to
    /// log in, compared as text.
    pub fn acr_values<I>(mut self, values: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.login.acr_values.extend(values.into_iter().map(Into::into));
        self
    }

    /// Also accepts values of `acr` that aren't [listed](Self::acr_values), such as stronger ones.
    /// Challenges name only those that are listed.
    pub fn acr_accepted_by(
        mut self,
        accepts: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.login.also = Some(Arc::new(accepts));
        self
    }

    /// Requires the login (`auth_time`) to be at most this long ago, in whole seconds, give or take the
    /// validator's leeway.
    pub const fn max_auth_age(mut self, age: Duration) -> Self {
        self.login.max_age = Some(age);
        self
    }

    /// Requires a claim with this value, or an array with this element. Types aren't converted: `"true"` isn't
    /// `true`.
    ///
    /// The validator must [keep](crate::ValidatorBuilder::keep_claims) it. To require that tokens have a claim
    /// at all, with any value, use the validator, which refuses other tokens everywhere:
    /// [`require_claim`](crate::ValidatorBuilder::require_claim).
    pub fn claim(self, name: &str, value: impl Serialize) -> Self {
        self.claim_in(name, [value])
    }

    /// Requires a claim with one of these values, or an array with one of them as an element.
    pub fn claim_in<I>(mut self, name: &str, values: I) -> Self
    where
        I: IntoIterator,
        I::Item: Serialize,
    {
        let values = values.into_iter();
        let values = values.map(|value| serde_json::to_value(value).map_err(|e| e.to_string()));
        self.claims.push((name.to_owned(), values.collect()));
        self
    }

    /// Requires the token to belong to one of these clients.
    pub fn clients<I>(mut self, ids: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.clients.get_or_insert_default().extend(ids.into_iter().map(Into::into));
        self
    }

    /// Requires the token to be of one of these issuers, by the names that they are configured with.
    pub fn issuers<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.issuers.get_or_insert_default().extend(names.into_iter().map(Into::into));
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// If a list is empty, a value can't be sent in a challenge or written as JSON, or the age isn't in
    /// whole seconds.
    pub fn build(self) -> Result<Conditions, ConfigError> {
        let legal = |acr: &String| {
            // They are sent with spaces between, in a quoted-string.
            let legal = |byte| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
            !acr.is_empty() && acr.bytes().all(legal)
        };
        if let Some(acr) = self.login.acr_values.iter().find(|acr| !legal(acr)) {
            return Err(ConfigError::new(format!(
                "the acr {acr:?} can't be sent in a challenge: use printable ASCII without space, '\"' and \
                 '\\'"
            )));
        }
        if self.login.also.is_some() && self.login.acr_values.is_empty() {
            return Err(ConfigError::new(
                "acr_accepted_by decides about values beside those that challenges name: name those with \
                 .acr_values([…])",
            ));
        }
        if self.login.max_age.is_some_and(|age| age.subsec_nanos() > 0) {
            return Err(ConfigError::new(
                "max_auth_age is sent in whole seconds: use Duration::from_secs",
            ));
        }
        if self
            .clients
            .as_ref()
            .is_some_and(|ids| ids.is_empty() || ids.iter().any(String::is_empty))
        {
            return Err(ConfigError::new(
                "clients names none, or one without an id: name at least one",
            ));
        }
        if self
            .issuers
            .as_ref()
            .is_some_and(|names| names.is_empty() || names.iter().any(String::is_empty))
        {
            return Err(ConfigError::new(
                "issuers names none, or one without a name: name at least one",
            ));
        }
        let claims = self.claims.into_iter().map(|(name, values)| {
            let values = values.into_iter().collect::<Result<Box<[_]>, _>>();
            match values {
                Ok(any_of) if !any_of.is_empty() => Ok(ClaimRule { claim: name.into(), any_of }),
                Ok(_) => Err(ConfigError::new(format!(
                    "no value of the claim {name:?} is allowed: name at least one"
                ))),
                Err(error) => Err(ConfigError::new(format!(
                    "a value of the claim {name:?} can't be written as JSON: {error}"
                ))),
            }
        });
        let claims = claims.collect::<Result<_, _>>()?;
        Ok(Conditions::new(self.login, claims, self.clients, self.issuers))
    }
}

impl fmt::Debug for ConditionsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConditionsBuilder").field("login", &self.login).finish_non_exhaustive()
    }
}
