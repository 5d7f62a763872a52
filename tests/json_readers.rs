//! Our reader of JSON against two others: what it accepts, they read alike.
//!
//! One of them is `serde_json::Value`, by which an application reads its own claims; the other is
//! the plain parser below, which keeps every member as it is written, duplicates included.
#![cfg(feature = "test-util")]

mod world;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::env;
use std::fmt::Write as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value, json};
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::token::Evidence;
use tower_bearer::{Refusal, RejectionKind, UnixTime, Validator};
use world::{AUDIENCE, ISSUER, Issuer, now};

/// The names by which `serde_json` passes values to itself.
const RESERVED: [&str; 2] = ["$serde_json::private::RawValue", "$serde_json::private::Number"];
const MAX_DEPTH: usize = 16;
const MAX_ITEMS: usize = 4_096;

/// What the plain parser reads.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// Reads RFC 8259, and nothing else, one character after the other.
struct Plain<'a> {
    rest: &'a str,
}

impl<'a> Plain<'a> {
    fn document(text: &'a str) -> Option<Node> {
        let mut plain = Self { rest: text };
        let node = plain.value(0)?;
        plain.space();
        plain.rest.is_empty().then_some(node)
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        if depth > 100 {
            return None;
        }
        self.space();
        let literals =
            [("null", Node::Null), ("true", Node::Bool(true)), ("false", Node::Bool(false))];
        for (literal, node) in literals {
            if self.eat(literal) {
                return Some(node);
            }
        }
        if self.eat("[") {
            let mut elements = Vec::new();
            self.space();
            if self.eat("]") {
                return Some(Node::Array(elements));
            }
            loop {
                elements.push(self.value(depth + 1)?);
                self.space();
                if self.eat("]") {
                    return Some(Node::Array(elements));
                }
                self.eat(",").then_some(())?;
            }
        }
        if self.eat("{") {
            let mut members = Vec::new();
            self.space();
            if self.eat("}") {
                return Some(Node::Object(members));
            }
            loop {
                self.space();
                let name = self.text()?;
                self.space();
                self.eat(":").then_some(())?;
                members.push((name, self.value(depth + 1)?));
                self.space();
                if self.eat("}") {
                    return Some(Node::Object(members));
                }
                self.eat(",").then_some(())?;
            }
        }
        if self.rest.starts_with('"') { self.text().map(Node::Text) } else { self.number() }
    }

    fn text(&mut self) -> Option<String> {
        self.eat("\"").then_some(())?;
        let mut text = String::new();
        loop {
            let c = self.rest.chars().next()?;
            self.rest = &self.rest[c.len_utf8()..];
            match c {
                '"' => return Some(text),
                '\0'..='\x1f' => return None,
                '\\' => {
                    let escape = self.rest.chars().next()?;
                    self.rest = &self.rest[escape.len_utf8()..];
                    text.push(match escape {
                        '"' | '\\' | '/' => escape,
                        'b' => '\x08',
                        'f' => '\x0c',
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        'u' => self.unicode()?,
                        _ => return None,
                    });
                }
                _ => text.push(c),
            }
        }
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.rest.get(..4)?;
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
        self.rest = &self.rest[4..];
        u32::from_str_radix(digits, 16).ok()
    }

    fn unicode(&mut self) -> Option<char> {
        let first = self.hex()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        self.eat("\\u").then_some(())?;
        let second = self.hex()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + second)
    }

    fn number(&mut self) -> Option<Node> {
        let len =
            self.rest.find(|c: char| !"+-.eE0123456789".contains(c)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(len);
        self.rest = rest;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        let unsigned = number.strip_prefix('-').unwrap_or(number);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let (integer, fraction) = match mantissa.split_once('.') {
            Some((integer, fraction)) => (integer, Some(fraction)),
            None => (mantissa, None),
        };
        let good = digits(integer)
            && (integer == "0" || !integer.starts_with('0'))
            && fraction.is_none_or(digits)
            && exponent.is_none_or(|it| digits(it.strip_prefix(['+', '-']).unwrap_or(it)));
        good.then(|| Node::Number(number.to_owned()))
    }
}

impl Node {
    /// Whether it is one object within our bounds, with each name once and none reserved.
    fn is_acceptable(&self) -> bool {
        let mut items = 0;
        matches!(self, Self::Object(_)) && self.check(1, &mut items) && items <= MAX_ITEMS
    }

