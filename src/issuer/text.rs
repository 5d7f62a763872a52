//! Checks for issuers that no token can have (RFC 8414 §2, Microsoft's documentation).

use crate::error::ConfigError;
use crate::transport::printable;

/// Domains below which Microsoft Entra, its national clouds and its relatives answer.
const ENTRA: [&str; 10] = [
    "microsoftonline.com",
    "microsoftonline.us",
    "microsoftonline.cn",
    "microsoftonline.de",
    "chinacloudapi.cn",
    "login.microsoft.com",
    "login.windows.net",
    "sts.windows.net",
    "ciamlogin.com",
    "b2clogin.com",
];

/// Refuses an issuer that no token can have: one with spaces around it or a placeholder, or one of
/// Microsoft's addresses for several tenants.
///
/// # Errors
///
/// A sentence with the remedy.
pub(crate) fn check_issuer_text(issuer: &str) -> Result<(), ConfigError> {
    let wrong =
        |what: &str| Err(ConfigError::new(format!("the issuer {:?} {what}", printable(issuer))));
    if issuer.is_empty() {
        return Err(ConfigError::new("the issuer is empty: give the expected value of \"iss\""));
    }
    if issuer.trim() != issuer {
        return wrong("begins or ends with a space or line end: remove it");
    }
    let lower = issuer.to_ascii_lowercase();
    if ["{", "}", "<", ">", "%7b", "%7d", "%3c", "%3e"].iter().any(|mark| lower.contains(mark)) {
        return wrong(
            "contains a placeholder: replace it by the value in the tokens, such as the tenant's id",
        );
    }
    let authority_and_path = lower.split_once("://").map_or(&*lower, |(_, rest)| rest);
    let (authority, path) = authority_and_path.split_once('/').unwrap_or((authority_and_path, ""));
    let host = authority.split_once(':').map_or(authority, |(host, _)| host).trim_end_matches('.');
    let is_entra = ENTRA.iter().any(|domain| {
        host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    let tenant = path.split('/').find(|segment| !segment.is_empty()).unwrap_or_default();
    if is_entra && ["common", "organizations", "consumers"].contains(&tenant) {
        return wrong(
            "stands for several tenants, and no token has it as its issuer: put the tenant's id in \
             place of that segment, as in the \"iss\" of its tokens \
             (https://login.microsoftonline.com/<tenant id>/v2.0, or \
             https://sts.windows.net/<tenant id>/ for version 1)",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(issuer: &str) -> String {
        check_issuer_text(issuer).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn fb9_an_issuer_for_several_tenants_is_an_error_that_says_what_to_give() {
        for issuer in [
            "https://login.microsoftonline.com/common/v2.0",
            "https://login.microsoftonline.com/organizations/v2.0",
            "https://login.microsoftonline.com/consumers/v2.0/",
            "https://login.microsoftonline.com/common",
            "https://login.microsoftonline.com/common/",
            "https://LOGIN.microsoftonline.com/Common/v2.0",
            "https://login.microsoftonline.com:443/common/v2.0",
            "https://login.microsoftonline.com./common/v2.0",
            "https://login.microsoftonline.com//common/v2.0",
            "https://login.microsoftonline.us/common/v2.0",
            "https://login.partner.microsoftonline.cn/organizations/v2.0",
            "https://sts.windows.net/common/",
            "https://login.windows.net/common",
        ] {
            assert!(sentence(issuer).contains("tenant's id"), "{issuer}: {}", sentence(issuer));
        }
        for issuer in [
            "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
            "https://sts.windows.net/9188040d-6c67-4c5b-b112-36a304b66dad/",
            "https://login.microsoftonline.com/contoso.onmicrosoft.com/v2.0",
            "https://kc.example/realms/common",
            "https://kc.example/common/v2.0",
            "https://notmicrosoftonline.com/common/v2.0",
            "https://microsoftonline.com.example/common/v2.0",
            "https://login.microsoftonline.com/commons/v2.0",
            "accounts.google.com",
        ] {
            assert_eq!(sentence(issuer), "", "{issuer}");
        }
    }

    #[test]
    fn fb9_a_placeholder_is_an_error_whatever_the_server() {
        for issuer in [
            "https://login.microsoftonline.com/{tenantid}/v2.0",
            "https://login.microsoftonline.com/%7Btenantid%7D/v2.0",
            "https://sts.windows.net/{tenant}/",
            "https://kc.example/realms/{realm}",
            "https://{domain}.auth0.com/",
            "https://kc.example/realms/<realm>",
            "https://kc.example/realms/${REALM}",
        ] {
            assert!(sentence(issuer).contains("placeholder"), "{issuer}");
        }
    }

    #[test]
    fn fb9_spaces_around_an_issuer_are_named() {
        for issuer in
            [" https://a.example", "https://a.example ", "https://a.example\n", "\ta", " "]
        {
            assert!(sentence(issuer).contains("space"), "{issuer:?}");
        }
        assert!(sentence("").contains("empty"));
    }
}
