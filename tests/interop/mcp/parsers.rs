//! The guard's reading of messages against `rmcp`'s own: whatever `rmcp` would run as a tool, a prompt
//! or a resource, the guard has held against the rule for that one.
//!
//! `PARSER_CASES=1000000 cargo test -p tower-bearer-interop-mcp` searches longer.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest};
use tower::{Layer as _, Service as _, service_fn};
use tower_bearer::jwks::Jwks;
use tower_bearer::mcp::{McpGuardLayer, OperationTable, OperationTableBuilder, RequestBody};
use tower_bearer::{Access, BearerAuthLayer, Validator};
use url::Url;

const SET: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// Sends bodies through the guard, and returns what comes out of it on the other side.
struct Guarded {
    send: Box<dyn FnMut(Vec<u8>, Headers) -> Option<Bytes>>,
}

type Headers = Vec<(&'static str, String)>;

impl Guarded {
    /// Lets through what is called `safe`, whoever asks.
    fn new(trusts_headers: bool) -> Self {
        let operations = OperationTable::builder(Access::public())
            .tool("safe", Access::public())
            .other_tools(Access::denied())
            .prompt("safe", Access::public())
            .other_prompts(Access::denied())
            .resource_prefix("file:///safe", Access::public())
            .other_resources(Access::denied());
        Self::by(operations, trusts_headers)
    }

    fn by(operations: OperationTableBuilder, trusts_headers: bool) -> Self {
        let keys = Jwks::static_set("https://issuer.example", SET).unwrap();
        let validator = Validator::builder("https://issuer.example", "https://api.example");
        let auth = BearerAuthLayer::new(validator.keys(keys).build().unwrap());
        let guard = McpGuardLayer::new(operations.build().unwrap()).unwrap();
        let guard = if trusts_headers { guard.dangerous_trust_headers() } else { guard };
        let through = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&through);
        let server = service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
            let seen = Arc::clone(&seen);
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                *seen.lock().unwrap() = Some(body);
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
            }
        });
        let mut service = auth.fallback(Access::public()).unwrap().layer(guard.layer(server));
        let send = move |body: Vec<u8>, headers: Headers| {
            let mut request = Request::post("/mcp").header("content-type", "application/json");
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let request = request.body(Full::new(body.into())).unwrap();
            let answer = pin!(service.call(request)).poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(Ok(answer)) = answer else { panic!("it waits for what is there") };
            assert!(!answer.status().is_server_error(), "{}", answer.status());
            through.lock().unwrap().take()
        };
        Self { send: Box::new(send) }
    }
}

/// A name as `rmcp` would use it.
#[derive(Debug)]
enum Runs {
    Name(String),
    Uri(String),
}

fn as_rmcp_reads_it(body: &[u8]) -> Option<Runs> {
    let message: ClientJsonRpcMessage = serde_json::from_slice(body).ok()?;
    let ClientJsonRpcMessage::Request(request) = message else { return None };
    match request.request {
        ClientRequest::CallToolRequest(call) => Some(Runs::Name(call.params.name.to_string())),
        ClientRequest::GetPromptRequest(get) => Some(Runs::Name(get.params.name)),
        ClientRequest::ReadResourceRequest(read) => Some(Runs::Uri(read.params.uri)),
        ClientRequest::SubscribeRequest(it) => Some(Runs::Uri(it.params.uri)),
        ClientRequest::UnsubscribeRequest(it) => Some(Runs::Uri(it.params.uri)),
        ClientRequest::ReadResourceDirectoryRequest(it) => Some(Runs::Uri(it.params.uri)),
        _ => None,
    }
}

fn is_safe(runs: &Runs) -> bool {
    match runs {
        Runs::Name(name) => name == "safe",
        Runs::Uri(uri) => uri == "file:///safe" || uri.starts_with("file:///safe/"),
    }
}

/// A string of JSON, now and then with escapes.
fn text(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    (select(of), any::<u32>(), 0..4_u8).prop_map(|(text, bits, escapes)| {
        let written = text.chars().enumerate().map(|(at, c)| {
            let escaped = escapes == 0 && bits >> (at % 32) & 1 == 1;
            if escaped { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }
        });
        format!("\"{}\"", written.collect::<String>())
    })
}

