//! Encrypts tokens for a shared store, binds each to its key there, and makes the names of those keys.

use std::borrow::Cow;
use std::time::Duration;

use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{Key, Tag, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::client::shared::stored::{Names, Stored};
use crate::clock::UnixTime;
use crate::digest::{Digest, Parts, hex, random};
use crate::error::ConfigError;
use crate::json;
use crate::secret::Secret;

/// The first byte of every value: the version of its format. Values of other versions count as none.
const VERSION: u8 = 1;
const NONCE: usize = 24;
const TAG: usize = 16;

/// Encrypts values, and names their keys.
///
/// A value is the version, a random nonce, the ciphertext and the tag of XChaCha20-Poly1305, whose
/// associated data are the version and the store's key: a value that was moved to another key, or
/// written without the secret, is rejected.
pub(crate) struct Seal {
    cipher: XChaCha20Poly1305,
    naming: Zeroizing<Digest>,
}

#[derive(Deserialize, Serialize)]
struct Plain<'a> {
    /// A token may have characters that JSON escapes.
    #[serde(borrow, rename = "t")]
    access_token: Cow<'a, str>,
    #[serde(borrow, default, rename = "s", skip_serializing_if = "Option::is_none")]
    scopes: Option<Cow<'a, str>>,
    #[serde(rename = "o")]
    obtained: f64,
    #[serde(rename = "l")]
    lifetime: u64,
    #[serde(default, rename = "b", skip_serializing_if = "std::ops::Not::not")]
    is_bound: bool,
}

impl Seal {
    /// Takes the secret that all processes of the store share.
    pub(crate) fn new(secret: &Secret) -> Result<Self, ConfigError> {
        let secret = secret.expose();
        if secret.len() < 32 {
            return Err(ConfigError::new(
                "the shared cache's key must have at least 32 random bytes",
            ));
        }
        let derive = |purpose| Zeroizing::new(Parts::new(purpose).part(secret).finish());
        let key = derive("tower-bearer shared cache: values");
        let cipher = XChaCha20Poly1305::new(&Key::from(*key));
        Ok(Self { cipher, naming: derive("tower-bearer shared cache: names") })
    }

    /// Names the keys of a grant with this secret.
    ///
    /// The names depend on the shared secret too, so that an observer can't use them to guess a weak client
    /// secret.
    pub(crate) fn names(&self, distinction: &Digest, fingerprint: &Digest) -> Names {
        let name = Parts::new("name").part(*self.naming).part(distinction).part(fingerprint);
        let name = hex(&name.finish());
        Names {
            value: format!("tower-bearer:token:{name}"),
            lock: format!("tower-bearer:lock:{name}"),
        }
    }

    /// Encrypts a token for this key; `None` if no random numbers are available.
    pub(crate) fn seal(&self, key: &str, stored: &Stored) -> Option<Vec<u8>> {
        let plain = Plain {
            access_token: Cow::Borrowed(&stored.access_token),
            scopes: stored.scopes.as_deref().map(Cow::Borrowed),
            obtained: stored.obtained.as_secs_f64(),
            lifetime: stored.lifetime.as_secs(),
            is_bound: stored.is_bound,
        };
        let plain = Zeroizing::new(serde_json::to_vec(&plain).ok()?);
        let nonce = random::<NONCE>().ok()?;
        let mut value = Vec::with_capacity(plain.len().saturating_add(1 + NONCE + TAG));
        value.push(VERSION);
        value.extend_from_slice(&nonce);
        value.extend_from_slice(&plain);
        let text = value.get_mut(1 + NONCE..)?;
        let nonce = XNonce::from(nonce);
        let tag = self.cipher.encrypt_inout_detached(&nonce, &associated(key), text.into()).ok()?;
        value.extend_from_slice(&tag);
        Some(value)
    }

    /// Decrypts a value that was found under this key; `None` if it wasn't written for it with this secret.
    pub(crate) fn open(&self, key: &str, value: &[u8]) -> Option<Stored> {
        let value = value.strip_prefix(&[VERSION])?;
        let (nonce, value) = value.split_first_chunk::<NONCE>()?;
        let (text, tag) = value.split_last_chunk::<TAG>()?;
        let mut text = Zeroizing::new(text.to_vec());
        let (nonce, tag) = (XNonce::from(*nonce), Tag::from(*tag));
        let associated = associated(key);
        self.cipher
            .decrypt_inout_detached(&nonce, &associated, text.as_mut_slice().into(), &tag)
            .ok()?;
        let plain: Plain<'_> = json::parse(&text).ok()?;
        Some(Stored {
            access_token: Zeroizing::new(plain.access_token.into_owned()),
            scopes: plain.scopes.map(Cow::into_owned),
            obtained: UnixTime::from_secs_f64(plain.obtained)?,
            lifetime: Duration::from_secs(plain.lifetime),
            is_bound: plain.is_bound,
        })
    }
}

