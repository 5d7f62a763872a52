//! The access rule of a route, and its decision about a token.

use std::sync::Arc;

use crate::answer::Absent;
use crate::error::ConfigError;
use crate::middleware::bound::Bound;
use crate::middleware::conditions::Conditions;
use crate::middleware::conditions::terms::Terms;
use crate::middleware::required_scopes::RequiredScopes;
use crate::middleware::routes::missing::{insufficient_scope, no_credentials};
use crate::refusal::{Rejection, RejectionKind};
use crate::scope::{Implications, Requirement, ScopeSet};
use crate::token::Claims;

/// An access rule: which requests a route accepts.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    pub(crate) rule: Result<Rule, ConfigError>,
}

impl Access {
    /// Accepts every request. A token is not read, so that a guard or a handler that requires one
    /// refuses every request: use [`optional`](Self::optional) for those.
    pub fn public() -> Self {
        Rule::from(Kind::Public).into()
    }

    /// Accepts requests without a token, and those with a valid one. An invalid token is refused.
    pub fn optional() -> Self {
        Rule::optional().into()
    }

    /// Accepts requests with a valid token.
    pub fn token() -> Self {
        Rule::token().into()
    }

    /// Refuses every request. Requests without a valid token are still answered 401, so that
    /// they can't tell what is denied from what isn't.
    pub fn denied() -> Self {
        Rule::from(Kind::Denied).into()
    }

    /// Accepts requests whose token has this scope.
    ///
    /// If the scope is invalid (see [`Scope::new`](crate::Scope::new)), building the table or the
    /// layer fails.
    pub fn scope(scope: &str) -> Self {
        match Requirement::scope(scope) {
            Ok(requirement) => Self::requires(requirement),
            Err(error) => Self { rule: Err(error) },
        }
    }

    /// Accepts requests whose token meets a requirement.
    pub fn requires(requirement: Requirement) -> Self {
        Rule::requires(requirement).into()
    }

    /// Accepts requests whose token has the scopes that `S` names; see [`scopes!`](crate::scopes).
    pub fn of<S: RequiredScopes>() -> Self {
        Self::requires(S::requirement())
    }

    /// Answers as if the route didn't exist, not with 403 (RFC 9110 §15.5.4): as [`Absent::Path`], or in
    /// [`grpc_service`](crate::middleware::RouteTableBuilder::grpc_service) as [`Absent::GrpcService`].
    /// A caller that the layer's [`fallback`](crate::BearerAuthLayer::fallback) refuses gets that refusal.
    ///
    /// A hidden resource looks like an absent one, byte for byte, under these conditions:
    ///
    /// * The layer's fallback isn't [`public`](Self::public), and absent paths have no other entry,
    ///   such as `/{*rest}`, that requires more than the fallback.
    /// * All methods of the path are hidden; a separately listed route has its own answer.
    /// * The layer lies *around* the axum router: `Router::new().fallback_service(layer.layer(app))`.
    ///   Within, as with `app.layer(layer)`, axum adds `allow` to every answer, a 401 too, whose
    ///   method the route doesn't have, and layers that read the size of a body, such as
    ///   compression, must lie within it as well. In a tonic server it always lies around.
    /// * An application with a fallback of its own has a
    ///   [renderer](crate::answer::Renderer::render_absent) that returns the same.
    /// * With [`allow_preflight`](crate::BearerAuthLayer::allow_preflight), a CORS layer around all
    ///   inner routes answers those requests.
    #[must_use]
    pub fn hide_existence(self) -> Self {
        self.hide_existence_as(Absent::Path)
    }

    /// Hides as [`hide_existence`](Self::hide_existence) does, with another answer:
    /// [`Absent::GrpcMethod`] for a method of a gRPC service whose other methods aren't hidden, and
    /// [`Absent::GrpcService`] for requests without an entry of a layer in a tonic server.
    #[must_use]
    pub fn hide_existence_as(mut self, absent: Absent) -> Self {
        if let Ok(rule) = &mut self.rule {
            rule.hidden = Some(absent);
        }
        self
    }

    /// Makes a hidden route look as in a gRPC server.
    pub(crate) fn of_grpc_service(self) -> Self {
        let hidden = self.rule.as_ref().ok().and_then(|rule| rule.hidden);
        match hidden {
            Some(Absent::Path) => self.hide_existence_as(Absent::GrpcService),
            _ => self,
        }
    }

