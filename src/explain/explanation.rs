//! Runs every check of one token, and prints the outcome of each.

use std::fmt;

use http::StatusCode;
use serde::de::DeserializeOwned;

use crate::answer::{Disclosure, wire};
use crate::refusal::Refusal;
use crate::validator::{Check, Validator};

/// The explanation why a token is accepted or refused: each check, the verdict, the response to callers, and
/// a remedy.
///
/// It is created by [`Validator::explain`]. `Display` writes several lines. They hold no part of the
/// signature, and only the claims that are compared, truncated and made printable.
#[derive(Clone, Debug)]
pub struct Explanation {
    steps: Vec<Step>,
    refusal: Option<Refusal>,
}

/// One check of a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    name: &'static str,
    outcome: Outcome,
    said: String,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The token passes the check.
    Passed,
    /// The token fails the check.
    Failed,
    /// The check couldn't be made, since something that it needs is missing.
    Open,
}

impl Step {
    /// Returns the name of the check, such as `aud`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the outcome.
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns the expected and the presented value.
    pub fn said(&self) -> &str {
        &self.said
    }
}

impl From<Check> for Step {
    fn from(Check { name, passed, said }: Check) -> Self {
        let outcome = match passed {
            Some(true) => Outcome::Passed,
            Some(false) => Outcome::Failed,
            None => Outcome::Open,
        };
        Self { name, outcome, said }
    }
}

impl Explanation {
    /// Returns the checks. The validator stops at the first that fails; these continue.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns why the token is refused; `None` if it is accepted.
    pub const fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// Returns the status of the response to callers, from a layer with default settings.
    pub fn status(&self) -> StatusCode {
        self.refusal.as_ref().map_or(StatusCode::OK, |refusal| wire(refusal, PLAIN).status)
    }

    /// Returns what can be done about a refusal; `None` if the token is accepted.
    pub fn remedy(&self) -> Option<&'static str> {
        self.refusal.as_ref().map(Refusal::remedy)
    }
}

/// The response of a layer with default settings.
const PLAIN: Disclosure = Disclosure { verbose: false, hidden: None };

impl<C: DeserializeOwned + Send + Sync + 'static> Validator<C> {
    /// Explains why a token is accepted or refused, for operators.
    ///
    /// All checks are made, also those after the first that fails. The verdict is that of
    /// [`validate`](Self::validate), which may wait for a key that is still being fetched. It isn't
    /// counted in the log's summary of requests. Any text may be given.
    ///
    /// There is no request: a token that is bound to a key or a certificate is refused, and the step
    /// `binding` is open, and says with what it would be accepted.
    ///
    /// Never return it to callers: it reveals what a token lacks.
    pub async fn explain(&self, token: &str) -> Explanation {
        let (refusal, checks) = self.examine(token.as_bytes()).await;
        Explanation { steps: checks.into_iter().map(Step::from).collect(), refusal }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Open => "open",
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { name, outcome, said } in &self.steps {
            let outcome = outcome.to_string();
            writeln!(f, "{outcome:6}  {name:15}  {said}")?;
        }
        let Some(refusal) = &self.refusal else {
            return f.write_str("verdict: accepted; what a route requires comes on top");
        };
        let wire = wire(refusal, PLAIN);
        writeln!(f, "verdict: refused as {}: {refusal}", refusal.code())?;
        let status = wire.status.as_u16();
        writeln!(f, "answer:  {status} {}, gRPC status {}", wire.code, wire.grpc_code)?;
        write!(f, "remedy:  {}", refusal.remedy())
    }
}
