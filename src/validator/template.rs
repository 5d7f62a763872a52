//! Checks tokens of many tenants that share one key set, as Microsoft Entra's do.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::error::ConfigError;
use crate::refusal::{Detail, Excerpt, Rejection, RejectionKind};
use crate::validator::issuers::pattern::Pattern;
use crate::validator::unverified::text_of;

const TENANT: &str = "{tenantid}";

/// The rules for the tenant of a token.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Template {
    pattern: Pattern,
    allowed: Allowed,
    /// The accepted values of a key's `issuer`, with the tenant's id filled in.
    key_issuers: Box<[Box<str>]>,
}

/// The settings of a template, unchecked.
pub(crate) struct TemplateSettings {
    pub(crate) document_url: String,
    pub(crate) allowed: Option<Allowed>,
    /// Further accepted values of a key's `issuer`.
    pub(crate) key_issuers: Vec<Box<str>>,
}

/// Which tenants' tokens are accepted.
#[derive(Clone)]
pub(crate) enum Allowed {
    These(Arc<HashSet<String>>),
    Where(Arc<dyn Fn(&str) -> bool + Send + Sync>),
    Any,
}

impl Template {
    /// Creates the rule for a pattern with the one placeholder `{tenantid}`.
    pub(crate) fn new(
        text: &str,
        allowed: Option<Allowed>,
        key_issuers: impl IntoIterator<Item = Box<str>>,
    ) -> Result<Self, ConfigError> {
        let pattern = Pattern::parse(text)?;
        if text.matches('{').count() != 1 || !text.contains(TENANT) {
            return Err(ConfigError::new(format!(
                "the issuer template {text:?} needs the one placeholder {TENANT}"
            )));
        }
        let Some(allowed) = allowed else {
            return Err(ConfigError::new(format!(
                "the issuer template {text:?} is for all existing tenants: name the accepted ones, with \
                 .allow_tenants(…), .allow_tenants_where(…) or .dangerous_any_tenant()"
            )));
        };
        if matches!(&allowed, Allowed::These(tenants) if tenants.is_empty()) {
            return Err(ConfigError::new(format!(
                "no tenant of the issuer template {text:?} is allowed: give the ids of some"
            )));
        }
        if let Allowed::These(tenants) = &allowed
            && let Some(wrong) = tenants.iter().find(|tenant| !is_guid(tenant))
        {
            return Err(ConfigError::new(format!(
                "{wrong:?} isn't a tenant's id: give it as the tokens' \"tid\" has it, such as \
                 9188040d-6c67-4c5b-b112-36a304b66dad"
            )));
        }
        let own = std::iter::once(text.into());
        Ok(Self { pattern, allowed, key_issuers: own.chain(key_issuers).collect() })
    }

    /// Returns the tenant's id if a token's `iss` can be one of this template's.
    fn tenant<'a>(&self, iss: &'a str) -> Option<&'a str> {
        self.pattern.capture(iss)?.first().copied().filter(|tenant| is_guid(tenant))
    }

    /// Returns the issuers of the accepted tenants, in the order of their names; `None` if they aren't listed.
    pub(crate) fn issuers(&self) -> Option<Vec<String>> {
        let Allowed::These(tenants) = &self.allowed else { return None };
        let filled = tenants.iter().map(|tenant| self.pattern.text().replace(TENANT, tenant));
        let mut filled: Vec<String> = filled.collect();
        filled.sort_unstable();
        Some(filled)
    }

    pub(crate) fn matches(&self, iss: &str) -> bool {
        self.tenant(iss).is_some()
    }

    /// Checks that the token's `tid`, filled in, is its `iss`, and that the tenant is allowed.
    pub(crate) fn check(&self, iss: &str, payload: &[u8]) -> Result<(), Rejection> {
        let tid = text_of(payload, "tid")?;
        match self.tenant(iss) {
            Some(tenant) if tenant == tid => {}
            _ => {
                let expected = self.pattern.text().replace(TENANT, Excerpt::new(&tid).as_str());
                let detail =
                    Detail::Compared { expected: expected.into(), presented: Excerpt::new(iss) };
                return Err(Rejection::with(RejectionKind::WrongIssuer, detail));
            }
        }
        let allowed = match &self.allowed {
            Allowed::These(tenants) => tenants.contains(&*tid),
            Allowed::Where(allowed) => allowed(&tid),
            Allowed::Any => true,
        };
        if allowed {
            return Ok(());
        }
        let detail = Detail::Value { claim: "tid", presented: Excerpt::new(&tid) };
        Err(Rejection::with(RejectionKind::WrongIssuer, detail))
    }

    /// Returns `true` if a key with this member `issuer` may have signed a token of this `iss`. A key
    /// that isn't bound to an issuer may sign for all tenants.
    pub(crate) fn may_sign(&self, key_issuer: Option<&str>, iss: &str) -> bool {
        let Some(key_issuer) = key_issuer else { return true };
        let Some(tenant) = self.tenant(iss) else { return false };
        let filled = key_issuer.replace(TENANT, tenant);
        self.key_issuers.iter().any(|template| template.replace(TENANT, tenant) == filled)
    }
}

/// `8-4-4-4-12` hexadecimal digits.
fn is_guid(text: &str) -> bool {
    let groups = [8, 4, 4, 4, 12];
    let mut parts = text.split('-');
    groups.iter().all(|len| {
        parts.next().is_some_and(|part| {
            part.len() == *len && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }) && parts.next().is_none()
}

impl PartialEq for Allowed {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::These(one), Self::These(two)) => one == two,
            (Self::Where(one), Self::Where(two)) => Arc::ptr_eq(one, two),
            (Self::Any, Self::Any) => true,
            _ => false,
        }
    }
}

impl Eq for Allowed {}

impl fmt::Debug for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::These(tenants) => f.debug_tuple("These").field(tenants).finish(),
            Self::Where(_) => f.write_str("Where"),
            Self::Any => f.write_str("Any"),
        }
    }
}
