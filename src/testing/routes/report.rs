//! The report of a route check, and its problems.

use std::fmt;

use http::Method;

use crate::testing::misuse::misuse;
use crate::testing::routes::expected::Expected;
use crate::testing::routes::sent::SentToken;

/// A request whose response differs from the list, or a route that isn't listed. `Display` writes a
/// sentence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteProblem {
    method: Method,
    path: String,
    what: What,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum What {
    Unlisted,
    Answer { token: SentToken, expected: Expected, answered: String },
}

impl RouteProblem {
    pub(crate) const fn unlisted(method: Method, path: String) -> Self {
        Self { method, path, what: What::Unlisted }
    }

    pub(crate) fn answered(
        method: &Method,
        path: &str,
        token: &SentToken,
        expected: Expected,
        answered: String,
    ) -> Self {
        let what = What::Answer { token: token.clone(), expected, answered };
        Self { method: method.clone(), path: path.to_owned(), what }
    }

    /// Returns the method of the request or the route.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the path of the request, or that of the unlisted route.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the kind of token that the request had; `None` if no request was made.
    pub const fn token(&self) -> Option<&SentToken> {
        match &self.what {
            What::Unlisted => None,
            What::Answer { token, .. } => Some(token),
        }
    }
}

impl fmt::Display for RouteProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, path, what } = self;
        match what {
            What::Unlisted => write!(f, "{method} {path} is served, but no entry is for it"),
            What::Answer { token, expected, answered } => {
                let expected = expected.text();
                write!(f, "{method} {path} {token}: should be {expected}, was {answered}")
            }
        }
    }
}

/// The result of a [`RouteCheck`](crate::testing::RouteCheck). `Display` writes several lines.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[must_use = "it has the problems that were found"]
pub struct RouteReport {
    pub(crate) sent: usize,
    pub(crate) problems: Vec<RouteProblem>,
    pub(crate) unreached: Vec<String>,
}

impl RouteReport {
    /// Returns `true` if all responses are as listed.
    pub fn holds(&self) -> bool {
        self.problems.is_empty()
    }

    /// Returns the problems.
    pub fn problems(&self) -> &[RouteProblem] {
        &self.problems
    }

    /// Returns the listed routes that answered 404 or 405 to every caller who should be admitted, such as
    /// `GET /orders/1`. The application may not have them, or may have no object for the parameter, which
    /// [`RouteCheck::parameter`](crate::testing::RouteCheck::parameter) sets.
    pub fn unreached(&self) -> &[String] {
        &self.unreached
    }

    /// Returns how many requests were sent.
    pub const fn sent(&self) -> usize {
        self.sent
    }

    /// Asserts that all responses are as listed.
    ///
    /// # Panics
    ///
    /// If there are problems, with all of them.
    #[track_caller]
    pub fn assert_holds(&self) {
        if !self.holds() {
            misuse(&self.to_string());
        }
    }
}

impl fmt::Display for RouteReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            0 => write!(f, "{} requests were answered as listed", self.sent)?,
            problems => write!(f, "{problems} problems in {} requests:", self.sent)?,
        }
        for problem in &self.problems {
            write!(f, "\n* {problem}")?;
        }
        if !self.unreached.is_empty() {
            write!(f, "\nnot there even for a good token: {}", self.unreached.join(", "))?;
        }
        Ok(())
    }
}
