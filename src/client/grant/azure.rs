//! A grant from the environment variables of Azure's workload identity webhook.

use crate::client::grant::builder::GrantBuilder;
use crate::client::grant::definition::Grant;
use crate::client::grant::environment::missing;
use crate::credentials::authentication::ClientAuth;
use crate::credentials::workload::WorkloadToken;
use crate::error::ConfigError;

/// The authority of the public cloud.
const AUTHORITY: &str = "https://login.microsoftonline.com/";

impl Grant {
    /// Reads a grant for Microsoft Entra ID from the environment that Azure's workload identity
    /// webhook sets. The client authenticates with the federated token of the pod
    /// ([`ClientAuth::workload`]).
    ///
    /// | variable | what |
    /// |---|---|
    /// | `AZURE_CLIENT_ID`, `AZURE_TENANT_ID`, `AZURE_FEDERATED_TOKEN_FILE` | required |
    /// | `AZURE_AUTHORITY_HOST` | `https://login.microsoftonline.com/` by default |
    ///
    /// The scope is for the caller to add: that of a whole application, such as
    /// `api://orders/.default`.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), tower_bearer::ConfigError> {
    /// use tower_bearer::client::Grant;
    ///
    /// let tokens = Grant::from_azure_env()?.scope("api://orders/.default").source()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If a required one is missing, empty or not Unicode; the error names all of these. If the tenant
    /// isn't valid.
    pub fn from_azure_env() -> Result<GrantBuilder, ConfigError> {
        Self::from_azure_vars(|name| std::env::var(name).ok())
    }

    /// Reads the same variables by a lookup function, as [`from_vars`](Self::from_vars) does.
    ///
    /// # Errors
    ///
    /// Those of [`from_azure_env`](Self::from_azure_env).
    pub fn from_azure_vars(
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<GrantBuilder, ConfigError> {
        const REQUIRED: [&str; 3] =
            ["AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"];
        let lookup = |name| lookup(name).filter(|value| !value.is_empty());
        let [Some(id), Some(tenant), Some(file)] = REQUIRED.map(lookup) else {
            let absent = REQUIRED.into_iter().filter(|name| lookup(name).is_none());
            return Err(missing(&absent.collect::<Vec<_>>()));
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if !tenant.chars().all(legal) {
            return Err(ConfigError::new(
                "AZURE_TENANT_ID is neither an identifier nor a domain: set it to the tenant's",
            ));
        }
        let authority = lookup("AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.into());
        let authority = authority.trim_end_matches('/');
        let auth = ClientAuth::workload(&id, WorkloadToken::file(file));
        Ok(Self::endpoint(&format!("{authority}/{tenant}/oauth2/v2.0/token"), auth)
            .issuer(&format!("{authority}/{tenant}/v2.0")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars<'a>(vars: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| vars.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
    }

    const TENANT: &str = "9a2c8f2e-0000-4000-8000-1234567890ab";
    const ALL: [(&str, &str); 3] = [
        ("AZURE_CLIENT_ID", "billing"),
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/azure/tokens/azure-identity-token"),
    ];

    #[test]
    fn wi6_azures_variables_are_a_grant() {
        let address = |vars: &dyn Fn(&str) -> Option<String>| {
            let grant = Grant::from_azure_vars(vars).unwrap().scope("api://o/.default").build();
            let grant = grant.unwrap();
            assert_eq!(grant.client_id(), "billing");
            grant.party().endpoint.as_deref().unwrap().to_owned()
        };
        let usual = format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token");
        assert_eq!(address(&vars(&ALL)), usual);
        let mut china = ALL.to_vec();
        china.push(("AZURE_AUTHORITY_HOST", "https://login.chinacloudapi.cn/"));
        let expected = format!("https://login.chinacloudapi.cn/{TENANT}/oauth2/v2.0/token");
        assert_eq!(address(&vars(&china)), expected);
    }

    #[test]
    fn wi6_what_is_missing_or_cannot_be_is_named() {
        let error = |vars: &dyn Fn(&str) -> Option<String>| {
            Grant::from_azure_vars(vars).unwrap_err().to_string()
        };
        let none = error(&vars(&[]));
        assert!(ALL.iter().all(|(name, _)| none.contains(name)), "{none}");
        let one = error(&vars(&[ALL[0], ALL[1], ("AZURE_FEDERATED_TOKEN_FILE", "")]));
        assert!(one.contains("AZURE_FEDERATED_TOKEN_FILE is missing"), "{one}");
        for tenant in ["a/../b", "a?b", "a b", "a%2fb", "ä"] {
            let error = error(&vars(&[ALL[0], ("AZURE_TENANT_ID", tenant), ALL[2]]));
            assert!(error.contains("AZURE_TENANT_ID") && !error.contains(tenant), "{error}");
        }
    }
}
