//! JSON read strictly: no duplicate member names, bounded depth, bounded size.
//!
//! `serde_json` reads the text; these seeds add what it doesn't refuse by itself. They never build
//! a tree, and borrow from the input wherever it has no escapes.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use smallvec::SmallVec;

use crate::kinds::Kinds;

/// How deep arrays and objects may be nested.
const MAX_DEPTH: u8 = 16;
/// How many members and elements a text may have in all.
const MAX_ITEMS: u32 = 4_096;

/// What is left of the bounds while a text is read.
#[derive(Debug)]
pub(crate) struct Budget {
    items: Cell<u32>,
}

impl Budget {
    pub(crate) const fn new() -> Self {
        Self { items: Cell::new(MAX_ITEMS) }
    }

    pub(crate) fn spend<E: de::Error>(&self) -> Result<(), E> {
        let left = self.items.get().checked_sub(1).ok_or_else(|| E::custom("too many items"))?;
        self.items.set(left);
        Ok(())
    }
}

/// The text isn't one JSON object, or not as the visitor wants it.
#[derive(Debug)]
pub(crate) struct NotRead;

/// Reads a text that must be one object with nothing after it, through `visitor`'s `visit_map`.
pub(crate) fn read_object<'de, V: Visitor<'de>>(
    text: &'de [u8],
    visitor: V,
) -> Result<V::Value, NotRead> {
    // Once for the whole text is cheaper than for each string in it.
    let text = str::from_utf8(text).map_err(|_| NotRead)?;
    // What is no object at all isn't worth an error of `serde_json`, which allocates.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(NotRead);
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = deserializer.deserialize_map(visitor).map_err(|_| NotRead)?;
    deserializer.end().map_err(|_| NotRead)?;
    Ok(value)
}

/// The member names seen so far in one object.
#[derive(Debug)]
pub(crate) struct Names<'de> {
    few: [&'de str; FEW],
    len: usize,
    more: Option<HashSet<Cow<'de, str>>>,
    kinds: Kinds,
}

/// Objects with up to this many members need no allocation.
const FEW: usize = 24;

impl<'de> Names<'de> {
    pub(crate) fn new() -> Self {
        Self { few: [""; FEW], len: 0, more: None, kinds: Kinds::default() }
    }

    /// Reads the next name; `None` at the end of the object.
    ///
    /// # Errors
    ///
    /// If the name was there before, or the budget is spent.
    pub(crate) fn next<A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        budget: &Budget,
    ) -> Result<Option<Cow<'de, str>>, A::Error> {
        let name = next_name(map, budget)?;
        name.clone().map_or(Ok(()), |name| self.add(name))?;
        Ok(name)
    }

    /// Adds a name.
    ///
    /// # Errors
    ///
    /// If it was there before.
    pub(crate) fn add<E: de::Error>(&mut self, name: Cow<'de, str>) -> Result<(), E> {
        if self.kinds.add(name.as_bytes()) && self.has(&name) {
            return Err(duplicate());
        }
        match (name, self.few.get_mut(self.len)) {
            (Cow::Borrowed(name), Some(slot)) => {
                *slot = name;
                self.len = self.len.saturating_add(1);
            }
            (name, _) => {
                self.more.get_or_insert_default().insert(name);
            }
        }
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.few.iter().take(self.len).any(|seen| *seen == name)
            || self.more.as_ref().is_some_and(|more| more.contains(name))
    }
}

/// Reads the next name of an object, whether it was there before or not; `None` at its end.
pub(crate) fn next_name<'de, A: MapAccess<'de>>(
    map: &mut A,
    budget: &Budget,
) -> Result<Option<Cow<'de, str>>, A::Error> {
    let name = map.next_key_seed(Text)?;
    if name.is_some() {
        budget.spend()?;
    }
    Ok(name)
}

/// The error for a name that was there before (RFC 7515 §4, RFC 7519 §4).
pub(crate) fn duplicate<E: de::Error>() -> E {
    E::custom("duplicate member name")
}

/// Reads a string.
pub(crate) struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Several strings; a few of them need no allocation.
pub(crate) type Texts<'de> = SmallVec<[Cow<'de, str>; 4]>;

