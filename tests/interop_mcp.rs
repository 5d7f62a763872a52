//! The example's MCP server behind `oidc-provider`, and three clients that know nothing but its URL and
//! their credentials: those of `rmcp`, of the Python SDK and of the TypeScript SDK.

#![allow(clippy::expect_used, clippy::panic)]

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::authorization_server::AuthorizationServer;
use support::process::{self, Process, interop};

const START: Duration = Duration::from_secs(60);

/// Returns a built example. Cargo builds the examples with the tests.
fn example(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().expect("the test is a file");
    path.pop(); // the test
    path.pop(); // deps
    path.push("examples");
    path.push(name);
    let hint = "build it with cargo build --workspace --examples";
    assert!(path.exists(), "{}: {hint}", path.display());
    path
}

/// The example, on a port of its own.
struct Server {
    url: String,
    process: Process,
}

impl Server {
    fn start(variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(example("mcp_server"));
        for variable in ["ISSUER", "AUDIENCE", "JWKS_URI", "RESOURCE", "RUST_LOG"] {
            command.env_remove(variable);
        }
        command.env("LISTEN", "127.0.0.1:0").envs(variables.iter().copied());
        let process = Process::spawn(command);
        let line = process.line(START).unwrap_or_else(|| panic!("{}", process.stderr()));
        let url = line.split_whitespace().nth(2).expect("it says where it listens");
        Self { url: url.trim_end_matches(',').to_owned(), process }
    }
}

#[derive(Clone, Copy, Debug)]
enum Client {
    Rmcp,
    Python,
    TypeScript,
}

const CLIENTS: [Client; 3] = [Client::Rmcp, Client::Python, Client::TypeScript];

impl Client {
    /// Lets the client call its tools, and returns what it printed.
    fn run(self, url: &str, issuer: &str, token: Option<&str>) -> Vec<Value> {
        let mut command = match self {
            Self::Rmcp => Command::new(example("mcp_client")),
            Self::Python => {
                let mut command = Command::new(process::python());
                command.arg(interop("mcp/client.py"));
                command
            }
            Self::TypeScript => {
                let modules = interop("mcp/node_modules/.installed");
                assert!(modules.exists(), "npm packages are missing: {}", process::TO_INSTALL);
                let mut command = Command::new(process::node());
                command.arg(interop("mcp/client.js"));
                command
            }
        };
        command.args([url, issuer]).env("TOKEN", token.unwrap_or_default());
        let process = Process::spawn(command);
        let mut lines = Vec::new();
        while let Some(line) = process.line(START) {
            let mut line: Value = serde_json::from_str(&line).expect("a line of JSON");
            if let Some(scopes) = line.get_mut("scopes").and_then(Value::as_array_mut) {
                scopes.sort_by_key(ToString::to_string);
            }
            lines.push(line);
        }
        assert!(!lines.is_empty(), "{self:?}: {}", process.stderr());
        lines
    }
}

#[tokio::test]
async fn clients_find_their_way_from_a_bare_401_and_step_up() {
    let issuer = AuthorizationServer::oidc_provider();
    let server = Server::start(&[("ISSUER", issuer.issuer())]);
    for client in CLIENTS {
        let lines = client.run(&server.url, issuer.issuer(), None);
        let expected = [
            // What the first 401 asks for, and nothing else that the server has.
            json!({"scopes": ["mcp:use"]}),
            json!({"tools": ["add", "ask", "wipe"]}),
            json!({"tool": "add", "answer": "3"}),
            // By the table, and then from within the tool.
            json!({"scopes": ["mcp:danger", "mcp:use"]}),
            json!({"tool": "wipe", "answer": "wiped"}),
            json!({"scopes": ["mcp:danger", "mcp:extra", "mcp:use"]}),
            json!({"tool": "ask", "answer": "svc asks"}),
        ];
        assert_eq!(lines, expected, "{client:?}: {}", server.process.stderr());
    }
}

// MC2
#[tokio::test]
async fn mc2_clients_are_refused_with_a_token_for_another_audience() {
    let issuer = AuthorizationServer::oidc_provider();
    let server = Server::start(&[("ISSUER", issuer.issuer()), ("RUST_LOG", "tower_bearer=debug")]);
    let other = issuer.token("ES256", "api:read").await;
    for client in CLIENTS {
        let lines = client.run(&server.url, "-", Some(&other));
        let [line] = lines.as_slice() else { panic!("{client:?}: {lines:?}") };
        assert!(line.get("error").is_some(), "{client:?}: {line}");
    }
    let refusals = server.process.stderr().matches("wrong_audience").count();
    assert!(refusals >= CLIENTS.len(), "{}", server.process.stderr());
}

#[test]
fn with_nothing_set_the_example_answers_the_lines_it_prints() {
    let mut server = Server::start(&[]);
    let mut lines = Vec::new();
    while lines.len() < 4 {
        let line = server.process.line(START).expect("curl lines");
        lines.extend(line.starts_with("curl ").then_some(line));
    }
    let statuses: Vec<_> = lines.iter().map(|line| paste(line)).collect();
    assert_eq!(statuses, ["401", "200", "403", "403"]);
    server.process.signal("TERM");
    let status = server.process.wait(Duration::from_secs(5)).expect("it stops");
    assert!(status.success(), "{status}");
}

/// Runs a printed line in a shell, and returns the status that it prints.
fn paste(line: &str) -> String {
    let quiet = line.replacen(
        "curl -i ",
        "curl --silent --output /dev/null --write-out '%{http_code}' ",
        1,
    );
    let output = Command::new("sh").args(["-c", &quiet]).output().expect("a shell");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
