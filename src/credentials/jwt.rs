//! Reads a JWT that another party signed, without verifying it: its form, `exp`, `iss` and `sub`.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::clock::UnixTime;
use crate::json;

/// The longest JWT that is sent: those of platforms have one to two kilobytes.
const MAX_BYTES: usize = 16 * 1024;

/// Returns why this can't be sent as a JWT, if it can't.
pub(crate) fn fault(token: &[u8]) -> Option<&'static str> {
    if token.is_empty() {
        return Some("it is empty");
    }
    if token.len() > MAX_BYTES {
        return Some("it is larger than 16 KiB");
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Some("it isn't a JWT");
    };
    let is_object = |part| object::<serde::de::IgnoredAny>(part).is_some();
    let is_signed = !signature.is_empty() && BASE64_URL_SAFE_NO_PAD.decode(signature).is_ok();
    (!is_object(header) || !is_object(payload) || !is_signed)
        .then_some("it isn't a JWT, or only a part of one")
}

/// Returns the `exp` of a JWT. Nothing is verified.
pub(crate) fn expiry(token: &[u8]) -> Option<UnixTime> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let claims: Claims = object(token.split(|byte| *byte == b'.').nth(1)?)?;
    UnixTime::from_secs_f64(claims.exp)
}

/// Returns `iss` and `sub`, if the token has both. Nothing is verified.
#[cfg(feature = "client")]
pub(crate) fn holder(token: &[u8]) -> Option<(String, String)> {
    let claims: Holder = token.split(|byte| *byte == b'.').nth(1).and_then(object)?;
    (!claims.iss.is_empty() && !claims.sub.is_empty()).then_some((claims.iss, claims.sub))
}

#[cfg(feature = "client")]
#[derive(Default, Deserialize)]
struct Holder {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    sub: String,
}

/// Reads a part of a JWT that is a JSON object.
fn object<T: serde::de::DeserializeOwned>(part: &[u8]) -> Option<T> {
    let json = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(part).ok()?);
    json::parse(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", encode(r#"{"alg":"X"}"#), encode(claims), encode("signature!"))
    }

    #[test]
    fn wi2_only_a_whole_jwt_is_one() {
        let good = jwt(r#"{"sub":"a","exp":9}"#);
        assert_eq!(fault(good.as_bytes()), None);
        let huge = jwt(&format!(r#"{{"sub":"{}"}}"#, "a".repeat(13_000)));
        assert!(fault(huge.as_bytes()).unwrap().contains("16 KiB"));
        let large = jwt(&format!(r#"{{"sub":"{}"}}"#, "a".repeat(12_000)));
        assert_eq!(fault(large.as_bytes()), None);
        // However much of it was written, up to its signature.
        let signature = good.rfind('.').unwrap();
        for length in 0..=signature + 1 {
            assert!(fault(&good.as_bytes()[..length]).is_some(), "{length}");
        }
        let jwe = format!("{good}.a.b");
        for bad in ["a.b.c", "s3cret", "..", &jwe, &good.replace('.', " "), &format!("{good}\n")] {
            assert!(fault(bad.as_bytes()).is_some(), "{bad}");
        }
        assert!(fault(jwt("[1]").as_bytes()).is_some());
    }
}
