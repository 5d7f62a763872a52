//! Follows the key for nonces where an operator replaces it: in a file or a secret manager.

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tokio::time::{Instant, sleep, timeout};

use crate::binding::dpop::nonce::{KEY_BYTES, NONCE_LASTS, NonceKeys, WeakNonceKeys};
use crate::clock::monotonic;
use crate::credentials::provider::{SecretError, SecretErrorKind, SecretProvider};
use crate::error::ConfigError;
use crate::secret::Secret;
use crate::telemetry::event;

/// The time between two reads of the key.
const REST: Duration = Duration::from_secs(60);

/// How long nonces that other instances make with a new key are accepted before this one makes any: by
/// then, each instance has read the key.
const HEAD_START: Duration = Duration::from_secs(120);

/// How long nonces of a replaced key are accepted: other instances may replace it later, and their
/// nonces stay valid after that.
const LINGER: Duration = HEAD_START.saturating_add(NONCE_LASTS).saturating_add(REST);

/// How long a provider may take.
const PATIENCE: Duration = Duration::from_secs(5);

impl NonceKeys {
    /// Takes the key from a provider, such as a file or a secret manager, and follows it when it is replaced
    /// there. Every instance of the service has the same provider.
    ///
    /// The provider returns a key of 32 random bytes: as they are, or in base64 or base64url. In text, a
    /// second key may follow after white space: the key before it. Its nonces are accepted for as long as it is
    /// present, and an instance that starts makes new ones with it for the first two minutes, as instances that
    /// already run may do.
    ///
    /// The provider is asked once a minute, by a task of the current Tokio runtime that ends with the last
    /// clone of these keys. Nonces that were made with a new key are accepted from then on; two minutes
    /// later, when all instances know it, it makes new ones, and those of the key before it are
    /// accepted for nine minutes more. A new key that is withdrawn before that is no longer accepted. No request
    /// is therefore refused if keys are at least ten minutes apart. While the provider fails, or returns
    /// something else, the keys stay.
    /// ```
    /// use tower_bearer::client::FileSecret;
    /// use tower_bearer::dpop::{Dpop, NonceKeys};
    ///
    /// # async fn example() -> Result<(), tower_bearer::ConfigError> {
    /// let keys = NonceKeys::from_provider(FileSecret::new("/run/secrets/dpop-nonce")).await?;
    /// let dpop = Dpop::accept().public_origins(["https://api.example"]).nonces(keys);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the provider fails now, takes longer than 5 seconds, or returns no key. Later failures are logged
    /// as the event `dpop_nonce_key_failed`.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    #[cfg_attr(docsrs, doc(cfg(any(feature = "client", feature = "introspection"))))]
    pub async fn from_provider(provider: impl SecretProvider) -> Result<Self, ConfigError> {
        let missing = |error| {
            ConfigError::new(
                "the key for nonces can't be obtained from its provider: let it return 32 random bytes, as \
                 they are or in base64url",
            )
            .because(error)
        };
        let Given { newest, other } = ask(&provider).await.map_err(missing)?;
        let mut state = State::default();
        let keys = match other {
            // Instances that already run may not have read the newest key yet.
            Some(before) => {
                let keys = Self::new(before)?;
                keys.also_accept(newest.clone())?;
                state.next = Some(Next { key: newest, since: monotonic() });
                keys
            }
            None => Self::new(newest)?,
        };
        tokio::spawn(follow(keys.downgrade(), provider, state));
        Ok(keys)
    }
}

/// What a provider returned.
struct Given {
    newest: Secret,
    /// The key before it, if that is another one.
    other: Option<Secret>,
}

/// A key that is accepted, and not used for new nonces yet.
struct Next {
    key: Secret,
    since: Instant,
}

#[derive(Default)]
struct State {
    next: Option<Next>,
    /// Since when the other accepted key isn't needed here.
    over: Option<Instant>,
}

async fn follow(keys: WeakNonceKeys, provider: impl SecretProvider, mut state: State) {
    let mut fails = false;
    loop {
        sleep(REST).await;
        let given = ask(&provider).await;
        let Some(keys) = keys.upgrade() else { return };
        match given {
            Ok(given) => {
                fails = false;
                state.go_on(&keys, given);
            }
            Err(error) => {
                if !std::mem::replace(&mut fails, true) {
                    event!(
                        WARN,
                        error = %crate::cause::Report(&error),
                        "dpop_nonce_key_failed: the key for nonces can't be read again; keeping the last one"
                    );
                }
                let _ = error;
            }
        }
    }
}

impl State {
    /// Takes a key into use and the one before it out of use, step by step.
    fn go_on(&mut self, keys: &NonceKeys, Given { newest, other }: Given) {
        let now = monotonic();
        let passed = |since| now.saturating_duration_since(since);
        if keys.is_newest(&newest) {
            let withdrawn = self.next.take().is_some();
            if let Some(other) = other {
                // The lengths of all were checked.
                let _ = keys.also_accept(other);
                self.over = Some(now);
            } else if withdrawn || self.over.is_some_and(|since| passed(since) >= LINGER) {
                keys.forget_others();
                self.over = None;
            }
            return;
        }
        match &self.next {
            Some(next) if next.key == newest && passed(next.since) < HEAD_START => {}
            Some(next) if next.key == newest => {
                let _ = keys.replace(newest);
                *self = Self { next: None, over: Some(now) };
                event!(INFO, "dpop_nonce_key: nonces are made with another key");
            }
            _ => {
                let _ = keys.also_accept(newest.clone());
                *self = Self { next: Some(Next { key: newest, since: now }), over: None };
            }
        }
    }
}

