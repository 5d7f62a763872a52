//! The text of a summary: the counts, the commonest reasons, and what would help.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::cause::Report;
use crate::jwks::Jwks;
use crate::refusal::{Refusal, RejectionKind, Unavailable, UnavailableReason};
use crate::text::{Span, listed, one_line};
use crate::transport::printable;
use crate::validator::summary::counts::Tally;

/// How many reasons are listed with their remedies.
const TOLD: usize = 3;

/// How many key sources without keys are listed.
const SOURCES: usize = 3;

/// The most characters of an error and its causes.
const MAX_ERROR: usize = 500;

/// A smaller difference may come from the network.
const NOTABLE_OFFSET: u64 = 5;

/// The counts of a period.
#[derive(Debug)]
pub(crate) struct Period {
    /// By reason, the commonest first.
    pub(crate) refused: Vec<Tally>,
    pub(crate) accepted: u64,
    pub(crate) lasted: Duration,
    /// No request was ever accepted.
    pub(crate) never_accepted: bool,
    /// The log was told that nothing was accepted, and not yet that something is.
    pub(crate) alarmed: bool,
}

impl Period {
    pub(crate) fn refused(&self) -> u64 {
        self.refused.iter().fold(0, |sum, tally| sum.saturating_add(tally.count))
    }

    /// Returns `true` if nothing was accepted of requests with tokens.
    pub(crate) fn is_alarming(&self) -> bool {
        let bare = |tally: &Tally| tally.example.code() == RejectionKind::NoCredentials.code();
        self.accepted == 0 && !self.refused.iter().all(bare)
    }

    /// Returns the line, without a line end or anything with which a caller could forge one.
    pub(crate) fn line(&self, sources: &[&Jwks]) -> String {
        let refused = self.refused();
        let all = refused.saturating_add(self.accepted);
        let lasted = Span(self.lasted);
        let mut line = format!("{refused} of {all} requests in the last {lasted} were refused");
        match (self.accepted, self.never_accepted) {
            (0, true) => line.push_str(", and none was accepted so far"),
            (0, false) => line.push_str(", and none was accepted"),
            _ if self.alarmed => line.push_str(", and requests are accepted now"),
            _ => {}
        }
        for Tally { example, count } in self.refused.iter().take(TOLD) {
            let _ = write!(line, "; {count} × {} ({example}", example.code());
            let _ = write!(line, "{}): {}", Context { example, sources }, example.remedy());
        }
        let others = self
            .refused
            .iter()
            .skip(TOLD)
            .map(|it| format!("{} × {}", it.count, it.example.code()));
        let others = listed(others, usize::MAX);
        if !others.is_empty() {
            let _ = write!(line, "; {others}");
        }
        line
    }
}

/// What the key sources contribute to a refusal.
struct Context<'a> {
    example: &'a Refusal,
    sources: &'a [&'a Jwks],
}

impl fmt::Display for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.example {
            Refusal::Unavailable(unavailable) => {
                if let Some(cause) = asking(unavailable) {
                    return write!(f, "; {}", one_line(&Report(cause).to_string(), MAX_ERROR));
                }
                let said = Some(unavailable.reason());
                let missing = self.sources.iter().filter_map(|source| source.trouble(said));
                missing
                    .take(SOURCES)
                    .try_for_each(|missing| write!(f, "; {}", one_line(&missing, MAX_ERROR)))
            }
            Refusal::Rejection(rejection)
                if matches!(
                    rejection.kind(),
                    RejectionKind::Expired | RejectionKind::NotYetValid | RejectionKind::TooOld
                ) =>
            {
                self.sources.iter().take(SOURCES).try_for_each(|source| clock(source, f))
            }
            Refusal::Rejection(_) | Refusal::Misconfigured(_) => Ok(()),
        }
    }
}

/// Returns why an issuer couldn't be asked about a token, if that is the reason.
fn asking(unavailable: &Unavailable) -> Option<&(dyn Error + 'static)> {
    match unavailable.reason() {
        UnavailableReason::IntrospectionFailed
        | UnavailableReason::IntrospectionDenied
        | UnavailableReason::IntrospectionOverloaded => unavailable.source(),
        _ => None,
    }
}

fn clock(source: &Jwks, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let issuer = printable(source.issuer());
    let Some(offset) = source.clock_offset() else {
        if !source.is_fetched() {
            return Ok(());
        }
        return write!(f, "; what the clock of {issuer:?} shows isn't known yet");
    };
    let by = offset.unsigned_abs();
    if by <= NOTABLE_OFFSET {
        return write!(f, "; the clock of {issuer:?} agrees with this one");
    }
    let direction = if offset > 0 { "ahead of" } else { "behind" };
    let by = Span(Duration::from_secs(by));
    write!(f, "; the clock of {issuer:?} is {by} {direction} this one")
}
