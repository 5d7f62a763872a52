//! Checks the settings of a key source and builds it.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::SystemClock;
use crate::error::{ConfigError, within};
use crate::issuer::{Network, check_issuer_text};
use crate::jose::{Backend, Purpose};
use crate::jwks::builder::{JwksBuilder, Start};
use crate::jwks::config::{Config, Fetching, KeyLocation};
use crate::jwks::fetch::target::target;
use crate::jwks::handle::Jwks;
use crate::jwks::kept::seed::{check_origin, seed};
use crate::jwks::kept::store::Published;
use crate::jwks::timing::schedule::Timing;
use crate::token::TrustDomain;
use crate::transport::{CONNECT_TIMEOUT, Limits, PlainHttp, default_transport};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl JwksBuilder {
    /// Checks the settings and builds the key source, without waiting for the network. Inside a Tokio
    /// runtime, the first fetch starts in the background, unless [`start`](Self::start) says otherwise.
    ///
    /// # Errors
    ///
    /// If a setting can't work. The error says which, and what to change.
    pub fn build(mut self) -> Result<Jwks, ConfigError> {
        match self.purpose {
            Purpose::Signatures if self.is_template => {}
            Purpose::Signatures => check_issuer_text(&self.issuer)?,
            Purpose::JwtSvids => {
                self.issuer = TrustDomain::parse(&self.issuer)?.id().to_string();
            }
        }
        let backend = self.backend.map_or_else(Backend::preferred_or_error, Ok)?;
        let timing = self.timing()?;
        let request_wait = self.request_wait.unwrap_or(Duration::from_secs(2).min(self.timeout));
        let limits = self.limits()?;
        within("request_wait", request_wait, Duration::ZERO..=self.timeout)?;
        within("cooldown", self.cooldown, SECOND..=HOUR)?;
        within("dangerous_removed_key_grace", self.removed_key_grace, Duration::ZERO..=DAY)?;
        within("max_keys", self.max_keys, 1..=1_000)?;
        within("redirects", self.redirects, 0..=3)?;
        let plain_http =
            if self.dangerous_http { PlainHttp::Dangerous } else { PlainHttp::Loopback };
        let target = target(&self.issuer, &self.place, self.public_addresses_only, plain_http)?;
        let transport = match self.transport {
            Some(transport) => transport,
            None => default_transport(limits.connect_timeout)?,
        };
        let plain_http = match &target {
            KeyLocation::Url(_) => plain_http,
            KeyLocation::Discovery(discovery) => discovery.plain_http(),
        };
        let network = Network { transport, limits, redirects: self.redirects, plain_http };
        let (max_keys, purpose, empty_set) = (self.max_keys, self.purpose, self.empty_set);
        let fetching = Fetching { target, network, max_keys, purpose, empty_set };
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let seed = match &self.start {
            Start::Eager | Start::Lazy => None,
            Start::Seeded(snapshot) => {
                check_origin(snapshot, &self.issuer, &fetching)?;
                seed(snapshot, &fetching, backend, &*clock, timing)
            }
        };
        let config = Config {
            issuer: self.issuer.into(),
            purpose,
            backend,
            clock,
            timing,
            cooldown: self.cooldown,
            request_wait,
            removed_key_grace: self.removed_key_grace,
            fetching: Some(fetching),
        };
        let (lazy, cold) = (matches!(self.start, Start::Lazy), seed.is_none());
        let (published, metadata) = seed.unwrap_or_else(|| (Published::cold(), None));
        Ok(Jwks::from_parts(config, published, |control, now| {
            control.metadata = metadata;
            if !lazy {
                control.schedule.start(now, cold);
            }
        }))
    }

    fn timing(&self) -> Result<Timing, ConfigError> {
        let minute = Duration::from_secs(60);
        let ttl = self.ttl.unwrap_or(minute.saturating_mul(10));
        let min_ttl = self.min_ttl.unwrap_or(minute.min(self.ttl.unwrap_or(minute)));
        let max_ttl = self.max_ttl.unwrap_or(HOUR.max(ttl).max(min_ttl));
        within("ttl", ttl, SECOND..=DAY)?;
        within("min_ttl", min_ttl, SECOND..=DAY)?;
        within("max_ttl", max_ttl, SECOND..=DAY)?;
        within("max_stale", self.max_stale, Duration::ZERO..=DAY.saturating_mul(7))?;
        if min_ttl > max_ttl {
            return Err(ConfigError::new(format!(
                "a min_ttl of {min_ttl:?} is longer than the max_ttl of {max_ttl:?}: change one"
            )));
        }
        if self.ttl.is_some() {
            within("ttl", ttl, min_ttl..=max_ttl)?;
        }
        Ok(Timing { ttl: ttl.clamp(min_ttl, max_ttl), min_ttl, max_ttl, max_stale: self.max_stale })
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        within("timeout", self.timeout, SECOND..=Duration::from_secs(30))?;
        within("max_bytes", self.max_bytes, 1..=16 * 1_024 * 1_024)?;
        let connect = self.connect_timeout.unwrap_or(CONNECT_TIMEOUT.min(self.timeout));
        within("connect_timeout", connect, Duration::from_millis(100)..=self.timeout)?;
        Ok(Limits {
            connect_timeout: connect,
            public_addresses_only: self.public_addresses_only,
            ..Limits::new(self.max_bytes, self.timeout)
        })
    }
}