    fn check(&self, depth: usize, items: &mut usize) -> bool {
        match self {
            Self::Null | Self::Bool(_) | Self::Text(_) => true,
            Self::Number(number) => number.parse::<f64>().is_ok_and(f64::is_finite),
            Self::Array(elements) => {
                *items += elements.len();
                depth <= MAX_DEPTH && elements.iter().all(|it| it.check(depth + 1, items))
            }
            Self::Object(members) => {
                *items += members.len();
                let mut names = HashSet::new();
                depth <= MAX_DEPTH
                    && members.iter().all(|(name, value)| {
                        !name.starts_with("$serde_json::private::")
                            && names.insert(name)
                            && value.check(depth + 1, items)
                    })
            }
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(it) => Value::Bool(*it),
            Self::Text(it) => Value::String(it.clone()),
            Self::Array(elements) => elements.iter().map(Self::to_value).collect(),
            Self::Object(members) => {
                let members = members.iter().map(|(name, it)| (name.clone(), it.to_value()));
                Value::Object(members.collect())
            }
            Self::Number(number) => Value::Number(match (number.parse(), number.parse()) {
                (Ok::<u64, _>(it), _) => Number::from(it),
                (_, Ok::<i64, _>(it)) if it != 0 => Number::from(it),
                _ => Number::from_f64(number.parse().unwrap()).unwrap(),
            }),
        }
    }
}

/// Whether two readers read the same. `serde_json` may miss the nearest float by one, unless the
/// application switches its feature `float_roundtrip` on.
fn alike(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| alike(one, two))
        }
        (Value::Object(one), Value::Object(two)) => {
            one.len() == two.len()
                && one.iter().zip(two).all(|(one, two)| one.0 == two.0 && alike(one.1, two.1))
        }
        (Value::Number(one), Value::Number(two)) if one.is_f64() && two.is_f64() => {
            let (one, two) = (one.as_f64().unwrap(), two.as_f64().unwrap());
            one.is_sign_negative() == two.is_sign_negative()
                && one.to_bits().abs_diff(two.to_bits()) <= 1
        }
        (one, two) => one == two,
    }
}

/// Random documents: mostly near what is accepted.
struct Writer {
    state: u64,
    out: String,
    /// Whether it may write what is no JSON.
    damages: bool,
}

