use std::sync::Arc;

use crate::error::ConfigError;
use crate::middleware::conditions::Conditions;
use crate::middleware::conditions::terms::Terms;
use crate::middleware::routes::access::{Access, Kind, Rule};
use crate::middleware::routes::missing::{insufficient_scope, no_credentials};
use crate::refusal::{Rejection, RejectionKind};
use crate::scope::Requirement;
#[cfg(feature = "mcp")]
use crate::scope::{Implications, ScopeSet};
use crate::token::Claims;

impl Access {
    /// Adds conditions that the token must meet besides, for those who are let in only with a token; without
    /// one, those who need none are let in.
    ///
    /// If this lets everybody in, what this is given to says so when it is built: no token is looked at.
    #[must_use]
    pub fn conditions(self, conditions: &Conditions) -> Self {
        let rule = self.rule.and_then(|rule| match rule.kind {
            Kind::Public => Err(ConfigError::new(
                "what is public looks at no token: conditions need Access::token(), or optional()",
            )),
            _ => Ok(rule.with_conditions(conditions)),
        });
        Self { rule }
    }
}

impl Access {
    /// Lets only tokens of this issuer in, by the name that it is configured with. A valid token of
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
    /// Returns what lets in whom both let in, of which one has conditions.
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
    /// Returns all scopes that it is about, unless it hides what it is for.
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

    /// Adds conditions. What is public or denied stays so.
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
