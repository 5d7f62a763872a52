//! Reads a whole document: one strict JSON object, and nothing after it.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed as _, Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::budget::Budget;
use crate::json::names::Names;
use crate::json::value::Any;

/// The text isn't one JSON object, or isn't what the visitor accepts.
#[derive(Debug)]
pub(crate) struct NotRead;

/// Reads a text that must be one object with nothing after it, through `visitor`'s `visit_map`.
pub(crate) fn read_object<'de, V: Visitor<'de>>(
    text: &'de [u8],
    visitor: V,
) -> Result<V::Value, NotRead> {
    // Once for the whole text is cheaper than for each string in it.
    let text = str::from_utf8(text).map_err(|_| NotRead)?;
    // What isn't an object at all isn't worth an error of `serde_json`, which allocates.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(NotRead);
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = deserializer.deserialize_map(visitor).map_err(|_| NotRead)?;
    deserializer.end().map_err(|_| NotRead)?;
    Ok(value)
}

/// Reads a document that was fetched or configured, as [`read_object`]. A byte order mark at its
/// beginning is ignored (RFC 8259 §8.1).
pub(crate) fn read_document<'de, V: Visitor<'de>>(
    text: &'de [u8],
    visitor: V,
) -> Result<V::Value, NotRead> {
    read_object(without_mark(text), visitor)
}

/// Reads a document that was fetched or configured into a type of its own. All of it is checked,
/// also what the type ignores.
pub(crate) fn parse<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, NotRead> {
    let text = without_mark(text);
    let budget = Budget::new();
    read_object(text, Checked(&budget))?;
    serde_json::from_slice(text).map_err(|_| NotRead)
}

fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Returns the elements of an array as they are written, unchecked; `None` if it isn't an array.
pub(crate) fn elements(array: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(array.get()).ok()
}

/// Checks a value that is kept as it is written.
pub(crate) fn check(raw: &RawValue, budget: &Budget) -> Result<(), NotRead> {
    if raw.get().starts_with(['{', '[']) {
        let mut value = serde_json::Deserializer::from_str(raw.get());
        Any::skip(budget).deserialize(&mut value).map_err(|_| NotRead)?;
    }
    Ok(())
}

/// Checks an object and keeps nothing of it.
struct Checked<'b>(&'b Budget);

impl<'de> Visitor<'de> for Checked<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = Names::new();
        while names.next(&mut map, self.0)?.is_some() {
            // The type may take numbers as they are written: they may be beyond what a float holds.
            let raw: &RawValue = map.next_value()?;
            check(raw, self.0).map_err(|_| de::Error::custom("a member isn't strict JSON"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use serde::de::value::{Error, MapDeserializer};

    use super::*;
    use crate::json::{Texts, Value};

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

    const RAW: &str = "$serde_json::private::RawValue";
    const NUMBER: &str = "$serde_json::private::Number";

    #[test]
    fn fa7_reserved_names_are_refused_at_every_level_and_in_every_spelling() {
        let spelled = |name: &str| name.replace('$', "\\u0024");
        let inner = |name: &str| {
            [
                format!("{{\"{name}\":\"{{}}\"}}"),
                format!("{{\"{name}\":\"1\"}}"),
                format!("{{\"{name}\":\"\\u0031\"}}"),
                format!("{{\"{name}\":1}}"),
                format!("{{\"{name}\":{{\"{NUMBER}\":\"1\"}}}}"),
                format!("{{\"{name}\":\"1\",\"b\":2}}"),
                format!("{{\"b\":2,\"{name}\":\"1\"}}"),
            ]
        };
        for name in [RAW, NUMBER, &spelled(RAW), &spelled(NUMBER), "$serde_json::private::Later"] {
            for object in inner(name) {
                for text in [
                    object.clone(),
                    format!("{{\"a\":{object}}}"),
                    format!("{{\"a\":[0,{object}]}}"),
                    format!("{{\"a\":{{\"b\":{object}}}}}"),
                ] {
                    assert_eq!(members(&text), None, "{text}");
                    assert!(parse::<serde_json::Value>(text.as_bytes()).is_err(), "{text}");
                }
            }
        }
        for name in [
            "$serde_json",
            "$serde_json::Private::RawValue",
            "serde_json::private::Number",
            "$",
            "",
        ] {
            for object in inner(name) {
                assert_eq!(members(&object).is_none(), object.contains(NUMBER), "{object}");
            }
        }
        assert_eq!(
            members(&format!("{{\"a\":\"{RAW}\",\"b\":[\"{NUMBER}\"]}}")),
            Some(2),
            "a text"
        );
    }

    /// As `serde_json` hands numbers over with its feature `arbitrary_precision`.
    #[test]
    fn fa7_numbers_of_arbitrary_precision_are_numbers() {
        let budget = Budget::new();
        let number = || MapDeserializer::<_, Error>::new([(NUMBER, "1.5".to_owned())].into_iter());
        assert_eq!(Any::keep(&budget).deserialize(number()).unwrap(), Value::Other);
        assert_eq!(Any::skip(&budget).deserialize(number()).unwrap(), Value::Other);
        let text = [(NUMBER, "1.5")].into_iter();
        let text = MapDeserializer::<_, Error>::new(text);
        assert!(Any::skip(&budget).deserialize(text).is_err(), "which no number is");
    }

    #[test]
    fn fa7_what_a_type_ignores_is_checked_too() {
        #[derive(Debug, Deserialize)]
        struct One {
            a: u8,
        }
        let read = |text: &str| parse::<One>(text.as_bytes()).ok().map(|one| one.a);
        assert_eq!(read(r#"{"a":1,"b":{"c":[null]}}"#), Some(1));
        for text in [
            r#"{"a":1,"b":{"c":1,"c":2}}"#.to_owned(),
            r#"{"a":1,"b":1,"b":2}"#.to_owned(),
            format!(r#"{{"a":1,"b":{{"{RAW}":"{{}}"}}}}"#),
            format!(r#"{{"a":1,"b":{}{}}}"#, "[".repeat(16), "]".repeat(16)),
            r#"[1]"#.to_owned(),
            r#"{"a":1}{}"#.to_owned(),
            String::new(),
        ] {
            assert_eq!(read(&text), None, "{text}");
        }
    }

    // RFC 8259 §8.1
    #[test]
    fn fb7_one_byte_order_mark_may_begin_a_document() {
        let read = |text: &str| {
            let budget = Budget::new();
            let parsed = parse::<serde_json::Value>(text.as_bytes()).is_ok();
            assert_eq!(parsed, read_document(text.as_bytes(), Probe(&budget)).is_ok(), "{text:?}");
            parsed
        };
        assert!(read("{}") && read("\u{feff}{}") && read("\u{feff} {} "));
        for text in ["\u{feff}", "\u{feff}\u{feff}{}", " \u{feff}{}", "{\u{feff}}", "{}\u{feff}"] {
            assert!(!read(text), "{text:?}");
        }
        assert_eq!(members("\u{feff}{}"), None, "within a token it is no JSON");
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
        assert_eq!(read("null"), Value::Null);
        for other in ["1", "{}"] {
            assert_eq!(read(other), Value::Other, "{other}");
        }
    }
}
