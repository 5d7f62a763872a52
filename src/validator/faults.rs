//! Which refusal follows from an error of the room `jose`.

use crate::jose::JoseError;
use crate::refusal::{Detail, Refusal, Rejection, RejectionKind};

impl From<JoseError> for Rejection {
    fn from(error: JoseError) -> Self {
        match error {
            JoseError::Malformed => RejectionKind::MalformedToken.into(),
            JoseError::MalformedHeader(note) => {
                Self::with(RejectionKind::MalformedToken, Detail::Note(note))
            }
            JoseError::Encrypted => RejectionKind::EncryptedToken.into(),
            JoseError::Nested => Self::with(RejectionKind::EncryptedToken, Detail::Claim("cty")),
            JoseError::Critical(parameter) => {
                Self::with(RejectionKind::UnsupportedCritical, Detail::Claim(parameter))
            }
        }
    }
}

impl From<JoseError> for Refusal {
    fn from(error: JoseError) -> Self {
        Self::Rejection(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jose_finds_is_told_as_a_kind_and_a_detail() {
        for (error, printed) in [
            (JoseError::Malformed, "the token isn't a well-formed JWT"),
            (
                JoseError::MalformedHeader("kid isn't a string"),
                "the token isn't a well-formed JWT: kid isn't a string",
            ),
            (JoseError::Encrypted, "the token is encrypted or nested"),
            (JoseError::Nested, "the token is encrypted or nested: cty"),
            (JoseError::Critical("b64"), "the token's header has a critical extension: b64"),
        ] {
            assert_eq!(Rejection::from(error).to_string(), printed);
            assert_eq!(Refusal::from(error), Refusal::Rejection(error.into()));
        }
    }
}