    /// A rule whose error is reported when what it is given to is built.
    pub(crate) const fn malformed(error: ConfigError) -> Self {
        Self { rule: Err(error) }
    }

    pub(crate) fn into_rule(self) -> Result<Rule, ConfigError> {
        self.rule
    }
}

impl From<Rule> for Access {
    fn from(rule: Rule) -> Self {
        Self { rule: Ok(rule) }
    }
}

/// An [`Access`] that was checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) kind: Kind,
    pub(crate) hidden: Option<Absent>,
    /// What tokens must be bound to.
    pub(crate) bound: Bound,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Public,
    Optional,
    AnyToken,
    Token {
        requirement: Requirement,
        /// For callers without a token.
        needed: Arc<ScopeSet>,
    },
    /// A token that meets conditions, if there is one or it isn't optional.
    Conditioned {
        requirement: Requirement,
        needed: Arc<ScopeSet>,
        conditions: Conditions,
        optional: bool,
    },
    Denied,
}

impl From<Kind> for Rule {
    fn from(kind: Kind) -> Self {
        Self { kind, hidden: None, bound: Bound::Nothing }
    }
}

impl Rule {
    pub(crate) fn optional() -> Self {
        Kind::Optional.into()
    }

    pub(crate) fn token() -> Self {
        Kind::AnyToken.into()
    }

    fn requires(requirement: Requirement) -> Self {
        if requirement == Requirement::none() {
            return Self::token();
        }
        // The scopes that would suffice for a token without any: no implication changes that.
        let needed = requirement.sufficient_for(&ScopeSet::default(), &Implications::default());
        Kind::Token { requirement, needed: Arc::new(needed) }.into()
    }

    /// Returns the scopes that would suffice for a caller without any.
    pub(crate) fn needed(&self) -> Option<&Arc<ScopeSet>> {
        match &self.kind {
            Kind::Token { needed, .. } => Some(needed),
            Kind::Conditioned { needed, .. } if !needed.is_empty() => Some(needed),
            Kind::Public
            | Kind::Optional
            | Kind::AnyToken
            | Kind::Conditioned { .. }
            | Kind::Denied => None,
        }
    }

    /// Returns `true` if it accepts only tokens that are bound.
    #[cfg(feature = "test-util")]
    pub(crate) fn is_for_bound_tokens(&self) -> bool {
        self.bound != Bound::Nothing
    }

    /// Returns `true` if it accepts only tokens that are bound to a key.
    pub(crate) const fn needs_key(&self, certificates: bool) -> bool {
        self.bound.needs_key(certificates)
    }

    /// Returns `true` if callers must not learn that the route exists.
    pub(crate) const fn hides(&self) -> bool {
        self.hidden.is_some()
    }

    /// Returns a rule that accepts what both accept.
    #[cfg(feature = "mcp")]
    pub(crate) fn and(&self, other: &Self) -> Self {
        let kind = match (&self.kind, &other.kind) {
            (Kind::Denied, _) | (_, Kind::Denied) => Kind::Denied,
            (Kind::Public, kind) | (kind, Kind::Public) => kind.clone(),
            (Kind::Conditioned { .. }, _) | (_, Kind::Conditioned { .. }) => {
                self.kind.merged(&other.kind)
            }
            (Kind::Optional, kind) | (kind, Kind::Optional) => kind.clone(),
            (Kind::AnyToken, kind) | (kind, Kind::AnyToken) => kind.clone(),
            (Kind::Token { requirement: one, .. }, Kind::Token { requirement: two, .. }) => {
                Self::requires(Requirement::all([one.clone(), two.clone()])).kind
            }
        };
        Self { kind, hidden: self.hidden.or(other.hidden), bound: self.bound.max(other.bound) }
    }

    /// Returns `true` if requests without a token may be accepted.
    pub(crate) const fn needs_no_token(&self) -> bool {
        matches!(
            self.kind,
            Kind::Public | Kind::Optional | Kind::Conditioned { optional: true, .. }
        )
    }

    /// Returns what the token's scopes must meet, if it is about them.
    pub(crate) const fn requirement(&self) -> Option<&Requirement> {
        match &self.kind {
            Kind::Token { requirement, .. } | Kind::Conditioned { requirement, .. } => {
                Some(requirement)
            }
            Kind::Public | Kind::Optional | Kind::AnyToken | Kind::Denied => None,
        }
    }

