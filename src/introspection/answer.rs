//! Reads a JSON introspection response into a verdict (RFC 7662 §2.2).

use std::collections::BTreeMap;

use serde_json::value::{RawValue, to_raw_value};

use crate::introspection::error_kind::IntrospectionErrorKind;
use crate::json;

/// The verdict about a token.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    Inactive,
    /// The token is active, and its claims are this JSON object: the members of the response without those
    /// that are `null`, which some servers send for absent ones. `iss` is the endpoint's issuer if the response
    /// has none.
    Active(Vec<u8>),
}

/// Reads a JSON answer of the issuer's endpoint.
///
/// # Errors
///
/// If it isn't one JSON object with each name once, or `active` isn't a boolean: such a response is no
/// verdict.
pub(crate) fn read(body: &[u8], issuer: &str) -> Result<Answer, IntrospectionErrorKind> {
    let mut members: BTreeMap<String, Box<RawValue>> =
        json::parse(body).map_err(|_| IntrospectionErrorKind::NotJson)?;
    match members.get("active").map(|active| active.get()) {
        Some("true") => {}
        Some("false") => return Ok(Answer::Inactive),
        _ => return Err(IntrospectionErrorKind::NoVerdict),
    }
    members.retain(|name, value| {
        let is_empty = name == "aud" && is_empty_array(value.get());
        value.get() != "null" && !is_empty
    });
    if !members.contains_key("iss") {
        let issuer = to_raw_value(issuer).map_err(|_| IntrospectionErrorKind::NotJson)?;
        members.insert("iss".into(), issuer);
    }
    serde_json::to_vec(&members).map(Answer::Active).map_err(|_| IntrospectionErrorKind::NotJson)
}

/// Returns `true` for `[]`, which some servers send for a token without audience.
fn is_empty_array(raw: &str) -> bool {
    let inner = raw.strip_prefix('[').and_then(|raw| raw.strip_suffix(']'));
    inner.is_some_and(|inner| inner.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://as.example/\"x\"";

    fn claims(body: &str) -> Value {
        match read(body.as_bytes(), ISSUER) {
            Ok(Answer::Active(claims)) => serde_json::from_slice(&claims).unwrap(),
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn i15_active_must_be_a_boolean() {
        for (active, expected) in [
            ("false", Ok(Answer::Inactive)),
            ("\"true\"", Err(IntrospectionErrorKind::NoVerdict)),
            ("\"false\"", Err(IntrospectionErrorKind::NoVerdict)),
            ("1", Err(IntrospectionErrorKind::NoVerdict)),
            ("0", Err(IntrospectionErrorKind::NoVerdict)),
            ("null", Err(IntrospectionErrorKind::NoVerdict)),
            ("[true]", Err(IntrospectionErrorKind::NoVerdict)),
            ("{\"active\":true}", Err(IntrospectionErrorKind::NoVerdict)),
            ("True", Err(IntrospectionErrorKind::NotJson)),
        ] {
            let body = format!("{{\"sub\":\"a\",\"active\":{active},\"scope\":\"a\"}}");
            assert_eq!(read(body.as_bytes(), ISSUER), expected, "{body}");
        }
        assert_eq!(read(b"{}", ISSUER), Err(IntrospectionErrorKind::NoVerdict));
        assert_eq!(claims(r#"{"active": true }"#)["active"], true);
    }

    #[test]
    fn i16_what_is_not_one_object_with_each_name_once_is_no_answer() {
        for body in [
            "",
            "<html></html>",
            "true",
            "[{\"active\":true}]",
            "{\"active\":true",
            "{\"active\":true}{}",
            "{\"active\":false,\"active\":true}",
            "{\"active\":true,\"\\u0061ctive\":true}",
            "{\"active\":true,\"ext\":{\"a\":1,\"a\":2}}",
            "{\"active\":true,\"a\":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}",
            "{active:true}",
            "{\"active\":tru",
        ] {
            assert_eq!(
                read(body.as_bytes(), ISSUER),
                Err(IntrospectionErrorKind::NotJson),
                "{body}"
            );
        }
    }

    #[test]
    fn i27_an_inactive_tokens_other_members_are_ignored() {
        let body = br#"{"active":false,"sub":"a","scope":"admin","exp":"never","iss":7}"#;
        assert_eq!(read(body, ISSUER), Ok(Answer::Inactive));
    }

    #[test]
    fn i22_i25_members_stay_as_they_came_and_the_issuer_is_added_where_none_is_named() {
        let body = r#"{"active":true,"exp":1796230173.44484,"n":12345678901234567890123,
            "username":"\u0061","ext":{"b":1,"a":[null]}}"#;
        let Ok(Answer::Active(read)) = read(body.as_bytes(), ISSUER) else { panic!() };
        let text = String::from_utf8(read).unwrap();
        for part in ["1796230173.44484", "12345678901234567890123", r#"{"b":1,"a":[null]}"#] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(claims(body)["iss"], ISSUER);
        assert_eq!(claims(body)["username"], "a");
        assert_eq!(claims(r#"{"active":true,"iss":"other"}"#)["iss"], "other");
        assert_eq!(claims(r#"{"active":true,"iss":7}"#)["iss"], 7);
    }

    #[test]
    fn i19_null_is_as_good_as_absent_and_so_is_an_empty_list_of_audiences() {
        let body = r#"{"active":true,"iss":null,"aud":[ ],"exp":null,"scope":null,"x":[]}"#;
        assert_eq!(claims(body), json!({ "active": true, "iss": ISSUER, "x": [] }));
        assert_eq!(claims(r#"{"active":true,"aud":[""]}"#)["aud"], json!([""]));
    }
}
