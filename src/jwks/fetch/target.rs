//! Checks the address that keys or metadata are fetched from.

use crate::error::ConfigError;
use crate::issuer::check_issuer;
use crate::jwks::config::KeyLocation;
use crate::jwks::fetch::discovery::Discovery;
use crate::transport::{PlainHttp, is_plain_loopback, parse_url, printable};

/// Where keys are fetched from, unchecked.
#[derive(Clone, Debug)]
pub(crate) enum KeysFrom {
    /// At the address in the issuer's metadata, which is found by the issuer's name.
    Issuer,
    /// At the address in the metadata at this URL.
    Document(String),
    /// At this URL.
    KeySet(String),
}

/// Checks the address that keys, or the issuer's metadata, are fetched from.
pub(crate) fn target(
    issuer: &str,
    place: &KeysFrom,
    public_addresses_only: bool,
    plain_http: PlainHttp,
) -> Result<KeyLocation, ConfigError> {
    let (what, text) = match place {
        KeysFrom::KeySet(url) => ("JWKS URL", &**url),
        KeysFrom::Document(url) => ("metadata URL", &**url),
        KeysFrom::Issuer => ("issuer", issuer),
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
    match place {
        KeysFrom::KeySet(_) => return Ok(KeyLocation::Url(uri)),
        KeysFrom::Document(_) => {
            return Ok(KeyLocation::Discovery(Discovery::at(issuer, uri, plain_http)));
        }
        KeysFrom::Issuer => {}
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
