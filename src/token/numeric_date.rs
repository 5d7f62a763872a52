//! Reads a time in seconds (`NumericDate`, RFC 7519 §2).

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, Visitor};

use crate::clock::UnixTime;

/// Reads a `NumericDate` (RFC 7519 §2): a number, never a string or another value that could be converted.
pub(crate) struct NumericDate;

impl<'de> DeserializeSeed<'de> for NumericDate {
    type Value = UnixTime;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<UnixTime, D::Error> {
        deserializer.deserialize_f64(self)
    }
}

const MAX_EXACT: u64 = 1 << 53;

fn beyond<E: de::Error>() -> E {
    E::custom("beyond 2^53")
}

impl Visitor<'_> for NumericDate {
    type Value = UnixTime;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds, at most 2^53")
    }

    fn visit_u64<E: de::Error>(self, secs: u64) -> Result<UnixTime, E> {
        let secs = i64::try_from(secs).map_err(|_| beyond())?;
        self.visit_i64(secs)
    }

    fn visit_i64<E: de::Error>(self, secs: i64) -> Result<UnixTime, E> {
        if secs.unsigned_abs() > MAX_EXACT { Err(beyond()) } else { Ok(UnixTime::from_secs(secs)) }
    }

    fn visit_f64<E: de::Error>(self, secs: f64) -> Result<UnixTime, E> {
        UnixTime::from_secs_f64(secs).ok_or_else(beyond)
    }
}
