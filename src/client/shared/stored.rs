//! A token as it is put into the shared store, and the names of its keys there.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::UnixTime;

/// A token as the store has it. It has no `Debug`, which would print the token.
pub(crate) struct Stored {
    pub(crate) access_token: Zeroizing<String>,
    pub(crate) scopes: Option<String>,
    pub(crate) obtained: UnixTime,
    pub(crate) lifetime: Duration,
    /// Whether it is bound to the DPoP key that its name was derived from.
    pub(crate) is_bound: bool,
}

/// The two keys of one grant in the store.
pub(crate) struct Names {
    pub(crate) value: String,
    pub(crate) lock: String,
}
