//! Settings for the issuers of widely used authorization servers.

use std::collections::HashSet;
use std::sync::Arc;

use crate::token::{ClientIdSource, ScopeSource};
use crate::validator::issuers::issuer::Issuer;
use crate::validator::settings::{Kind, Settings};
use crate::validator::template::{Allowed, TemplateSettings};

const ENTRA_V1: &str = "https://sts.windows.net/{tenantid}/";
const ENTRA_V2: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";
const ENTRA_V1_DOCUMENT: &str =
    "https://login.microsoftonline.com/common/.well-known/openid-configuration";
const ENTRA_V2_DOCUMENT: &str =
    "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration";

impl Issuer {
    /// Microsoft Entra, many tenants, tokens of version 2, with `iss` like
    /// `https://login.microsoftonline.com/<tenant id>/v2.0`.
    ///
    /// All tenants share one key set. A token is accepted only if its `tid` is a tenant's id and, put
    /// into the template, gives its `iss`; and if its key may sign for that tenant, by the key's own
    /// member `issuer`. The accepted tenants must be named, by
    /// [`allow_tenants`](Self::allow_tenants) or a similar setting:
    ///
    /// ```
    /// use tower_bearer::issuers::Issuer;
    ///
    /// let issuer = Issuer::entra_v2("11111111-aaaa-4bbb-8ccc-222222222222")
    ///     .allow_tenants(["9188040d-6c67-4c5b-b112-36a304b66dad"]);
    /// ```
    ///
    /// Scopes are those of `scp`, or, in an application's token, which has no `scp`, those of `roles`; a user's
    /// app roles grant nothing ([`ScopeSource::entra`]). The client's id is `azp`. For a single tenant, use [`Issuer::entra_tenant`].
    pub fn entra_v2(audience: impl Into<String>) -> Self {
        Self::template(ENTRA_V2, ENTRA_V2_DOCUMENT, audience).entra()
    }

    /// Microsoft Entra, many tenants, tokens of version 1, with `iss` like
    /// `https://sts.windows.net/<tenant id>/`. Everything else is as for
    /// [`entra_v2`](Self::entra_v2); tokens of both versions are accepted only if both are in the list.
    pub fn entra_v1(audience: impl Into<String>) -> Self {
        let mut issuer = Self::template(ENTRA_V1, ENTRA_V1_DOCUMENT, audience).entra();
        if let Some(template) = &mut issuer.settings.template {
            // Keys that are published for both versions have the name of version 2.
            template.key_issuers.push(ENTRA_V2.into());
        }
        issuer
    }

    /// Microsoft Entra, one tenant, tokens of version 2.
    pub fn entra_tenant(tenant: &str, audience: impl Into<String>) -> Self {
        Self::new(ENTRA_V2.replace("{tenantid}", tenant), audience).entra()
    }

    fn entra(self) -> Self {
        self.scope_source(ScopeSource::entra()).client_id_source(ClientIdSource::entra())
    }

    /// A server whose tenants share one key set, and whose `iss` differs by the tenant's id, a GUID
    /// that tokens have in `tid` too: national clouds of Entra, for example.
    ///
    /// `template` has the placeholder `{tenantid}`. The metadata at `document_url` has the template
    /// as its `issuer`, character by character: the one exception from RFC 8414 §3.3.
    ///
    /// ```
    /// use tower_bearer::issuers::Issuer;
    ///
    /// let china = "https://login.partner.microsoftonline.cn";
    /// let issuer = Issuer::template(
    ///     format!("{china}/{{tenantid}}/v2.0"),
    ///     format!("{china}/common/v2.0/.well-known/openid-configuration"),
    ///     "11111111-aaaa-4bbb-8ccc-222222222222",
    /// )
    /// .allow_tenants(["9188040d-6c67-4c5b-b112-36a304b66dad"]);
    /// ```
    pub fn template(
        template: impl Into<String>,
        document_url: impl Into<String>,
        audience: impl Into<String>,
    ) -> Self {
        let mut settings = Settings::new(template.into(), audience.into(), Kind::AccessToken);
        settings.template = Some(TemplateSettings {
            document_url: document_url.into(),
            allowed: None,
            key_issuers: Vec::new(),
        });
        Self { settings, by_audience: false }
    }

    /// Accepts the tokens of these tenants of a [template](Self::template), by their ids.
    ///
    /// Their issuers are listed in the metadata that a layer serves, unless
    /// [`authorization_servers`](crate::metadata::ResourceMetadataBuilder::authorization_servers) names others.
    #[must_use]
    pub fn allow_tenants(self, tenants: impl IntoIterator<Item: Into<String>>) -> Self {
        let tenants: HashSet<String> = tenants.into_iter().map(Into::into).collect();
        self.allow(Allowed::These(Arc::new(tenants)))
    }

    /// Accepts the tokens of those tenants of a [template](Self::template) for whose id this returns
    /// `true`. It is called for each new token, so it must not block.
    #[must_use]
    pub fn allow_tenants_where(
        self,
        allowed: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.allow(Allowed::Where(Arc::new(allowed)))
    }

    /// Accepts the tokens of all tenants of a [template](Self::template): anyone can create a tenant, and
    /// issue tokens for this service's audience in it. The application must check
    /// [`Claims::issuer`](crate::token::Claims::issuer) itself.
    #[must_use]
    pub fn dangerous_any_tenant(self) -> Self {
        self.allow(Allowed::Any)
    }

    fn allow(mut self, allowed: Allowed) -> Self {
        match &mut self.settings.template {
            Some(template) => template.allowed = Some(allowed),
            None => self.settings.no_template = true,
        }
        self
    }

    /// A realm of Keycloak, whose server is at `server`, such as `https://login.example`.
    ///
    /// The client's id is `client_id` where a mapper adds it, or else `azp`. Roles are scopes only with a
    /// [`scope_source`](Self::scope_source) such as
    /// [`ScopeSource::keycloak_realm_roles`](crate::token::ScopeSource::keycloak_realm_roles).
    pub fn keycloak(server: &str, realm: &str, audience: impl Into<String>) -> Self {
        let issuer = format!("{}/realms/{realm}", server.trim_end_matches('/'));
        Self::new(issuer, audience).client_id_source(ClientIdSource::keycloak())
    }

    /// A user pool of Amazon Cognito.
    ///
    /// Only tokens with `token_use` `access` are accepted. They have no `aud` unless a resource was
    /// requested: see
    /// [`dangerous_clients_without_audience`](Self::dangerous_clients_without_audience).
    pub fn cognito(region: &str, pool: &str, audience: impl Into<String>) -> Self {
        Self::new(format!("https://cognito-idp.{region}.amazonaws.com/{pool}"), audience)
    }

    /// A domain of Auth0, its own or a custom one, such as `example.eu.auth0.com`.
    ///
    /// With role-based access control, permissions are scopes with
    /// [`ScopeSource::auth0_permissions`](crate::token::ScopeSource::auth0_permissions).
    pub fn auth0(domain: &str, audience: impl Into<String>) -> Self {
        Self::new(format!("https://{domain}/"), audience).client_id_source(ClientIdSource::auth0())
    }
}
