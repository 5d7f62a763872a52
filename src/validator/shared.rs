//! The settings that all issuers of a validator share, and their setters.

use std::sync::Arc;

#[cfg(feature = "dpop")]
use crate::binding::dpop::Dpop;
#[cfg(feature = "mtls")]
use crate::binding::mtls::Mtls;
use crate::clock::{Clock, SystemClock};
use crate::token::Provable;

/// The settings that all issuers of a validator share.
pub(crate) struct Shared {
    pub(crate) cache_entries: usize,
    pub(crate) cache_bytes: usize,
    pub(crate) clock: Arc<dyn Clock>,
    #[cfg(feature = "dpop")]
    pub(crate) dpop: Option<Dpop>,
    #[cfg(feature = "mtls")]
    pub(crate) mtls: Option<Mtls>,
    /// Whether tokens must be bound to something.
    pub(crate) require_bound: bool,
    /// Whether the FAPI 2.0 Security Profile applies.
    pub(crate) fapi2: bool,
}

/// The rules for the tokens of all issuers of a validator.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Common {
    /// The bindings that the service can check.
    pub(crate) provable: Provable,
    /// Whether the FAPI 2.0 Security Profile applies.
    pub(crate) fapi2: bool,
}

impl Shared {
    /// Returns the rules for all tokens.
    pub(crate) const fn common(&self) -> Common {
        let provable = Provable {
            #[cfg(feature = "dpop")]
            keys: self.dpop.is_some(),
            #[cfg(not(feature = "dpop"))]
            keys: false,
            #[cfg(feature = "mtls")]
            certificates: self.mtls.is_some(),
            #[cfg(not(feature = "mtls"))]
            certificates: false,
        };
        Common { provable, fapi2: self.fapi2 }
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            cache_entries: 10_000,
            cache_bytes: 32 * 1_024 * 1_024,
            clock: Arc::new(SystemClock),
            #[cfg(feature = "dpop")]
            dpop: None,
            #[cfg(feature = "mtls")]
            mtls: None,
            require_bound: false,
            fapi2: false,
        }
    }
}

/// The setters of what all issuers share, for a builder with `shared`.
macro_rules! shared_setters {
    () => {
        /// Sets how many accepted tokens are cached, 0 to 1 000 000, so that a repeated token costs
        /// no signature check; 0 disables the cache. The number is rounded up to a multiple of 16.
        /// An empty entry takes 14 bytes.
        ///
        /// See [`Validator`](crate::Validator#the-cache) for what is remembered, and for how
        /// long.
        #[must_use]
        pub fn cache_entries(mut self, entries: usize) -> Self {
            self.shared.cache_entries = entries;
            self
        }

        /// Sets how many bytes the cached tokens may take.
        ///
        /// Each counts twice its own length and some 600 bytes for its claims, and what the
        /// application's own claims hold on the heap. That is estimated from the sizes of all values
        /// that are deserialized into them, so that it is the most that the collections of the standard
        /// library, `serde_json` and `indexmap` can take: several times what they actually take. A struct with a
        /// few texts counts for a few hundred bytes, a [`serde_json::Value`] of a usual token for some ten
        /// thousand: read what is needed, or raise this. Memory that the claims' `Deserialize` allocates apart
        /// from what it reads isn't counted.
        ///
        /// A token that is bound to a key counts 2 KiB more, which the header of its proofs may take.
        #[must_use]
        pub fn cache_bytes(mut self, bytes: usize) -> Self {
            self.shared.cache_bytes = bytes;
            self
        }

        /// Accepts tokens that are bound to a key of the client, with a proof of it in each request
        /// (RFC 9449): see [`dpop`](mod@crate::dpop). Without this, such tokens are refused.
        #[cfg(feature = "dpop")]
        #[cfg_attr(docsrs, doc(cfg(feature = "dpop")))]
        #[must_use]
        pub fn dpop(mut self, dpop: $crate::dpop::Dpop) -> Self {
            self.shared.dpop = Some(dpop);
            self
        }

        /// Accepts tokens that are bound to a certificate, from clients that have shown it by mutual TLS
        /// (RFC 8705): see [`mtls`](mod@crate::mtls). Without this, such tokens are refused.
        #[cfg(feature = "mtls")]
        #[cfg_attr(docsrs, doc(cfg(feature = "mtls")))]
        #[must_use]
        pub fn mtls(mut self, mtls: $crate::mtls::Mtls) -> Self {
            self.shared.mtls = Some(mtls);
            self
        }

        /// Accepts only tokens that are bound to a key or to a certificate, with what that needs: a proof,
        /// or mutual TLS. A stolen token is then useless alone.
        #[cfg(any(feature = "dpop", feature = "mtls"))]
        #[cfg_attr(docsrs, doc(cfg(any(feature = "dpop", feature = "mtls"))))]
        #[must_use]
        pub fn require_bound(mut self) -> Self {
            self.shared.require_bound = true;
            self
        }

        /// Restricts tokens, proofs and settings to what the FAPI 2.0 Security Profile requires of resource
        /// servers, for open banking and the like.
        ///
        /// | of the profile | here |
        /// |---|---|
        /// | tokens are sent in the header, never in the query (§5.3.3) | always so |
        /// | tokens are bound, by DPoP or mutual TLS (§5.3.3) | as by [`require_bound`](Self::require_bound): give `dpop` or `mtls` as well |
        /// | tokens and proofs are signed with PS256, ES256 or EdDSA (§5.4.1) | others are refused, and can't be set; RSA keys of less than 2048 bits never count |
        /// | `nbf` and `iat` up to 10 seconds ahead are accepted, more than 60 aren't (§5.3.2.1) | by the leeway, which must be 10 to 60 seconds; `iat` of proofs by their `clock_skew`, which is 10 seconds at least |
        /// | revocation is checked (§5.3.3) | only if the issuer is asked, by `introspection`: otherwise, let tokens live for a few minutes |
        ///
        /// A setting that the profile forbids, such as a shared secret, is an error of `build`.
        ///
        /// ```
        /// use tower_bearer::{ConfigError, Validator, dpop::Dpop};
        ///
        /// # fn validator() -> Result<Validator, ConfigError> {
        /// Validator::builder("https://issuer.example", "https://api.example")
        ///     .dpop(Dpop::require().public_origins(["https://api.example"]))
        ///     .fapi2()
        ///     .build()
        /// # }
        /// ```
        #[cfg(any(feature = "dpop", feature = "mtls"))]
        #[cfg_attr(docsrs, doc(cfg(any(feature = "dpop", feature = "mtls"))))]
        #[must_use]
        pub fn fapi2(mut self) -> Self {
            self.shared.fapi2 = true;
            self.shared.require_bound = true;
            self
        }

        /// Takes the time from this clock, and gives it to the key source, if this builder builds that and it
        /// has none of its own.
        #[must_use]
        pub fn clock(mut self, clock: impl $crate::clock::Clock) -> Self {
            self.shared.clock = ::std::sync::Arc::new(clock);
            self
        }
    };
}

pub(crate) use shared_setters;
