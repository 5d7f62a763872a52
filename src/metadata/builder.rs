//! The builder of a resource's metadata.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::metadata::description::ResourceMetadata;

/// The default of how long clients may keep the document.
const CACHE_FOR: Duration = Duration::from_secs(3_600);

/// Builds [`ResourceMetadata`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ResourceMetadataBuilder {
    pub(crate) resource: String,
    pub(crate) url: Option<String>,
    /// What the URL is (for errors), the member, and its value.
    pub(crate) links: Vec<(&'static str, &'static str, String)>,
    pub(crate) names: Vec<(Option<String>, String)>,
    pub(crate) lists: Vec<(&'static str, Vec<String>)>,
    pub(crate) extra: Vec<(String, Result<Value, String>)>,
    pub(crate) authorization_servers: Option<Vec<String>>,
    pub(crate) also: Vec<String>,
    pub(crate) only: Option<Vec<String>>,
    pub(crate) hidden: bool,
    pub(crate) challenge_scopes: Vec<String>,
    pub(crate) root_alias: bool,
    pub(crate) cache_for: Duration,
}

impl ResourceMetadata {
    /// Starts building the metadata of a resource, whose identifier is the URL that clients use.
    ///
    /// That isn't necessarily the audience of its tokens, which is set on the validator: some
    /// authorization servers identify the service as `api://…`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_bearer::metadata::ResourceMetadata;
    ///
    /// let metadata = ResourceMetadata::builder("https://api.example/mcp")
    ///     .name("Orders")
    ///     .documentation("https://docs.example/orders")
    ///     .challenge_scopes(["orders:read"])
    ///     .cache_for(Duration::from_secs(300))
    ///     .build()?;
    /// assert_eq!(
    ///     metadata.url(),
    ///     "https://api.example/.well-known/oauth-protected-resource/mcp"
    /// );
    /// # Ok::<(), tower_bearer::ConfigError>(())
    /// ```
    pub fn builder(resource: &str) -> ResourceMetadataBuilder {
        ResourceMetadataBuilder::new(resource)
    }
}

impl ResourceMetadataBuilder {
    fn new(resource: &str) -> Self {
        Self {
            resource: resource.to_owned(),
            url: None,
            links: Vec::new(),
            names: Vec::new(),
            lists: Vec::new(),
            extra: Vec::new(),
            authorization_servers: None,
            also: Vec::new(),
            only: None,
            hidden: false,
            challenge_scopes: Vec::new(),
            root_alias: true,
            cache_for: CACHE_FOR,
        }
    }

    /// Sets the URL of the document, if it isn't the well-known one. Challenges name this URL, and the layer
    /// serves its path.
    pub fn url(mut self, url: &str) -> Self {
        self.url = Some(url.to_owned());
        self
    }

    /// Sets whether the document is also served at [`WELL_KNOWN`](crate::metadata::WELL_KNOWN) itself,
    /// where some clients look first. On by default.
    ///
    /// If a [`MetadataService`](crate::metadata::MetadataService) serves several resources of an origin, none
    /// has an alias.
    pub const fn root_alias(mut self, serve: bool) -> Self {
        self.root_alias = serve;
        self
    }

    /// Sets how long clients and caches may keep the document: 1 hour by default, at most 7 days. With zero
    /// they must revalidate it each time (`no-cache`).
    pub const fn cache_for(mut self, time: Duration) -> Self {
        self.cache_for = time;
        self
    }

    /// Sets `authorization_servers` instead of the validator's issuers: for those that aren't known by name,
    /// as of [`Tenants`](crate::issuers::Tenants) and of templates without a list of tenants, and where anyone
    /// who asks must not learn which tenants there are.
    pub fn authorization_servers<I>(mut self, issuers: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.authorization_servers = Some(issuers.into_iter().map(Into::into).collect());
        self
    }

    /// Adds scopes to `scopes_supported`, such as those that only guards and handlers require.
    ///
    /// Those of the route table are listed anyway, except for [hidden](crate::Access::hide_existence) routes.
    pub fn scopes<I>(mut self, scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.also.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// Sets `scopes_supported` to these scopes and no others.
    pub fn only_scopes<I>(mut self, scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.only.get_or_insert_default().extend(scopes.into_iter().map(Into::into));
        self
    }

    /// Omits `scopes_supported`.
    pub const fn hide_scopes(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Sets the scopes that a challenge names if the request needs no particular ones. Without them, many
    /// clients request every scope of the authorization server.
    pub fn challenge_scopes<I>(mut self, scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.challenge_scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// Sets `resource_name`, which is shown to users.
    pub fn name(mut self, name: &str) -> Self {
        self.names.push((None, name.to_owned()));
        self
    }

    /// Sets `resource_name` in another language, a tag of BCP 47 such as `de`.
    pub fn name_in(mut self, language: &str, name: &str) -> Self {
        self.names.push((Some(language.to_owned()), name.to_owned()));
        self
    }

    /// Sets `resource_documentation`, a page for developers.
    pub fn documentation(self, url: &str) -> Self {
        self.link("documentation URL", "resource_documentation", url)
    }

    /// Sets `resource_policy_uri`, a page about what clients may do with the data.
    pub fn policy(self, url: &str) -> Self {
        self.link("policy URL", "resource_policy_uri", url)
    }

    /// Sets `resource_tos_uri`, a page with the terms of service.
    pub fn terms_of_service(self, url: &str) -> Self {
        self.link("URL of the terms of service", "resource_tos_uri", url)
    }

    /// Sets `jwks_uri`: the public keys of this resource, such as those that it signs responses with, not
    /// those of the authorization server.
    pub fn jwks_uri(self, url: &str) -> Self {
        self.link("key set URL", "jwks_uri", url)
    }

    /// Sets `resource_signing_alg_values_supported`: the algorithms with which this resource signs its
    /// responses, which are unrelated to tokens (RFC 9728 §2). `none` is refused.
    pub fn response_signing_algorithms<I>(self, algorithms: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.list("resource_signing_alg_values_supported", algorithms)
    }

    /// Sets `authorization_details_types_supported` (RFC 9396).
    pub fn authorization_details_types<I>(self, types: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.list("authorization_details_types_supported", types)
    }

    /// Adds a member of another specification.
    pub fn extra(mut self, name: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).map_err(|error| error.to_string());
        self.extra.push((name.to_owned(), value));
        self
    }

    fn link(mut self, what: &'static str, member: &'static str, url: &str) -> Self {
        self.links.retain(|(_, known, _)| *known != member);
        self.links.push((what, member, url.to_owned()));
        self
    }

    fn list<I>(mut self, member: &'static str, values: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let values = values.into_iter().map(Into::into);
        match self.lists.iter_mut().find(|(known, _)| *known == member) {
            Some((_, list)) => list.extend(values),
            None => self.lists.push((member, values.collect())),
        }
        self
    }
}
