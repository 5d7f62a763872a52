//! Checks the settings of an issuer, and turns them into its realm.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::error::ConfigError;
use crate::issuer::check_issuer_text;
use crate::jose::{Algorithm, Backend, HmacKey};
use crate::jwks::Jwks;
use crate::token::{Sources, TimeRules, TrustDomain};
use crate::validator::fapi;
use crate::validator::key_source::{KeySource, Source};
#[cfg(feature = "introspection")]
use crate::validator::opaque::{Asked, asked, introspection, is_as_before};
use crate::validator::policy::{Policy, Profile, RequiredClaim};
use crate::validator::realm::Realm;
use crate::validator::settings::{Kind, Settings};
use crate::validator::template::Template;
use crate::validator::trust::Trust;

const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// The claims that RFC 9068 §2.2 requires beside `iss`, `aud` and `exp`. By name: another claim that could
/// be required isn't one of the RFC's.
const RFC_9068: [RequiredClaim; 4] = [
    RequiredClaim::Subject,
    RequiredClaim::ClientId,
    RequiredClaim::IssuedAt,
    RequiredClaim::JwtId,
];

/// One issuer's settings, checked.
struct Plan {
    policy: Policy,
    trust: Trust,
    /// Whether the keys are those of the issuer's previous entry.
    same_keys: bool,
    #[cfg(feature = "introspection")]
    asked: Option<Asked>,
}

