//! What an issuer's metadata says, searched when it is needed and kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(feature = "introspection")]
use http::Uri;
use tokio::time::Instant;

use crate::clock::{UnixTime, monotonic};
use crate::issuer::document::Refused;
use crate::issuer::exchange::Network;
use crate::issuer::fault::{Fault, FaultKind};
use crate::issuer::search::Search;
use crate::turns::{Turns, longest};

/// The least time between two searches after what was found turned out to be outdated.
const REST: Duration = Duration::from_secs(10);

/// The least time between two searches while what was found is old, and works.
const REST_OLD: Duration = Duration::from_secs(60 * 60);

/// What an issuer's metadata says. Calls that come during a search wait for it.
#[derive(Debug)]
pub(crate) struct Kept<T, E> {
    search: Search,
    /// How long the metadata is fresh; after that, it is used only while none newer is found.
    lifetime: Duration,
    found: Mutex<Found<T, E>>,
    /// Held during a search.
    searching: Arc<Turns>,
    /// Whether the next call searches whatever its age.
    outdated: AtomicBool,
}

#[derive(Debug)]
struct Found<T, E> {
    value: Option<(T, Instant)>,
    /// Why the last search failed, and when.
    failed: Option<(E, Instant)>,
}

impl<T: Clone, E: Clone> Kept<T, E> {
    pub(crate) fn new(search: Search, lifetime: Duration) -> Self {
        Self {
            search,
            lifetime,
            found: Mutex::new(Found { value: None, failed: None }),
            searching: Arc::default(),
            outdated: AtomicBool::new(false),
        }
    }