/// A JSON value, as far as anybody here wants to know.
#[derive(Debug, PartialEq)]
pub(crate) enum Value<'de> {
    Text(Cow<'de, str>),
    Bool(bool),
    /// An array, with its elements if they are all strings.
    Array(Option<Texts<'de>>),
    /// A number, an object or null.
    Other,
}

impl<'de> Value<'de> {
    pub(crate) fn into_text(self) -> Option<Cow<'de, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bool(_) | Self::Array(_) | Self::Other => None,
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
        Ok(Value::Other)
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
        let inner = Any { keep: false, ..self.deeper()? };
        let mut names = Names::new();
        while names.next(&mut map, self.budget)?.is_some() {
            map.next_value_seed(inner)?;
        }
        Ok(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Probe<'b>(&'b Budget);

    impl<'de> Visitor<'de> for Probe<'_> {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
            let mut names = Names::new();
            let mut count = 0;
            while names.next(&mut map, self.0)?.is_some() {
                map.next_value_seed(Any::skip(self.0))?;
                count += 1;
            }
            Ok(count)
        }
    }

    fn members(text: &str) -> Option<usize> {
        let budget = Budget::new();
        read_object(text.as_bytes(), Probe(&budget)).ok()
    }

    #[test]
    fn j4_j5_one_object_and_nothing_after_it() {
        assert_eq!(members(r#" {"a":1,"b":[{}]} "#), Some(2));
        assert_eq!(members("{}"), Some(0));
        for text in ["", "[]", "1", "null", "\"a\"", "{} {}", "{}x", "{", "{\"a\":1,}", "{a:1}"] {
            assert_eq!(members(text), None, "{text}");
        }
    }

    #[test]
    fn j6_j7_duplicates_are_refused_at_every_level_and_in_every_spelling() {
        assert_eq!(members(r#"{"a":1,"A":2}"#), Some(2));
        assert_eq!(members(r#"{"a":1,"a":1}"#), None);
        assert_eq!(members(r#"{"a":1,"\u0061":1}"#), None);
        assert_eq!(members(r#"{"\u0061":1,"a":1}"#), None);
        assert_eq!(members(r#"{"\u0061":1,"\u0061":1}"#), None);
        assert_eq!(members(r#"{"x":{"a":1,"b":{"a":1}}}"#), Some(1));
        assert_eq!(members(r#"{"x":[{"a":1,"a":1}]}"#), None);
        let many: Vec<String> = (0..100).map(|n| format!("\"n{n}\":0")).collect();
        assert_eq!(members(&format!("{{{}}}", many.join(","))), Some(100));
        for again in [0, 23, 24, 99] {
            assert_eq!(members(&format!("{{{},\"n{again}\":0}}", many.join(","))), None);
        }
    }

    // J6: as a set of all names says, with many of one kind and with escapes.
    proptest! {
        #[test]
        fn j6_a_name_is_refused_if_and_only_if_it_was_there(
            names in proptest::collection::vec("[ab]{0,5}|[a-p]", 0..40),
            escaped in any::<u64>(),
        ) {
            let member = |(at, name): (usize, &String)| {
                let escape = escaped >> (at % 64) & 1 == 1;
                let escaped = |c: char| format!("\\u{:04x}", u32::from(c));
                let name = if escape { name.chars().map(escaped).collect() } else { name.clone() };
                format!("\"{name}\":0")
            };
            let members: Vec<String> = names.iter().enumerate().map(member).collect();
            let text = format!("{{{}}}", members.join(","));
            let distinct = names.iter().collect::<HashSet<_>>().len();
            let expected = (distinct == names.len()).then_some(distinct);
            prop_assert_eq!(self::members(&text), expected, "{}", text);
        }
    }

    #[test]
    fn j4_what_is_not_utf_8_is_refused_wherever_it_is() {
        for text in
            [&b"{\"a\xff\":1}"[..], b"{\"a\":\"\xc3\"}", b"{}\xff", b"{\"a\":[\"\xed\xa0\x80\"]}"]
        {
            let budget = Budget::new();
            assert!(read_object(text, Probe(&budget)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn j8_depth_and_number_of_items_are_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(members(&nested(15)), Some(1));
        assert_eq!(members(&nested(16)), None);
        let list = |len: usize| format!("{{\"a\":[{}]}}", vec!["0"; len].join(","));
        assert_eq!(members(&list(4_095)), Some(1));
        assert_eq!(members(&list(4_096)), None);
    }

    #[test]
    fn keeps_strings_and_arrays_of_strings() {
        let read = |text: &'static str| {
            let budget = Budget::new();
            Any::keep(&budget).deserialize(&mut serde_json::Deserializer::from_str(text)).unwrap()
        };
        assert_eq!(read("\"a\""), Value::Text("a".into()));
        assert_eq!(read(r#""\u0061""#), Value::Text("a".into()));
        assert_eq!(read(r#"["a","b"]"#), Value::Array(Some(vec!["a".into(), "b".into()].into())));
        assert_eq!(read("[]"), Value::Array(Some(Texts::new())));
        assert_eq!(read(r#"["a",1]"#), Value::Array(None));
        assert_eq!(read(r#"[1,"a"]"#), Value::Array(None));
        assert_eq!(read("true"), Value::Bool(true));
        for other in ["null", "1", "{}"] {
            assert_eq!(read(other), Value::Other, "{other}");
        }
    }
}