impl Writer {
    fn new(seed: u64) -> Self {
        Self { state: seed, out: String::new(), damages: true }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 33).unwrap() % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }

    fn space(&mut self) {
        if self.one_in(8) {
            let space = self.pick(&[" ", "\n", "\t", "\r\n", "  "]);
            self.out.push_str(space);
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        let escapes = self.below(4);
        for c in text.chars() {
            let must = matches!(c, '"' | '\\' | '\0'..='\x1f');
            if must || (escapes == 0 && self.one_in(2)) {
                let upper = self.one_in(2);
                for unit in c.encode_utf16(&mut [0; 2]) {
                    if upper {
                        write!(self.out, "\\u{unit:04X}").unwrap();
                    } else {
                        write!(self.out, "\\u{unit:04x}").unwrap();
                    }
                }
            } else {
                self.out.push(c);
            }
        }
        if self.damages && self.one_in(300) {
            let broken =
                self.pick(&["\\ud800", "\\udc00", "\\ud800\\u0041", "\\x41", "\\u00", "\t"]);
            self.out.push_str(broken);
        }
        self.out.push('"');
    }

    fn name(&mut self) {
        let known =
            ["sub", "jti", "client_id", "scope", "scp", "nbf", "iat", "cnf", "alg", "kid", "keys"];
        let name = match self.below(40) {
            0 | 1 => self.pick(&RESERVED),
            2 => self.pick(&[
                "$serde_json::private::",
                "$serde_json::private::RawValue2",
                "$serde_json::private",
                "$serde_json::Private::Number",
                "serde_json::private::Number",
                "$serde::private",
                " $serde_json::private::Number",
                "$toml::private::Datetime",
            ]),
            3 => self.pick(&known),
            _ => {
                let names =
                    ["", "a", "b", "é", "\u{10000}", "\u{7f}", "\0", "\"", "\\", "a\u{301}"];
                if self.one_in(3) {
                    self.pick(&names)
                } else {
                    let name = format!("n{}", self.below(1_000));
                    return self.text(&name);
                }
            }
        };
        self.text(name);
    }

    fn value(&mut self, depth: usize) {
        self.space();
        match self.below(if depth > 18 { 8 } else { 14 }) {
            0 => self.out.push_str("null"),
            1 => self.out.push_str("true"),
            2 => self.out.push_str("false"),
            3 | 4 => {
                let numbers = [
                    "0",
                    "-0",
                    "1",
                    "-1",
                    "1.5",
                    "1e3",
                    "1E-3",
                    "0.1",
                    "-0.0",
                    "9007199254740993",
                    "18446744073709551615",
                    "18446744073709551616",
                    "-9223372036854775808",
                    "-9223372036854775809",
                    "1e308",
                    "123456789012345678901234567890",
                    "2.2250738585072014e-308",
                    "5e-324",
                    "1e-400",
                    "0.30000000000000004",
                ];
                let bad = ["01", "1.", "+1", ".5", "NaN", "1e", "0x1", "1e309", "-1e309"];
                let number = if self.damages && self.one_in(40) {
                    self.pick(&bad)
                } else {
                    self.pick(&numbers)
                };
                self.out.push_str(number);
            }
            5..8 => {
                let text = self.pick(&[
                    "",
                    "a",
                    "a b",
                    "\u{e9}",
                    "\u{1f600}",
                    "\u{ffff}",
                    "{\"a\":1}",
                    "[[]]",
                    "1",
                    "\0",
                    "\u{2028}",
                    "\\",
                    "\"",
                    "https://x.example/",
                ]);
                self.text(text);
            }
            8..11 => {
                self.out.push('[');
                for at in 0..self.below(4) {
                    if at > 0 {
                        self.out.push(',');
                    }
                    self.value(depth + 1);
                }
                self.space();
                self.out.push(']');
            }
            _ => self.object(depth + 1, &[]),
        }
        self.space();
    }

    fn object(&mut self, depth: usize, with: &[String]) {
        let mut with: Vec<&String> = with.iter().collect();
        let more = if self.one_in(200) { self.below(60) } else { self.below(5) };
        self.out.push('{');
        for at in 0..more + with.len() {
            if at > 0 {
                self.out.push(',');
            }
            self.space();
            if !with.is_empty() && self.below(more + with.len()) >= more.saturating_sub(at) {
                let member = with.remove(0);
                self.out.push_str(member);
                continue;
            }
            self.name();
            self.space();
            self.out.push(':');
            self.value(depth);
        }
        while let Some(member) = with.pop() {
            write!(self.out, ",{member}").unwrap();
        }
        self.out.push('}');
    }

    /// A document with these members among others; now and then damaged.
    fn document(mut self, with: &[String]) -> String {
        self.object(1, with);
        if self.one_in(60) {
            // Deeper than the random ones get.
            let depth = 10 + self.below(12);
            let (open, close) = if self.one_in(2) { ("[", "]") } else { ("{\"a\":", "}") };
            let deep = format!(",\"deep\":{}0{}}}", open.repeat(depth), close.repeat(depth));
            self.out.pop();
            self.out.push_str(&deep);
        }
        if self.damages && self.one_in(10) {
            let mut chars: Vec<char> = self.out.chars().collect();
            for _ in 0..=self.below(2) {
                let at = self.below(chars.len());
                match self.below(3) {
                    0 => drop(chars.remove(at)),
                    1 => chars.insert(
                        at,
                        self.pick(&["\"", ",", "{", "]", "\\", "0", "\u{feff}"])
                            .chars()
                            .next()
                            .unwrap(),
                    ),
                    _ => {
                        chars[at] = self
                            .pick(&["\"", ":", "}", "[", "u", "-", "\0"])
                            .chars()
                            .next()
                            .unwrap()
                    }
                }
            }
            self.out = chars.into_iter().collect();
        }
        self.out
    }
}

fn cases(default: u64) -> u64 {
    env::var("JSON_READER_CASES").map_or(default, |cases| cases.parse().unwrap())
}

/// Polls once: nothing here waits.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("this waits"),
    }
}

fn validator<C: DeserializeOwned + Send + Sync + 'static>(issuer: &Issuer) -> Validator<C> {
    let keys = Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
    let builder = Validator::builder(ISSUER, AUDIENCE).claims::<C>().keys(keys);
    builder.cache_entries(0).build().unwrap()
}

