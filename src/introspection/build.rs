//! Checks the settings of introspection, and builds the introspector of one issuer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::Clock;
use crate::error::{ConfigError, within};
use crate::introspection::endpoint::{Discovery, EndpointFrom};
use crate::introspection::introspector::Introspector;
use crate::introspection::report::Report;
use crate::introspection::request::Form;
use crate::introspection::settings::Introspection;
use crate::introspection::signed::Signed;
use crate::issuer::{Network, check_issuer};
use crate::jose::Algorithm;
use crate::jwks::Jwks;
use crate::slots::Slots;
use crate::transport::{Limits, PlainHttp, default_transport, parse_url, printable};
use crate::turns::longest;

const HOUR: Duration = Duration::from_secs(60 * 60);
const TENTH: Duration = Duration::from_millis(100);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_BYTES: usize = 64 * 1_024;

const ALLOWED: &str = ", or after Introspection::dangerous_allow_http";

/// The settings of the validator that an introspector is built for.
pub(crate) struct Owner<'a> {
    pub(crate) issuer: &'a Arc<str>,
    /// The issuer's keys, if it has any.
    pub(crate) jwks: Option<&'a Jwks>,
    pub(crate) algorithms: &'a [Algorithm],
    pub(crate) leeway: Duration,
    pub(crate) clock: &'a Arc<dyn Clock>,
}

impl Introspection {
    /// Checks the settings. Nothing is sent.
    pub(crate) fn build(&self, owner: &Owner<'_>) -> Result<Introspector, ConfigError> {
        within("Introspection::ttl", self.ttl, Duration::ZERO..=HOUR)?;
        within("negative_ttl", self.negative_ttl, Duration::ZERO..=Duration::from_secs(300))?;
        within("Introspection::max_stale", self.max_stale, Duration::ZERO..=HOUR)?;
        within("Introspection::timeout", self.timeout, TENTH..=Duration::from_secs(30))?;
        let connect = self.connect_timeout.unwrap_or(CONNECT_TIMEOUT.min(self.timeout));
        within("Introspection::connect_timeout", connect, TENTH..=self.timeout)?;
        within("Introspection::concurrent", self.concurrent, 1..=1_024)?;
        within("Introspection::waiting", self.waiting, 0..=100_000)?;
        if self.prefix.as_deref() == Some("") {
            return Err(ConfigError::new(
                "the token prefix is empty: name it, or leave .token_prefix(…) out",
            ));
        }
        if self.by_route && self.prefix.is_some() {
            return Err(ConfigError::new(
                "the issuer is asked by the route and by a token prefix: leave .by_route() or \
                 .token_prefix(…) out",
            ));
        }
        self.caller.check().map_err(ConfigError::new)?;
        let signed = self.signing(owner)?;
        let transport = match &self.transport {
            Some(transport) => Arc::clone(transport),
            None => default_transport(connect)?,
        };
        let (place, plain_http) = self.place(owner.issuer)?;
        let limits = Limits { connect_timeout: connect, ..Limits::new(MAX_BYTES, self.timeout) };
        Ok(Introspector {
            issuer: Arc::clone(owner.issuer),
            place,
            form: Form { caller: self.caller.clone(), hint: self.hint, signed: signed.is_some() },
            signed,
            network: Network { transport, limits, redirects: 0, plain_http },
            clock: Arc::clone(owner.clock),
            slots: Slots::new(self.concurrent, self.waiting, longest(self.timeout)),
            record: Mutex::default(),
            report: Report::new(owner.issuer),
        })
    }

    fn place(&self, issuer: &str) -> Result<(EndpointFrom, PlainHttp), ConfigError> {
        let plain_http =
            if self.dangerous_http { PlainHttp::Dangerous } else { PlainHttp::Loopback };
        if let Some(url) = &self.endpoint {
            let uri = parse_url(url, plain_http)
                .map_err(|fault| fault.report("introspection endpoint", url, ALLOWED))?;
            return Ok((EndpointFrom::Fixed(uri), plain_http));
        }
        let uri = parse_url(issuer, plain_http)
            .map_err(|fault| fault.report("issuer", issuer, ALLOWED))?;
        if uri.query().is_some() {
            // RFC 8414 §2
            return Err(ConfigError::new(format!(
                "the issuer {:?} has a query, so that it has no metadata: give the address with \
                 Introspection::endpoint",
                printable(issuer)
            )));
        }
        check_issuer(&uri)?;
        let by_certificate = self.caller.is_by_certificate() && !self.root_endpoint;
        let discovery = Discovery::new(issuer, &uri, plain_http, by_certificate);
        Ok((EndpointFrom::Discovered(discovery), plain_http))
    }

    fn signing(&self, owner: &Owner<'_>) -> Result<Option<Signed>, ConfigError> {
        if !self.signed {
            if self.signed_algorithms.is_some() || self.signed_audience.is_some() {
                return Err(ConfigError::new(
                    "answers aren't asked to be signed: call .signed(), or leave \
                     .signed_algorithms(…) and .signed_audience(…) out",
                ));
            }
            return Ok(None);
        }
        let Some(jwks) = owner.jwks else {
            return Err(ConfigError::new(
                "signed answers are checked with the issuer's keys: give them with .keys(…), and the \
                 introspection with .introspection(…)",
            ));
        };
        let algorithms = self.signed_algorithms.as_deref().unwrap_or(owner.algorithms);
        if algorithms.is_empty() {
            return Err(ConfigError::new(
                "no algorithm is accepted for signed answers: name at least one",
            ));
        }
        let audience = self.signed_audience.as_deref().or(self.caller.client_id());
        let Some(audience) = audience else {
            return Err(ConfigError::new(
                "signed answers name this service as their audience: say by which name the \
                 authorization server knows it, with .signed_audience(\"…\")",
            ));
        };
        Ok(Some(Signed {
            jwks: jwks.clone(),
            algorithms: algorithms.into(),
            audience: audience.into(),
            leeway: owner.leeway,
        }))
    }
}
