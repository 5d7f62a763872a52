//! Where keys are looked for, in a form that may be logged.

use std::fmt;

use crate::jwks::config::{Config, KeyLocation};
use crate::jwks::fetch::discovery::JwksMetadata;
#[cfg(feature = "tracing")]
use crate::jwks::fetch::error::FetchError;
use crate::transport::printable;

/// Where keys are looked for.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct KeysAt {
    url: String,
    named_by: NamedBy,
}

/// What names the address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum NamedBy {
    /// The setting of the key set's URL.
    JwksUrl,
    /// The `jwks_uri` of the metadata that was found.
    JwksUri,
    /// The setting of the metadata's URL.
    MetadataUrl,
    /// The issuer, at one of whose well-known locations its metadata is looked for first.
    Issuer,
}

impl NamedBy {
    /// Returns the name that the operator knows it by.
    #[cfg(feature = "tracing")]
    const fn name(self) -> &'static str {
        match self {
            Self::JwksUrl => "the JWKS URL",
            Self::JwksUri => "the jwks_uri of the metadata",
            Self::MetadataUrl => "the metadata URL",
            Self::Issuer => "the issuer",
        }
    }
}

impl KeysAt {
    /// Returns where keys are looked for, with this metadata; `None` if they are part of the
    /// configuration.
    pub(crate) fn at(config: &Config, metadata: Option<&JwksMetadata>) -> Option<Self> {
        let (url, named_by) = match (&config.fetching.as_ref()?.target, metadata) {
            (KeyLocation::Url(url), _) => (Some(url), NamedBy::JwksUrl),
            (KeyLocation::Discovery(_), Some(metadata)) => {
                (Some(&metadata.jwks_uri), NamedBy::JwksUri)
            }
            (KeyLocation::Discovery(discovery), None) => {
                let by_issuer = discovery.is_by_issuer();
                let named_by = if by_issuer { NamedBy::Issuer } else { NamedBy::MetadataUrl };
                (discovery.first_place(), named_by)
            }
        };
        let url = url.map(|uri| printable(&uri.to_string())).unwrap_or_default();
        Some(Self { url, named_by })
    }

    /// Returns the address for the log. The path of a key set may be a secret between two parties, so that
    /// only its server is named; the address of metadata is the issuer's.
    pub(crate) fn for_log(mut self) -> Self {
        if self.is_key_set() {
            let (scheme, rest) = self.url.split_once("://").unwrap_or_default();
            let server = rest.split('/').next().unwrap_or_default();
            self.url = format!("{scheme}://{server}/…");
        }
        self
    }

    /// Returns `true` if it is a key set's address, and not that of metadata.
    pub(crate) const fn is_key_set(&self) -> bool {
        matches!(self.named_by, NamedBy::JwksUrl | NamedBy::JwksUri)
    }

    /// Returns the address, without its query.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns what can be done about a failure, with the name of the setting that it is about.
    #[cfg(feature = "tracing")]
    pub(crate) fn remedy(&self, error: &FetchError) -> String {
        error.remedy().replace("the address", self.named_by.name())
    }
}

impl fmt::Display for KeysAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.named_by {
            NamedBy::JwksUrl | NamedBy::JwksUri => write!(f, "from {}", self.url),
            NamedBy::MetadataUrl => write!(f, "by the metadata at {}", self.url),
            NamedBy::Issuer => write!(f, "by discovery from {} on", self.url),
        }
    }
}