fn associated(key: &str) -> Vec<u8> {
    [&[VERSION], key.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(secret: &str) -> Seal {
        Seal::new(&Secret::new(secret)).unwrap()
    }

    fn stored() -> Stored {
        Stored {
            access_token: Zeroizing::new("canary".into()),
            scopes: Some("a b".into()),
            obtained: UnixTime::from_secs_f64(1_700_000_000.5).unwrap(),
            lifetime: Duration::from_secs(600),
            is_bound: false,
        }
    }

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    // E8
    #[test]
    fn e8_a_value_can_be_read_under_its_own_key_only() {
        let seal = seal(KEY);
        let value = seal.seal("one", &stored()).unwrap();
        let opened = seal.open("one", &value).unwrap();
        assert_eq!(*opened.access_token, "canary");
        assert_eq!(opened.scopes.as_deref(), Some("a b"));
        assert_eq!(opened.obtained, stored().obtained);
        assert_eq!(opened.lifetime, stored().lifetime);
        assert!(seal.open("two", &value).is_none());
        let other = self::seal("another key of at least 32 bytes");
        assert!(other.open("one", &value).is_none());
    }

    // FC3
    #[test]
    fn fc3_every_character_of_a_token_comes_back() {
        let all: String = (0x21..=0x7e_u8).map(char::from).collect();
        let stored = Stored { access_token: Zeroizing::new(all.clone()), ..stored() };
        let seal = seal(KEY);
        let value = seal.seal("one", &stored).unwrap();
        assert_eq!(*seal.open("one", &value).unwrap().access_token, all);
    }

    // E8
    #[test]
    fn e8_a_value_that_was_touched_is_no_value() {
        let seal = seal(KEY);
        let value = seal.seal("one", &stored()).unwrap();
        for at in 0..value.len() {
            let mut touched = value.clone();
            touched[at] ^= 1;
            assert!(seal.open("one", &touched).is_none(), "{at}");
            assert!(seal.open("one", &value[..at]).is_none(), "{at}");
        }
        assert!(seal.open("one", &[value, vec![0]].concat()).is_none());
    }

    #[test]
    fn fa7_a_value_is_read_as_strictly_as_everything() {
        let seal = seal(KEY);
        let sealed = |text: &str| {
            let mut text = text.as_bytes().to_vec();
            let nonce = XNonce::from([7; NONCE]);
            let associated = associated("one");
            let tag =
                seal.cipher.encrypt_inout_detached(&nonce, &associated, text.as_mut_slice().into());
            [&[VERSION][..], &nonce, &text, &tag.unwrap()].concat()
        };
        let value = |more: &str| sealed(&format!(r#"{{"t":"a","s":null,"o":1.5,"l":9{more}}}"#));
        assert!(seal.open("one", &value("")).is_some());
        assert!(seal.open("one", &value(r#","a":{"b":1}"#)).is_some());
        for more in [r#","a":{"$serde_json::private::RawValue":"1"}"#, r#","a":{"b":1,"b":1}"#] {
            assert!(seal.open("one", &value(more)).is_none(), "{more}");
        }
    }

    // E8, L1
    #[test]
    fn e8_l1_nothing_can_be_read_without_the_key_and_no_value_is_like_another() {
        let seal = seal(KEY);
        let (a, b) = (seal.seal("one", &stored()).unwrap(), seal.seal("one", &stored()).unwrap());
        assert_ne!(a, b);
        assert!(!a.windows(6).any(|window| window == b"canary"));
    }

    #[test]
    fn e5_names_depend_on_grant_secret_and_shared_secret() {
        let seal = seal(KEY);
        let (a, b) = ([1; 32], [2; 32]);
        let name = |seal: &Seal, x, y| seal.names(x, y).value;
        assert_eq!(name(&seal, &a, &b), name(&self::seal(KEY), &a, &b));
        assert_ne!(name(&seal, &a, &b), name(&seal, &b, &a));
        assert_ne!(name(&seal, &a, &b), name(&seal, &a, &a));
        assert_ne!(name(&seal, &a, &b), name(&seal, &b, &b));
        assert_ne!(name(&seal, &a, &b), name(&self::seal(&KEY.to_uppercase()), &a, &b));
        let names = seal.names(&a, &b);
        assert_ne!(names.value, names.lock);
        assert!(
            names.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-:".contains(&byte))
        );
    }

    #[test]
    fn a_short_key_is_refused() {
        assert!(Seal::new(&Secret::new("short")).err().unwrap().to_string().contains("32"));
    }
}
