//! The well-known locations of an issuer's metadata (RFC 8414 §3, OpenID Connect Discovery 1.0 §4).

use http::Uri;

use crate::error::ConfigError;
use crate::transport::printable;

/// Returns the URLs at which metadata may be found, in the order of the requests. RFC 8414 §3.1 inserts
/// the well-known part before the issuer's path, OpenID appends it, and some servers append
/// RFC 8414's.
pub(crate) fn metadata_places(issuer: &Uri) -> Vec<Uri> {
    let path = issuer.path().trim_end_matches('/');
    let mut paths = vec![
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("{path}/.well-known/openid-configuration"),
    ];
    if !path.is_empty() {
        paths.push(format!("{path}/.well-known/oauth-authorization-server"));
    }
    let place = |path: String| {
        let mut parts = issuer.clone().into_parts();
        parts.path_and_query = Some(path.parse().ok()?);
        Uri::from_parts(parts).ok()
    };
    paths.into_iter().filter_map(place).collect()
}

/// Refuses the URL of metadata in place of an issuer.
pub(crate) fn check_issuer(issuer: &Uri) -> Result<(), ConfigError> {
    if issuer.path().split('/').any(|segment| segment == ".well-known") {
        return Err(ConfigError::new(format!(
            "the issuer {:?} is the address of its metadata: give the part before \"/.well-known\"",
            printable(&issuer.to_string())
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(issuer: &str) -> Vec<String> {
        metadata_places(&issuer.parse().unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_place_of_metadata_is_no_issuer() {
        for (uri, is_issuer) in [
            ("https://a.example/x/.well-known/openid-configuration", false),
            ("https://a.example/.well-known/oauth-authorization-server/x", false),
            ("https://a.example/x", true),
            ("https://a.example/well-known", true),
        ] {
            assert_eq!(check_issuer(&uri.parse().unwrap()).is_ok(), is_issuer, "{uri}");
        }
    }

    // L4
    #[test]
    fn l4_the_well_known_part_is_inserted_then_appended() {
        assert_eq!(
            places("https://a.example"),
            [
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration",
            ]
        );
        assert_eq!(places("https://a.example/"), places("https://a.example"));
        assert_eq!(
            places("https://a.example:8443/tenant/one/"),
            [
                "https://a.example:8443/.well-known/oauth-authorization-server/tenant/one",
                "https://a.example:8443/tenant/one/.well-known/openid-configuration",
                "https://a.example:8443/tenant/one/.well-known/oauth-authorization-server",
            ]
        );
    }
}
