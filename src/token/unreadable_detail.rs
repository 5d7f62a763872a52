//! Why an authorization detail can't be read.

use std::fmt;

/// An authorization detail that can't be read as the application's type, or isn't known since the validator
/// doesn't keep the claim.
#[derive(Clone, Copy, Eq, PartialEq, thiserror::Error)]
#[error(transparent)]
pub struct UnreadableDetail(pub(crate) Unreadable);

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("an authorization detail of the token can't be read as the application's type")]
    Type,
    #[error(
        "the validator doesn't keep the claim \"authorization_details\", so that it isn't known whether the \
         token has some: name it in keep_claims"
    )]
    NotKept,
}

/// `main` prints the `Debug` of the error that it returns.
impl fmt::Debug for UnreadableDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
