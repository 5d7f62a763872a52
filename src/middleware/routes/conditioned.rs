use std::sync::Arc;

use crate::middleware::conditions::Conditions;
use crate::middleware::conditions::terms::Terms;
use crate::middleware::routes::access::{Kind, Rule, insufficient_scope, no_credentials};
use crate::refusal::{Rejection, RejectionKind};
use crate::scope::Requirement;
use crate::token::Claims;

impl Rule {
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
