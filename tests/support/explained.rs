//! Holds what `Validator::explain` says against what `Validator::validate` decides.

use tower_bearer::Refusal;
use tower_bearer::explain::{Explanation, Outcome, Step};

/// The steps of which one fails when a token is refused with this code.
fn steps_of(code: &str) -> &'static [&'static str] {
    match code {
        "token_too_long" => &["length", "issuer known"],
        "malformed_token" => &["form", "header", "claims", "signature", "issuer known"],
        "encrypted_token" => &["form", "header", "issuer known"],
        "unsupported_algorithm" => &["alg"],
        "unsupported_critical" => &["header"],
        "wrong_type" => &["typ", "kind"],
        "id_token" => &["kind"],
        "sender_constrained" => &["cnf", "binding"],
        "token_not_bound" | "certificate_missing" => &["binding"],
        "unknown_key" | "ambiguous_key" => &["key"],
        "bad_signature" => &["signature", "key's issuer"],
        "wrong_issuer" => &["iss", "sub", "tid", "issuer known"],
        "wrong_audience" => &["aud"],
        "expired" | "not_yet_valid" | "too_old" => &["exp, nbf, iat"],
        "missing_claim" => &["required claims", "aud", "tid", "issuer known"],
        "malformed_claim" => &["claims", "sub", "own claims", "scopes", "tid", "issuer known"],
        "inactive" => &[],
        other => panic!("a token alone is never refused as {other}"),
    }
}

/// Says what they disagree about, if they do.
pub(crate) fn disagreement<T>(
    explanation: &Explanation,
    decided: &Result<T, Refusal>,
) -> Option<String> {
    let decided = decided.as_ref().err();
    if explanation.refusal() != decided {
        return Some(format!("decided {decided:?}, but explained: {explanation}"));
    }
    let is = |step: &&Step, outcome| step.outcome() == outcome;
    let steps = || explanation.steps().iter();
    let shown = match decided {
        // The clock is none of the token's.
        None => steps().all(|step| step.outcome() == Outcome::Passed || step.name() == "clock"),
        Some(Refusal::Rejection(rejection)) => {
            let names = steps_of(rejection.kind().code());
            let failed = |step: &Step| match step.name() {
                "introspection" => step.outcome() == Outcome::Failed,
                "binding" => names.contains(&"binding") && step.outcome() != Outcome::Passed,
                name => names.contains(&name) && step.outcome() == Outcome::Failed,
            };
            steps().any(failed)
        }
        Some(_) => steps().any(|step| is(&step, Outcome::Open)),
    };
    (!shown).then(|| format!("no step shows why: {explanation}"))
}
