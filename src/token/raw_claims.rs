//! Reads the claims that are checked from a token's payload, borrowed and strict.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::slice;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::clock::UnixTime;
use crate::json::{Any, Budget, Names, Text, Texts, Value, duplicate, next_name, read_object};
use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::scope::ScopeSet;
use crate::token::actor::Actor;
use crate::token::client_id_source::ClientIdSource;
use crate::token::confirmation::Confirmation;
use crate::token::kept::{KeptNames, KeptSeed, checked};
use crate::token::login::{Told, acr, auth_time};
use crate::token::marks::{Mark, telling_name, type_claim};
use crate::token::numeric_date::NumericDate;
use crate::token::scope_source::ScopeSource;
use crate::token::scope_text::{KeptScopes, SCOPES, ScopeText, ScopesSeed, gather};
use crate::token::times::Times;

/// The claims whose names differ between authorization servers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sources {
    pub(crate) scope: ScopeSource,
    pub(crate) client_id: ClientIdSource,
    /// Which claims are kept besides.
    pub(crate) kept: KeptNames,
}

/// The claims of a token that isn't verified yet, borrowed from its payload.
#[derive(Debug, Default)]
pub(crate) struct RawClaims<'a> {
    pub(crate) iss: Option<Cow<'a, str>>,
    pub(crate) sub: Option<Cow<'a, str>>,
    client_id: Option<Cow<'a, str>>,
    /// The other claim with the best rank that may hold the client's id.
    other_client_id: Option<(usize, Cow<'a, str>)>,
    pub(crate) jti: Option<Cow<'a, str>>,
    pub(crate) aud: Option<Audience<'a>>,
    pub(crate) times: Times,
    /// What shows that it isn't an access token.
    pub(crate) mark: Option<Mark<'a>>,
    pub(crate) confirmation: Confirmation<'a>,
    scopes: SmallVec<[ScopeText<'a>; 1]>,
    pub(crate) acr: Told<Cow<'a, str>>,
    pub(crate) auth_time: Told<UnixTime>,
    pub(crate) actor: Option<Box<Actor>>,
    /// The claims that are kept, by the places of their names.
    pub(crate) kept: Vec<(usize, &'a RawValue)>,
    pub(crate) kept_names: KeptNames,
}

/// `aud`: one or many (RFC 7519 §4.1.3).
#[derive(Debug)]
pub(crate) enum Audience<'a> {
    One(Cow<'a, str>),
    /// Never empty.
    Many(Texts<'a>),
}

impl Audience<'_> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let all = match self {
            Self::One(one) => slice::from_ref(one),
            Self::Many(many) => many,
        };
        all.iter().map(AsRef::as_ref)
    }
}

impl<'a> RawClaims<'a> {
    /// Reads a decoded payload.
    ///
    /// # Errors
    ///
    /// `MalformedClaim` if a claim that matters has a wrong type, `MalformedToken` if anything else isn't
    /// one JSON object with each name once. A claim of the wrong type is never
    /// treated as absent.
    pub(crate) fn parse(json: &'a [u8], sources: &Sources) -> Result<Self, Rejection> {
        let mut claims = Self::default();
        claims.read(json, sources)?;
        Ok(claims)
    }

    /// The same, into claims that hold nothing yet: they are large, and needn't be moved this way.
    pub(crate) fn read(&mut self, json: &'a [u8], sources: &Sources) -> Result<(), Rejection> {
        let reader = Reader { budget: Budget::new(), failing: Cell::new(None) };
        self.kept_names = sources.kept.clone();
        match read_object(json, ClaimsVisitor { into: self, reader: &reader, sources }) {
            Ok(()) => Ok(()),
            Err(_) => Err(match reader.failing.get() {
                Some(claim) => Rejection::with(RejectionKind::MalformedClaim, Detail::Claim(claim)),
                None => Rejection::with(
                    RejectionKind::MalformedToken,
                    Detail::Note("the claims aren't a JSON object, or one occurs twice"),
                ),
            }),
        }
    }

