//! One issuer of several, with its settings.

use std::fmt;

use crate::validator::settings::{Kind, Settings, issuer_setters};

/// One issuer among several, with its own settings.
///
/// The settings and their defaults are those of [`ValidatorBuilder`](crate::ValidatorBuilder).
///
/// ```
/// use tower_bearer::issuers::Issuer;
/// use tower_bearer::jwks::Jwks;
/// use tower_bearer::token::{ClientIdSource, ScopeSource};
///
/// let okta = "https://example.okta.com/oauth2/default";
/// let issuer = Issuer::new(okta, "api://orders")
///     .scope_source(ScopeSource::okta())
///     .client_id_source(ClientIdSource::okta())
///     .keys(Jwks::url(okta, "https://example.okta.com/oauth2/default/v1/keys"));
/// ```
pub struct Issuer {
    pub(crate) settings: Settings,
    /// Whether other entries may have the same name.
    pub(crate) by_audience: bool,
}

impl Issuer {
    /// Starts the settings of an issuer whose tokens are meant for `audience`.
    ///
    /// Both are as for [`Validator::builder`](crate::Validator::builder).
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        let settings = Settings::new(issuer.into(), audience.into(), Kind::AccessToken);
        Self { settings, by_audience: false }
    }

    /// Lets the list have several entries for this issuer, of which the token's `aud` selects one: for
    /// a service with several names, and other rules for each.
    ///
    /// Each of these entries must call this, and have other audiences than the rest. A token whose `aud` names
    /// the audiences of two of them is refused, since it is unclear which rules apply. Entries whose keys are
    /// found by discovery share them.
    ///
    /// ```
    /// # use tower_bearer::{ConfigError, Validator};
    /// use tower_bearer::issuers::Issuer;
    /// use tower_bearer::token::ScopeSource;
    ///
    /// # fn validator() -> Result<Validator, ConfigError> {
    /// let login = "https://login.example";
    /// let current = Issuer::new(login, "https://orders.example").by_audience();
    /// let legacy = Issuer::new(login, "orders").by_audience().scope_source(ScopeSource::claim("perms")?);
    /// Validator::issuers([current, legacy]).build()
    /// # }
    /// ```
    #[must_use]
    pub fn by_audience(mut self) -> Self {
        self.by_audience = true;
        self
    }

    issuer_setters!();
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("issuer", &self.settings.issuer)
            .field("audiences", &self.settings.audiences)
            .finish_non_exhaustive()
    }
}
