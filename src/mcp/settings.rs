//! The settings of a guard, and its decision about a request.

use std::time::Duration;

use http::Method;
use http::request::Parts;
use smallvec::smallvec;

use crate::mcp::body::{NotRead, ReadBody};
use crate::mcp::call::{self, Call};
use crate::mcp::head;
use crate::mcp::operation::Operation;
use crate::mcp::session::Sessions;
use crate::mcp::table::{OperationTable, UNCLEAR};
use crate::middleware::Context;
use crate::refusal::{Detail, Refusal, Rejection, RejectionKind};

/// The settings of a guard.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) operations: OperationTable,
    pub(crate) max_bytes: usize,
    pub(crate) timeout: Duration,
    pub(crate) trusts_headers: bool,
    /// `None`: sessions aren't bound.
    pub(crate) sessions: Option<Sessions>,
    pub(crate) names_granted: bool,
}

/// The decision from a request's head.
pub(crate) enum Head {
    Admitted(Operation),
    /// The body decides.
    Undecided,
}

impl Settings {
    /// Decides about a request without its body, if that is possible.
    pub(crate) fn judge(&self, parts: &mut Parts) -> Result<Head, Refusal> {
        let context = Context::find(&parts.extensions)?;
        let base = || self.operation(smallvec![self.operations.base().clone()]);
        if context.claims().is_none() && !self.operations.lets_strangers_in() {
            base().admit(&context)?;
        }
        if let Some(sessions) = &self.sessions {
            let theirs = sessions.open(&mut parts.headers, context.claims());
            theirs.map_err(|_| Rejection::new(RejectionKind::UnknownSession))?;
        }
        if parts.method != Method::POST {
            let operation = base();
            operation.admit(&context)?;
            return Ok(Head::Admitted(operation));
        }
        if self.trusts_headers
            && let Some(call) = head::read(&parts.headers).map_err(malformed)?
        {
            return self.admit(&call, &context).map(Head::Admitted);
        }
        head::check_content(&parts.headers).map_err(malformed)?;
        match head::content_length(&parts.headers) {
            Some(length) if length > self.max_bytes as u64 => Err(too_large()),
            _ => Ok(Head::Undecided),
        }
    }

    /// Decides about a request whose body had to be read.
    pub(crate) fn judge_body(
        &self,
        parts: &Parts,
        body: &Result<ReadBody, NotRead>,
    ) -> Result<Operation, Refusal> {
        let body = body.as_ref().map_err(|not_read| match not_read {
            NotRead::TooLarge => too_large(),
            NotRead::Broken => malformed("the body ended early"),
        })?;
        let call = call::read(&body.bytes).map_err(malformed)?;
        self.admit(&call, &Context::find(&parts.extensions)?)
    }

    fn admit(&self, call: &Call<'_>, context: &Context<'_>) -> Result<Operation, Refusal> {
        let needed = self.operations.needed(call).map_err(|_| malformed(UNCLEAR))?;
        let operation = self.operation(needed);
        operation.admit(context).map(|()| operation)
    }

    fn operation(&self, needed: crate::mcp::table::Needed) -> Operation {
        Operation::new(needed, self.names_granted)
    }
}

fn malformed(note: &'static str) -> Refusal {
    Rejection::with(RejectionKind::MalformedMessage, Detail::Note(note)).into()
}

fn too_large() -> Refusal {
    RejectionKind::MessageTooLarge.into()
}
