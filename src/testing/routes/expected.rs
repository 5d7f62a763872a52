//! The expected response of a request by its rules, and the comparison with the actual one.

use http::{Method, StatusCode};

use crate::middleware::routes::access::{Kind, Rules};
use crate::scope::{Implications, Requirement, ScopeSet};
use crate::testing::routes::sent::SentToken;

/// The expected response of a request, by the listed rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expected {
    LetIn,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// The response of a path that doesn't exist.
    Hidden,
    /// Refused, with any status.
    Refused,
    /// Depends on conditions that the list doesn't have.
    Unknown,
}

impl Expected {
    /// Returns the expected response of a request with this token.
    pub(crate) fn of(rules: &Rules<'_>, token: &SentToken, implications: &Implications) -> Self {
        if rules.are_public() {
            return Self::LetIn;
        }
        match token {
            SentToken::None if rules.iter().all(|rule| rule.needs_no_token()) => Self::LetIn,
            SentToken::Scopes(scopes) => Self::of_valid(rules, scopes, implications),
            _ => Self::Unauthorized,
        }
    }

    fn of_valid(rules: &Rules<'_>, scopes: &str, implications: &Implications) -> Self {
        if rules.iter().any(|rule| rule.is_for_bound_tokens()) {
            return Self::Refused;
        }
        let scopes = ScopeSet::parse(scopes);
        let mut refusing = rules.iter().filter(|rule| {
            let is_met = |it: &Requirement| it.is_met_by(&scopes, implications);
            matches!(rule.kind, Kind::Denied) || !rule.requirement().is_none_or(is_met)
        });
        let conditioned = |kind: &Kind| matches!(kind, Kind::Conditioned { .. });
        match refusing.next() {
            None if rules.iter().any(|rule| conditioned(&rule.kind)) => Self::Unknown,
            None => Self::LetIn,
            // Conditions are checked first, and may require another login.
            Some(rule) if conditioned(&rule.kind) => Self::Refused,
            Some(rule) if rule.hides() || refusing.any(|rule| rule.hides()) => Self::Hidden,
            Some(_) => Self::Forbidden,
        }
    }

    /// Returns `true` if an answer is as expected of a listed route.
    pub(crate) fn is(self, answer: &Answer) -> bool {
        match self {
            Self::LetIn => !answer.refuses(),
            Self::Unauthorized => answer.status == StatusCode::UNAUTHORIZED,
            Self::Forbidden => answer.status == StatusCode::FORBIDDEN,
            // A 404 of a handler doesn't count.
            Self::Hidden => answer.by_layer && answer.refuses(),
            Self::Refused => answer.refuses(),
            Self::Unknown => true,
        }
    }

    /// Returns `true` if an answer admits no caller who must be refused. The request doesn't have the listed
    /// form, so that a redirect and a missing route are allowed as well.
    pub(crate) fn keeps_out(self, method: &Method, answer: &Answer) -> bool {
        let redirected = answer.status.is_redirection();
        let absent =
            matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
        // A CORS layer and a router answer these methods themselves.
        let options = *method == Method::OPTIONS && answer.empty && answer.status.is_success();
        matches!(self, Self::LetIn | Self::Unknown)
            || answer.refuses()
            || redirected
            || absent
            || options
    }

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::LetIn => "let in",
            Self::Unauthorized => "refused with 401",
            Self::Forbidden => "refused with 403",
            Self::Hidden => "refused as if nothing were there",
            Self::Refused => "refused",
            Self::Unknown => "let in or refused",
        }
    }
}

/// The response of a request, as far as it matters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    /// The status: that of the refusal if the layer refused it, even if a renderer changed it.
    pub(crate) status: StatusCode,
    /// Whether a layer, a guard or an extractor refused it.
    pub(crate) by_layer: bool,
    /// Whether the body is empty.
    pub(crate) empty: bool,
}

impl Answer {
    fn refuses(&self) -> bool {
        self.by_layer || matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }
}
