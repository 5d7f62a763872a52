//! Where a secret or private key comes from: a fixed value, or a provider whose answer is cached.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::credentials::fingerprinted::FingerprintedSecret;
use crate::credentials::inquiry::Provided;
use crate::credentials::jwt;
use crate::credentials::provider::{SecretError, SecretProvider};
use crate::digest::Digest;
use crate::secret::Secret;

/// The default of how long a provider's secret is used before the provider is asked again.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Where the client's secret, or its private key, comes from: a value, or a [`SecretProvider`].
///
/// A [`Secret`], a string and a provider can be converted into one. A byte order mark at the beginning and
/// one line end (`\n` or `\r\n`) at the end are removed from every secret, since editors, consoles and `echo`
/// add them. A secret that is sent, or is the key of an HMAC, must then be printable ASCII (`%x20-7E`,
/// RFC 6749 appendix A.2): a value that isn't is refused when the grant is built, and a provider's when it is
/// used. To give several tenants one provider, make one source of it and clone that: clones share the cached
/// secret.
///
/// ```
/// use std::time::Duration;
///
/// use tower_bearer::Secret;
/// use tower_bearer::client::{SecretFuture, SecretProvider, SecretSource};
///
/// struct Vault;
///
/// impl SecretProvider for Vault {
///     fn secret(&self) -> SecretFuture<'_> {
///         Box::pin(async { Ok(Secret::new("from the vault")) })
///     }
/// }
///
/// let fixed = SecretSource::from("s3cret");
/// let cached = SecretSource::from(Vault).max_age(Duration::from_secs(60));
/// ```
#[derive(Clone)]
pub struct SecretSource(Arc<Source>);

enum Source {
    Fixed(FingerprintedSecret),
    Provided(Box<Provided>),
}

impl SecretSource {
    /// Sets how old a provider's secret may become before the provider is asked again; 5 minutes by
    /// default. After an `invalid_client` it is asked anyway. It has no effect on a value.
    ///
    /// The cache starts empty, and is no longer shared with other clones.
    #[must_use]
    pub fn max_age(self, max_age: Duration) -> Self {
        match &*self.0 {
            Source::Fixed(_) => self,
            Source::Provided(asked) => Self::asking(asked.with_max_age(max_age)),
        }
    }

    /// Creates a source of a workload's JWTs, which asks the provider each time.
    pub(crate) fn of_workload(provider: impl SecretProvider) -> Self {
        Self::asking(Provided::new(Arc::new(provider), Duration::ZERO, jwt::fault))
    }

    fn asking(asked: Provided) -> Self {
        Self(Arc::new(Source::Provided(Box::new(asked))))
    }

    /// Returns the secret, if it doesn't need to be asked for.
    pub(crate) fn fixed(&self) -> Option<&[u8]> {
        match &*self.0 {
            Source::Fixed(known) => Some(known.expose()),
            Source::Provided(_) => None,
        }
    }

    /// Returns what distinguishes this source from others within the process: for a value, its fingerprint;
    /// for a provider, its number, since its secret changes.
    pub(crate) fn identity(&self) -> Digest {
        match &*self.0 {
            Source::Fixed(known) => *known.fingerprint(),
            Source::Provided(asked) => asked.identity(),
        }
    }

    /// Returns how long a secret that was read is used; `None` for a value, which never changes.
    #[cfg(all(feature = "client", feature = "dpop"))]
    pub(crate) fn lasts(&self) -> Option<Duration> {
        match &*self.0 {
            Source::Fixed(_) => None,
            Source::Provided(asked) => Some(asked.max_age()),
        }
    }

    /// Returns the current secret. A provider has `patience` to answer, and five seconds at most.
    pub(crate) async fn current(
        &self,
        patience: Duration,
    ) -> Result<FingerprintedSecret, SecretError> {
        match &*self.0 {
            Source::Fixed(known) => Ok(known.clone()),
            Source::Provided(asked) => asked.current(patience).await,
        }
    }

    /// Returns another secret than those that were refused, if there is one: the provider's current one,
    /// or else the last accepted one, as long as the server may not know the new one yet.
    pub(crate) async fn other_than(
        &self,
        refused: &[FingerprintedSecret],
        patience: Duration,
    ) -> Option<FingerprintedSecret> {
        let Source::Provided(asked) = &*self.0 else { return None };
        let untried = |known: &FingerprintedSecret| {
            refused.iter().all(|other| other.fingerprint() != known.fingerprint())
        };
        match asked.newer(untried, patience).await {
            Some(known) => Some(known),
            None => asked.good().filter(untried),
        }
    }