    /// Returns what the metadata says, read with `accept`. What was found before stays in use while a search
    /// fails, unless that finds another issuer's metadata.
    pub(crate) async fn find(
        &self,
        network: &Network,
        now: UnixTime,
        accept: impl Fn(&[u8]) -> Result<T, Refused>,
        error: impl FnOnce(Fault) -> E,
    ) -> Result<T, E> {
        let came = monotonic();
        let turn = self.searching.take(Some(longest(network.limits.timeout))).await;
        if let Some(settled) = self.settled(came) {
            return settled;
        }
        self.outdated.store(false, Ordering::Relaxed);
        let mut network = network.clone();
        if self.found().value.is_some() {
            // A search that hangs leaves time to use what is known.
            let half = network.limits.timeout.checked_div(2);
            network.limits.timeout = half.unwrap_or_default();
        }
        let fault = match self.search.find(&network, now, accept).await {
            Ok(value) => {
                if turn.is_current() {
                    let value = Some((value.clone(), monotonic()));
                    *self.found() = Found { value, failed: None };
                }
                return Ok(value);
            }
            Err(fault) => fault,
        };
        let is_of_another = matches!(fault.kind, FaultKind::IssuerMismatch(_));
        let error = error(fault);
        let mut found = self.found();
        if !turn.is_current() {
            return Err(error);
        }
        if is_of_another {
            // No secret or token may be sent there until the issuer's own metadata is found again.
            found.value = None;
        }
        found.failed = Some((error.clone(), monotonic()));
        found.or_old(&error)
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn issuer(&self) -> &str {
        self.search.issuer()
    }

    /// Returns the location that is asked first.
    #[cfg(feature = "introspection")]
    pub(crate) fn first_place(&self) -> Option<&Uri> {
        self.search.first_place()
    }

    /// Returns what is known, whatever its age.
    #[cfg(feature = "introspection")]
    pub(crate) fn known(&self) -> Option<T> {
        self.found().value.as_ref().map(|(value, _)| value.clone())
    }

    /// Has the next call search, since what was found may be outdated.
    pub(crate) fn invalidate(&self) {
        self.outdated.store(true, Ordering::Relaxed);
    }

    /// Returns what is to be used without a search, for a call that began at that time.
    fn settled(&self, came: Instant) -> Option<Result<T, E>> {
        let found = self.found();
        // A search that failed while this call waited counts for this call too, so that waiting calls don't search one
        // after the other.
        if let Some((error, _)) = found.failed.as_ref().filter(|(_, at)| *at >= came) {
            return Some(found.or_old(error));
        }
        let (value, at) = found.value.as_ref()?;
        let is_outdated = self.outdated.load(Ordering::Relaxed);
        let (lifetime, rest) = if is_outdated { (REST, REST) } else { (self.lifetime, REST_OLD) };
        let is_within = |at: &Instant, time| monotonic().saturating_duration_since(*at) < time;
        let is_usable = is_within(at, lifetime)
            || found.failed.as_ref().is_some_and(|(_, at)| is_within(at, rest));
        is_usable.then(|| Ok(value.clone()))
    }

    fn found(&self) -> MutexGuard<'_, Found<T, E>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone, E: Clone> Found<T, E> {
    /// Returns what is known, since it may work while no newer can be found, or else the error.
    fn or_old(&self, error: &E) -> Result<T, E> {
        self.value.as_ref().map(|(value, _)| value.clone()).ok_or_else(|| error.clone())
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;
    use tokio::sync::Notify;
    use tokio::time::advance;
    use tokio_test::task;

    use super::*;
    use crate::transport::{Limits, PlainHttp, Transport, TransportErrorKind, TransportFuture};

    const NOW: UnixTime = UnixTime::from_secs(0);
    const TIMEOUT: Duration = Duration::from_secs(5);
    const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
    const SECOND: Duration = Duration::from_secs(1);

    /// Answers with metadata of this issuer or of another one, late, or not at all.
    #[derive(Default)]
    struct Server {
        answer: Mutex<Answers>,
        requests: std::sync::atomic::AtomicUsize,
        release: Notify,
    }

    #[derive(Clone, Copy, Default, PartialEq)]
    enum Answers {
        #[default]
        Own,
        AnotherIssuers,
        Refuses,
        Hangs,
        OwnLate,
    }

    /// Both the server and a handle on it.
    #[derive(Clone, Default)]
    struct Handle(Arc<Server>);

    impl Handle {
        fn set(&self, answer: Answers) {
            *self.0.answer.lock().unwrap() = answer;
        }

        fn requests(&self) -> usize {
            self.0.requests.swap(0, Ordering::Relaxed)
        }
    }

    impl Transport for Handle {
        fn send(&self, _: http::Request<bytes::Bytes>, limits: Limits) -> TransportFuture {
            let (server, answer) = (Arc::clone(&self.0), *self.0.answer.lock().unwrap());
            server.requests.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                match answer {
                    Answers::Refuses => return Err(TransportErrorKind::Connect.into()),
                    Answers::Hangs => {
                        tokio::time::sleep(limits.timeout).await;
                        return Err(TransportErrorKind::Timeout.into());
                    }
                    Answers::OwnLate => server.release.notified().await,
                    Answers::Own | Answers::AnotherIssuers => {}
                }
                let host = if answer == Answers::AnotherIssuers { "b" } else { "a" };
                let document = format!(r#"{{"issuer":"https://{host}.example"}}"#);
                Ok(http::Response::new(document.into()))
            })
        }
    }

    struct Fixture {
        kept: Kept<u8, FaultKind>,
        network: Network,
        server: Handle,
    }

    impl Fixture {
        fn new() -> Self {
            let document = "https://a.example/.well-known/openid-configuration".parse().unwrap();
            let kept = Kept::new(Search::at("https://a.example", document), LIFETIME);
            let (server, limits) = (Handle::default(), Limits::new(1_024, TIMEOUT));
            let transport = Arc::new(server.clone());
            let network =
                Network { transport, limits, redirects: 0, plain_http: PlainHttp::Refused };
            Self { kept, network, server }
        }

        async fn find(&self) -> Result<u8, FaultKind> {
            self.find_by(&self.network).await
        }

        async fn find_by(&self, network: &Network) -> Result<u8, FaultKind> {
            self.kept.find(network, NOW, |_| Ok(1), |fault| fault.kind).await
        }
    }

    fn mismatch() -> Result<u8, FaultKind> {
        Err(FaultKind::IssuerMismatch("https://b.example".into()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_found_is_kept_for_its_lifetime_and_longer_while_none_newer_is_found() {
        let fixture = Fixture::new();
        let (server, found) = (&fixture.server, || fixture.find());
        server.set(Answers::Refuses);
        let connect = Err(TransportErrorKind::Connect.into());
        for _ in 0..2 {
            assert_eq!(found().await, connect);
            advance(SECOND).await;
        }
        assert_eq!(server.requests(), 2, "nothing is known yet");
        server.set(Answers::Own);
        assert_eq!(found().await, Ok(1));
        advance(LIFETIME - SECOND).await;
        assert_eq!((found().await, server.requests()), (Ok(1), 1));
        advance(SECOND).await;
        assert_eq!((found().await, server.requests()), (Ok(1), 1));
        advance(LIFETIME).await;
        server.set(Answers::Refuses);
        for expected in [1, 0, 1] {
            assert_eq!((found().await, server.requests()), (Ok(1), expected));
            advance(REST_OLD / 2).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_outdated_is_searched_again_but_not_all_the_time() {
        let fixture = Fixture::new();
        let (server, found) = (&fixture.server, || fixture.find());
        assert_eq!((found().await, server.requests()), (Ok(1), 1));
        for answer in [Answers::Own, Answers::Refuses] {
            server.set(answer);
            let searches = if answer == Answers::Own { [0, 0, 1, 0] } else { [1, 0, 1, 0] };
            for expected in searches {
                fixture.kept.invalidate();
                assert_eq!((found().await, server.requests()), (Ok(1), expected));
                advance(REST / 2).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_search_that_hangs_leaves_time_to_use_what_is_known() {
        let fixture = Fixture::new();
        let server = &fixture.server;
        server.set(Answers::Hangs);
        let began = monotonic();
        assert_eq!(fixture.find().await, Err(TransportErrorKind::Timeout.into()));
        assert_eq!(monotonic() - began, TIMEOUT, "with nothing known, it has the whole time");
        advance(SECOND).await;
        server.set(Answers::Own);
        assert_eq!(fixture.find().await, Ok(1));
        server.set(Answers::Hangs);
        advance(LIFETIME).await;
        let began = monotonic();
        assert_eq!(fixture.find().await, Ok(1));
        assert_eq!(monotonic() - began, TIMEOUT / 2);
        assert_eq!(fixture.find().await, Ok(1));
        assert_eq!(monotonic() - began, TIMEOUT / 2, "the next call doesn't search");
    }

    #[tokio::test(start_paused = true)]
    async fn i13_nothing_is_used_until_the_metadata_is_the_issuers_again() {
        let fixture = Fixture::new();
        assert_eq!(fixture.find().await, Ok(1));
        fixture.server.set(Answers::AnotherIssuers);
        advance(REST).await;
        assert_eq!(fixture.find().await, Ok(1), "it is fresh");
        fixture.kept.invalidate();
        // Also while what was found before would still be fresh, or a failure is young.
        for pause in [SECOND, 2 * SECOND, REST, LIFETIME] {
            advance(pause).await;
            assert_eq!(fixture.find().await, mismatch(), "{pause:?}");
        }
        fixture.server.set(Answers::Refuses);
        for _ in 0..2 {
            advance(SECOND).await;
            assert_eq!(fixture.find().await, Err(TransportErrorKind::Connect.into()));
        }
        fixture.server.set(Answers::Own);
        advance(SECOND).await;
        assert_eq!(fixture.find().await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn i13_a_search_that_was_passed_over_brings_nothing_back() {
        let fixture = Fixture::new();
        fixture.server.set(Answers::OwnLate);
        // Its own time isn't up, as on a runtime that isn't driven.
        let patient =
            Network { limits: Limits::new(1_024, 10 * TIMEOUT), ..fixture.network.clone() };
        let mut late = task::spawn(fixture.find_by(&patient));
        assert!(late.poll().is_pending());
        advance(TIMEOUT + 2 * SECOND).await;
        fixture.server.set(Answers::AnotherIssuers);
        assert_eq!(fixture.find().await, mismatch());
        fixture.server.0.release.notify_one();
        assert_eq!(late.await, Ok(1), "for its own caller");
        advance(SECOND).await;
        assert_eq!(fixture.find().await, mismatch());
    }

    #[test]
    fn a_search_on_a_runtime_that_is_kept_and_not_run_is_passed_over() {
        let runtime =
            || Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (kept, other, fixture) = (runtime(), runtime(), Fixture::new());
        fixture.server.set(Answers::Hangs);
        let mut parked = task::spawn(fixture.find());
        kept.block_on(async { assert!(parked.poll().is_pending()) });
        fixture.server.set(Answers::Own);
        assert_eq!(other.block_on(fixture.find()), Ok(1));
    }
}