    /// Returns `true` if every valid token meets it.
    #[inline]
    const fn lets_any_token_in(&self) -> bool {
        matches!(self.kind, Kind::Public | Kind::Optional | Kind::AnyToken)
            && matches!(self.bound, Bound::Nothing)
    }

    fn admit(&self, token: Option<&Claims>, terms: &Terms) -> Result<(), Rejection> {
        if token.is_some_and(|claims| !self.bound.is_met_by(claims)) {
            return Err(Rejection::new(RejectionKind::TokenNotBound));
        }
        match (&self.kind, token) {
            (Kind::Public | Kind::Optional, _) | (Kind::AnyToken, Some(_)) => Ok(()),
            (Kind::Conditioned { .. }, _) => self.admit_on_conditions(token, terms),
            (Kind::Denied | Kind::AnyToken, None) => {
                Err(Rejection::new(RejectionKind::NoCredentials))
            }
            (Kind::Denied, Some(_)) => Err(Rejection::new(RejectionKind::Denied)),
            // Naming scopes would disclose that the route exists.
            (Kind::Token { .. }, None) if self.hidden.is_some() => {
                Err(Rejection::new(RejectionKind::NoCredentials))
            }
            (Kind::Token { needed, .. }, None) => Err(no_credentials(needed)),
            (Kind::Token { requirement, .. }, Some(claims)) => {
                if requirement.is_met_by(claims.scopes(), terms) {
                    Ok(())
                } else {
                    Err(insufficient_scope(requirement, claims, terms))
                }
            }
        }
    }
}

/// The rules for one request, all of which it must meet. Nearly always there is one.
#[derive(Clone, Debug)]
pub(crate) struct Rules<'a> {
    first: &'a Rule,
    others: Vec<&'a Rule>,
}

impl<'a> Rules<'a> {
    /// Adds a rule.
    pub(crate) fn also(&mut self, rule: &'a Rule) {
        if self.iter().all(|known| known != rule) {
            self.others.push(rule);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a Rule> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }

    /// Returns `true` if the credentials needn't be checked.
    #[inline]
    pub(crate) fn are_public(&self) -> bool {
        let is_public = |rule: &Rule| matches!(rule.kind, Kind::Public);
        is_public(self.first) && self.others.iter().all(|rule| is_public(rule))
    }

    /// Decides about a caller with a valid token, or without any.
    #[inline]
    pub(crate) fn admit(&self, token: Option<&Claims>, terms: &Terms) -> Result<(), NotAdmitted> {
        // The common case: one rule, which any valid token meets.
        let is_met = token.is_some() && self.others.is_empty() && self.first.lets_any_token_in();
        if is_met { Ok(()) } else { self.admit_by_each(token, terms) }
    }

    fn admit_by_each(&self, token: Option<&Claims>, terms: &Terms) -> Result<(), NotAdmitted> {
        let admit = |at: usize, rule: &Rule| {
            rule.admit(token, terms).map_err(|rejection| NotAdmitted {
                rejection,
                hidden: rule.hidden,
                by: u8::try_from(at).unwrap_or(u8::MAX),
            })
        };
        let others = || (1..).zip(&self.others).try_for_each(|(at, rule)| admit(at, rule));
        let admitted = admit(0, self.first).and_then(|()| others());
        admitted.map_err(|mut refused| {
            // What one rule hides, another must not show.
            let mut hiding = self.others.iter().filter(|rule| rule.admit(token, terms).is_err());
            refused.hidden = refused.hidden.or_else(|| hiding.find_map(|rule| rule.hidden));
            refused
        })
    }

    /// Returns `true` if it is this very rule that allows no token.
    pub(crate) fn is_denied_by(&self, refused: &NotAdmitted, rule: &Rule) -> bool {
        let by = self.iter().nth(refused.by.into());
        refused.rejection.kind() == RejectionKind::Denied
            && by.is_some_and(|by| std::ptr::eq(by, rule))
    }
}

impl<'a> From<&'a Rule> for Rules<'a> {
    fn from(rule: &'a Rule) -> Self {
        Self { first: rule, others: Vec::new() }
    }
}

/// Why a caller isn't admitted.
#[derive(Debug)]
pub(crate) struct NotAdmitted {
    pub(crate) rejection: Rejection,
    /// The answer for a caller with a valid token, if the route is hidden.
    pub(crate) hidden: Option<Absent>,
    /// The index of the rule that refuses. A reference would make every result larger.
    by: u8,
}