    /// Forces the provider to be asked the next time that the secret is needed.
    #[cfg(feature = "client")]
    pub(crate) fn reset(&self) {
        if let Source::Provided(asked) = &*self.0 {
            asked.reset();
        }
    }

    /// Records that a server has accepted this secret.
    pub(crate) fn accepted(&self, known: &FingerprintedSecret) {
        if let Source::Provided(asked) = &*self.0 {
            asked.accepted(known);
        }
    }
}

impl From<Secret> for SecretSource {
    fn from(secret: Secret) -> Self {
        Self(Arc::new(Source::Fixed(FingerprintedSecret::new(secret))))
    }
}

impl From<String> for SecretSource {
    fn from(secret: String) -> Self {
        Secret::new(secret).into()
    }
}

impl From<&str> for SecretSource {
    fn from(secret: &str) -> Self {
        Secret::new(secret).into()
    }
}

impl<P: SecretProvider> From<P> for SecretSource {
    fn from(provider: P) -> Self {
        let fault = |secret: &[u8]| secret.is_empty().then_some("it is empty");
        Self::asking(Provided::new(Arc::new(provider), MAX_AGE, fault))
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.0 {
            Source::Fixed(_) => "SecretSource(a value)",
            Source::Provided(_) => "SecretSource(a provider)",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::clock::monotonic;
    use crate::credentials::inquiry::{COOLDOWN, LONGEST_COOLDOWN, PATIENCE};
    use crate::credentials::provider::{SecretErrorKind, SecretFuture};

    const SECOND: Duration = Duration::from_secs(1);

    /// Gives what the test has put in, and counts how often it was asked.
    #[derive(Clone, Default)]
    struct Keeper(Arc<StdMutex<(Option<&'static str>, u32)>>);

    impl Keeper {
        fn put(&self, secret: Option<&'static str>) {
            self.0.lock().unwrap().0 = secret;
        }

        fn asked(&self) -> u32 {
            self.0.lock().unwrap().1
        }
    }

    impl SecretProvider for Keeper {
        fn secret(&self) -> SecretFuture<'_> {
            let mut state = self.0.lock().unwrap();
            state.1 += 1;
            let secret = state.0.map(Secret::new);
            let unavailable = SecretError::new(SecretErrorKind::Unavailable);
            Box::pin(async move { secret.ok_or(unavailable) })
        }
    }

    async fn current(source: &SecretSource) -> Vec<u8> {
        source.current(PATIENCE).await.unwrap().expose().to_vec()
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_is_asked_once_in_a_while() {
        let keeper = Keeper::default();
        keeper.put(Some("one"));
        let source = SecretSource::from(keeper.clone());
        assert_eq!(current(&source).await, b"one");
        keeper.put(Some("two"));
        tokio::time::advance(MAX_AGE - Duration::from_millis(1)).await;
        assert_eq!(current(&source).await, b"one");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(current(&source).await, b"two");
        assert_eq!(keeper.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_secret_serves_while_the_provider_is_away() {
        let keeper = Keeper::default();
        let source = SecretSource::from(keeper.clone());
        assert_eq!(
            source.current(PATIENCE).await.err().unwrap().kind(),
            SecretErrorKind::Unavailable
        );
        keeper.put(Some("one"));
        assert_eq!(current(&source).await, b"one");
        keeper.put(None);
        tokio::time::advance(MAX_AGE).await;
        assert_eq!(current(&source).await, b"one");
    }

    async fn other(source: &SecretSource, refused: &[&FingerprintedSecret]) -> Option<Vec<u8>> {
        let refused: Vec<FingerprintedSecret> = refused.iter().copied().cloned().collect();
        source.other_than(&refused, PATIENCE).await.map(|known| known.expose().to_vec())
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_refusal_the_new_secret_is_tried_and_then_the_last_good_one() {
        let keeper = Keeper::default();
        keeper.put(Some("old"));
        let source = SecretSource::from(keeper.clone());
        let old = source.current(PATIENCE).await.unwrap();
        assert_eq!(other(&source, &[&old]).await, None, "nothing else is known");
        source.accepted(&old);
        keeper.put(Some("new"));
        assert_eq!(other(&source, &[&old]).await.unwrap(), b"new");
        let new = source.current(PATIENCE).await.unwrap();
        // The server doesn't know it yet.
        assert_eq!(other(&source, &[&new]).await.unwrap(), b"old");
        assert_eq!(other(&source, &[&new, &old]).await, None);
        // Whichever was refused last, the provider is asked for a third.
        keeper.put(Some("third"));
        assert_eq!(other(&source, &[&new, &old]).await.unwrap(), b"third");
    }

    // However lately it was read: the secret may have changed since.
    #[tokio::test(start_paused = true)]
    async fn a_refusal_has_the_provider_asked_at_once_and_then_once_a_second() {
        let keeper = Keeper::default();
        keeper.put(Some("old"));
        let source = SecretSource::from(keeper.clone());
        let old = source.current(PATIENCE).await.unwrap();
        let started = monotonic();
        assert_eq!(other(&source, &[&old]).await, None);
        assert_eq!((keeper.asked(), started.elapsed()), (2, Duration::ZERO));
        // Many calls that are refused within the second wait, and share one answer.
        let many = (0..50).map(|_| {
            let (source, old) = (source.clone(), old.clone());
            tokio::spawn(async move { other(&source, &[&old]).await })
        });
        let many: Vec<_> = many.collect();
        tokio::time::sleep(COOLDOWN / 2).await;
        assert_eq!(keeper.asked(), 2);
        keeper.put(Some("new"));
        for one in many {
            assert_eq!(one.await.unwrap().unwrap(), b"new");
        }
        assert_eq!((keeper.asked(), started.elapsed()), (3, COOLDOWN));
        // It is the same if there is no other.
        let new = source.current(PATIENCE).await.unwrap();
        let (started, refused) = (monotonic(), [old, new]);
        let many = (0..50).map(|_| {
            let (source, refused) = (source.clone(), refused.clone());
            tokio::spawn(async move { source.other_than(&refused, PATIENCE).await.is_none() })
        });
        for one in many.collect::<Vec<_>>() {
            assert!(one.await.unwrap());
        }
        assert_eq!((keeper.asked(), started.elapsed()), (4, COOLDOWN));
    }

    // FC14
    #[tokio::test(start_paused = true)]
    async fn fc14_a_provider_that_has_nothing_else_is_asked_ever_more_seldom() {
        let keeper = Keeper::default();
        keeper.put(Some("wrong"));
        let source = SecretSource::from(keeper.clone()).max_age(Duration::MAX);
        let wrong = source.current(PATIENCE).await.unwrap();
        let started = monotonic();
        while started.elapsed() < Duration::from_secs(600) {
            assert_eq!(other(&source, &[&wrong]).await, None);
            tokio::time::advance(SECOND).await;
        }
        assert!((10..=35).contains(&keeper.asked()), "{}", keeper.asked());
        // The good case: a new secret is found in half a minute, and the next one at once again.
        keeper.put(Some("right"));
        let changed = monotonic();
        while other(&source, &[&wrong]).await.is_none() {
            tokio::time::advance(SECOND).await;
        }
        assert!(changed.elapsed() <= LONGEST_COOLDOWN + SECOND, "{:?}", changed.elapsed());
        let right = source.current(PATIENCE).await.unwrap();
        keeper.put(Some("newer"));
        let changed = monotonic();
        assert_eq!(other(&source, &[&wrong, &right]).await.unwrap(), b"newer");
        assert!(changed.elapsed() <= COOLDOWN, "{:?}", changed.elapsed());
    }

    /// Answers once, and hangs from then on.
    struct Fading(AtomicU64);

    impl SecretProvider for Fading {
        fn secret(&self) -> SecretFuture<'_> {
            let first = self.0.fetch_add(1, Ordering::Relaxed) == 0;
            Box::pin(async move {
                if first { Ok(Secret::new("old")) } else { std::future::pending().await }
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_hangs_is_waited_for_once_by_all() {
        let source = SecretSource::from(Fading(AtomicU64::new(0)));
        let old = source.current(PATIENCE).await.unwrap();
        tokio::time::advance(MAX_AGE).await;
        let started = monotonic();
        let many: Vec<_> = (0..20)
            .map(|_| {
                let source = source.clone();
                tokio::spawn(async move { current(&source).await })
            })
            .collect();
        // Recording that a secret was accepted never waits.
        tokio::time::sleep(SECOND).await;
        source.accepted(&old);
        assert_eq!(started.elapsed(), SECOND);
        for one in many {
            assert_eq!(one.await.unwrap(), b"old");
        }
        assert_eq!(started.elapsed(), PATIENCE);
        // A call just after that doesn't wait at all.
        assert_eq!(current(&source).await, b"old");
        assert_eq!(started.elapsed(), PATIENCE);
        // A call with less time waits less, and gets the older secret all the same.
        tokio::time::advance(COOLDOWN).await;
        let started = monotonic();
        assert_eq!(source.current(SECOND).await.unwrap().expose(), b"old");
        assert_eq!(started.elapsed(), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_never_answered_is_waited_for_once_by_all() {
        let source = SecretSource::from(Fading(AtomicU64::new(1)));
        let started = monotonic();
        let many = (0..20).map(|_| {
            let source = source.clone();
            // However much time there is.
            tokio::spawn(async move { source.current(MAX_AGE).await.is_err() })
        });
        for one in many.collect::<Vec<_>>() {
            assert!(one.await.unwrap());
        }
        assert_eq!(started.elapsed(), PATIENCE);
    }

    /// Takes a second for each answer.
    struct Slow(Arc<AtomicU64>);

    impl SecretProvider for Slow {
        fn secret(&self) -> SecretFuture<'_> {
            Box::pin(async {
                tokio::time::sleep(SECOND).await;
                Ok(Secret::new(format!("{}", self.0.fetch_add(1, Ordering::Relaxed))))
            })
        }
    }

    // Not even where nothing may be kept.
    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_same_answer_shares_it() {
        let count = Arc::new(AtomicU64::new(0));
        let source = SecretSource::from(Slow(Arc::clone(&count))).max_age(Duration::ZERO);
        for asked in 1..=3 {
            let many = (0..20).map(|_| {
                let source = source.clone();
                tokio::spawn(async move { current(&source).await })
            });
            for one in many.collect::<Vec<_>>() {
                one.await.unwrap();
            }
            assert_eq!(count.load(Ordering::Relaxed), asked);
        }
    }

    // An inquiry for one tenant doesn't delay others that have a secret.
    #[tokio::test(start_paused = true)]
    async fn a_fresh_secret_is_used_while_the_provider_is_asked_for_another() {
        let source = SecretSource::from(Fading(AtomicU64::new(0)));
        let old = source.current(PATIENCE).await.unwrap();
        let asking = tokio::spawn({
            let (source, old) = (source.clone(), old.clone());
            async move { other(&source, &[&old]).await }
        });
        tokio::time::sleep(SECOND).await;
        let started = monotonic();
        assert_eq!(current(&source).await, b"old");
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert_eq!(asking.await.unwrap(), None);
    }

    // Basic with an empty password would be sent, and be refused.
    #[tokio::test(start_paused = true)]
    async fn an_empty_secret_is_none() {
        let keeper = Keeper::default();
        keeper.put(Some(""));
        let source = SecretSource::from(keeper.clone());
        let error = source.current(PATIENCE).await.err().unwrap();
        assert_eq!(error.kind(), SecretErrorKind::Malformed);
        keeper.put(Some("there"));
        assert_eq!(current(&source).await, b"there");
        keeper.put(Some(""));
        tokio::time::advance(MAX_AGE).await;
        assert_eq!(current(&source).await, b"there");
    }

    #[test]
    fn e5_values_are_told_apart_by_what_they_are_and_providers_by_which() {
        let identity = |source: &SecretSource| source.identity();
        let (a, b) = (SecretSource::from("a"), SecretSource::from("b"));
        assert_eq!(identity(&a), identity(&SecretSource::from(Secret::new("a"))));
        assert_ne!(identity(&a), identity(&b));
        let (one, two) =
            (SecretSource::from(Keeper::default()), SecretSource::from(Keeper::default()));
        assert_eq!(identity(&one), identity(&one.clone()));
        assert_ne!(identity(&one), identity(&two));
    }

    #[test]
    fn l1_debug_shows_no_secret() {
        assert_eq!(format!("{:?}", SecretSource::from("canary")), "SecretSource(a value)");
    }
}
