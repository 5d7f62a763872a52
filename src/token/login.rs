//! How and when the token's user logged in: `acr` and `auth_time` (RFC 9470 §6.1).

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::clock::UnixTime;
use crate::json::Value;

/// A claim that only some requests need: if it has a wrong type, only those are refused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Told<T> {
    #[default]
    Absent,
    /// It is present, and has a wrong type.
    Malformed,
    Is(T),
}

impl<T> Told<T> {
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Told<U> {
        match self {
            Self::Absent => Told::Absent,
            Self::Malformed => Told::Malformed,
            Self::Is(told) => Told::Is(change(told)),
        }
    }

    pub(crate) fn as_ref(&self) -> Told<&T> {
        match self {
            Self::Absent => Told::Absent,
            Self::Malformed => Told::Malformed,
            Self::Is(told) => Told::Is(told),
        }
    }

    pub(crate) fn ok(self) -> Option<T> {
        match self {
            Self::Absent | Self::Malformed => None,
            Self::Is(told) => Some(told),
        }
    }
}

/// Reads `acr`, a string.
pub(crate) fn acr(value: Value<'_>) -> Told<Cow<'_, str>> {
    value.into_text().map_or(Told::Malformed, Told::Is)
}

/// Reads `auth_time`, a number of seconds.
pub(crate) fn auth_time(value: &RawValue) -> Told<UnixTime> {
    let is_number = value.get().starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let secs = is_number.then(|| value.get().parse().ok()).flatten();
    secs.and_then(UnixTime::from_secs_f64).map_or(Told::Malformed, Told::Is)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> (Told<String>, Told<UnixTime>) {
        use crate::token::{RawClaims, Sources};
        let claims = RawClaims::parse(json.as_bytes(), &Sources::default()).unwrap();
        (claims.acr.map(Cow::into_owned), claims.auth_time)
    }

    #[test]
    fn su3_a_wrong_type_is_no_absence_and_refuses_nobody_by_itself() {
        let time = |secs| Told::Is(UnixTime::from_secs(secs));
        for (json, acr, auth_time) in [
            ("{}", Told::Absent, Told::Absent),
            (r#"{"acr":"1","auth_time":7}"#, Told::Is("1".to_owned()), time(7)),
            (r#"{"acr":"\u0061","auth_time":7e1}"#, Told::Is("a".to_owned()), time(70)),
            (r#"{"acr":1,"auth_time":"7"}"#, Told::Malformed, Told::Malformed),
            (r#"{"acr":["1"],"auth_time":null}"#, Told::Malformed, Told::Malformed),
            (r#"{"acr":null,"auth_time":[7]}"#, Told::Malformed, Told::Malformed),
            (r#"{"acr":{"a":1},"auth_time":{"a":1}}"#, Told::Malformed, Told::Malformed),
            (r#"{"acr":true,"auth_time":true}"#, Told::Malformed, Told::Malformed),
            (r#"{"auth_time":1e300}"#, Told::Absent, Told::Malformed),
            (r#"{"auth_time":-7}"#, Told::Absent, time(-7)),
        ] {
            assert_eq!(read(json), (acr, auth_time), "{json}");
        }
        use crate::token::{RawClaims, Sources};
        for json in [
            r#"{"acr":"a","acr":"b"}"#,
            r#"{"auth_time":1,"auth_time":1}"#,
            r#"{"auth_time":{"a":1,"a":1}}"#,
            r#"{"acr":{"a":1,"a":1}}"#,
        ] {
            assert!(RawClaims::parse(json.as_bytes(), &Sources::default()).is_err(), "{json}");
        }
    }
}