async fn ask(provider: &impl SecretProvider) -> Result<Given, SecretError> {
    let given = timeout(PATIENCE, provider.secret()).await;
    let given = given.unwrap_or(Err(SecretError::new(SecretErrorKind::Unavailable)))?;
    read(given).ok_or_else(|| {
        SecretError::malformed("a key for nonces is 32 bytes, as they are or in base64url")
    })
}

fn read(given: Secret) -> Option<Given> {
    if given.expose().len() == KEY_BYTES {
        return Some(Given { newest: given, other: None });
    }
    let text = std::str::from_utf8(given.expose()).ok()?;
    let mut keys = text.split_ascii_whitespace().map(decode);
    let (newest, other) = (keys.next()??, keys.next());
    let other = match other {
        Some(other) => Some(other?).filter(|other| *other != newest),
        None => None,
    };
    keys.next().is_none().then_some(Given { newest, other })
}

fn decode(text: &str) -> Option<Secret> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['+', '/']) { &STANDARD } else { &URL_SAFE };
    let key = Secret::new(GeneralPurpose::new(alphabet, LENIENT).decode(text).ok()?);
    (key.expose().len() == KEY_BYTES).then_some(key)
}

#[cfg(all(test, any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use std::sync::{Arc, Mutex};

    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use tokio::time::advance;

    use super::*;
    use crate::binding::dpop::nonce::Worth;
    use crate::clock::UnixTime;
    use crate::credentials::provider::SecretFuture;
    use crate::jose::Backend;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    /// `None` fails.
    #[derive(Clone)]
    struct Kept(Arc<Mutex<Option<Vec<u8>>>>);

    impl Kept {
        fn new(text: impl Into<Vec<u8>>) -> Self {
            Self(Arc::new(Mutex::new(Some(text.into()))))
        }

        fn set(&self, text: Option<Vec<u8>>) {
            *self.0.lock().unwrap() = text;
        }
    }

    impl SecretProvider for Kept {
        fn secret(&self) -> SecretFuture<'_> {
            let given = self.0.lock().unwrap().clone().map(Secret::new);
            Box::pin(async { given.ok_or(SecretError::new(SecretErrorKind::Unavailable)) })
        }
    }

    fn key(byte: u8) -> Vec<u8> {
        vec![byte; KEY_BYTES]
    }

    fn text(byte: u8) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(key(byte))
    }

    fn nonce(keys: &NonceKeys) -> Box<str> {
        keys.newest(NOW, Backend::preferred().unwrap()).unwrap()
    }

    fn takes(keys: &NonceKeys, nonce: &str) -> bool {
        keys.worth(Some(nonce), NOW, Backend::preferred().unwrap()) != Worth::None
    }

    fn of(byte: u8) -> Box<str> {
        nonce(&NonceKeys::new(Secret::new(key(byte))).unwrap())
    }

    async fn minutes(count: u64) {
        for _ in 0..count {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            advance(REST).await;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn d68_a_key_is_replaced_at_the_provider_without_a_refusal() {
        let kept = Kept::new(text(1));
        let one = NonceKeys::from_provider(kept.clone()).await.unwrap();
        advance(REST / 2).await;
        let two = NonceKeys::from_provider(kept.clone()).await.unwrap();
        minutes(3).await;
        assert_eq!((nonce(&one), nonce(&two)), (of(1), of(1)));
        kept.set(Some(text(2).into_bytes()));
        let mut replaced = 0;
        for minute in 0..5 {
            for made in [nonce(&one), nonce(&two)] {
                assert!(takes(&one, &made) && takes(&two, &made), "{minute}");
                replaced += u32::from(made == of(2));
            }
            minutes(1).await;
        }
        assert!((2..8).contains(&replaced), "{replaced}");
        assert_eq!((nonce(&one), nonce(&two)), (of(2), of(2)));
        assert!(takes(&one, &of(1)), "those that clients have are accepted still");
        assert!(!takes(&one, &of(3)));
    }

    struct Hanging;

    impl SecretProvider for Hanging {
        fn secret(&self) -> SecretFuture<'_> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn d68_a_provider_that_hangs_is_an_error_in_time() {
        let asked = NonceKeys::from_provider(Hanging);
        let asked = timeout(2 * PATIENCE, asked).await.expect("it ends by itself");
        assert!(asked.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn d68_a_provider_that_fails_leaves_the_keys_as_they_are() {
        let kept = Kept::new(text(1));
        let keys = NonceKeys::from_provider(kept.clone()).await.unwrap();
        for given in [None, Some(b"short".to_vec()), Some(key(1)[1..].to_vec())] {
            kept.set(given);
            minutes(5).await;
            assert_eq!(nonce(&keys), of(1));
        }
        // One that was taken back is never used.
        kept.set(Some(text(2).into_bytes()));
        minutes(1).await;
        kept.set(Some(text(1).into_bytes()));
        minutes(5).await;
        assert_eq!(nonce(&keys), of(1));
        kept.set(Some(text(3).into_bytes()));
        minutes(5).await;
        assert_eq!(nonce(&keys), of(3));
    }

    #[tokio::test(start_paused = true)]
    async fn d68_an_instance_that_starts_uses_a_new_key_no_sooner_than_others() {
        let kept = Kept::new(text(1));
        let runs = NonceKeys::from_provider(kept.clone()).await.unwrap();
        minutes(1).await;
        let both = format!("{}\n{}", text(2), text(1));
        kept.set(Some(both.clone().into_bytes()));
        let starts = NonceKeys::from_provider(kept.clone()).await.unwrap();
        for minute in 0..30 {
            for made in [nonce(&runs), nonce(&starts)] {
                assert!(takes(&runs, &made) && takes(&starts, &made), "{minute}");
            }
            minutes(1).await;
        }
        assert_eq!((nonce(&runs), nonce(&starts)), (of(2), of(2)));
        // The key before is accepted while it is listed, since one that starts makes nonces with it.
        let late = NonceKeys::from_provider(kept.clone()).await.unwrap();
        assert!(takes(&runs, &nonce(&late)) && takes(&late, &nonce(&runs)));
        let same = NonceKeys::from_provider(Kept::new(format!("{0} {0}", text(5)))).await.unwrap();
        assert_eq!(nonce(&same), of(5));
    }

    #[tokio::test(start_paused = true)]
    async fn d68_a_key_that_is_taken_back_is_accepted_no_longer() {
        let kept = Kept::new(text(1));
        let keys = NonceKeys::from_provider(kept.clone()).await.unwrap();
        minutes(1).await;
        kept.set(Some(text(2).into_bytes()));
        minutes(2).await;
        assert!(takes(&keys, &of(2)));
        kept.set(Some(text(1).into_bytes()));
        minutes(1).await;
        assert!(!takes(&keys, &of(2)), "taken back");
        assert_eq!(nonce(&keys), of(1));
    }

    #[tokio::test(start_paused = true)]
    async fn d68_a_key_that_is_replaced_is_accepted_until_its_nonces_are_over() {
        let kept = Kept::new(text(1));
        let keys = NonceKeys::from_provider(kept.clone()).await.unwrap();
        minutes(1).await;
        kept.set(Some(text(3).into_bytes()));
        minutes(4).await;
        assert_eq!(nonce(&keys), of(3));
        // The same twice takes the place of none.
        kept.set(Some(format!("{0} {0}", text(3)).into_bytes()));
        minutes(7).await;
        assert!(takes(&keys, &of(1)), "clients may have it still");
        minutes(5).await;
        assert!(!takes(&keys, &of(1)), "replaced");
        assert_eq!(nonce(&keys), of(3));
    }

    #[tokio::test(start_paused = true)]
    async fn d68_a_key_may_come_in_any_usual_form() {
        let standard = BASE64_STANDARD.encode([0xfb; KEY_BYTES]);
        assert!(standard.contains('+') || standard.contains('/'));
        for given in [
            key(0xfb),
            standard.clone().into_bytes(),
            format!("{standard}\n").into_bytes(),
            text(0xfb).into_bytes(),
            format!(" {}\r\n", text(0xfb)).into_bytes(),
            format!("{}\n{}\n", text(0xfb), text(7)).into_bytes(),
        ] {
            let both = given.len() > 80;
            let keys = NonceKeys::from_provider(Kept::new(given)).await.unwrap();
            assert!(takes(&keys, &of(0xfb)));
            assert_eq!(nonce(&keys), of(if both { 7 } else { 0xfb }));
            assert_eq!(takes(&keys, &of(7)), both);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn d68_a_key_that_is_missing_at_the_start_is_an_error() {
        let three = [text(1), text(2), text(3)].join("\n");
        for given in [
            None,
            Some(Vec::new()),
            Some(b"\n".to_vec()),
            Some(key(1)[1..].to_vec()),
            Some([key(1), key(2)].concat()),
            Some(text(1)[1..].into()),
            Some(format!("{} x", text(1)).into()),
            Some(three.into()),
        ] {
            let kept = Kept::new("");
            kept.set(given);
            let error = NonceKeys::from_provider(kept).await.unwrap_err();
            assert!(error.to_string().contains("32 random bytes"), "{error}");
            assert!(std::error::Error::source(&error).is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn d68_nobody_is_asked_once_the_keys_are_gone() {
        let kept = Kept::new(text(1));
        let keys = NonceKeys::from_provider(kept.clone()).await.unwrap();
        minutes(1).await;
        assert_eq!(Arc::strong_count(&kept.0), 2);
        drop(keys);
        minutes(2).await;
        assert_eq!(Arc::strong_count(&kept.0), 1);
    }
}