    /// Returns the client's id.
    pub(crate) fn client_id(&self, source: &ClientIdSource) -> Option<&str> {
        let ranked = |claim: &str, value: &'_ Option<Cow<'a, str>>| {
            value.is_some().then(|| source.rank(claim)).flatten()
        };
        let other = self.other_client_id.as_ref();
        let by_rank = [
            (ranked("client_id", &self.client_id), self.client_id.as_deref()),
            (ranked("sub", &self.sub), self.sub.as_deref()),
            (other.map(|(rank, _)| *rank), other.map(|(_, value)| &**value)),
        ];
        by_rank.into_iter().filter(|(rank, _)| rank.is_some()).min_by_key(|(rank, _)| *rank)?.1
    }

    /// Keeps the strongest mark.
    fn found(&mut self, mark: Option<Mark<'a>>) {
        if mark.as_ref().is_some_and(|mark| mark.outweighs(self.mark.as_ref())) {
            self.mark = mark;
        }
    }

    /// Gathers the scopes. `json` is the payload that this was parsed from.
    ///
    /// # Errors
    ///
    /// As [`gather`].
    pub(crate) fn scopes(&self, json: &[u8], source: &ScopeSource) -> Result<ScopeSet, Rejection> {
        gather(&self.scopes, json, source)
    }
}

const CLIENT_ID: &str = "a claim for the client's id isn't a string";

struct ClaimsVisitor<'a, 'b> {
    into: &'b mut RawClaims<'a>,
    reader: &'b Reader,
    sources: &'b Sources,
}

struct Reader {
    budget: Budget,
    /// The claim that was being read when reading failed.
    failing: Cell<Option<&'static str>>,
}

impl Reader {
    /// Reads a claim's value with a seed that accepts only its type.
    fn read<'de, A: MapAccess<'de>, S: DeserializeSeed<'de>>(
        &self,
        map: &mut A,
        claim: &'static str,
        seed: S,
    ) -> Result<S::Value, A::Error> {
        self.failing.set(Some(claim));
        let value = map.next_value_seed(seed)?;
        self.failing.set(None);
        Ok(value)
    }

    /// Reads a claim that may occur once.
    fn once<'de, A: MapAccess<'de>, S: DeserializeSeed<'de>>(
        &self,
        map: &mut A,
        claim: &'static str,
        seed: S,
        into: &mut Option<S::Value>,
    ) -> Result<(), A::Error> {
        if into.is_some() {
            return Err(duplicate());
        }
        *into = Some(self.read(map, claim, seed)?);
        Ok(())
    }
}

