//! Reads one field of a secret that is a JSON object, as secret managers store them.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::json;
use crate::secret::Secret;

/// The reason if a field can't be read as the secret.
pub(crate) const NO_FIELD: &str = "it isn't a JSON object with a string in the named field";

/// Returns the string in this field of an object.
pub(crate) fn field(object: &[u8], name: &str) -> Option<Secret> {
    // The other fields may be secrets as well, and aren't copied.
    let fields: BTreeMap<String, &RawValue> = json::parse(object).ok()?;
    text(fields.get(name)?)
}

/// Returns the value if it is a string.
pub(crate) fn text(value: &RawValue) -> Option<Secret> {
    serde_json::from_str::<String>(value.get()).ok().map(Secret::new)
}

/// Returns the string in the only field of an object.
#[cfg(feature = "vault")]
pub(crate) fn only_field(object: &[u8]) -> Option<Secret> {
    let fields: BTreeMap<String, &RawValue> = json::parse(object).ok()?;
    let mut values = fields.into_values();
    let value = values.next().filter(|_| values.next().is_none())?;
    text(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(object: &str, name: &str) -> Option<String> {
        let secret = field(object.as_bytes(), name)?;
        Some(String::from_utf8(secret.expose().to_vec()).unwrap())
    }

    #[test]
    fn a_field_is_a_string_in_an_object() {
        let object =
            r#"{"id":"svc","client_secret":"p%:+/ &=s","n":7,"o":{"s":"x"},"e":"\u00e9\n"}"#;
        assert_eq!(taken(object, "client_secret").as_deref(), Some("p%:+/ &=s"));
        assert_eq!(taken(object, "e").as_deref(), Some("é\n"));
        for name in ["n", "o", "s", "", "Client_Secret", "o.s"] {
            assert_eq!(taken(object, name), None, "{name}");
        }
        for object in
            ["", "secret", "\"secret\"", "[\"s\"]", "null", r#"{"s":"x"}y"#, r#"{"s":"x""#]
        {
            assert_eq!(taken(object, "s"), None, "{object}");
        }
        assert_eq!(taken(r#"{"s":"x"}"#, "s").as_deref(), Some("x"));
    }
}
