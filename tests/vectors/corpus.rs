use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// One vector of a token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) jwks: Text,
    #[serde(default)]
    pub(crate) settings: Settings,
    pub(crate) token: Text,
    pub(crate) expect: String,
    pub(crate) expect_rust_crypto: Option<String>,
    pub(crate) scopes: Option<String>,
    pub(crate) claims: Option<Map<String, Value>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
    pub(crate) audiences: Option<Vec<String>>,
    pub(crate) algorithms: Option<Vec<String>>,
    pub(crate) leeway: Option<u64>,
    pub(crate) max_age: Option<u64>,
    pub(crate) profile: Option<String>,
    pub(crate) scope_source: Option<String>,
    pub(crate) shared_secret: Option<String>,
    pub(crate) shared_algorithm: Option<String>,
    pub(crate) requires: Option<String>,
}

/// One vector of header fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldsRow {
    pub(crate) id: String,
    pub(crate) name: String,
    fields: Vec<(String, String)>,
    token: Text,
    pub(crate) over: Option<String>,
    pub(crate) expect: String,
}

impl FieldsRow {
    /// The names and values of the fields; in the vectors, each character of a value is one byte.
    pub(crate) fn fields(&self) -> Vec<(&str, Vec<u8>)> {
        let token = self.token.write_out();
        let octets = |value: &str| {
            let value = value.replace("{token}", &token);
            value.chars().map(|c| u8::try_from(c).expect("a character is a byte")).collect()
        };
        self.fields.iter().map(|(name, value)| (name.as_str(), octets(value))).collect()
    }
}

/// A text, written whole or in parts.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Text {
    Whole(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Part {
    Text(String),
    Run { repeat: String, times: usize },
}

impl Text {
    pub(crate) fn write_out(&self) -> String {
        match self {
            Self::Whole(text) => text.clone(),
            Self::Parts(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => text.clone(),
                    Part::Run { repeat, times } => repeat.repeat(*times),
                })
                .collect(),
        }
    }
}

pub(crate) fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn rows<R: DeserializeOwned>(group: &str) -> Vec<R> {
    serde_json::from_str(&read(&format!("tokens/{group}.json"))).unwrap()
}
