//! The nonces of DPoP proofs: an HMAC of the current minute, with keys that all instances share.

use std::fmt;
#[cfg(any(feature = "client", feature = "introspection"))]
use std::sync::Weak;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

use crate::clock::UnixTime;
use crate::digest::{constant_time_eq, random};
use crate::error::ConfigError;
use crate::jose::{Backend, HmacAlgorithm, HmacKey};
use crate::secret::Secret;

/// How long a nonce is the newest one.
const STEP_SECS: i64 = 60;

/// The most steps that an accepted nonce may be old.
const OLDEST: i64 = 4;

/// How long a nonce that is accepted now may stay accepted: it may belong to the next step.
pub(crate) const NONCE_LASTS: Duration = Duration::from_secs(6 * 60);

const LABEL: &[u8] = b"tower-bearer dpop-nonce v1";
pub(crate) const KEY_BYTES: usize = 32;

/// The keys that nonces for DPoP proofs (RFC 9449 §9) are made with, which all instances of a service
/// share.
///
/// A nonce is an HMAC of the current minute, so that an instance accepts what another one handed out
/// without a common store. It is accepted for four to five minutes, and a minute ahead, since
/// clocks differ. Nonces of an authorization server are made with other keys, and are never accepted.
///
/// # Rotation
///
/// `NonceKeys::from_provider` (with the feature `client` or `introspection`) follows a key that is replaced
/// where it is kept. By hand, clones share the keys. To replace the key of a fleet without a refusal, make the new key known to
/// every instance with [`also_accept`](Self::also_accept), then let every instance
/// [`replace`](Self::replace) the old one by it:
///
/// ```
/// use tower_bearer::Secret;
/// use tower_bearer::dpop::NonceKeys;
///
/// # let (old, new) = ([1; 32], [2; 32]);
/// let keys = NonceKeys::new(Secret::new(old))?;
/// // Later, when an operator rotates the key:
/// keys.also_accept(Secret::new(new))?;
/// // And when all instances have done that:
/// keys.replace(Secret::new(new))?;
/// # Ok::<(), tower_bearer::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct NonceKeys {
    keys: Arc<RwLock<Keys>>,
}

/// The same, for a task that must not keep the keys alive.
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) struct WeakNonceKeys(Weak<RwLock<Keys>>);

#[cfg(any(feature = "client", feature = "introspection"))]
impl WeakNonceKeys {
    /// Returns the keys while another clone of them exists.
    pub(crate) fn upgrade(&self) -> Option<NonceKeys> {
        self.0.upgrade().map(|keys| NonceKeys { keys })
    }
}

struct Keys {
    /// The one that new nonces are made with comes first.
    secrets: Vec<Secret>,
    backend: Option<Backend>,
    /// Made for one step at a time.
    known: Arc<Known>,
}

/// The nonces of a step that are accepted.
#[derive(Default)]
struct Known {
    step: i64,
    newest: Box<str>,
    others: Box<[Box<str>]>,
}

/// How current a proof's nonce is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Worth {
    /// The newest: the client needs no other one.
    Newest,
    /// Still accepted.
    Older,
    /// Missing, unknown or too old.
    None,
}

impl NonceKeys {
    /// Takes a key of 32 random bytes, which all instances of the service have.
    ///
    /// # Errors
    ///
    /// If it isn't 32 bytes long.
    pub fn new(key: Secret) -> Result<Self, ConfigError> {
        check(&key)?;
        let keys = Keys { secrets: vec![key], backend: None, known: Arc::default() };
        Ok(Self { keys: Arc::new(RwLock::new(keys)) })
    }

    /// Creates a key for this process alone: for a single instance, or for clients that always reach
    /// the same one.
    ///
    /// # Errors
    ///
    /// If the operating system has no random numbers.
    pub fn random() -> Result<Self, ConfigError> {
        let key = random::<KEY_BYTES>()
            .map_err(|_| ConfigError::new("the operating system has no random numbers"))?;
        Self::new(Secret::new(key))
    }

    /// Also accepts nonces that were made with this key, beside those of the newest key and of no
    /// third one.
    ///
    /// # Errors
    ///
    /// If it isn't 32 bytes long.
    pub fn also_accept(&self, key: Secret) -> Result<(), ConfigError> {
        check(&key)?;
        if self.others_are(&key) {
            return Ok(());
        }
        self.change(|secrets| {
            secrets.truncate(1);
            if secrets.first() != Some(&key) {
                secrets.push(key);
            }
        });
        Ok(())
    }

