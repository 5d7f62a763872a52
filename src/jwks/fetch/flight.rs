//! One attempt to update the key set, from discovery to keys that are ready to verify.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ETAG, HeaderName, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, Uri};

use crate::clock::{UnixTime, monotonic};
use crate::jose::{Backend, IgnoredKey, ParsedKeySet, parse_keys};
use crate::jwks::config::{EmptySet, Fetching, KeyLocation};
use crate::jwks::fetch::discovery::JwksMetadata;
use crate::jwks::fetch::error::{FetchError, FetchErrorKind};
use crate::jwks::fetch::source::{Answer, Fault, Question, ask};
use crate::jwks::kept::store::KeySetAnswer;
use crate::jwks::timing::freshness::Freshness;
use crate::jwks::timing::offset::clock_offset;
use crate::telemetry::event;

/// Why an attempt is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FetchCause {
    /// It was due.
    Planned,
    /// `refresh` was called.
    Manual,
    /// A token's `kid` is unknown. The second time, the set is requested unconditionally.
    Forced { number: u64, second: bool },
}

/// The input of an attempt.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) purpose: FetchCause,
    pub(crate) metadata: Option<JwksMetadata>,
    /// Whether to look for metadata although it is known: its address has failed recently.
    pub(crate) rediscover: bool,
    pub(crate) origin: Option<Arc<KeySetAnswer>>,
}

/// The result of an attempt.
#[derive(Debug)]
pub(crate) struct Landed {
    /// The metadata, if it was fetched again.
    pub(crate) metadata: Option<JwksMetadata>,
    pub(crate) result: Result<Fetched, Fault>,
    /// The first keys of a set that has no usable one.
    pub(crate) unusable: Box<[IgnoredKey]>,
}

/// Why an answer contained no usable keys.
#[derive(Debug)]
pub(crate) struct NotFetched {
    fault: Fault,
    unusable: Box<[IgnoredKey]>,
}

impl<E: Into<Fault>> From<E> for NotFetched {
    fn from(error: E) -> Self {
        Self { fault: error.into(), unusable: Box::default() }
    }
}

/// The most keys of a set without a usable one that are reported.
pub(crate) const REPORTED: usize = 8;

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) origin: KeySetAnswer,
    /// How long the set stays fresh; `None` if the answer doesn't say.
    pub(crate) remaining: Option<Duration>,
    /// The keys; `None` if they are the same as before.
    pub(crate) parsed: Option<ParsedKeySet>,
    /// By how many seconds the issuer's clock is ahead of this one, if the answer has a date.
    pub(crate) clock_offset: Option<i64>,
}

/// Makes the attempt. `now` is called only once an answer has arrived.
pub(crate) async fn attempt(
    fetching: &Fetching,
    backend: Backend,
    plan: Plan,
    now: impl Fn() -> UnixTime,
) -> Landed {
    let (jwks_uri, metadata) = match locate(fetching, &plan, &now).await {
        Ok(located) => located,
        Err(fault) => {
            return Landed { metadata: None, result: Err(fault), unusable: Box::default() };
        }
    };
    match fetch(fetching, backend, &plan, &jwks_uri, &now).await {
        Ok(fetched) => Landed { metadata, result: Ok(fetched), unusable: Box::default() },
        Err(NotFetched { fault, unusable }) => Landed { metadata, result: Err(fault), unusable },
    }
}

/// Returns the address of the set, and the metadata that names it if it was fetched again.
async fn locate(
    fetching: &Fetching,
    plan: &Plan,
    now: &impl Fn() -> UnixTime,
) -> Result<(Uri, Option<JwksMetadata>), Fault> {
    let discovery = match &fetching.target {
        KeyLocation::Url(uri) => return Ok((uri.clone(), None)),
        KeyLocation::Discovery(discovery) => discovery,
    };
    let known = plan.metadata.as_ref();
    if let Some(known) = known
        && !plan.rediscover
        && (known.is_fresh(monotonic()) || discovery.rests())
    {
        return Ok((known.jwks_uri.clone(), None));
    }
    match (discovery.find(&fetching.network, now()).await, known) {
        (Ok(found), _) => Ok((found.jwks_uri.clone(), Some(found))),
        // The previous address may still be valid, and no better one is known.
        (Err(_fault), Some(known)) => {
            event!(
                WARN,
                issuer = discovery.issuer(),
                code = _fault.error.code(),
                error = %crate::cause::Report(&_fault.error),
                "jwks_metadata: the metadata can't be renewed"
            );
            Ok((known.jwks_uri.clone(), None))
        }
        (Err(fault), None) => Err(fault),
    }
}

async fn fetch(
    fetching: &Fetching,
    backend: Backend,
    plan: &Plan,
    uri: &Uri,
    now: &impl Fn() -> UnixTime,
) -> Result<Fetched, NotFetched> {
    let url = uri.to_string();
    let before = plan.origin.as_deref().filter(|origin| *origin.url == *url);
    let second = matches!(plan.purpose, FetchCause::Forced { second: true, .. });
    let conditional =
        |origin: &&KeySetAnswer| origin.etag.is_some() || origin.last_modified.is_some();
    let question = Question {
        uri,
        no_cache: plan.purpose != FetchCause::Planned,
        unless: before.filter(conditional).filter(|_| !second),
    };
    let asked_at = now();
    let Answer { not_modified, headers, body } = ask(&fetching.network, question, asked_at).await?;
    let (fetched, fetched_at) = (monotonic(), now());
    let clock_offset = clock_offset(&headers, asked_at, fetched_at);
    let freshness = Freshness::of(&headers, fetched_at);
    if let (true, Some(before)) = (not_modified, before) {
        let freshness = freshness.or_as_before(before.lifetime);
        let origin = KeySetAnswer {
            etag: validator(&headers, &ETAG).or_else(|| before.etag.clone()),
            lifetime: freshness.lifetime,
            fetched_at,
            fetched,
            age_then: Duration::ZERO,
            ..before.clone()
        };
        let remaining = freshness.remaining();
        return Ok(Fetched { origin, remaining, parsed: None, clock_offset });
    }
    let parsed = parse(&body, fetching, backend)?;
    let origin = KeySetAnswer {
        url: url.into(),
        etag: validator(&headers, &ETAG),
        last_modified: validator(&headers, &LAST_MODIFIED),
        lifetime: freshness.lifetime,
        body,
        fetched_at,
        fetched,
        age_then: Duration::ZERO,
    };
    let remaining = freshness.remaining();
    Ok(Fetched { origin, remaining, parsed: Some(parsed), clock_offset })
}

/// Reads the set. One without a usable key is a mistake, unless it is empty and the operator has said
/// what that means.
pub(crate) fn parse(
    body: &[u8],
    fetching: &Fetching,
    backend: Backend,
) -> Result<ParsedKeySet, NotFetched> {
    let parsed = parse_keys(body, fetching.max_keys, backend, fetching.purpose);
    let mut parsed = parsed.map_err(FetchError::from)?;
    let revokes = fetching.empty_set == EmptySet::RevokeAll && parsed.ignored.is_empty();
    if parsed.keys.is_empty() && !revokes {
        parsed.ignored.truncate(REPORTED);
        let (fault, unusable) = (FetchErrorKind::NoUsableKey.into(), parsed.ignored.into());
        return Err(NotFetched { fault, unusable });
    }
    Ok(parsed)
}

/// Returns a field to send back with the next request, unless it is unreasonably long.
fn validator(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    headers.get(name).filter(|value| value.len() <= 1_024).cloned()
}
