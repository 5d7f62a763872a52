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
}

impl Issuer {
    /// Starts the settings of an issuer whose tokens are meant for `audience`.
    ///
    /// Both are as for [`Validator::builder`](crate::Validator::builder).
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self { settings: Settings::new(issuer.into(), audience.into(), Kind::AccessToken) }
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
