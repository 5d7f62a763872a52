//! The claims whose meaning is fixed, so that no setting can give them another.

const TAKEN: [&str; 13] = [
    "iss",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "cnf",
    "at_hash",
    "c_hash",
    "s_hash",
    "events",
    "typ",
    "token_use",
];

/// Returns `true` if the meaning of a claim is fixed, or it is one of `besides`.
pub(crate) fn is_taken(claim: &str, besides: &[&str]) -> bool {
    TAKEN.contains(&claim) || besides.contains(&claim)
}