    /// Makes new nonces with this key, and continues to accept those of the key before it and of no
    /// third one. If it is already the newest key, nothing changes.
    ///
    /// # Errors
    ///
    /// If it isn't 32 bytes long.
    pub fn replace(&self, key: Secret) -> Result<(), ConfigError> {
        check(&key)?;
        self.change(|secrets| {
            if secrets.first() != Some(&key) {
                secrets.truncate(1);
                secrets.insert(0, key);
            }
        });
        Ok(())
    }

    #[cfg(any(feature = "client", feature = "introspection"))]
    pub(crate) fn downgrade(&self) -> WeakNonceKeys {
        WeakNonceKeys(Arc::downgrade(&self.keys))
    }

    /// Returns `true` if nonces are made with this key.
    #[cfg(any(feature = "client", feature = "introspection"))]
    pub(crate) fn is_newest(&self, key: &Secret) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.secrets.first() == Some(key)
    }

    /// Accepts nonces of the newest key only.
    #[cfg(any(feature = "client", feature = "introspection"))]
    pub(crate) fn forget_others(&self) {
        self.change(|secrets| secrets.truncate(1));
    }

    /// Returns `true` if nonces of this key, beside those of the newest one, are accepted.
    fn others_are(&self, key: &Secret) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.secrets.get(1) == Some(key)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Secret>)) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut keys.secrets);
        keys.known = Arc::default();
    }

    /// Returns the newest nonce; `None` if it can't be made.
    pub(crate) fn newest(&self, now: UnixTime, backend: Backend) -> Option<Box<str>> {
        let known = self.known(now, backend);
        (!known.newest.is_empty()).then(|| known.newest.clone())
    }

    pub(crate) fn worth(&self, nonce: Option<&str>, now: UnixTime, backend: Backend) -> Worth {
        let Some(nonce) = nonce.filter(|nonce| !nonce.is_empty()) else { return Worth::None };
        let known = self.known(now, backend);
        let is = |known: &str| constant_time_eq(known.as_bytes(), nonce.as_bytes());
        if is(&known.newest) {
            Worth::Newest
        } else if known.others.iter().any(|known| is(known)) {
            Worth::Older
        } else {
            Worth::None
        }
    }

    fn known(&self, now: UnixTime, backend: Backend) -> Arc<Known> {
        let step = now.as_secs().div_euclid(STEP_SECS);
        let fits = |keys: &Keys| {
            keys.known.step == step
                && !keys.known.newest.is_empty()
                && keys.backend == Some(backend)
        };
        {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            if fits(&keys) {
                return Arc::clone(&keys.known);
            }
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if !fits(&keys) {
            keys.known = Arc::new(Known::of(&keys.secrets, step, backend));
            keys.backend = Some(backend);
        }
        Arc::clone(&keys.known)
    }
}

impl Known {
    fn of(secrets: &[Secret], step: i64, backend: Backend) -> Self {
        let nonce = |secret: &Secret, step: i64| {
            let key = HmacKey::new(HmacAlgorithm::HS256, secret.clone(), backend).ok()?;
            let message = [LABEL, &step.to_be_bytes()].concat();
            key.tag(&message).map(|tag| BASE64_URL_SAFE_NO_PAD.encode(tag).into_boxed_str())
        };
        let newest = secrets.first().and_then(|secret| nonce(secret, step)).unwrap_or_default();
        let steps = || (step.saturating_sub(OLDEST)..=step.saturating_add(1)).rev();
        let all = secrets.iter().flat_map(|secret| steps().map(move |step| nonce(secret, step)));
        let others = all.flatten().filter(|nonce| *nonce != newest).collect();
        Self { step, newest, others }
    }
}

fn check(key: &Secret) -> Result<(), ConfigError> {
    if key.expose().len() == KEY_BYTES {
        return Ok(());
    }
    Err(ConfigError::new(format!(
        "the key for nonces has {} bytes: give 32 random bytes, the same to all instances",
        key.expose().len()
    )))
}

impl fmt::Debug for NonceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NonceKeys").finish_non_exhaustive()
    }
}

