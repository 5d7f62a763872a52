//! Access rules with conditions, and the combination of two rules.

use std::sync::Arc;

use crate::error::ConfigError;
use crate::middleware::conditions::Conditions;
use crate::middleware::conditions::terms::Terms;
#[cfg(feature = "introspection")]
use crate::middleware::routes::access::Rules;
use crate::middleware::routes::access::{Access, Kind, Rule};
use crate::middleware::routes::missing::{insufficient_scope, no_credentials};
use crate::refusal::{Rejection, RejectionKind};
use crate::scope::Requirement;
#[cfg(feature = "mcp")]
use crate::scope::{Implications, ScopeSet};
use crate::token::Claims;

impl Access {
    /// Adds conditions that the token must also meet. They apply to requests with a token; a request without
    /// one, where none is needed, is accepted.
    ///
    /// If the rule is public, building the table or the layer fails, since no token is read.
    #[must_use]
    pub fn conditions(self, conditions: &Conditions) -> Self {
        let rule = self.rule.and_then(|rule| match rule.kind {
            Kind::Public => Err(ConfigError::new(
                "a public route reads no token: conditions need Access::token(), or optional()",
            )),
            _ => Ok(rule.with_conditions(conditions)),
        });
        Self { rule }
    }
}

impl Access {
    /// Accepts only tokens of this issuer, by the name that it is configured with. A valid token of
    /// another issuer is answered 403. For one of several issuers, see
    /// [`ConditionsBuilder::issuers`](crate::middleware::ConditionsBuilder::issuers).
    ///
    /// ```
    /// use tower_bearer::Access;
    ///
    /// let access = Access::scope("ops").require_issuer("https://login.staff.example");
    /// ```
    #[must_use]
    pub fn require_issuer(self, issuer: &str) -> Self {
        self.conditions(&Conditions::of_issuer(issuer))
    }
}

#[cfg(feature = "mcp")]
impl Kind {
    /// Returns the rule that accepts what both accept, of which one has conditions.
    pub(crate) fn merged(&self, other: &Self) -> Self {
        let parts = |kind: &Self| match kind {
            Self::Token { requirement, .. } => (requirement.clone(), None, false),
            Self::Conditioned { requirement, conditions, optional, .. } => {
                (requirement.clone(), Some(conditions.clone()), *optional)
            }
            Self::Public | Self::Optional => (Requirement::none(), None, true),
            Self::AnyToken | Self::Denied => (Requirement::none(), None, false),
        };
        let ((one, first, is_optional), (two, second, also_optional)) = (parts(self), parts(other));
        let conditions = match (first, second) {
            (Some(first), second) => first.and(second.as_ref()),
            (None, Some(second)) => second,
            (None, None) => return self.clone(),
        };
        let requirement = Requirement::all([one, two]);
        let needed = requirement.sufficient_for(&ScopeSet::default(), &Implications::default());
        let optional = is_optional && also_optional;
        Self::Conditioned { requirement, needed: Arc::new(needed), conditions, optional }
    }
}

impl Rule {
    /// Returns all scopes of the rule, unless it hides the route.
    pub(crate) fn shown_scopes(&self) -> Vec<&str> {
        match &self.kind {
            Kind::Token { requirement, .. } | Kind::Conditioned { requirement, .. }
                if self.hidden.is_none() =>
            {
                requirement.names()
            }
            _ => Vec::new(),
        }
    }

    /// Adds conditions. A public or denied rule stays so.
    pub(crate) fn with_conditions(self, conditions: &Conditions) -> Self {
        let optional =
            matches!(self.kind, Kind::Optional | Kind::Conditioned { optional: true, .. });
        let kind = match self.kind {
            Kind::Public | Kind::Denied => self.kind,
            Kind::Optional | Kind::AnyToken => Kind::Conditioned {
                requirement: Requirement::none(),
                needed: Arc::default(),
                conditions: conditions.clone(),
                optional,
            },
            Kind::Token { requirement, needed } => {
                let conditions = conditions.clone();
                Kind::Conditioned { requirement, needed, conditions, optional }
            }
            Kind::Conditioned { requirement, needed, conditions: before, .. } => {
                let conditions = conditions.and(Some(&before));
                Kind::Conditioned { requirement, needed, conditions, optional }
            }
        };
        Self { kind, ..self }
    }

    /// Returns the one issuer whose tokens are accepted, if there is only one.
    #[cfg(feature = "introspection")]
    pub(crate) fn issuer(&self) -> Option<&str> {
        match &self.kind {
            Kind::Conditioned { conditions, .. } => conditions.issuer(),
            _ => None,
        }
    }

    /// Decides about a caller by the conditions.
    #[cold]
    pub(crate) fn admit_on_conditions(
        &self,
        token: Option<&Claims>,
        terms: &Terms,
    ) -> Result<(), Rejection> {
        let Kind::Conditioned { requirement, needed, conditions, optional } = &self.kind else {
            return Err(RejectionKind::Denied.into());
        };
        match token {
            None if *optional => Ok(()),
            None if self.hidden.is_some() => Err(RejectionKind::NoCredentials.into()),
            None => Err(no_credentials(needed)),
            Some(claims) => {
                conditions.check(claims, requirement, terms)?;
                if requirement.is_met_by(claims.scopes(), terms) {
                    Ok(())
                } else {
                    Err(insufficient_scope(requirement, claims, terms))
                }
            }
        }
    }
}

#[cfg(feature = "introspection")]
impl Rules<'_> {
    /// Returns the one issuer whose tokens are accepted, if there is only one. A rule that hides the route
    /// returns none: for an absent path, no issuer is asked either.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.iter().filter(|rule| rule.hidden.is_none()).find_map(Rule::issuer)
    }
}
