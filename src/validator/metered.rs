//! Estimates how much memory the application's claims hold, while they are read.
//!
//! A token takes more of the cache than its length once its claims are a tree: `[[1]]` is
//! five characters and two allocations. The application's types aren't known here, but the
//! size of everything that is read is, and whether it is one of many. From that follows the most that
//! the collections of the standard library, `serde_json` and `indexmap` take for it.

use std::cell::Cell;
use std::fmt;
use std::mem::needs_drop;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// The overhead of an allocation.
const ALLOCATION: usize = 24;

/// Reads the application's claims. Also returns how much they hold outside of themselves.
///
/// # Errors
///
/// As the type's own reading.
pub(crate) fn read<C: DeserializeOwned>(payload: &[u8]) -> Result<(C, usize), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(payload);
    // A type that needs no drop holds nothing on the heap, and is cheapest to read directly.
    if !needs_drop::<C>() {
        return C::deserialize(&mut deserializer).map(|claims| (claims, 0));
    }
    let meter = Meter::default();
    let claims = C::deserialize(Metered { inner: &mut deserializer, meter: &meter })?;
    Ok((claims, meter.0.get()))
}

#[derive(Default)]
struct Meter(Cell<usize>);

impl Meter {
    fn add(&self, bytes: usize) {
        self.0.set(self.0.get().saturating_add(bytes));
    }

    /// A value was read: it may be boxed.
    fn value<T>(&self) {
        self.add(size_of::<T>().saturating_add(ALLOCATION));
    }

    /// A text or bytes were read into a value, which may have kept them.
    fn text<T>(&self, len: usize) {
        if needs_drop::<T>() {
            self.add(len.saturating_add(ALLOCATION));
        }
    }

    /// One more element was read into a collection. The first one brings a `BTreeMap`'s node of
    /// eleven or a vector's first four places; later, nodes and tables are filled by two fifths or
    /// more.
    fn element(&self, size: usize, first: bool) {
        if size > 0 {
            let (halves, more) = if first { (22, 64) } else { (5, 24) };
            self.add((size.saturating_mul(halves) / 2).saturating_add(more));
        }
    }
}

/// Passes the meter on to each member, element or value that is read.
struct Metered<'m, T> {
    inner: T,
    meter: &'m Meter,
}

/// A sequence or map, or what reads one.
struct Collecting<'m, T> {
    inner: T,
    meter: &'m Meter,
    /// Whether its elements go into a collection. Those of a struct or tuple are part of itself.
    grows: bool,
    first: bool,
    key: usize,
}

impl<'m, T> Collecting<'m, T> {
    const fn new(inner: T, meter: &'m Meter, grows: bool) -> Self {
        Self { inner, meter, grows, first: true, key: 0 }
    }

    fn element(&mut self, size: usize) {
        if self.grows {
            self.meter.element(size, std::mem::take(&mut self.first));
        }
    }
}

