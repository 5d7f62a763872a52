//! A grant from environment variables, or from any lookup by name.

use crate::client::grant::builder::GrantBuilder;
use crate::client::grant::definition::Grant;
use crate::credentials::authentication::ClientAuth;
use crate::error::ConfigError;
use crate::secret::Secret;

impl Grant {
    /// Reads a grant from the environment. The client authenticates by HTTP Basic.
    ///
    /// | variable | what |
    /// |---|---|
    /// | `OAUTH_CLIENT_ID`, `OAUTH_CLIENT_SECRET` | required |
    /// | `OAUTH_TOKEN_ENDPOINT`, `OAUTH_ISSUER` | one is required: as in [`endpoint`](Self::endpoint), or in [`discover`](Self::discover). With both, the endpoint isn't discovered, and the issuer is what [`GrantBuilder::issuer`] names |
    /// | `OAUTH_SCOPE` | scopes, separated by spaces |
    /// | `OAUTH_AUDIENCE` | as in [`GrantBuilder::audience`] |
    /// | `OAUTH_RESOURCE` | as in [`GrantBuilder::resource`]; several are separated by spaces |
    ///
    /// An empty variable counts as missing.
    ///
    /// # Errors
    ///
    /// If a required one is missing, empty or not Unicode; the error names all of these.
    pub fn from_env() -> Result<GrantBuilder, ConfigError> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// Reads the same variables by a lookup function: under other names, or from a configuration file.
    ///
    /// ```
    /// # fn example() -> Result<(), tower_bearer::ConfigError> {
    /// use tower_bearer::client::Grant;
    ///
    /// // ORDERS_OAUTH_CLIENT_ID and so on.
    /// let grant = Grant::from_vars(|name| std::env::var(format!("ORDERS_{name}")).ok())?.build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If a required one is missing or empty; the error names all of these.
    pub fn from_vars(lookup: impl Fn(&str) -> Option<String>) -> Result<GrantBuilder, ConfigError> {
        let lookup = |name| lookup(name).filter(|value| !value.is_empty());
        let (id, secret) =
            (lookup("OAUTH_CLIENT_ID"), lookup("OAUTH_CLIENT_SECRET").map(Secret::new));
        let (endpoint, issuer) = (lookup("OAUTH_TOKEN_ENDPOINT"), lookup("OAUTH_ISSUER"));
        let missing = [
            (id.is_none(), "OAUTH_CLIENT_ID"),
            (secret.is_none(), "OAUTH_CLIENT_SECRET"),
            (endpoint.is_none() && issuer.is_none(), "OAUTH_TOKEN_ENDPOINT (or OAUTH_ISSUER)"),
        ];
        let missing = missing.iter().filter(|(is_missing, _)| *is_missing).map(|(_, name)| *name);
        let missing: Vec<&str> = missing.collect();
        if let ([], Some(id), Some(secret)) = (&*missing, id, secret) {
            let auth = ClientAuth::basic(&id, secret);
            let builder = match (endpoint, issuer) {
                (Some(endpoint), Some(issuer)) => Self::endpoint(&endpoint, auth).issuer(&issuer),
                (Some(endpoint), None) => Self::endpoint(&endpoint, auth),
                (None, issuer) => Self::discover(&issuer.unwrap_or_default(), auth),
            };
            let builder = builder
                .scope(&lookup("OAUTH_SCOPE").unwrap_or_default())
                .audience(&lookup("OAUTH_AUDIENCE").unwrap_or_default());
            let resources = lookup("OAUTH_RESOURCE").unwrap_or_default();
            return Ok(resources.split_whitespace().fold(builder, GrantBuilder::resource));
        }
        Err(self::missing(&missing))
    }
}

/// Returns the error that names the missing variables.
pub(crate) fn missing(names: &[&str]) -> ConfigError {
    let (last, others) = names.split_last().unwrap_or((&"", &[]));
    ConfigError::new(match others {
        [] => format!("{last} is missing or empty: set it in the environment"),
        others => {
            let others = others.join(", ");
            format!("{others} and {last} are missing or empty: set them in the environment")
        }
    })
}