fn members(of: &Value) -> Vec<String> {
    of.as_object().unwrap().iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect()
}

fn valid_claims() -> Value {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": now() + 86_400 })
}

fn valid_header(issuer: &Issuer) -> Value {
    json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": issuer.key.kid() })
}

#[test]
fn fa7_claims_that_are_accepted_are_read_alike_by_others() {
    let issuer = Issuer::new();
    let validator = validator::<Value>(&issuer);
    let valid = valid_claims();
    let (header, with) = (valid_header(&issuer).to_string(), members(&valid));
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..cases(4_000) {
        let text = Writer::new(seed).document(&with);
        let plain = Plain::document(&text);
        let acceptable = plain.as_ref().is_some_and(Node::is_acceptable);
        let token = match at_once(validator.validate(&issuer.key.sign(&header, &text))) {
            Ok(token) => token,
            Err(refusal) => {
                refused += 1;
                // Damage may have hit a claim that is needed, or made one of another type.
                let known = ["sub", "jti", "client_id", "scope", "scp", "nbf", "iat", "cnf"];
                let others = || {
                    let value = plain.as_ref().unwrap().to_value();
                    let is_other = |(name, it): (&String, &Value)| value.get(name) != Some(it);
                    known.iter().any(|it| value.get(it).is_some())
                        || valid.as_object().unwrap().iter().any(is_other)
                };
                assert!(!acceptable || others(), "{seed}: {refusal}\n{text}");
                continue;
            }
        };
        accepted += 1;
        assert!(acceptable, "{seed}: accepted\n{text}");
        let expected = plain.unwrap().to_value();
        assert!(alike(token.extra(), &expected), "{seed}\n{text}");
        assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), token.extra(), "{seed}\n{text}");
        let text_of = |name: &str| expected.get(name).map(|it| it.as_str().unwrap());
        assert_eq!(token.subject(), text_of("sub"), "{seed}\n{text}");
        assert_eq!(token.jwt_id(), text_of("jti"), "{seed}\n{text}");
        assert_eq!(token.client_id(), text_of("client_id"), "{seed}\n{text}");
        assert_eq!(token.audience().collect::<Vec<_>>(), [AUDIENCE], "{seed}\n{text}");
        assert_eq!(
            token.expires_at().map(UnixTime::as_secs_f64),
            expected["exp"].as_f64(),
            "{seed}\n{text}"
        );
        let scopes: HashSet<&str> = ["scope", "scp"]
            .iter()
            .filter_map(|name| expected.get(*name))
            .flat_map(|it| match it {
                Value::String(list) => list.split(' ').collect::<Vec<_>>(),
                other => other.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect(),
            })
            .collect();
        assert!(token.scopes().iter().all(|scope| scopes.contains(scope)), "{seed}\n{text}");
    }
    eprintln!("claims: {accepted} accepted, {refused} refused");
    assert!(accepted > refused / 4 && refused > accepted / 8, "{accepted} {refused}");
}

#[test]
fn fa7_headers_that_are_accepted_are_read_alike_by_others() {
    let issuer = Issuer::new();
    let validator = validator::<Value>(&issuer);
    let with = members(&valid_header(&issuer));
    let claims = valid_claims().to_string();
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..cases(4_000) {
        let text = Writer::new(seed).document(&with);
        let plain = Plain::document(&text);
        let acceptable = plain.as_ref().is_some_and(Node::is_acceptable);
        match at_once(validator.validate(&issuer.key.sign(&text, &claims))) {
            Ok(token) => {
                accepted += 1;
                assert!(acceptable, "{seed}: accepted\n{text}");
                let expected = plain.unwrap().to_value();
                let second: Value = serde_json::from_str(&text).unwrap();
                assert!(alike(&second, &expected), "{seed}\n{text}");
                let key_id = expected["kid"].as_str();
                let signed = Evidence::Signature { algorithm: Algorithm::EdDSA, key_id };
                assert_eq!(token.evidence(), signed, "{seed}\n{text}");
                assert_eq!(expected["alg"], "EdDSA", "{seed}\n{text}");
            }
            Err(Refusal::Rejection(refusal)) => {
                refused += 1;
                let others = || {
                    let value = plain.as_ref().unwrap().to_value();
                    value["alg"] != "EdDSA" || value.get("kid") != Some(&json!("test-key"))
                };
                let malformed = refusal.kind() == RejectionKind::MalformedToken;
                assert!(!acceptable || !malformed || others(), "{seed}: {refusal}\n{text}");
            }
            Err(other) => panic!("{seed}: {other}\n{text}"),
        }
    }
    eprintln!("headers: {accepted} accepted, {refused} refused");
    assert!(accepted > refused / 4 && refused > accepted / 8, "{accepted} {refused}");
}