macro_rules! deserialize {
    ($grows:literal: $($method:ident($($arg:ident: $ty:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($arg: $ty,)* visitor: V) -> Result<V::Value, D::Error> {
            self.meter.value::<V::Value>();
            self.inner.$method($($arg,)* Collecting::new(visitor, self.meter, $grows))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Metered<'_, D> {
    type Error = D::Error;

    deserialize! { true:
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32()
        deserialize_i64() deserialize_i128() deserialize_u8() deserialize_u16() deserialize_u32()
        deserialize_u64() deserialize_u128() deserialize_f32() deserialize_f64() deserialize_char()
        deserialize_str() deserialize_string() deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_unit() deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str) deserialize_seq() deserialize_map()
    }

    deserialize! { false:
        deserialize_tuple(len: usize) deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        // Names of fields become numbers; they are kept only where unknown ones are collected.
        if needs_drop::<V::Value>() {
            self.meter.value::<V::Value>();
        }
        self.inner.deserialize_identifier(Collecting::new(visitor, self.meter, true))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_ignored_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident($ty:ty))*) => {$(
        fn $method<E: Error>(self, value: $ty) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

macro_rules! visit_text {
    ($($method:ident($ty:ty))*) => {$(
        fn $method<E: Error>(self, text: $ty) -> Result<V::Value, E> {
            self.meter.text::<V::Value>(text.len());
            self.inner.$method(text)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Collecting<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128) visit_f32(f32)
        visit_f64(f64) visit_char(char)
    }

    visit_text! {
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Metered { inner: deserializer, meter: self.meter })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Metered { inner: deserializer, meter: self.meter })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Collecting::new(seq, self.meter, self.grows))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Collecting::new(map, self.meter, self.grows))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Metered { inner: data, meter: self.meter })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Collecting<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        let seed = Metered { inner: seed, meter: self.meter };
        let element = self.inner.next_element_seed(seed)?;
        if element.is_some() {
            self.element(size_of::<T::Value>());
        }
        Ok(element)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Collecting<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        self.key = size_of::<K::Value>();
        self.inner.next_key_seed(Metered { inner: seed, meter: self.meter })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.element(self.key.saturating_add(size_of::<V::Value>()));
        self.inner.next_value_seed(Metered { inner: seed, meter: self.meter })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Metered<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Metered { inner: deserializer, meter: self.meter })
    }
}

