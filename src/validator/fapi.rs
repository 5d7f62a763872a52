//! The restrictions of the FAPI 2.0 Security Profile on the settings of an issuer.

use std::time::Duration;

use crate::error::ConfigError;
use crate::jose::Algorithm;
use crate::validator::key_source::{KeySource, Source};
use crate::validator::settings::{Kind, Settings};

/// FAPI 2.0 Security Profile §5.4.1.
pub(crate) const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

/// §5.3.2.1: times up to 10 seconds ahead are accepted, those more than 60 seconds ahead aren't.
const LEEWAY: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(60);

/// Checks settings against the profile, and sets what wasn't set.
///
/// # Errors
///
/// If one can't conform.
pub(crate) fn hold(settings: Settings) -> Result<Settings, ConfigError> {
    if settings.kind == Kind::JwtSvid {
        return Err(ConfigError::new("JWT-SVIDs are never bound: leave .fapi2() out"));
    }
    if matches!(settings.keys, Some(KeySource(Source::SharedSecret(..)))) {
        return Err(ConfigError::new(
            "FAPI 2.0 has no tokens that are signed with a shared secret: give the issuer's public \
             keys, or leave .fapi2() out",
        ));
    }
    if settings.without_audience.is_some() {
        return Err(ConfigError::new(
            "by FAPI 2.0, tokens have an audience: leave \
             .dangerous_clients_without_audience(…) or .fapi2() out",
        ));
    }
    #[cfg(feature = "introspection")]
    if settings.accepts_answers_without_audience() {
        return Err(ConfigError::new(
            "by FAPI 2.0, tokens have an audience: leave \
             Introspection::dangerous_accept_missing_aud or .fapi2() out",
        ));
    }
    if !LEEWAY.contains(&settings.leeway) {
        return Err(ConfigError::new(format!(
            "a leeway of {:?} doesn't conform to FAPI 2.0: use 10 to 60 seconds",
            settings.leeway
        )));
    }
    let algorithms = choose(settings.algorithms.as_deref(), "tokens")?;
    Ok(Settings { algorithms: Some(algorithms), ..settings })
}

/// Returns the chosen algorithms, which must be of the profile, or else all of the profile.
pub(crate) fn choose(
    chosen: Option<&[Algorithm]>,
    of: &str,
) -> Result<Vec<Algorithm>, ConfigError> {
    let Some(chosen) = chosen else { return Ok(ALGORITHMS.into()) };
    match chosen.iter().find(|it| !ALGORITHMS.contains(it)) {
        None => Ok(chosen.into()),
        Some(other) => Err(ConfigError::new(format!(
            "FAPI 2.0 has no {of} that are signed with {other}: use PS256, ES256 or EdDSA"
        ))),
    }
}