#[test]
fn fa7_key_sets_and_keys_that_are_accepted_are_read_alike_by_others() {
    let mut key = TestKey::generate(Algorithm::EdDSA).public_jwk();
    key.as_object_mut().unwrap().remove("alg");
    let good = members(&key);
    let other = TestKey::generate(Algorithm::ES256).with_kid("other").public_jwk();
    let (mut used, mut ignored, mut no_set) = (0, 0, 0);
    for seed in 0..cases(4_000) {
        let jwk = Writer::new(seed).document(&good);
        let around = Writer { damages: false, ..Writer::new(!seed) };
        let around = around.document(&["\"keys\":\"here\"".to_owned()]);
        let keys = format!("\"keys\":[{jwk},{other}]");
        let mark = if seed % 5 == 0 { "\u{feff}" } else { "" };
        let text = format!("{mark}{}", around.replace("\"keys\":\"here\"", &keys));
        let around = Plain::document(&around).unwrap().is_acceptable();
        let plain = Plain::document(&jwk);
        let Ok(jwks) = Jwks::static_set(ISSUER, &text) else {
            no_set += 1;
            assert!(!around || plain.is_none(), "{seed}: refused\n{text}");
            continue;
        };
        assert!(around, "{seed}: accepted\n{text}");
        let status = jwks.status().keys;
        assert_eq!(status.len(), 2, "{seed}\n{text}");
        assert!(status.iter().any(|it| it.kid.as_deref() == Some("other")), "{seed}\n{text}");
        if status.iter().any(|it| it.ignored.is_some()) {
            ignored += 1;
            // Damage may have hit what is needed, or a name be one that means something in a key.
            let others = || {
                let value = plain.as_ref().unwrap().to_value();
                value.get("alg").is_some_and(|it| !it.is_null())
                    || key.as_object().unwrap().iter().any(|(name, it)| value.get(name) != Some(it))
            };
            let acceptable = plain.as_ref().is_some_and(Node::is_acceptable);
            assert!(!acceptable || others(), "{seed}: ignored\n{text}");
        } else {
            used += 1;
            let plain = plain.filter(Node::is_acceptable);
            let plain = plain.unwrap_or_else(|| panic!("{seed}: used\n{text}")).to_value();
            assert!(alike(&serde_json::from_str(&jwk).unwrap(), &plain), "{seed}\n{text}");
            let kid = plain.get("kid").filter(|it| !it.is_null()).map(|it| it.as_str().unwrap());
            assert!(status.iter().any(|it| it.kid.as_deref() == kid), "{seed}\n{text}");
        }
    }
    eprintln!("keys: {used} used, {ignored} ignored, {no_set} sets refused");
    let part = cases(4_000) / 40;
    assert!(used > part && ignored > part && no_set > part, "{used} {ignored} {no_set}");
}

#[tokio::test(start_paused = true)]
async fn fa7_metadata_that_is_accepted_is_read_alike_by_others() {
    let key = TestKey::generate(Algorithm::EdDSA).public_jwk();
    let set = json!({ "keys": [key] }).to_string();
    let with = members(&json!({ "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys") }));
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..cases(4_000) / 8 {
        let text = Writer::new(seed).document(&with);
        let sent = if seed % 3 == 0 { format!("\u{feff}{text}") } else { text.clone() };
        let document = sent.strip_prefix('\u{feff}').unwrap_or(&sent);
        let plain = Plain::document(document).filter(Node::is_acceptable);
        let value = plain.map(|it| it.to_value());
        // Damage may have led to another place, which is there as well.
        let of_issuer = value.as_ref().is_some_and(|it| it["issuer"] == ISSUER);
        let jwks_uri = format!("{ISSUER}/keys");
        let right = of_issuer && value.is_some_and(|it| it["jwks_uri"] == jwks_uri);
        let (set, page) = (set.clone(), sent);
        let transport = ScriptedTransport::from_fn(move |request| {
            let keys = request.uri().path() == "/keys";
            ScriptedAnswer::json(if keys { set.clone() } else { page.clone() })
        });
        let jwks = Jwks::discover(ISSUER).transport(transport).build().unwrap();
        let result = jwks.refresh().await;
        assert!(result.is_err() || of_issuer, "{seed}: accepted\n{text}");
        assert!(result.is_ok() || !right, "{seed}: {result:?}\n{text}");
        *(if result.is_ok() { &mut accepted } else { &mut refused }) += 1;
        jwks.shutdown().await;
    }
    eprintln!("metadata: {accepted} accepted, {refused} refused");
    assert!(accepted > refused / 8 && refused > accepted / 8, "{accepted} {refused}");
}