/// Builds the only issuer of a validator.
pub(crate) fn only_realm(
    settings: Settings,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Realm>, ConfigError> {
    let plan = plan(settings, clock, None)?;
    let realm = Realm::only(plan.policy, plan.trust);
    #[cfg(feature = "introspection")]
    let realm = realm.asking(plan.asked);
    Ok(Arc::new(realm))
}

/// Builds one of several issuers. `before` is its entry in the list that is replaced, which is kept if
/// nothing about it changes; its keys are kept if the new settings name the same ones.
pub(crate) fn realm(
    settings: Settings,
    clock: &Arc<dyn Clock>,
    before: Option<&Arc<Realm>>,
) -> Result<Arc<Realm>, ConfigError> {
    let plan = plan(settings, clock, before.map(AsRef::as_ref))?;
    if let Some(before) = before
        && plan.same_keys
        && before.policy == plan.policy
    {
        return Ok(Arc::clone(before));
    }
    let realm = Realm::among_others(plan.policy, plan.trust);
    #[cfg(feature = "introspection")]
    let realm = realm.asking(plan.asked);
    Ok(Arc::new(realm))
}

fn plan(
    settings: Settings,
    clock: &Arc<dyn Clock>,
    before: Option<&Realm>,
) -> Result<Plan, ConfigError> {
    let profile = profile(&settings)?;
    if settings.no_template {
        return Err(ConfigError::new(format!(
            "the issuer {:?} has no tenants: allow_tenants and similar settings are for \
             Issuer::entra_v2, entra_v1 and template",
            settings.issuer
        )));
    }
    check_names(&settings)?;
    check_bounds(&settings)?;
    let settings = if settings.common.fapi2 { fapi::hold(settings)? } else { settings };
    if settings.keys_and_secret {
        return Err(ConfigError::new(format!(
            "the issuer {:?} has both keys and a shared secret: leave .keys(…) or \
             .dangerous_shared_secret(…) out",
            settings.issuer
        )));
    }
    check_sources(&settings.sources)?;
    #[cfg(feature = "introspection")]
    let (introspection, of_answers) = (introspection(&settings)?, settings.required.clone());
    let template = settings.template.map(|it| (it.document_url, it.allowed, it.key_issuers));
    let document = template.as_ref().map(|(document, ..)| document.clone());
    let issuer = match &profile {
        Profile::JwtSvid(domain) => domain.id().to_string(),
        Profile::Interoperable | Profile::Rfc9068 => settings.issuer,
    };
    let (trust, backend) =
        trust(settings.keys, &issuer, document, &profile, &settings.algorithms, clock, before)?;
    let template = match template {
        None => None,
        Some((_, allowed, key_issuers)) => Some(Template::new(&issuer, allowed, key_issuers)?),
    };
    let mut required = settings.required;
    if settings.rfc9068 {
        required.extend(RFC_9068);
    }
    let issuers = std::iter::once(issuer).chain(settings.more_issuers);
    let without_audience = settings.without_audience.unwrap_or_default();
    let policy = Policy {
        issuers: issuers.map(Into::into).collect(),
        audiences: settings.audiences.into_iter().map(Into::into).collect(),
        are_resources: settings.are_resources,
        without_audience: without_audience.into_iter().map(Into::into).collect(),
        algorithms: choose_algorithms(settings.algorithms, &profile, backend)?,
        profile,
        required: required.into(),
        times: TimeRules {
            leeway: settings.leeway,
            max_age: settings.max_age,
            past_iat: settings.common.fapi2,
        },
        sources: settings.sources,
        max_token_bytes: settings.max_token_bytes,
        template,
        provable: settings.common.provable,
    };
    let same_keys = before.is_some_and(|before| trust.is_of_the_same_keys(&before.trust));
    #[cfg(feature = "introspection")]
    let same_keys = same_keys && is_as_before(before, introspection.as_ref(), &of_answers);
    Ok(Plan {
        same_keys,
        #[cfg(feature = "introspection")]
        asked: asked(introspection.as_ref(), &policy, &trust, of_answers, clock)?,
        policy,
        trust,
    })
}

fn profile(settings: &Settings) -> Result<Profile, ConfigError> {
    let domain = match (settings.kind, settings.rfc9068) {
        (Kind::AccessToken, false) if !settings.typed => return Ok(Profile::Interoperable),
        (Kind::AccessToken, _) => return Ok(Profile::Rfc9068),
        (Kind::JwtSvid, false) if settings.typed => {
            return Err(ConfigError::new(
                "JWT-SVIDs have no typ of their own: leave .require_typ() out",
            ));
        }
        (Kind::JwtSvid, false) => TrustDomain::parse(&settings.issuer)?,
        (Kind::JwtSvid, true) => {
            return Err(ConfigError::new(
                "JWT-SVIDs aren't access tokens by RFC 9068: leave .rfc9068() out",
            ));
        }
    };
    if !settings.more_issuers.is_empty() {
        return Err(ConfigError::new(
            "JWT-SVIDs have no issuer beside the trust domain: leave .also_issuer(…) out",
        ));
    }
    if settings.without_audience.is_some() {
        return Err(ConfigError::new(
            "JWT-SVIDs always have an audience: leave .dangerous_clients_without_audience(…) out",
        ));
    }
    Ok(Profile::JwtSvid(domain))
}

fn check_names(settings: &Settings) -> Result<(), ConfigError> {
    if settings.kind != Kind::JwtSvid && settings.template.is_none() {
        check_issuer_text(&settings.issuer)?;
    }
    settings.more_issuers.iter().try_for_each(|issuer| check_issuer_text(issuer))?;
    if settings.audiences.iter().any(String::is_empty) {
        return Err(ConfigError::new(
            "an audience is empty: give the authorization server's name for this service",
        ));
    }
    if let Some(audience) = settings.audiences.iter().find(|it| it.trim() != **it) {
        return Err(ConfigError::new(format!(
            "the audience {audience:?} begins or ends with a space: remove it"
        )));
    }
    let Some(clients) = &settings.without_audience else { return Ok(()) };
    if clients.is_empty()
        || clients.iter().any(|client| client.is_empty() || client.trim() != client)
    {
        return Err(ConfigError::new(
            "dangerous_clients_without_audience names no client, or one with an empty name or spaces \
             around it: give the ids of the clients whose tokens have no \"aud\"",
        ));
    }
    Ok(())
}

fn check_bounds(settings: &Settings) -> Result<(), ConfigError> {
    if settings.leeway > MAX_LEEWAY {
        return Err(ConfigError::new(format!(
            "a leeway of {:?} is too long: use at most {MAX_LEEWAY:?}; fix the clock skew instead",
            settings.leeway
        )));
    }
    if !(256..=1_024 * 1_024).contains(&settings.max_token_bytes) {
        return Err(ConfigError::new("max_token_bytes must be between 256 bytes and 1 MiB"));
    }
    Ok(())
}

fn check_sources(sources: &Sources) -> Result<(), ConfigError> {
    sources.kept.check()?;
    let is_read = |name: &&str| {
        sources.scope.has_always(name) || sources.client_id.names().any(|other| other == *name)
    };
    if let Some(name) = sources.kept.iter().find(is_read) {
        return Err(ConfigError::new(format!(
            "the claim {name:?} can't be kept, it holds the scopes or the client's id: read these instead"
        )));
    }
    match sources.client_id.names().find(|name| sources.scope.has_claim(name)) {
        None => Ok(()),
        Some(name) => Err(ConfigError::new(format!(
            "the claim {name:?} can't hold both the scopes and the client's id: change one source"
        ))),
    }
}

/// Returns how signatures are checked, for this issuer alone.
fn trust(
    keys: Option<KeySource>,
    issuer: &str,
    document: Option<String>,
    profile: &Profile,
    algorithms: &Option<Vec<Algorithm>>,
    clock: &Arc<dyn Clock>,
    before: Option<&Realm>,
) -> Result<(Trust, Backend), ConfigError> {
    let svids = matches!(profile, Profile::JwtSvid(_));
    let by_default = keys.is_none();
    let jwks = match keys {
        Some(KeySource(Source::SharedSecret(..))) if svids => {
            return Err(ConfigError::new("JWT-SVIDs are never signed with a shared secret"));
        }
        Some(KeySource(Source::SharedSecret(algorithm, secret))) => {
            if algorithms.is_some() {
                return Err(ConfigError::new(
                    "a shared secret has its one algorithm: leave .algorithms(…) out",
                ));
            }
            let backend = Backend::preferred_or_error()?;
            let key = HmacKey::new(algorithm, secret, backend)?;
            return Ok((Trust::SharedSecret(key), backend));
        }
        #[cfg(feature = "introspection")]
        Some(KeySource(Source::Introspection(_))) => {
            return Ok((Trust::Introspection, Backend::preferred_or_error()?));
        }
        Some(KeySource(Source::Jwks(jwks))) => jwks,
        Some(KeySource(Source::Builder(builder))) => builder.clock_unless_set(clock).build()?,
        None if svids => {
            return Err(ConfigError::new(
                "a trust domain has no metadata: name the address of its bundle, with \
                 .keys(Jwks::spiffe_bundle(…)) or .keys(Jwks::static_spiffe_bundle(…)?)",
            ));
        }
        // Found by discovery before, the keys would be found there again.
        None => match before.map(|before| &before.trust) {
            Some(Trust::Jwks { keys, by_default: true }) => keys.clone(),
            _ => match document {
                None => Jwks::discover(issuer),
                Some(url) => Jwks::discover_template(issuer, url),
            }
            .clock_unless_set(clock)
            .build()?,
        },
    };
    if jwks.issuer() != issuer {
        return Err(ConfigError::new(format!(
            "the keys are those of {:?}, but the validator is for {issuer:?}: a key of one issuer \
             must never verify a token of another",
            jwks.issuer(),
        )));
    }
    if jwks.is_spiffe_bundle() != svids {
        return Err(ConfigError::new(
            "the keys of a SPIFFE bundle are for JWT-SVIDs only, and JWT-SVIDs need such keys: use Validator::jwt_svid \
             together with Jwks::spiffe_bundle or Jwks::static_spiffe_bundle",
        ));
    }
    let backend = jwks.backend();
    Ok((Trust::Jwks { keys: jwks, by_default }, backend))
}

fn choose_algorithms(
    chosen: Option<Vec<Algorithm>>,
    profile: &Profile,
    backend: Backend,
) -> Result<Box<[Algorithm]>, ConfigError> {
    let is_svid = matches!(profile, Profile::JwtSvid(_));
    let fits = |it: Algorithm| !is_svid || may_sign_svids(it);
    let Some(chosen) = chosen else {
        let all = Algorithm::ALL.iter().copied();
        let by_default = |it: Algorithm| !it.is_opt_in() && backend.supports(it) && fits(it);
        return Ok(all.filter(|it| by_default(*it)).collect());
    };
    if chosen.is_empty() {
        return Err(ConfigError::new("no algorithm is accepted: name at least one"));
    }
    if let Some(algorithm) = chosen.iter().find(|it| !fits(**it)) {
        return Err(ConfigError::new(format!(
            "JWT-SVIDs are never signed with {algorithm}: leave it out"
        )));
    }
    match chosen.iter().find(|it| !backend.supports(**it)) {
        None => Ok(chosen.into()),
        Some(algorithm) => Err(ConfigError::new(format!(
            "the crypto backend {backend:?} has no {algorithm}: leave it out, or use another backend"
        ))),
    }
}

/// Returns `true` if JWT-SVID §2.1 lists the algorithm: those of RFC 7518 §3.3 to §3.5.
const fn may_sign_svids(algorithm: Algorithm) -> bool {
    match algorithm {
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512
        | Algorithm::ES256
        | Algorithm::ES384
        | Algorithm::ES512 => true,
        // RFC 8037 and RFC 9964.
        Algorithm::EdDSA | Algorithm::MlDsa44 | Algorithm::MlDsa65 | Algorithm::MlDsa87 => false,
    }
}

#[cfg(all(test, any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use super::*;

    #[test]
    fn jwt_svids_are_signed_as_rfc_7518_says_and_others_as_is_usual_too() {
        let svids = Profile::JwtSvid(TrustDomain::parse("example.org").unwrap());
        let backend = Backend::preferred().unwrap();
        let supported = Algorithm::ALL.iter().copied().filter(|it| backend.supports(*it));
        let by_default = |profile| choose_algorithms(None, profile, backend).unwrap();
        for algorithm in supported {
            let named = |profile| choose_algorithms(Some(vec![algorithm]), profile, backend);
            let is_of_rfc_7518 = ["RS", "PS", "ES"].contains(&&algorithm.name()[..2]);
            let is_usual = is_of_rfc_7518 || algorithm == Algorithm::EdDSA;
            assert_eq!(by_default(&svids).contains(&algorithm), is_of_rfc_7518, "{algorithm}");
            assert_eq!(named(&svids).is_ok(), is_of_rfc_7518, "{algorithm}");
            let usual = by_default(&Profile::Interoperable);
            assert_eq!(usual.contains(&algorithm), is_usual, "{algorithm}");
            assert!(named(&Profile::Interoperable).is_ok(), "{algorithm}");
        }
    }
}
