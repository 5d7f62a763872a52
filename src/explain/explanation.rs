use std::fmt;

use http::StatusCode;
use serde::de::DeserializeOwned;

use crate::answer::{Disclosure, wire};
use crate::refusal::Refusal;
use crate::validator::{Check, Validator};

/// Why a token is accepted or refused: each check, the verdict, the answer to callers, and what can be
/// done about it.
///
/// Made by [`Validator::explain`]. `Display` is a text of several lines. It holds no part of the signature
/// and no claim but those that are compared, each cut and made printable.
#[derive(Clone, Debug)]
pub struct Explanation {
    steps: Vec<Step>,
    refusal: Option<Refusal>,
}

/// One check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    name: &'static str,
    outcome: Outcome,
    said: String,
}

/// What a check came to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The token passes it.
    Passed,
    /// The token doesn't pass it.
    Failed,
    /// It couldn't be made: something that it needs is missing.
    Open,
}

impl Step {
    /// Returns what is checked, such as `aud`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns what it came to.
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns what is expected and what is presented.
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
    /// Returns the checks. Where the validator ends at the first that fails, these go on.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns why the token is refused; `None` if it is accepted.
    pub const fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// Returns the status that callers get for such a token, from a layer without other settings.
    pub fn status(&self) -> StatusCode {
        self.refusal.as_ref().map_or(StatusCode::OK, |refusal| wire(refusal, PLAIN).status)
    }

    /// Returns what can be done about it; `None` if the token is accepted.
    pub fn remedy(&self) -> Option<&'static str> {
        self.refusal.as_ref().map(Refusal::remedy)
    }
}

/// What a layer tells callers by default.
const PLAIN: Disclosure = Disclosure { verbose: false, hidden: None };

impl<C: DeserializeOwned + Send + Sync + 'static> Validator<C> {
    /// Explains why a token is accepted or refused, for operators.
    ///
    /// It goes through every check, also those after the first that fails. The verdict is that of
    /// [`validate`](Self::validate), and like that it waits for a key that may still come. It isn't
    /// counted among the requests of the log's summary. Any text may be given.
    ///
    /// Callers must never see it: it tells them what a token lacks.
    pub async fn explain(&self, token: &str) -> Explanation {
        let refusal = self.decide(token).await.err();
        let steps =
            self.checks(token.as_bytes(), refusal.as_ref()).into_iter().map(Step::from).collect();
        Explanation { steps, refusal }
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