/// Claims in the ways in which applications read trees.
#[derive(Deserialize)]
#[serde(untagged)]
#[allow(dead_code, reason = "it is only read")]
enum Tree {
    Leaf(Option<f64>),
    Text(String),
    List(Vec<Self>),
    Object(HashMap<String, Self>),
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "it is only read")]
struct Flat {
    iss: String,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// Documents that try to go deeper than is counted.
fn deep_values() -> Vec<String> {
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{}0{}", open.repeat(depth), close.repeat(depth))
    };
    let mut values = Vec::new();
    for depth in [14, 15, 16, 100, 127, 128, 3_000] {
        values.push(nested("[", "]", depth));
        values.push(nested("{\"a\":", "}", depth.min(2_000)));
        values.push(nested("[{\"a\":", "}]", depth / 2));
    }
    // A text that is read as JSON of its own, with a count of its own, again and again.
    for reserved in RESERVED {
        let mut text = nested("[", "]", 100);
        for _ in 0..6 {
            text = format!("{{\"{reserved}\":{}}}", json!(text));
            values.push(text.clone());
            values.push(nested("[", "]", 10).replace('0', &text));
            text = format!("{}{text}{}", "[".repeat(120), "]".repeat(120));
        }
    }
    values.retain(|value| value.len() < 10_000);
    values
}

/// In a debug build, on less stack than any thread has unless it asks for less.
#[test]
fn fa7_nothing_that_is_accepted_needs_a_deep_stack() {
    fn try_all<C: DeserializeOwned + Send + Sync + 'static>(issuer: &Issuer) -> usize {
        let validator = validator::<C>(issuer);
        let header = valid_header(issuer);
        let with = |object: &Value, value: &str| {
            let object = object.to_string();
            format!("{},\"deep\":{value}}}", object.strip_suffix('}').unwrap())
        };
        let mut accepted = 0;
        for value in deep_values() {
            let claims = with(&valid_claims(), &value);
            let acceptable = Plain::document(&claims).is_some_and(|it| it.is_acceptable());
            let token = issuer.key.sign(header.to_string(), &claims);
            assert_eq!(at_once(validator.validate(&token)).is_ok(), acceptable, "{value:.200}");
            let token = issuer.key.sign(with(&header, &value), valid_claims().to_string());
            assert_eq!(at_once(validator.validate(&token)).is_ok(), acceptable, "{value:.200}");
            let set = with(&serde_json::from_str(&issuer.jwks_json()).unwrap(), &value);
            assert_eq!(Jwks::static_set(ISSUER, &set).is_ok(), acceptable, "{value:.200}");
            let key = with(&issuer.key.public_jwk(), &value);
            let set = format!("{{\"keys\":[{key}]}}");
            assert_eq!(Jwks::static_set(ISSUER, &set).is_ok(), acceptable, "{value:.200}");
            accepted += usize::from(acceptable);
        }
        accepted
    }
    let small = |run: fn(&Issuer) -> usize| {
        let thread = thread::Builder::new().stack_size(256 * 1_024);
        thread.spawn(move || run(&Issuer::new())).unwrap().join().unwrap()
    };
    let ways: [fn(&Issuer) -> usize; 5] = [
        try_all::<tower_bearer::NoClaims>,
        try_all::<Value>,
        try_all::<Map<String, Value>>,
        try_all::<HashMap<String, Tree>>,
        try_all::<Flat>,
    ];
    for run in ways {
        assert_eq!(small(run), 6, "of each shape, those of 14 and 15 levels");
    }
}
