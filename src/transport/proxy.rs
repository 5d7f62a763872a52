//! Warns of proxies in the environment that can't be used.

use http::Uri;

use crate::telemetry::event;

/// The environment variables that name proxies.
const VARIABLES: [&str; 6] =
    ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "http_proxy", "https_proxy"];

/// Warns of proxies of the environment that can't be used: `reqwest` ignores them and connects
/// directly.
pub(crate) fn warn_of_unusable_proxies() {
    for _name in unusable(|name| std::env::var(name).ok()) {
        event!(
            WARN,
            variable = _name,
            "transport_proxy: the variable names no usable proxy, and is ignored: give a \
             URL with http, https, socks4, socks4a, socks5 or socks5h"
        );
    }
}

/// Returns `true` for the URL of a proxy that can be used.
pub(crate) fn is_usable(url: &str) -> bool {
    url.parse::<Uri>().is_ok_and(|uri| {
        // A URL without a scheme counts as http.
        let scheme = uri.scheme_str().unwrap_or("http");
        uri.authority().is_some()
            && ["http", "https", "socks4", "socks4a", "socks5", "socks5h"].contains(&scheme)
    })
}

fn unusable(value: impl Fn(&str) -> Option<String>) -> Vec<&'static str> {
    let is_set = |name: &&str| value(name).is_some_and(|it| !it.is_empty() && !is_usable(&it));
    VARIABLES.into_iter().filter(is_set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fc14_a_proxy_that_cant_be_used_is_told_of() {
        let of = |value: &'static str| {
            unusable(|name| (name == "ALL_PROXY").then(|| value.to_owned())).len()
        };
        for usable in [
            "",
            "proxy.example:3128",
            "http://proxy.example:3128",
            "http://me:secret@proxy.example",
            "socks5://127.0.0.1:1080",
            "socks5h://me:secret@proxy.example:1080/",
            "socks4a://proxy.example",
        ] {
            assert_eq!(of(usable), 0, "{usable}");
        }
        for unusable in ["socks://proxy.example:1080", "ftp://proxy.example", "a b", "/proxy"] {
            assert_eq!(of(unusable), 1, "{unusable}");
        }
    }
}
