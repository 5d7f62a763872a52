//! Reads which tool, prompt, resource or method a JSON-RPC message is about.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::json::{Any, Budget, Names, Value, read_object};

/// What an MCP message asks for, as far as access rules apply to it.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Call<'a> {
    /// `tools/call`
    Tool(Cow<'a, str>),
    /// `prompts/get`
    Prompt(Cow<'a, str>),
    /// A method that is about one resource, such as `resources/read`.
    Resource { method: Cow<'a, str>, uri: Cow<'a, str> },
    /// Any other method, including those of notifications.
    Method(Cow<'a, str>),
    /// The answer to a request of the server.
    Answer,
}

pub(crate) const CALL_TOOL: &str = "tools/call";
pub(crate) const GET_PROMPT: &str = "prompts/get";
const RESOURCES: &str = "resources/";

/// What a method's `params` must name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Named {
    /// A tool, by `name`.
    Tool,
    /// A prompt, by `name`.
    Prompt,
    /// A resource, by `uri`.
    Resource,
    /// Nothing.
    No,
}

impl Named {
    pub(crate) fn by(method: &str) -> Self {
        match method {
            CALL_TOOL => Self::Tool,
            GET_PROMPT => Self::Prompt,
            "resources/list" | "resources/templates/list" => Self::No,
            _ if method.starts_with(RESOURCES) => Self::Resource,
            _ => Self::No,
        }
    }
}

/// Why a body isn't one message that all parsers read in the same way.
const NOT_A_MESSAGE: &str = "the body isn't one JSON-RPC 2.0 message, or has a member twice";
const NO_NAME: &str = "the message's params name no tool, prompt or resource by a string";

/// Reads a body: one JSON-RPC message, whose method, name and URI no two parsers can read differently.
///
/// It is refused where parsers could differ: an array of messages, a duplicate member or one in another
/// case, `params` by position, a byte order mark, and data after the message.
pub(crate) fn read(body: &[u8]) -> Result<Call<'_>, &'static str> {
    let budget = Budget::new();
    let message = read_object(body, Message(&budget)).map_err(|_| NOT_A_MESSAGE)?;
    message.into_call()
}

/// A member that should be a string.
#[derive(Debug, Default)]
enum Member<'de> {
    #[default]
    Absent,
    Text(Cow<'de, str>),
    Other,
}

#[derive(Debug, Default)]
struct Parts<'de> {
    method: Option<Cow<'de, str>>,
    params: Params<'de>,
    is_answer: bool,
    is_json_rpc: bool,
}

#[derive(Debug, Default)]
struct Params<'de> {
    name: Member<'de>,
    uri: Member<'de>,
    /// There is a member that a parser which ignores case would take for one of the two.
    has_lookalike: bool,
}

impl<'de> Parts<'de> {
    fn into_call(self) -> Result<Call<'de>, &'static str> {
        if !self.is_json_rpc || self.is_answer == self.method.is_some() {
            return Err(NOT_A_MESSAGE);
        }
        let Some(method) = self.method else { return Ok(Call::Answer) };
        let named = match Named::by(&method) {
            Named::No => return Ok(Call::Method(method)),
            Named::Tool | Named::Prompt => self.params.name,
            Named::Resource => self.params.uri,
        };
        let Member::Text(text) = named else { return Err(NO_NAME) };
        if self.params.has_lookalike {
            return Err(NOT_A_MESSAGE);
        }
        Ok(match Named::by(&method) {
            Named::Tool => Call::Tool(text),
            Named::Prompt => Call::Prompt(text),
            Named::Resource | Named::No => Call::Resource { method, uri: text },
        })
    }
}

struct Message<'b>(&'b Budget);

impl<'de> Visitor<'de> for Message<'_> {
    type Value = Parts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parts<'de>, A::Error> {
        let mut parts = Parts::default();
        let mut names = Names::new();
        while let Some(name) = names.next(&mut map, self.0)? {
            match &*name {
                "jsonrpc" => {
                    let version = map.next_value_seed(Any::keep(self.0))?;
                    parts.is_json_rpc = version.into_text().as_deref() == Some("2.0");
                }
                "method" => {
                    let method = map.next_value_seed(Any::keep(self.0))?.into_text();
                    let method = method.ok_or_else(|| de::Error::custom("method"))?;
                    parts.method = Some(method);
                }
                "params" => parts.params = map.next_value_seed(OptionalParams(self.0))?,
                "result" | "error" => {
                    parts.is_answer = true;
                    map.next_value::<IgnoredAny>()?;
                }
                other => {
                    if looks_like(other, &["jsonrpc", "method", "params", "result", "error"]) {
                        return Err(de::Error::custom("in another case"));
                    }
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(parts)
    }
}

/// `params`: an object, or `null`, which some clients send instead of omitting it.
struct OptionalParams<'b>(&'b Budget);