const METHODS: &[&str] = &[
    "tools/call",
    "tools/call",
    "tools/call",
    "prompts/get",
    "resources/read",
    "resources/subscribe",
    "resources/directory/read",
    "tools/list",
    "initialize",
    "ping",
    "Tools/call",
    "tools/call ",
];
const NAMES: &[&str] = &["safe", "safe", "wipe", "Safe", "safe ", ""];
const URIS: &[&str] = &[
    "file:///safe/a",
    "file:///safe",
    "file:///wipe",
    "file:///safe/../wipe",
    "file:///safe/%2e%2e/wipe",
    "FILE:///safe",
    "file:///safes",
];

fn odd_value() -> impl Strategy<Value = String> {
    select(
        &[
            "null",
            "1",
            "true",
            "[]",
            "{}",
            "[\"wipe\"]",
            "{\"name\":\"wipe\"}",
            "\"\\ud800\"",
            "-",
            "1e999",
            "[null,\"wipe\",{}]",
            "\"\u{1}\"",
        ][..],
    )
    .prop_map(str::to_owned)
}

fn object(members: impl Strategy<Value = Vec<(String, String)>>) -> impl Strategy<Value = String> {
    members.prop_shuffle().prop_map(|members| {
        let members: Vec<_> =
            members.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

fn mostly(
    usual: impl Strategy<Value = String> + 'static,
    odd: impl Strategy<Value = String> + 'static,
) -> impl Strategy<Value = String> {
    prop_oneof![12 => usual, 1 => odd]
}

fn params() -> impl Strategy<Value = String> {
    let named = (text(&["name"]), mostly(text(NAMES), odd_value()));
    let located = (text(&["uri"]), mostly(text(URIS), odd_value()));
    let other = prop_oneof![
        3 => (text(&["arguments", "_meta"]), Just("{\"name\":\"wipe\"}".to_owned())),
        1 => (text(&["Name", "NAME", "URI", "name", "uri", "task"]), text(&["wipe", "file:///wipe"])),
    ];
    let members = (
        proptest::option::weighted(0.9, named),
        proptest::option::weighted(0.7, located),
        proptest::collection::vec(other, 0..3),
    );
    let members = members.prop_map(|(named, located, mut others)| {
        others.extend(named.into_iter().chain(located));
        others
    });
    mostly(object(members), odd_value())
}

fn message() -> impl Strategy<Value = String> {
    let version = (text(&["jsonrpc"]), mostly(text(&["2.0"]), odd_value()));
    let id = (text(&["id"]), select(&["1", "\"a\"", "null", "{}"][..]).prop_map(str::to_owned));
    let method = (text(&["method"]), mostly(text(METHODS), odd_value()));
    let params = (text(&["params"]), params());
    let other = prop_oneof![
        2 => (text(&["method"]), text(METHODS)),
        2 => (text(&["params", "Params"]), self::params()),
        1 => (text(&["result", "error"]), odd_value()),
        1 => (text(&["METHOD", "x", "name"]), text(&["tools/call", "wipe"])),
    ];
    let members = (
        proptest::option::weighted(0.97, version),
        proptest::option::weighted(0.95, id),
        proptest::option::weighted(0.97, method),
        proptest::option::weighted(0.97, params),
        proptest::option::weighted(0.15, other),
    );
    let members = members.prop_map(|(version, id, method, params, other)| {
        [version, id, method, params, other].into_iter().flatten().collect::<Vec<_>>()
    });
    object(members)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let changed = (message(), message(), any::<prop::sample::Index>(), any::<u8>(), 0..7_u8)
        .prop_map(|(one, two, at, byte, how)| {
            let mut bytes = one.clone().into_bytes();
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => bytes.truncate(at),
                3 => bytes = format!("[{one},{two}]").into_bytes(),
                4 => bytes = format!("[{one}]").into_bytes(),
                5 => bytes = format!("{one}{two}").into_bytes(),
                _ => bytes = format!("\u{feff}{one}").into_bytes(),
            }
            bytes
        });
    prop_oneof![6 => message().prop_map(String::into_bytes), 1 => changed]
}

fn headers() -> impl Strategy<Value = Headers> {
    let version = select(&["2026-07-28", "2026-07-28", "2025-11-25", "2027-01-01", "x"][..]);
    let name =
        select(&["safe", "wipe", "=?base64?c2FmZQ==?=", "file:///safe/a", "=?base64?c2Fm"][..]);
    (
        proptest::option::of(version),
        proptest::option::of(select(METHODS)),
        proptest::option::of(name),
    )
        .prop_map(|(version, method, name)| {
            let fields = [
                ("mcp-protocol-version", version),
                ("mcp-method", method.map(str::trim)),
                ("mcp-name", name),
            ];
            let some = fields.into_iter().filter_map(|(field, it)| Some((field, it?.to_owned())));
            some.collect()
        })
}

fn runner() -> TestRunner {
    let cases = std::env::var("PARSER_CASES").ok().and_then(|cases| cases.parse().ok());
    let config =
        Config { cases: cases.unwrap_or(6_000), failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
}

#[test]
fn whatever_rmcp_would_run_the_guard_has_held_against_its_rule() {
    let guarded = Mutex::new(Guarded::new(false));
    let (passed, ran) = (Cell::new(0), Cell::new(0));
    let result = runner().run(&(body(), headers()), |(body, headers)| {
        let runs = as_rmcp_reads_it(&body);
        let through = (guarded.lock().unwrap().send)(body.clone(), headers);
        if let Some(through) = through {
            prop_assert_eq!(&through[..], &body[..], "the bytes");
            passed.set(passed.get() + 1);
            if let Some(runs) = runs {
                ran.set(ran.get() + 1);
                prop_assert!(is_safe(&runs), "{:?}", runs);
            }
        }
        Ok(())
    });
    result.unwrap();
    // Or nothing was shown. By chance there are some 1 400 and 140.
    assert!(passed.get() > 100 && ran.get() > 50, "{passed:?} {ran:?}");
}

// MC21: where fields decide, it is for the versions of which `rmcp` holds them against the body.
#[test]
fn mc21_fields_decide_only_where_rmcp_checks_them() {
    let guarded = Mutex::new(Guarded::new(true));
    let (passed, by_fields) = (Cell::new(0), Cell::new(0));
    let result = runner().run(&(body(), headers()), |(body, headers)| {
        let field = |name: &str| {
            let found = headers.iter().find(|(field, _)| *field == name);
            found.map(|(_, value)| value.clone())
        };
        let Some(runs) = as_rmcp_reads_it(&body) else { return Ok(()) };
        let Some(_) = (guarded.lock().unwrap().send)(body.clone(), headers.clone()) else {
            return Ok(());
        };
        passed.set(passed.get() + 1);
        if is_safe(&runs) {
            return Ok(());
        }
        by_fields.set(by_fields.get() + 1);
        // What passed by its fields is what rmcp refuses by the same comparison.
        let message: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let version = field("mcp-protocol-version");
        prop_assert!(version.is_some_and(|it| it.as_str() >= "2026-07-28"), "{:?}", headers);
        let agrees = field("mcp-method").as_deref() == message["method"].as_str()
            && field("mcp-name").is_some_and(|name| match &runs {
                Runs::Name(it) | Runs::Uri(it) => *it == name,
            });
        prop_assert!(!agrees, "{:?}", headers);
        Ok(())
    });
    result.unwrap();
    // By chance there are some 170 and 20.
    assert!(passed.get() > 60 && by_fields.get() > 2, "{passed:?} {by_fields:?}");
}

/// Parts of which URIs are made that readers could read differently.
const SCHEMES: &[&str] =
    &["file", "file", "FILE", "https", "https", "HTTPS", "http", "db", "db", "Db", "d%62"];
const SLASHES: &[&str] =
    &["://", "://", "://", ":", ":/", ":///", ":////", ":%2f/", ":\\\\", "://\t"];
const USERS: &[&str] = &[
    "",
    "",
    "",
    "u@",
    "u:p@",
    "safe.example@",
    "safe@",
    "safe?@",
    "safe#@",
    "safe%2f@",
    "a@safe@",
];
const HOSTS: &[&str] = &[
    "",
    "safe",
    "secret",
    "safe.example",
    "secret.example",
    "Secret.example",
    "secret%2eexample",
    "secret.example.",
    "s\u{ff45}cret.example",
    "localhost",
    "10.0.0.1",
    "10.1",
    "0xa.1",
    "167772161",
    "safe.example\\",
    "safe%40secret",
];
const PORTS: &[&str] = &["", "", "", ":", ":443", ":0443", ":80", ":8443", ":x"];
const SEGMENTS: &[&str] = &[
    "a",
    "a",
    "safe",
    "safe",
    "secret",
    "secret",
    "..",
    ".",
    "",
    "%2e%2e",
    ".%2E",
    "%252e%252e",
    "%2e",
    "s%61fe",
    "secre%74",
    "SECRET",
    "x?",
    "x#",
    "?",
    "#",
    "..?",
    ".#",
    "x%3f",
    "a%2fb",
    "a%2f..",
    "%2f",
    "..;",
    "a;x",
    "c|",
    "c:",
    "\\",
    "..\\",
    " ",
    "\t..",
    ".\n.",
];

fn uri() -> impl Strategy<Value = String> {
    let authority = (select(USERS), select(HOSTS), select(PORTS));
    let path = proptest::collection::vec(select(SEGMENTS), 0..6);
    (select(SCHEMES), select(SLASHES), authority, path).prop_map(
        |(scheme, slashes, (user, host, port), path)| {
            let path: String = path.iter().map(|segment| format!("/{segment}")).collect();
            format!("{scheme}{slashes}{user}{host}{port}{path}")
        },
    )
}

/// Where `url`, which reads as browsers do, finds a URI: its scheme and host, its port, and its path's
/// segments.
fn as_url_reads_it(uri: &str) -> Option<(String, Option<u16>, Vec<String>)> {
    let url = Url::parse(uri).ok()?;
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let decoded = |it: &str| percent_decode_str(it).decode_utf8_lossy().into_owned();
    let segments = url.path().split('/').filter(|it| !it.is_empty()).map(decoded).collect();
    Some((format!("{} {}", url.scheme(), decoded(&host)), url.port_or_known_default(), segments))
}

fn is_within(uri: &str, prefixes: &[&str]) -> bool {
    as_url_reads_it(uri).is_some_and(|(host, port, path)| {
        prefixes.iter().any(|prefix| {
            let (of_prefix, its_port, segments) = as_url_reads_it(prefix).unwrap();
            // A prefix that ends with a host is for all of its ports.
            let is_port = segments.is_empty() || its_port == port;
            of_prefix == host && is_port && path.starts_with(&segments)
        })
    })
}

// MC20: what passes as a resource of one place is none of another's for `url`.
#[test]
fn mc20_a_uri_that_passes_is_read_by_url_as_the_guard_reads_it() {
    const SAFE: &[&str] = &[
        "file:///safe",
        "https://safe.example/a",
        "https://10.0.0.1",
        "db://safe/a",
        "db://secret",
    ];
    const SECRET: &[&str] =
        &["file:///secret", "https://secret.example", "https://10.0.0.1/a", "db://secret/a"];
    let table = || OperationTable::builder(Access::public());
    let allowing = SAFE
        .iter()
        .fold(table(), |table, prefix| table.resource_prefix(*prefix, Access::public()))
        .other_resources(Access::denied());
    let denying = SECRET
        .iter()
        .fold(table(), |table, prefix| table.resource_prefix(*prefix, Access::denied()));
    let (allowing, denying) =
        (Mutex::new(Guarded::by(allowing, false)), Mutex::new(Guarded::by(denying, false)));
    let counts = [const { Cell::new(0) }; 4];
    let count = |at: usize| counts[at].set(counts[at].get() + 1);
    let result = runner().run(&uri(), |uri| {
        let params = serde_json::json!({ "uri": uri });
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{params}}}"#);
        let passes = |guarded: &Mutex<Guarded>| {
            let body = body.clone().into_bytes();
            (guarded.lock().unwrap().send)(body, Vec::new()).is_some()
        };
        let (is_allowed, is_secret) = (passes(&allowing), is_within(&uri, SECRET));
        if is_allowed {
            count(0);
            prop_assert!(Url::parse(&uri).is_err() || is_within(&uri, SAFE), "{:?}", uri);
        }
        if passes(&denying) {
            count(1);
            prop_assert!(!is_secret, "{:?}", uri);
        } else if is_secret {
            count(2);
        }
        if is_within(&uri, SAFE) && !is_allowed {
            count(3);
        }
        Ok(())
    });
    result.unwrap();
    // Or nothing was shown.
    assert!(counts.iter().all(|it| it.get() > 5), "{counts:?}");
}
