//! Where keys are fetched from.

use crate::error::ConfigError;
use crate::issuer::check_issuer;
use crate::jwks::config::KeyLocation;
use crate::jwks::fetch::discovery::Discovery;
use crate::transport::{PlainHttp, is_plain_loopback, parse_url, printable};

/// Checks the address that keys, or the issuer's metadata, are to be fetched from.
pub(crate) fn target(
    issuer: &str,
    url: Option<&str>,
    public_addresses_only: bool,
    plain_http: PlainHttp,
) -> Result<KeyLocation, ConfigError> {
    let (what, text) = match url {
        Some(url) => ("JWKS URL", url),
        None => ("issuer", issuer),
    };
    if text.trim() != text {
        return Err(ConfigError::new(format!(
            "the {what} {:?} begins or ends with a space or line end: remove it",
            printable(text)
        )));
    }
    let uri = parse_url(text, plain_http).map_err(|fault| {
        fault.report(what, text, ", or after JwksBuilder::dangerous_allow_http")
    })?;
    if public_addresses_only && is_plain_loopback(&uri) {
        return Err(ConfigError::new(format!(
            "the {what} {:?} is on this machine: leave .public_addresses_only() out",
            printable(text)
        )));
    }
    if url.is_some() {
        return Ok(KeyLocation::Url(uri));
    }
    if uri.query().is_some() {
        // RFC 8414 §2
        return Err(ConfigError::new(format!(
            "the issuer {:?} has a query: give it as the authorization server's metadata has \
                 it, or use Jwks::url",
            printable(text)
        )));
    }
    check_issuer(&uri)?;
    Ok(KeyLocation::Discovery(Discovery::new(issuer, &uri, plain_http)))
}