impl<'de> DeserializeSeed<'de> for OptionalParams<'_> {
    type Value = Params<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Params<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OptionalParams<'_> {
    type Value = Params<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parameters by name")
    }

    fn visit_unit<E>(self) -> Result<Params<'de>, E> {
        Ok(Params::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Params<'de>, A::Error> {
        let mut params = Params::default();
        let mut names = Names::new();
        while let Some(name) = names.next(&mut map, self.0)? {
            match &*name {
                "name" => params.name = member(map.next_value_seed(Any::keep(self.0))?),
                "uri" => params.uri = member(map.next_value_seed(Any::keep(self.0))?),
                other => {
                    params.has_lookalike |= looks_like(other, &["name", "uri"]);
                    // It decides nothing, however large and deep.
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(params)
    }
}

fn member(value: Value<'_>) -> Member<'_> {
    value.into_text().map_or(Member::Other, Member::Text)
}

/// Returns `true` if a parser that ignores case, as Go's does, would take a name for one of these. By
/// Unicode's simple folding, two letters beyond ASCII match letters within it: `ſ` and the Kelvin sign; in
/// Turkish, so do `ı` and `İ`.
fn looks_like(name: &str, known: &[&str]) -> bool {
    let folded = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        _ => c.to_ascii_lowercase(),
    };
    known.iter().any(|known| name.chars().map(folded).eq(known.chars()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tool(name: &str) -> Result<Call<'_>, &'static str> {
        Ok(Call::Tool(name.into()))
    }

    #[test]
    fn reads_what_a_message_asks_for() {
        let cases = [
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add"}}"#,
                tool("add"),
            ),
            (
                r#" {"params":{"arguments":{"name":"x","a":[[[]]]},"name":"add"},"method":"tools/call","jsonrpc":"2.0"} "#,
                tool("add"),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"tools\u002fcall","params":{"n\u0061me":"w\u0069pe"}}"#,
                tool("wipe"),
            ),
            (r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":""}}"#, tool("")),
            (
                r#"{"jsonrpc":"2.0","method":"prompts/get","params":{"name":"p","uri":1}}"#,
                Ok(Call::Prompt("p".into())),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"resources/read","params":{"uri":"a:b","name":1}}"#,
                Ok(Call::Resource { method: "resources/read".into(), uri: "a:b".into() }),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"resources/list"}"#,
                Ok(Call::Method("resources/list".into())),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"tools/list","params":null}"#,
                Ok(Call::Method("tools/list".into())),
            ),
            (r#"{"jsonrpc":"2.0","method":"x","params":{"Name":1}}"#, Ok(Call::Method("x".into()))),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"method":"tools/call"}}"#, Ok(Call::Answer)),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#, Ok(Call::Answer)),
        ];
        for (body, expected) in cases {
            assert_eq!(read(body.as_bytes()), expected, "{body}");
        }
    }

    // MC25
    #[test]
    fn mc25_what_can_be_read_in_two_ways_is_refused() {
        const CALL: &str =
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add"}}"#;
        assert!(read(CALL.as_bytes()).is_ok());
        for body in [
            "",
            "null",
            "{}",
            &format!("[{CALL}]"),
            &format!("[{CALL},{CALL}]"),
            &format!("\u{feff}{CALL}"),
            &format!("{CALL}{CALL}"),
            &format!("{CALL}\n{CALL}"),
            &format!("{CALL}x"),
            &format!("{CALL},"),
            &CALL[..CALL.len() - 1],
            r#"{"jsonrpc":"2.0","method":"tools/list","method":"tools/call","params":{"name":"add"}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","m\u0065thod":"tools/list","params":{"name":"add"}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"add"},"params":{"name":"wipe"}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"add"},"p\u0061rams":{}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"add","name":"wipe"}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"add","\u006eame":"wipe"}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"add","Name":"wipe"}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","Params":{"name":"wipe"},"params":{"name":"add"}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","param\u017f":{"name":"wipe"},"params":{"name":"add"}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/list","METHOD":"tools/call","params":{"name":"add"}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":1}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":null}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":["add"]}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":{"a":"add"}}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":["add"]}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":"add"}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"\ud800"}}"#,
            r#"{"jsonrpc":"2.0","method":"prompts/get","params":{"name":2}}"#,
            r#"{"jsonrpc":"2.0","method":"resources/read","params":{"name":"a:b"}}"#,
            r#"{"jsonrpc":"2.0","method":"resources/read","params":{"uri":"a:b","URI":"c:d"}}"#,
            r#"{"jsonrpc":"2.0","method":"resources/read","params":{"uri":"a:b","ur\u0131":"c:d"}}"#,
            r#"{"jsonrpc":"2.0","method":["tools/call"],"params":{"name":"add"}}"#,
            r#"{"jsonrpc":"2.0","method":null,"id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/list","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"1.0","method":"tools/list"}"#,
            r#"{"jsonrpc":2.0,"method":"tools/list"}"#,
            r#"{"method":"tools/list"}"#,
            r#"["2.0",1,"tools/call",{"name":"add"}]"#,
        ] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
        for body in
            [&b"{\"jsonrpc\":\"2.0\",\"method\":\"a\xff\"}"[..], b"\xfe\xff\x00{\x00}", b"{\0\"\0"]
        {
            assert!(read(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn arguments_may_be_large_and_deep() {
        let list = vec!["{\"a\":1}"; 10_000].join(",");
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let body = format!(
            r#"{{"jsonrpc":"2.0","method":"tools/call","params":{{"arguments":{{"l":[{list}],"d":{deep}}},"name":"add"}}}}"#
        );
        assert_eq!(read(body.as_bytes()), tool("add"));
    }

    proptest! {
        #[test]
        fn whatever_bytes_arrive_nothing_panics(body in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read(&body);
        }
    }
}
