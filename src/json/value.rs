//! Reads any JSON value to a bounded depth, and keeps what the caller needs of it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use smallvec::SmallVec;

use crate::json::budget::Budget;
use crate::json::names::{Names, check_name};
use crate::json::text::Text;

/// How deep arrays and objects may be nested.
const MAX_DEPTH: u8 = 16;
/// With the feature `arbitrary_precision`, which any crate of the application may switch on, numbers
/// arrive as a map with this one name.
const NUMBER: &str = "$serde_json::private::Number";

/// Several strings; a few of them need no allocation.
pub(crate) type Texts<'de> = SmallVec<[Cow<'de, str>; 4]>;

/// A JSON value, in the detail that the readers of this crate need.
#[derive(Debug, PartialEq)]
pub(crate) enum Value<'de> {
    Text(Cow<'de, str>),
    Bool(bool),
    /// An array, with its elements if they are all strings.
    Array(Option<Texts<'de>>),
    Null,
    /// A number or an object.
    Other,
}

impl<'de> Value<'de> {
    pub(crate) fn into_text(self) -> Option<Cow<'de, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bool(_) | Self::Array(_) | Self::Null | Self::Other => None,
        }
    }
}

/// Reads any value, keeping strings and arrays of strings if `keep` is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Any<'b> {
    budget: &'b Budget,
    depth: u8,
    keep: bool,
}

impl<'b> Any<'b> {
    /// Reads a member's value of the outermost object and keeps it.
    pub(crate) const fn keep(budget: &'b Budget) -> Self {
        Self { budget, depth: 1, keep: true }
    }

    /// Reads a member's value of the outermost object, checks it, and drops it.
    pub(crate) const fn skip(budget: &'b Budget) -> Self {
        Self { budget, depth: 1, keep: false }
    }

    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.saturating_add(1);
        if depth > MAX_DEPTH {
            return Err(E::custom("nested too deeply"));
        }
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(if self.keep { Value::Text(Cow::Owned(text.to_owned())) } else { Value::Other })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let inner = self.deeper()?;
        let mut texts = self.keep.then(Texts::new);
        while let Some(element) = seq.next_element_seed(inner)? {
            self.budget.spend()?;
            match (&mut texts, element) {
                (Some(kept), Value::Text(text)) => kept.push(text),
                _ => texts = None,
            }
        }
        Ok(Value::Array(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut name = map.next_key_seed(Text)?;
        if name.as_deref() == Some(NUMBER) {
            return map.next_value_seed(Digits);
        }
        let inner = Any { keep: false, ..self.deeper()? };
        let mut names = Names::new();
        while let Some(next) = name {
            check_name(&next, self.budget)?;
            names.add(next)?;
            map.next_value_seed(inner)?;
            name = map.next_key_seed(Text)?;
        }
        Ok(Value::Other)
    }
}

/// Reads a number that `serde_json` passes by [`NUMBER`]: an owned string, which no text becomes.
struct Digits;

impl<'de> DeserializeSeed<'de> for Digits {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Digits {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(E::custom("reserved member name"))
    }

    fn visit_string<E>(self, _: String) -> Result<Self::Value, E> {
        Ok(Value::Other)
    }
}