impl<'de> Visitor<'de> for ClaimsVisitor<'de, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a claims object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { into, reader, sources } = self;
        let map = &mut map;
        let mut others = Names::new();
        let (mut is_preferred, mut second) = (false, None);
        while let Some(name) = next_name(map, &reader.budget)? {
            match name.as_ref() {
                "iss" => reader.once(map, "iss", Text, &mut into.iss)?,
                "sub" => reader.once(map, "sub", Text, &mut into.sub)?,
                "client_id" => reader.once(map, "client_id", Text, &mut into.client_id)?,
                "jti" => reader.once(map, "jti", Text, &mut into.jti)?,
                "aud" => reader.once(map, "aud", AudienceSeed(&reader.budget), &mut into.aud)?,
                "exp" => reader.once(map, "exp", NumericDate, &mut into.times.exp)?,
                "nbf" => reader.once(map, "nbf", NumericDate, &mut into.times.nbf)?,
                "iat" => reader.once(map, "iat", NumericDate, &mut into.times.iat)?,
                other => {
                    others.add(name.clone())?;
                    if sources.scope.has_claim(other) {
                        let scopes = match sources.kept.place(other) {
                            None => reader.read(map, SCOPES, ScopesSeed(&reader.budget))?,
                            Some(at) => {
                                let seed = KeptScopes(KeptSeed(other, &reader.budget));
                                let (raw, scopes) = reader.read(map, SCOPES, seed)?;
                                into.kept.push((at, raw));
                                scopes
                            }
                        };
                        if let Some(instead) = sources.scope.instead() {
                            is_preferred |= other == instead.of;
                            second = if other == instead.claim {
                                Some(into.scopes.len())
                            } else {
                                second
                            };
                        }
                        into.scopes.push(scopes);
                    } else if let Some(rank) = sources.client_id.rank(other) {
                        let value = reader.read(map, CLIENT_ID, Text)?;
                        if into.other_client_id.as_ref().is_none_or(|(best, _)| rank < *best) {
                            into.other_client_id = Some((rank, value));
                        }
                    } else if other == "cnf" {
                        let raw = map.next_value()?;
                        into.confirmation = Confirmation::read(raw);
                        into.kept.extend(sources.kept.place(other).map(|at| (at, raw)));
                    } else if other == "act" {
                        reader.failing.set(Some("act"));
                        let raw: &RawValue = map.next_value()?;
                        into.actor = Some(Actor::read(raw.get()).ok_or_else(wrong_type)?);
                        reader.failing.set(None);
                        into.kept.extend(sources.kept.place(other).map(|at| (at, raw)));
                    } else if let Some(claim) = type_claim(other) {
                        let value = map.next_value_seed(Any::keep(&reader.budget))?;
                        into.found(Mark::of_type(claim, value));
                    } else if let Some(at) = sources.kept.place(other) {
                        let value = reader.read(map, KEPT, KeptSeed(other, &reader.budget))?;
                        into.kept.push((at, value));
                    } else if other == "acr" {
                        into.acr = acr(map.next_value_seed(Any::keep(&reader.budget))?);
                    } else if other == "auth_time" {
                        into.auth_time = auth_time(checked(map, &reader.budget)?);
                    } else {
                        into.found(telling_name(other).map(Mark::present));
                        map.next_value_seed(Any::skip(&reader.budget))?;
                    }
                }
            }
        }
        if let (true, Some(second)) = (is_preferred, second) {
            into.scopes.remove(second);
        }
        Ok(())
    }
}

const KEPT: &str = "a claim that is kept isn't of its shape";

fn wrong_type<E: de::Error>() -> E {
    E::custom("a claim has the wrong type")
}

struct AudienceSeed<'b>(&'b Budget);

