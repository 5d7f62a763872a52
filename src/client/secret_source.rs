use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::client::credentials::{SecretError, SecretErrorKind, SecretProvider};
use crate::client::digest::{Digest, Parts};
use crate::clock::monotonic;
use crate::secret::Secret;
use crate::telemetry::{count, event};

/// How long a provider's secret is used before it is asked again.
const MAX_AGE: Duration = Duration::from_secs(300);

/// How long a provider may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A provider isn't asked twice within this time, whoever needs a newer secret.
const COOLDOWN: Duration = Duration::from_secs(1);

/// Where the client's secret, or its private key, comes from: a value, or a [`SecretProvider`].
///
/// Wherever one is needed, a [`Secret`], a string or a provider does. To give several tenants one
/// provider, make one source of it and clone that: clones share what was read.
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
/// let kept = SecretSource::from(Vault).max_age(Duration::from_secs(60));
/// ```
#[derive(Clone)]
pub struct SecretSource(Arc<Source>);

enum Source {
    Fixed(Known),
    Asked(Asked),
}

/// A secret, and what it is told apart by.
#[derive(Clone)]
pub(crate) struct Known {
    secret: Secret,
    fingerprint: Digest,
}

struct Asked {
    provider: Arc<dyn SecretProvider>,
    id: u64,
    max_age: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<(Known, Instant)>,
    /// The last that a server has accepted.
    good: Option<Known>,
}

impl Known {
    pub(crate) fn new(secret: Secret) -> Self {
        let fingerprint = Parts::new("credential").part(secret.expose()).finish();
        Self { secret, fingerprint }
    }

    pub(crate) fn expose(&self) -> &[u8] {
        self.secret.expose()
    }

    pub(crate) fn fingerprint(&self) -> &Digest {
        &self.fingerprint
    }
}

impl SecretSource {
    /// Sets how old a provider's secret may become before the provider is asked again; 5 minutes by
    /// default. After an `invalid_client` it is asked anyway. It has no effect on a value.
    ///
    /// What was read so far, and what other clones read, is not shared any more.
    #[must_use]
    pub fn max_age(self, max_age: Duration) -> Self {
        match &*self.0 {
            Source::Fixed(_) => self,
            Source::Asked(asked) => Self::asking(Arc::clone(&asked.provider), max_age),
        }
    }

    fn asking(provider: Arc<dyn SecretProvider>, max_age: Duration) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Source::Asked(Asked { provider, id, max_age, state: Mutex::default() })))
    }

    /// Returns the secret, if it doesn't need to be asked for.
    pub(crate) fn fixed(&self) -> Option<&[u8]> {
        match &*self.0 {
            Source::Fixed(known) => Some(known.expose()),
            Source::Asked(_) => None,
        }
    }

    /// Returns what tells this source from others within the process: for a value, its fingerprint;
    /// for a provider, which one it is, since its secret changes.
    pub(crate) fn identity(&self) -> Digest {
        match &*self.0 {
            Source::Fixed(known) => known.fingerprint,
            Source::Asked(asked) => Parts::new("provider").part(asked.id.to_be_bytes()).finish(),
        }
    }

    /// Returns the secret to be used now.
    pub(crate) async fn current(&self) -> Result<Known, SecretError> {
        match &*self.0 {
            Source::Fixed(known) => Ok(known.clone()),
            Source::Asked(asked) => asked.read(asked.max_age, None).await,
        }
    }

    /// Returns a newer secret than the one that was refused, if there is one: what the provider has
    /// now, or else the last that was good, for the time in which the server doesn't know the new
    /// one yet.
    pub(crate) async fn other_than(&self, refused: &[&Known]) -> Option<Known> {
        let Source::Asked(asked) = &*self.0 else { return None };
        let untried =
            |known: &Known| refused.iter().all(|other| other.fingerprint != known.fingerprint);
        match asked.read(COOLDOWN, refused.last().copied()).await {
            Ok(known) if untried(&known) => Some(known),
            _ => asked.state.lock().await.good.clone().filter(untried),
        }
    }

    /// Notes that a server has accepted this secret.
    pub(crate) async fn accepted(&self, known: &Known) {
        if let Source::Asked(asked) = &*self.0 {
            asked.state.lock().await.good = Some(known.clone());
        }
    }
}

impl Asked {
    /// Returns what was read within `max_age`, unless it is `refused` and a second old; else asks.
    async fn read(&self, max_age: Duration, refused: Option<&Known>) -> Result<Known, SecretError> {
        let mut state = self.state.lock().await;
        if let Some((known, read)) = &state.current {
            let is_other = refused.is_some_and(|other| other.fingerprint != known.fingerprint);
            if is_other || monotonic().saturating_duration_since(*read) < max_age {
                return Ok(known.clone());
            }
        }
        let asked = timeout(PATIENCE, self.provider.secret()).await;
        match asked.unwrap_or(Err(SecretError::new(SecretErrorKind::Unavailable))) {
            Ok(secret) => {
                let known = Known::new(secret);
                state.current = Some((known.clone(), monotonic()));
                Ok(known)
            }
            Err(error) => {
                count!("client_secret_failed_total");
                event!(WARN, %error, "client_secret_failed: the client's secret wasn't read anew");
                // An older secret is most likely still the right one.
                state.current.as_ref().map(|(known, _)| known.clone()).ok_or(error)
            }
        }
    }
}

impl From<Secret> for SecretSource {
    fn from(secret: Secret) -> Self {
        Self(Arc::new(Source::Fixed(Known::new(secret))))
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
        Self::asking(Arc::new(provider), MAX_AGE)
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.0 {
            Source::Fixed(_) => "SecretSource(a value)",
            Source::Asked(_) => "SecretSource(a provider)",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;

    use crate::client::credentials::SecretFuture;

    use super::*;

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
        source.current().await.unwrap().expose().to_vec()
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
        assert_eq!(source.current().await.err().unwrap().kind(), SecretErrorKind::Unavailable);
        keeper.put(Some("one"));
        assert_eq!(current(&source).await, b"one");
        keeper.put(None);
        tokio::time::advance(MAX_AGE).await;
        assert_eq!(current(&source).await, b"one");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_refusal_the_new_secret_is_tried_and_then_the_last_good_one() {
        let keeper = Keeper::default();
        keeper.put(Some("old"));
        let source = SecretSource::from(keeper.clone());
        let old = source.current().await.unwrap();
        assert!(source.other_than(&[&old]).await.is_none(), "nothing else is known");
        source.accepted(&old).await;
        keeper.put(Some("new"));
        tokio::time::advance(COOLDOWN).await;
        let new = source.other_than(&[&old]).await.unwrap();
        assert_eq!(new.expose(), b"new");
        // The server doesn't know it yet.
        assert_eq!(source.other_than(&[&new]).await.unwrap().expose(), b"old");
        assert!(source.other_than(&[&new, &old]).await.is_none());
        assert_eq!(keeper.asked(), 2, "within a second it isn't asked again");
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
