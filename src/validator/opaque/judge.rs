//! Checks an answer about a token: its claims, its token type and its binding.

use serde::Deserialize;
use serde_json::Value;

use crate::clock::UnixTime;
use crate::json;
use crate::refusal::{Detail, Excerpt, Rejection, RejectionKind};
use crate::token::{Binding, Claims, Confirmation, RawClaims};
use crate::validator::opaque::asked::AnswerRules;
use crate::validator::policy::{Policy, missing_claim};

/// What [`AnswerRules::accept_missing_aud`] is set by.
const AUD: &str =
    "aud, which answers may do without after Introspection::dangerous_accept_missing_aud";

impl AnswerRules {
    /// Checks an answer's claims against the policy, as those of a JWT are.
    pub(crate) fn check(
        &self,
        policy: &Policy,
        claims: &RawClaims<'_>,
        json: &[u8],
        now: UnixTime,
    ) -> Result<(), Rejection> {
        if claims.aud.is_none() && policy.without_audience.is_empty() && !self.accept_missing_aud {
            return Err(missing_claim(AUD));
        }
        if self.require_exp && claims.times.exp.is_none() {
            return Err(missing_claim("exp"));
        }
        let missing = self.required.iter().find(|it| !it.is_in(claims, &policy.sources));
        if let Some(missing) = missing {
            return Err(missing_claim(missing.name()));
        }
        policy.check_issuer(claims)?;
        if let Some(template) = &policy.template {
            template.check(claims.iss.as_deref().unwrap_or_default(), json)?;
        }
        policy.times.check(claims.times, now)?;
        if claims.aud.is_some() || !self.accept_missing_aud {
            policy.check_audience(claims)?;
        }
        // The issuer has called the token active: an unknown type is no reason to doubt that.
        if let Some(rejection) = claims.mark.as_ref().and_then(|mark| mark.refusal(true)) {
            return Err(rejection);
        }
        if let Some((claim, value)) = other_token_type(json) {
            let presented = Excerpt::new(&value);
            let detail = Detail::Value { claim, presented };
            return Err(Rejection::with(RejectionKind::WrongType, detail));
        }
        policy.check_confirmation(claims)
    }
}

/// Compares what an answer binds a JWT to with what the JWT itself names, which its sender must prove
/// (RFC 9449 §6.2, RFC 8705 §3.2).
pub(crate) fn same_binding(answer: &RawClaims<'_>, jwt: &Claims) -> Result<(), Rejection> {
    match &answer.confirmation {
        Confirmation::None => Ok(()),
        Confirmation::Bound(Binding { key, certificate })
            if is_same(key.as_deref(), jwt.key_thumbprint())
                && is_same(certificate.as_deref(), jwt.certificate_thumbprint()) =>
        {
            Ok(())
        }
        Confirmation::Bound(_) | Confirmation::Other => {
            let detail = Detail::Note("its issuer binds it to something else than its own cnf");
            Err(Rejection::with(RejectionKind::SenderConstrained, detail))
        }
    }
}

fn is_same(answered: Option<&str>, named: Option<&str>) -> bool {
    answered.is_none() || answered == named
}

/// The names of other tokens, in members that JWTs don't have.
const OTHER_TYPES: [&str; 6] = [
    "refresh_token",
    "refresh",
    "id_token",
    "id",
    "urn:ietf:params:oauth:token-type:refresh_token",
    "urn:ietf:params:oauth:token-type:id_token",
];

/// Returns the member that shows that the token isn't an access token: `token_type`, or `token_usage`, as
/// OpenIddict calls it.
fn other_token_type(json: &[u8]) -> Option<(&'static str, String)> {
    #[derive(Deserialize)]
    struct Members {
        token_type: Option<Value>,
        token_usage: Option<Value>,
    }
    let Members { token_type, token_usage } = json::parse(json).ok()?;
    [("token_type", token_type), ("token_usage", token_usage)].into_iter().find_map(
        |(claim, value)| {
            let Some(Value::String(value)) = value else { return None };
            let is_other = OTHER_TYPES.iter().any(|other| other.eq_ignore_ascii_case(&value));
            is_other.then_some((claim, value))
        },
    )
}
