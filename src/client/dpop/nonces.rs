//! The newest DPoP nonce of each origin (RFC 9449 §8, §9).

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;

use crate::transport::Origin;

/// For how many origins nonces are kept; the least recently used are evicted.
const MOST: usize = 100;

/// Longer nonces are ignored.
const LONGEST: usize = 1_024;

/// The newest nonce of each origin, the most recently used last.
#[derive(Default)]
pub(crate) struct Nonces(Mutex<Vec<(Origin, Arc<str>)>>);

impl Nonces {
    pub(crate) fn get(&self, origin: &Origin) -> Option<Arc<str>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().rposition(|(known, _)| known == origin)?;
        if let Some(used) = kept.get_mut(at..) {
            used.rotate_left(1);
        }
        kept.last().map(|(_, nonce)| Arc::clone(nonce))
    }

    pub(crate) fn set(&self, origin: &Origin, nonce: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match kept.iter().rposition(|(known, _)| known == origin) {
            Some(at) => Some(at),
            None => (kept.len() >= MOST).then_some(0),
        };
        match before.map(|at| kept.remove(at)) {
            Some((known, same)) if known == *origin && *same == *nonce => kept.push((known, same)),
            _ => kept.push((origin.clone(), nonce.into())),
        }
    }
}

/// Returns the nonce that an answer brings, if it is one of `NQCHAR` (RFC 9449 §8.1) that isn't too
/// long. Of several, none is known to be the right one.
pub(crate) fn nonce_of(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all("dpop-nonce").iter();
    let nonce = fields.next().filter(|_| fields.next().is_none())?;
    let is_legal = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let is_nonce = (1..=LONGEST).contains(&nonce.len()) && nonce.as_bytes().iter().all(is_legal);
    nonce.to_str().ok().filter(|_| is_nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(n: usize) -> Origin {
        Origin::of(&format!("https://h{n}.example/").parse().unwrap()).unwrap()
    }

    fn get(nonces: &Nonces, n: usize) -> Option<String> {
        nonces.get(&origin(n)).map(|nonce| nonce.to_string())
    }

    #[test]
    fn dc11_the_newest_nonce_of_each_origin_is_kept() {
        let nonces = Nonces::default();
        assert_eq!(get(&nonces, 1), None);
        nonces.set(&origin(1), "a");
        nonces.set(&origin(2), "b");
        nonces.set(&origin(1), "c");
        assert_eq!((get(&nonces, 1).unwrap(), get(&nonces, 2).unwrap()), ("c".into(), "b".into()));
        let at = |uri: &str| Origin::of(&uri.parse().unwrap()).unwrap();
        assert_eq!(nonces.get(&at("https://H1.example:443/x?y")).as_deref(), Some("c"));
        for other in ["http://h1.example/", "https://h1.example:8443/", "https://h3.example/"] {
            assert_eq!(nonces.get(&at(other)), None, "{other}");
        }
    }

    #[test]
    fn dc11_of_a_hundred_origins_the_one_used_longest_ago_goes_first() {
        let nonces = Nonces::default();
        (0..MOST).for_each(|n| nonces.set(&origin(n), "a"));
        assert!(get(&nonces, 0).is_some());
        nonces.set(&origin(1), "b");
        (MOST..MOST + 98).for_each(|n| nonces.set(&origin(n), "a"));
        assert_eq!(nonces.0.lock().unwrap().len(), MOST);
        assert!(get(&nonces, 0).is_some() && get(&nonces, 1).is_some());
        assert!((2..100).all(|n| get(&nonces, n).is_none()));
    }

    #[test]
    fn dc11_what_is_no_nonce_is_ignored() {
        let of = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("dpop-nonce", http::HeaderValue::from_bytes(value).unwrap());
            }
            nonce_of(&headers).map(ToOwned::to_owned)
        };
        assert_eq!(of(&[b"eyJ7S_zG.eyJH0-Z.HX4w-7v~!#["]).unwrap(), "eyJ7S_zG.eyJH0-Z.HX4w-7v~!#[");
        assert!(of(&[&[b'a'; LONGEST]]).is_some());
        assert_eq!(of(&[]), None);
        for bad in [
            &b""[..],
            b"a b",
            b"a\"b",
            b"a\\b",
            b"a\tb",
            "ä".as_bytes(),
            b"\xff",
            &[b'a'; LONGEST + 1],
        ] {
            assert_eq!(of(&[bad]), None, "{bad:?}");
        }
        assert_eq!(of(&[b"a", b"b"]), None);
    }
}
