//! Checks the settings of a resource's metadata, and builds it.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value;

use crate::error::{ConfigError, within};
use crate::metadata::builder::ResourceMetadataBuilder;
use crate::metadata::description::{ResourceMetadata, Scopes};
use crate::metadata::metadata_url::{MetadataUrl, check_url};
use crate::scope::{Scope, ScopeSet};
use crate::telemetry::event;

const MAX_CACHE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Members that have a setter, or follow from what the layer does.
const TAKEN: [&str; 14] = [
    "resource",
    "authorization_servers",
    "jwks_uri",
    "scopes_supported",
    "bearer_methods_supported",
    "resource_signing_alg_values_supported",
    "resource_documentation",
    "resource_policy_uri",
    "resource_tos_uri",
    "tls_client_certificate_bound_access_tokens",
    "authorization_details_types_supported",
    "dpop_signing_alg_values_supported",
    "dpop_bound_access_tokens_required",
    "signed_metadata",
];

impl ResourceMetadata {
    /// Creates the metadata of a resource with the default settings.
    ///
    /// # Errors
    ///
    /// If the identifier isn't an absolute `https` URL without a fragment. `http` is allowed on loopback.
    pub fn new(resource: &str) -> Result<Self, ConfigError> {
        Self::builder(resource).build()
    }
}

impl ResourceMetadataBuilder {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// If a URL isn't absolute and `https` (or `http` on loopback), if a scope is invalid, or if a member is
    /// set twice.
    pub fn build(self) -> Result<ResourceMetadata, ConfigError> {
        let mut place = MetadataUrl::of_resource(&self.resource)?;
        if let Some(url) = &self.url {
            place = place.moved_to(url)?;
        }
        // Some clients search the whole challenge for these names.
        if ["scope=", "error=", "resource_metadata="].iter().any(|word| place.url().contains(word))
        {
            return Err(ConfigError::new(format!(
                "the metadata URL {:?} contains the name of a challenge's parameter, which some clients \
                 would take for that parameter: choose another with .url(…)",
                place.url()
            )));
        }
        within("cache_for", self.cache_for, Duration::ZERO..=MAX_CACHE)?;
        if let Some(issuers) = &self.authorization_servers {
            issuers.iter().try_for_each(|it| check_url("authorization server", it).map(drop))?;
        }
        let scopes = match (self.hidden, &self.only) {
            (true, _) => Scopes::Hidden,
            (false, Some(only)) => Scopes::Only(scope_set(only)?),
            (false, None) => Scopes::And(scope_set(&self.also)?),
        };
        Ok(ResourceMetadata {
            members: self.members()?,
            challenge_scopes: scope_set(&self.challenge_scopes)?,
            place,
            authorization_servers: self.authorization_servers,
            scopes,
            root_alias: self.root_alias,
            cache_for: self.cache_for,
        })
    }

    fn members(&self) -> Result<Vec<(Cow<'static, str>, Value)>, ConfigError> {
        let mut members: Vec<(Cow<'static, str>, Value)> = Vec::new();
        let mut names = self.names.iter();
        names.try_for_each(|(language, name)| {
            let member = match language.as_deref() {
                None => Cow::Borrowed("resource_name"),
                Some(tag) if is_language(tag) => format!("resource_name#{tag}").into(),
                Some(tag) => {
                    return Err(ConfigError::new(format!(
                        "{tag:?} isn't a language tag: use one of BCP 47, such as \"de\" or \"pt-BR\""
                    )));
                }
            };
            add(&mut members, member, name.as_str().into())
        })?;
        for (what, member, url) in &self.links {
            check_url(what, url)?;
            members.push((Cow::Borrowed(member), url.as_str().into()));
        }
        for (member, list) in &self.lists {
            if list.iter().any(|value| value.is_empty() || value.eq_ignore_ascii_case("none")) {
                return Err(ConfigError::new(format!(
                    "{member} has an entry that is empty or \"none\": remove it"
                )));
            }
            if !list.is_empty() {
                members.push((Cow::Borrowed(member), list.as_slice().into()));
            }
        }
        for (name, value) in &self.extra {
            if TAKEN.contains(&name.as_str()) || name.starts_with("resource_name") {
                return Err(ConfigError::new(format!(
                    "the member {name:?} has a setting of its own, or follows from what the layer does: \
                     leave it out of .extra(…)"
                )));
            }
            let value = value.clone().map_err(|error| {
                ConfigError::new(format!("the member {name:?} can't be written as JSON: {error}"))
            })?;
            add(&mut members, name.clone().into(), value)?;
        }
        Ok(members)
    }
}

fn add(
    members: &mut Vec<(Cow<'static, str>, Value)>,
    name: Cow<'static, str>,
    value: Value,
) -> Result<(), ConfigError> {
    if members.iter().any(|(known, _)| *known == name) {
        return Err(ConfigError::new(format!("the member {name:?} is set twice: set it once")));
    }
    members.push((name, value));
    Ok(())
}

fn is_language(tag: &str) -> bool {
    tag.split('-').all(|part| {
        (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Checks scopes that clients are told. A resource server should not make clients request a refresh token.
fn scope_set(scopes: &[String]) -> Result<ScopeSet, ConfigError> {
    let checked = scopes.iter().map(|scope| Scope::new(scope)).collect::<Result<Vec<_>, _>>()?;
    let told = checked.iter().map(Scope::as_str).filter(|scope| {
        let is_told = *scope != "offline_access";
        if !is_told {
            event!(
                WARN,
                "metadata_offline_access: offline_access must not be among the scopes that clients are told: it \
                 is for the client to ask for"
            );
        }
        is_told
    });
    Ok(told.collect())
}
