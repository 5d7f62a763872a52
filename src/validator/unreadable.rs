//! Reports why the application's claims couldn't be deserialized, without the token's values.

use serde::de::DeserializeOwned;

use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::validator::metered;

/// Reads the application's own claims. Also returns how much they hold outside of themselves.
#[inline]
pub(crate) fn read_extra<C: DeserializeOwned>(payload: &[u8]) -> Result<(C, usize), Rejection> {
    metered::read(payload).map_err(|error| {
        let reason = without_values(&error.to_string()).into();
        Rejection::with(RejectionKind::MalformedClaim, Detail::Unreadable { reason })
    })
}

/// The longest message that is reported.
const MAX_BYTES: usize = 200;

/// Removes the token's values from an error's message, and makes the rest short and printable.
///
/// serde's own messages quote values in known places: the names of claims and types that remain are
/// those of the application's type. Of another message, which the application or a library wrote,
/// nothing that is quoted, and nothing behind it, is kept.
fn without_values(message: &str) -> String {
    // serde_json appends a position.
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let said = named(message).or_else(|| expected(message)).unwrap_or_else(|| unquoted(message));
    let printable = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    said.chars().map(printable).take(MAX_BYTES).collect()
}

/// ``missing field `tenant_id` ``: the name is that of the type's field, and ends the message.
fn named(message: &str) -> Option<String> {
    let starts = ["missing field `", "duplicate field `"];
    let name = starts.iter().find_map(|start| message.strip_prefix(start))?.strip_suffix('`')?;
    (!name.contains('`')).then(|| message.to_owned())
}

/// `invalid type: string "…", expected u64`: what was found comes from the token, what is expected from
/// the type.
fn expected(message: &str) -> Option<String> {
    let (start, found) = ["invalid type: ", "invalid value: "]
        .iter()
        .chain(&["invalid length ", "unknown variant ", "unknown field "])
        .find_map(|start| Some((*start, message.strip_prefix(start)?)))?;
    // The value may hold these words, but what is expected comes last.
    let (found, expected) = match found.rsplit_once(", expected ") {
        Some((found, expected)) => (found, format!(", expected {expected}")),
        None => (found, String::new()),
    };
    // "string", "integer", "sequence": a word or two before the value.
    let kind = found.split(['"', '`', '\'']).next().unwrap_or_default().trim_end();
    let kind = if start == "invalid length " || kind.is_empty() { "…" } else { kind };
    Some(format!("{start}{kind}{expected}").replace('…', "(not shown)"))
}

fn unquoted(message: &str) -> String {
    match message.split_once(['"', '`', '\'']) {
        Some((before, _)) => format!("{before}(not shown)"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    use super::*;

    fn told<T: DeserializeOwned>(json: &str) -> String {
        without_values(
            &serde_json::from_str::<T>(json).err().expect("it can't be read").to_string(),
        )
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "it is only read")]
    struct Tenant {
        tenant_id: u64,
        kind: Option<Kind>,
        pair: Option<(u8, u8)>,
        name: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Small,
        Large,
    }

    #[test]
    fn fb10_serdes_message_says_what_is_missing_and_not_what_the_token_says() {
        for (json, expected) in [
            ("{}", "missing field `tenant_id`"),
            (r#"{"tenant_id":"canary"}"#, "invalid type: string, expected u64"),
            (r#"{"tenant_id":"canary, expected 7"}"#, "invalid type: string, expected u64"),
            (r#"{"tenant_id":"c\", expected `x"}"#, "invalid type: string, expected u64"),
            (r#"{"tenant_id":-48151623}"#, "invalid value: integer, expected u64"),
            (r#"{"tenant_id":1.5}"#, "invalid type: floating point, expected u64"),
            (r#"{"tenant_id":true}"#, "invalid type: boolean, expected u64"),
            (r#"{"tenant_id":null}"#, "invalid type: null, expected u64"),
            (r#"{"tenant_id":[1]}"#, "invalid type: sequence, expected u64"),
            (
                r#"{"tenant_id":1,"kind":"canary"}"#,
                "unknown variant (not shown), expected `small` or `large`",
            ),
            (
                r#"{"tenant_id":1,"canary":1}"#,
                "unknown field (not shown), expected one of `tenant_id`, `kind`, `pair`, `name`",
            ),
            (
                r#"{"tenant_id":1,"pair":[1]}"#,
                "invalid length (not shown), expected a tuple of size 2",
            ),
        ] {
            assert_eq!(told::<Tenant>(json), expected, "{json}");
        }
        assert_eq!(told::<std::net::IpAddr>(r#""canary""#), "invalid IP address syntax");
        assert!(!told::<BTreeMap<u8, u8>>(r#"{"canary":1}"#).contains("canary"));
    }

    #[test]
    fn fb10_other_messages_are_cut_at_what_they_quote_and_made_printable() {
        for (message, expected) in [
            ("tenant \"canary\" is closed", "tenant (not shown)"),
            ("found `canary` at 1", "found (not shown)"),
            ("it's canary", "it(not shown)"),
            ("a\r\nb\u{e9}", "a??b?"),
            ("no such tenant at line 1 column 7", "no such tenant"),
            ("missing field `a` canary `b`", "missing field (not shown)"),
        ] {
            assert_eq!(without_values(message), expected);
        }
        assert_eq!(without_values(&"x".repeat(5_000)).len(), MAX_BYTES);
    }

    proptest! {
        #[test]
        fn fb10_no_string_of_the_token_gets_into_what_is_told(value in "\\PC{0,20}canary\\PC{0,20}") {
            let value = serde_json::to_string(&value).unwrap();
            for json in [
                format!("{{\"tenant_id\":{value}}}"),
                format!("{{\"tenant_id\":1,\"kind\":{value}}}"),
                format!("{{\"tenant_id\":1,\"pair\":{value}}}"),
                format!("{{\"tenant_id\":1,\"name\":[{value}]}}"),
                format!("{{\"tenant_id\":1,{value}:1}}"),
            ] {
                let told = told::<Tenant>(&json);
                prop_assert!(!told.contains("canary"), "{}", told);
            }
        }
    }
}
