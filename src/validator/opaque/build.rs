//! Builds the part of an issuer that asks about tokens, and refuses settings that contradict each other.

use std::sync::Arc;

use crate::clock::Clock;
use crate::error::ConfigError;
use crate::introspection::{Introspection, Owner};
use crate::validator::key_source::KeySource;
use crate::validator::opaque::asked::Asked;
use crate::validator::policy::{Policy, RequiredClaim};
use crate::validator::realm::Realm;
use crate::validator::settings::{Kind, Settings};
use crate::validator::trust::Trust;

/// Returns how the issuer is asked, beside its keys or instead of them.
pub(crate) fn introspection(settings: &Settings) -> Result<Option<Introspection>, ConfigError> {
    let in_place_of_keys = settings.keys.as_ref().and_then(KeySource::introspection);
    if in_place_of_keys.is_some_and(|it| it.jwts) {
        return Err(ConfigError::new(
            "the issuer is asked about every token: leave .introspect_jwts() out",
        ));
    }
    match (in_place_of_keys, &settings.introspection) {
        (Some(_), Some(_)) => Err(ConfigError::new(
            "the introspection is given twice: with .keys(…) the issuer is asked about every token, \
             with .introspection(…) about those that aren't JWTs; leave one out",
        )),
        (None, None) => Ok(None),
        _ if settings.kind == Kind::JwtSvid => Err(ConfigError::new(
            "no issuer can be asked about JWT-SVIDs: leave the introspection out",
        )),
        (one, other) => Ok(one.or(other.as_ref()).cloned()),
    }
}

/// Builds the part that asks the issuer, with this policy and these keys.
pub(crate) fn asked(
    introspection: Option<&Introspection>,
    policy: &Policy,
    trust: &Trust,
    required: Vec<RequiredClaim>,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Asked>, ConfigError> {
    let Some(introspection) = introspection else { return Ok(None) };
    let jwks = match trust {
        Trust::Jwks { keys, .. } => Some(keys),
        Trust::SharedSecret(_) | Trust::Introspection => None,
    };
    let introspector = introspection.build(&Owner {
        issuer: &policy.name(),
        jwks,
        algorithms: &policy.algorithms,
        leeway: policy.times.leeway,
        clock,
    })?;
    Ok(Some(Asked::new(introspector, introspection, required.into())))
}

/// Returns `true` if the issuer was asked in the same way before.
pub(crate) fn is_as_before(
    before: Option<&Realm>,
    introspection: Option<&Introspection>,
    required: &[RequiredClaim],
) -> bool {
    match (before.and_then(|before| before.asked.as_ref()), introspection) {
        (Some(asked), Some(introspection)) => {
            asked.is_set_to(introspection) && *asked.rules.required == *required
        }
        (asked, introspection) => asked.is_none() && introspection.is_none(),
    }
}
