//! A refusal because of the request or its token: its kind, and what was compared.

use std::fmt;

use crate::refusal::detail::Detail;
use crate::refusal::kind::RejectionKind;
use crate::text::Span;

/// A refusal because of the request or its token.
///
/// `Display` is for the operator: it says what was compared, and never holds the token. The caller sees
/// only the description in the answer, one of a closed list.
#[derive(Clone, PartialEq)]
pub struct Rejection {
    kind: RejectionKind,
    detail: Detail,
}

impl Rejection {
    pub(crate) const fn new(kind: RejectionKind) -> Self {
        Self { kind, detail: Detail::None }
    }

    pub(crate) const fn with(kind: RejectionKind, detail: Detail) -> Self {
        Self { kind, detail }
    }

    /// Returns the kind of refusal.
    pub const fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// Returns the compared values.
    pub const fn detail(&self) -> &Detail {
        &self.detail
    }
}

impl From<RejectionKind> for Rejection {
    fn from(kind: RejectionKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.summary())?;
        match &self.detail {
            Detail::None => Ok(()),
            Detail::Note(note) => write!(f, ": {note}"),
            Detail::Compared { expected, presented } => {
                write!(f, ": expected {expected:?}, presented {presented}")
            }
            // Where all are tenants, none is known by name.
            Detail::Issuer { known, presented } if known.is_empty() => {
                write!(f, ": presented {presented}")
            }
            Detail::Issuer { known, presented } => {
                write!(f, ": expected {known}, presented {presented}")
            }
            Detail::Client { allowed, presented } => {
                write!(f, ": expected {allowed}, presented ")?;
                match presented {
                    Some(presented) => write!(f, "{presented}"),
                    None => f.write_str("none"),
                }
            }
            Detail::Audience { expected, presented } => {
                write!(f, ": expected ")?;
                for (at, audience) in expected.iter().enumerate() {
                    write!(f, "{}{audience:?}", if at == 0 { "" } else { " or " })?;
                }
                write!(f, ", presented {presented}")
            }
            Detail::Presented(presented) => write!(f, ": presented {presented}"),
            Detail::Value { claim, presented } => write!(f, ": {claim} is {presented}"),
            Detail::Key { kid, algorithm, known } => {
                match kid {
                    Some(kid) => write!(f, ": kid {kid}")?,
                    None => write!(f, ": no kid")?,
                }
                let known = if known.is_empty() { "none" } else { known };
                write!(f, " with alg {algorithm}, known keys: {known}")
            }
            Detail::Unreadable { reason } => {
                write!(f, ": the application's own claims can't be read: {reason}")
            }
            Detail::Claim(claim) => write!(f, ": {claim}"),
            Detail::Time { claim, value, now, leeway } => {
                write!(f, ": {claim} {value}, ")?;
                if value > now {
                    write!(f, "in {}", Span(value.saturating_since(*now)))?;
                } else {
                    write!(f, "{} ago", Span(now.saturating_since(*value)))?;
                }
                write!(f, ", leeway {} s", leeway.as_secs())
            }
            Detail::Scopes { needed, presented } => {
                write!(f, ": needs \"{needed}\"")?;
                match presented {
                    Some(presented) if presented.as_str().is_empty() => f.write_str(", has none"),
                    Some(presented) => write!(f, ", has {presented}"),
                    None => Ok(()),
                }
            }
            Detail::Refused { claim, absent: true } => write!(f, ": {claim} is absent"),
            Detail::Refused { claim, absent: false } => write!(f, ": {claim} has another value"),
            Detail::Login { acr_values, max_age, .. } => {
                if !acr_values.is_empty() {
                    let several = if acr_values.contains(' ') { "one of " } else { "" };
                    write!(f, ": acr must be {several}\"{acr_values}\"")?;
                }
                match max_age {
                    Some(age) => write!(f, ": auth_time must be at most {age:?} ago"),
                    None => Ok(()),
                }
            }
            Detail::NotListed { request } => {
                write!(f, ": the route table has no entry for {request}")
            }
        }
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Rejection {}