impl<'de> DeserializeSeed<'de> for AudienceSeed<'_> {
    type Value = Audience<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Audience<'de>, D::Error> {
        match Any::keep(self.0).deserialize(deserializer)? {
            Value::Text(one) => Ok(Audience::One(one)),
            Value::Array(Some(many)) if !many.is_empty() => Ok(Audience::Many(many)),
            Value::Array(_) | Value::Bool(_) | Value::Null | Value::Other => Err(wrong_type()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> Option<RejectionKind> {
        RawClaims::parse(json.as_bytes(), &Sources::default()).err().map(|r| r.kind())
    }

    // TX8
    #[test]
    fn tx8_an_actor_that_cannot_be_read_is_not_taken_for_none() {
        for bad in ["1", "[]", "null", r#"{"sub":7}"#] {
            let json = format!(r#"{{"act":{bad}}}"#);
            assert_eq!(refused(&json), Some(RejectionKind::MalformedClaim), "{bad}");
        }
        assert_eq!(refused(r#"{"act":{"sub":"a"}}"#), None);
        assert_eq!(refused(r#"{"act":{},"act":{}}"#), Some(RejectionKind::MalformedToken));
    }

    fn scopes(json: &str, source: &ScopeSource) -> Result<String, RejectionKind> {
        let sources = Sources { scope: source.clone(), ..Sources::default() };
        let claims = RawClaims::parse(json.as_bytes(), &sources).map_err(|r| r.kind())?;
        claims.scopes(json.as_bytes(), source).map(|s| s.to_string()).map_err(|r| r.kind())
    }

    // C7, C8
    #[test]
    fn c7_c8_times_are_numbers_and_nothing_else() {
        for claim in ["exp", "nbf", "iat"] {
            for number in ["0", "-1", "1300819380.5", "1e9", "1E9", "-0.0", "9007199254740992"] {
                assert_eq!(refused(&format!("{{\"{claim}\":{number}}}")), None, "{claim} {number}");
            }
            for other in [
                "\"1300819380\"",
                "true",
                "null",
                "{}",
                "[]",
                "[1]",
                "9007199254740993",
                "-9007199254740993",
                "1e300",
                "1e999",
                "-1e999",
                "18446744073709551615",
                "\"\"",
                "{\"$serde_json::private::Number\":\"1\"}",
            ] {
                let json = format!("{{\"{claim}\":{other}}}");
                assert_eq!(refused(&json), Some(RejectionKind::MalformedClaim), "{json}");
            }
        }
        for json in
            ["{\"exp\":01}", "{\"exp\":+1}", "{\"exp\":.5}", "{\"exp\":0x1}", "{\"exp\":NaN}"]
        {
            assert!(refused(json).is_some(), "{json}");
        }
    }

    // C1, C3
    #[test]
    fn c1_c3_strings_are_strings() {
        for claim in ["iss", "sub", "client_id", "jti"] {
            for other in ["1", "null", "true", "{}", "[]", "[\"a\"]"] {
                let json = format!("{{\"{claim}\":{other}}}");
                assert_eq!(refused(&json), Some(RejectionKind::MalformedClaim), "{json}");
            }
            assert_eq!(refused(&format!("{{\"{claim}\":\"a\"}}")), None);
        }
        for other in ["1", "null", "true", "{}", "[]", "[\"a\",1]", "[[\"a\"]]", "[null]"] {
            let json = format!("{{\"aud\":{other}}}");
            assert_eq!(refused(&json), Some(RejectionKind::MalformedClaim), "{json}");
        }
        let parsed = RawClaims::parse(br#"{"aud":["a","b"]}"#, &Sources::default()).unwrap();
        assert_eq!(parsed.aud.unwrap().iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    // J5, J7
    #[test]
    fn j5_j7_the_claims_are_one_object_with_each_name_once() {
        for json in [
            "",
            "[]",
            "\"a\"",
            "{\"a\":1,\"a\":1}",
            "{\"exp\":1,\"exp\":1}",
            "{\"cnf\":1,\"cnf\":1}",
            "{\"nonce\":1,\"nonce\":1}",
            "{\"scope\":\"a\",\"scope\":\"a\"}",
            "{\"iss\":\"a\",\"\\u0069ss\":\"b\"}",
            "{}{}",
            "{\"a\":{\"b\":1,\"b\":2}}",
            "{\"$serde_json::private::RawValue\":\"{}\"}",
            "{\"a\":{\"\\u0024serde_json::private::RawValue\":\"{}\"}}",
            "{\"$serde_json::private::Number\":\"1\"}",
        ] {
            assert_eq!(refused(json), Some(RejectionKind::MalformedToken), "{json}");
        }
        assert_eq!(refused("{\"a\":{\"b\":1},\"b\":{\"b\":1}}"), None);
    }

    // C14
    #[test]
    fn c14_scopes_from_every_shape() {
        let standard = ScopeSource::standard();
        for (json, expected) in [
            (r#"{"scope":"a b"}"#, "a b"),
            (r#"{"scope":["a","b"]}"#, "a b"),
            (r#"{"scp":"a b"}"#, "a b"),
            (r#"{"scp":["a","b c","d"]}"#, "a d"),
            (r#"{"scope":"a","scp":["b"]}"#, "a b"),
            (r#"{"scope":""}"#, ""),
            (r#"{}"#, ""),
            (r#"{"roles":["a"],"permissions":["b"]}"#, ""),
        ] {
            assert_eq!(scopes(json, &standard).as_deref(), Ok(expected), "{json}");
        }
        for other in ["1", "null", "{}", "[1]", "[\"a\",null]", "true"] {
            let json = format!("{{\"scope\":{other}}}");
            assert_eq!(scopes(&json, &standard), Err(RejectionKind::MalformedClaim), "{json}");
        }
    }

    // C14
    #[test]
    fn c14_presets_for_other_servers() {
        let token = r#"{"scope":"s","scp":"p","roles":["r"],"permissions":["m"],
            "realm_access":{"roles":["rr"]},
            "resource_access":{"me":{"roles":["mine"]},"other":{"roles":["theirs"]}}}"#;
        for (source, expected) in [
            (ScopeSource::rfc9068(), "s"),
            (ScopeSource::okta(), "p"),
            (ScopeSource::entra(), "p"),
            (ScopeSource::auth0_permissions(), "m"),
            (ScopeSource::keycloak_realm_roles(), "s rr"),
            (ScopeSource::keycloak_client_roles("me"), "s mine"),
            (ScopeSource::keycloak_client_roles("nobody"), "s"),
            (ScopeSource::claim("roles").unwrap(), "r"),
            (ScopeSource::okta().and(ScopeSource::auth0_permissions()), "p m"),
        ] {
            assert_eq!(scopes(token, &source).as_deref(), Ok(expected), "{source:?}");
        }
        // Entra's roles are scopes in applications' tokens only, wherever the claims stand.
        let entra = ScopeSource::entra();
        let with = |name: &str| entra.clone().and(ScopeSource::claim(name).unwrap());
        for (json, source, expected) in [
            (r#"{"roles":["a","r"],"scp":"p"}"#, &entra, "p"),
            (r#"{"scp":"p","roles":["a"]}"#, &entra, "p"),
            (r#"{"scp":"","roles":["a"]}"#, &entra, ""),
            (r#"{"scp":[],"roles":["a"]}"#, &entra, ""),
            (r#"{"roles":["a","r"]}"#, &entra, "a r"),
            (r#"{"roles":["a"],"scope":"s"}"#, &entra, "a"),
            (r#"{"permissions":["m"],"roles":["a"],"scp":"p"}"#, &with("permissions"), "m p"),
            (r#"{"permissions":["m"],"roles":["a"]}"#, &with("permissions"), "m a"),
            (r#"{"roles":["a"],"scp":"p"}"#, &with("scp"), "p"),
            (r#"{"roles":["a"],"scp":"p"}"#, &with("roles"), "a p"),
            (r#"{"roles":["a"],"scp":"p"}"#, &ScopeSource::rfc9068().and(entra.clone()), "p"),
            (r#"{"scope":"s","roles":["a"]}"#, &ScopeSource::rfc9068().and(entra.clone()), "s a"),
        ] {
            assert_eq!(scopes(json, source).as_deref(), Ok(expected), "{json} {source:?}");
        }
        for bad in [r#"{"scp":1,"roles":["a"]}"#, r#"{"scp":null,"roles":["a"]}"#] {
            assert_eq!(scopes(bad, &entra), Err(RejectionKind::MalformedClaim), "{bad}");
        }
        let realm = ScopeSource::keycloak_realm_roles();
        for other in [r#"{"roles":[1]}"#, r#"{"roles":{}}"#, r#"{"roles":null}"#] {
            let json = format!("{{\"realm_access\":{other}}}");
            assert_eq!(scopes(&json, &realm), Err(RejectionKind::MalformedClaim), "{json}");
        }
        for other in [r#"["roles"]"#, r#""roles""#, "1", "true", "null"] {
            let json = format!("{{\"realm_access\":{other}}}");
            assert_eq!(scopes(&json, &realm), Err(RejectionKind::MalformedClaim), "{json}");
        }
        for absent in ["{}", r#"{"realm_access":{}}"#, r#"{"realm_access":{"other":["a"]}}"#] {
            assert_eq!(scopes(absent, &realm).as_deref(), Ok(""), "{absent}");
        }
        for taken in ["sub", "aud", "cnf", ""] {
            assert!(ScopeSource::claim(taken).is_err(), "{taken}");
        }
    }
}
