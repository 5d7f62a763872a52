use std::fmt;

use http::Uri;

use crate::jwks::config::{Config, KeyLocation};
use crate::jwks::fetch::discovery::JwksMetadata;
use crate::transport::printable;

/// Where keys are looked for.
#[derive(Clone, Eq, PartialEq)]
pub(crate) enum Place {
    KeySet(String),
    /// The issuer's metadata, which hasn't been found: where it is first looked for.
    Discovery(String),
}

impl Place {
    /// Returns where keys are looked for, with this metadata; `None` if they are part of the
    /// configuration.
    pub(crate) fn at(config: &Config, metadata: Option<&JwksMetadata>) -> Option<Self> {
        let fetching = config.fetching.as_ref()?;
        let shown = |uri: &Uri| printable(&uri.to_string());
        Some(match (&fetching.target, metadata) {
            (KeyLocation::Url(url), _) => Self::KeySet(shown(url)),
            (KeyLocation::Discovery(_), Some(metadata)) => Self::KeySet(shown(&metadata.jwks_uri)),
            (KeyLocation::Discovery(discovery), None) => {
                Self::Discovery(discovery.first_place().map(shown).unwrap_or_default())
            }
        })
    }

    /// Returns the address for the log. The path of a key set may be a secret between two parties, so that
    /// only its server is named; that of metadata is the issuer's.
    pub(crate) fn for_log(&self) -> Self {
        match self {
            Self::KeySet(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or_default();
                let server = rest.split('/').next().unwrap_or_default();
                Self::KeySet(format!("{scheme}://{server}/…"))
            }
            Self::Discovery(url) => Self::Discovery(url.clone()),
        }
    }

    /// Returns the address, without its query.
    #[cfg(feature = "tracing")]
    pub(crate) fn url(&self) -> &str {
        match self {
            Self::KeySet(url) | Self::Discovery(url) => url,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeySet(url) => write!(f, "from {url}"),
            Self::Discovery(url) => write!(f, "by discovery from {url} on"),
        }
    }
}