#[cfg(all(test, any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use super::*;

    fn backend() -> Backend {
        Backend::preferred().unwrap()
    }

    fn key(first: u8) -> Secret {
        Secret::new((first..first + 32).collect::<Vec<_>>())
    }

    fn at(step: i64) -> UnixTime {
        UnixTime::from_secs(step * STEP_SECS)
    }

    fn nonce(keys: &NonceKeys, step: i64) -> Box<str> {
        keys.newest(at(step), backend()).unwrap()
    }

    fn worth(keys: &NonceKeys, nonce: &str, step: i64) -> Worth {
        keys.worth(Some(nonce), at(step), backend())
    }

    const V7: i64 = 29_166_666;

    #[test]
    fn d67_v7_nonces_are_those_of_the_vectors() {
        let keys = NonceKeys::new(key(0)).unwrap();
        assert_eq!(&*nonce(&keys, V7), "WUEYsBqgEQlFJ7FItpabqVWvg8gtZjci2QSgTk6ifoQ");
        assert_eq!(&*nonce(&keys, V7 + 1), "HNTRVVRQ4t03lgyeIsRc8ah57l-pG6gDfzeLW_OF7-E");
        let last_second = UnixTime::from_secs((V7 + 1) * STEP_SECS - 1);
        assert_eq!(keys.newest(last_second, backend()), Some(nonce(&keys, V7)));
    }

    #[test]
    fn d65_a_nonce_has_characters_of_the_rfc_only() {
        let keys = NonceKeys::random().unwrap();
        let legal = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        for step in 0..100 {
            let nonce = nonce(&keys, step);
            assert!(nonce.len() == 43 && nonce.bytes().all(legal), "{nonce}");
        }
    }

    #[test]
    fn d67_a_nonce_is_accepted_from_one_step_ahead_to_four_behind() {
        let keys = NonceKeys::new(key(0)).unwrap();
        let given = nonce(&keys, V7);
        for (step, expected) in [
            (V7 - 2, Worth::None),
            (V7 - 1, Worth::Older),
            (V7, Worth::Newest),
            (V7 + 1, Worth::Older),
            (V7 + 4, Worth::Older),
            (V7 + 5, Worth::None),
        ] {
            assert_eq!(worth(&keys, &given, step), expected, "{}", step - V7);
        }
        // Another instance with the same key.
        let other = NonceKeys::new(key(0)).unwrap();
        assert_eq!(worth(&other, &given, V7), Worth::Newest);
    }

    #[test]
    fn d64_d73_what_is_no_nonce_of_ours_is_worth_nothing() {
        let keys = NonceKeys::new(key(0)).unwrap();
        let other = NonceKeys::new(key(1)).unwrap();
        assert_eq!(worth(&keys, &nonce(&other, V7), V7), Worth::None);
        assert_eq!(worth(&keys, "", V7), Worth::None);
        assert_eq!(keys.worth(None, at(V7), backend()), Worth::None);
        let good = nonce(&keys, V7);
        for other in [good.to_lowercase(), format!("{good}="), good[1..].to_owned()] {
            assert_eq!(worth(&keys, &other, V7), Worth::None, "{other}");
        }
    }

    #[test]
    fn d68_a_key_is_replaced_without_a_refusal() {
        let (one, two) = (NonceKeys::new(key(0)).unwrap(), NonceKeys::new(key(0)).unwrap());
        let old = nonce(&one, V7);
        for keys in [&one, &two] {
            keys.also_accept(key(1)).unwrap();
            assert_eq!(worth(keys, &old, V7), Worth::Newest, "the old key makes them still");
        }
        one.replace(key(1)).unwrap();
        let new = nonce(&one, V7);
        assert_ne!(new, old);
        assert_eq!((worth(&two, &new, V7), worth(&one, &old, V7)), (Worth::Older, Worth::Older));
        two.replace(key(1)).unwrap();
        two.replace(key(1)).unwrap();
        assert_eq!((worth(&two, &new, V7), worth(&two, &old, V7)), (Worth::Newest, Worth::Older));
        two.replace(key(2)).unwrap();
        assert_eq!((worth(&two, &new, V7), worth(&two, &old, V7)), (Worth::Older, Worth::None));
    }

    #[test]
    fn d68_a_key_of_another_length_is_an_error() {
        for len in [0, 16, 31, 33, 64] {
            let error = NonceKeys::new(Secret::new(vec![7; len])).unwrap_err().to_string();
            assert!(error.contains("32 random bytes"), "{error}");
        }
        let keys = NonceKeys::new(key(0)).unwrap();
        assert!(keys.replace(Secret::new("short")).is_err());
        assert!(keys.also_accept(Secret::new("short")).is_err());
        assert!(!format!("{keys:?}").contains('['));
    }
}