impl<'de, 'm, A: EnumAccess<'de>> EnumAccess<'de> for Metered<'m, A> {
    type Error = A::Error;
    type Variant = Metered<'m, A::Variant>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), A::Error> {
        let meter = self.meter;
        let (value, variant) = self.inner.variant_seed(Metered { inner: seed, meter })?;
        Ok((value, Metered { inner: variant, meter }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Metered<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        self.inner.newtype_variant_seed(Metered { inner: seed, meter: self.meter })
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, Collecting::new(visitor, self.meter, false))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, Collecting::new(visitor, self.meter, false))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use serde::Deserialize;
    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::*;

    fn held<C: DeserializeOwned>(text: &str) -> usize {
        read::<C>(text.as_bytes()).unwrap().1
    }

    /// What a tree holds at least, outside of itself.
    fn tree(value: &Value) -> usize {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.capacity(),
            Value::Array(elements) => {
                elements.capacity() * size_of::<Value>() + elements.iter().map(tree).sum::<usize>()
            }
            Value::Object(members) => {
                let nodes = members.len().div_ceil(11);
                let names: usize = members.keys().map(String::capacity).sum();
                let node = 11 * (size_of::<String>() + size_of::<Value>()) + 12;
                nodes * node + names + members.values().map(tree).sum::<usize>()
            }
        }
    }

    #[test]
    fn fa8_trees_count_for_no_less_than_they_hold() {
        let list = |element: &str, count: usize| format!("[{}]", vec![element; count].join(","));
        let mut texts: Vec<String> = ["{}", r#"{"a":"b"}"#, r#"{"a":{"a":{"a":{"a":[[[0]]]}}}}"#]
            .map(|text| format!("{{\"x\":{text}}}"))
            .to_vec();
        for count in [1, 2, 4, 5, 9, 17, 33, 100] {
            for element in ["0", "[]", "[0]", "{}", r#"{"":0}"#, r#""""#, r#""a\nb""#] {
                texts.push(format!("{{\"x\":{}}}", list(element, count)));
                let members: Vec<_> = (0..count).map(|at| format!("\"{at}\":{element}")).collect();
                texts.push(format!("{{{}}}", members.join(",")));
            }
        }
        for text in texts {
            let (value, held) = read::<Value>(text.as_bytes()).unwrap();
            assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            let least = tree(&value);
            assert!(held >= least, "{held} for {least} in {text:.60}");
            assert!(held <= 12 * least + 1_024, "{held} for {least} in {text:.60}");
        }
    }

    #[test]
    fn fa8_collections_count_for_no_less_than_they_hold() {
        for count in [1, 3, 4, 7, 8, 15, 29, 57, 500] {
            let members: Vec<_> = (0..count).map(|at| format!("\"{at}\":[{at}]")).collect();
            let text = format!("{{{}}}", members.join(","));
            let (map, held) = read::<HashMap<String, Vec<u64>>>(text.as_bytes()).unwrap();
            let buckets = map.capacity() * 8 / 7;
            let names: usize = map.keys().map(String::capacity).sum();
            let lists: usize = map.values().map(|list| list.capacity() * 8).sum();
            let least = buckets * (size_of::<(String, Vec<u64>)>() + 1) + names + lists;
            assert!(held >= least, "{held} for {least} of {count}");
        }
    }

    #[test]
    fn fa8_what_is_not_kept_costs_nothing() {
        #[derive(Deserialize)]
        struct Number {
            _n: u64,
        }
        #[derive(Deserialize)]
        struct Tenant {
            tenant: String,
        }
        let more = format!("\"y\":[{}]", vec!["{\"a\":[]}"; 500].join(","));
        assert_eq!(held::<Number>(&format!("{{\"_n\":1,{more}}}")), 0, "nothing outside of itself");
        let text = format!("{{\"tenant\":\"t\",{more}}}");
        let (claims, held) = read::<Tenant>(text.as_bytes()).unwrap();
        assert_eq!(claims.tenant, "t");
        assert!(held < 200, "{held}");
    }

    /// All ways in which serde passes values on lead to the same claims as without the meter.
    #[test]
    fn fa8_every_kind_of_type_is_read_as_it_would_be_by_itself() {
        #[derive(Debug, Deserialize, PartialEq)]
        enum Kind {
            Unit,
            New(String),
            Pair(u8, Vec<u8>),
            Named { a: Option<Box<i64>> },
        }
        #[derive(Debug, Deserialize, PartialEq)]
        #[serde(tag = "t", content = "c")]
        enum Tagged {
            A(String),
            B { x: f32 },
        }
        #[derive(Debug, Deserialize, PartialEq)]
        #[serde(untagged)]
        enum Loose {
            Number(i64),
            Text(String),
        }
        #[derive(Debug, Deserialize, PartialEq)]
        struct Wrapped(char);
        #[derive(Debug, Deserialize, PartialEq)]
        struct Marker;
        #[derive(Debug, Deserialize, PartialEq)]
        struct All {
            kinds: Vec<Kind>,
            tagged: [Tagged; 2],
            loose: Vec<Loose>,
            wrapped: Wrapped,
            nothing: Option<()>,
            marker: Marker,
            by_number: BTreeMap<i8, bool>,
            tuple: (u16, i16, u32, i32, u64, i64, f64, i8, u128, i128),
            #[serde(flatten)]
            others: HashMap<String, Value>,
        }
        let text = r#"{"kinds":["Unit",{"New":"n"},{"Pair":[1,[2,3]]},{"Named":{"a":-4}},
            {"Named":{"a":null}}],"tagged":[{"t":"A","c":"a"},{"c":{"x":1.5},"t":"B"}],
            "loose":[1,"\u0061"],"wrapped":"w","nothing":null,"marker":null,
            "by_number":{"-1":true},"tuple":[1,-2,3,-4,5,-6,7.5,-8,9,-10],
            "more":{"a":[1,{"b":null}]},"iss":"i"}"#;
        let (all, held) = read::<All>(text.as_bytes()).unwrap();
        assert_eq!(all, serde_json::from_str(text).unwrap());
        assert!(held > 0);
        let raw = r#"{"a":[1, {"b":null}]}"#;
        let (claims, held) = read::<BTreeMap<String, Box<RawValue>>>(raw.as_bytes()).unwrap();
        assert_eq!(claims["a"].get(), r#"[1, {"b":null}]"#);
        assert!(held >= claims["a"].get().len());
        let error = read::<All>(b"{\"kinds\":[7]}").unwrap_err();
        let expected = serde_json::from_str::<All>("{\"kinds\":[7]}").unwrap_err();
        assert_eq!(error.to_string(), expected.to_string());
    }
}
