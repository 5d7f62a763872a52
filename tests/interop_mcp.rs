//! The example's MCP server behind `oidc-provider`, and three clients that know nothing but its URL and
//! their credentials: those of `rmcp`, of the Python SDK and of the TypeScript SDK.

#![allow(clippy::expect_used, clippy::panic)]

mod support;

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::authorization_server::AuthorizationServer;
use support::process::{self, Process, example, interop};
use tower_bearer::testing::{Discovery, TestIssuer};

const START: Duration = Duration::from_secs(60);

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

/// What MCP's conformance tests say of a client that gets its token by tower-bearer: how each check ended, and
/// what the client wrote.
fn conformance(scenario: &str, variables: &[(&str, &str)]) -> (Vec<(String, String)>, String) {
    let package = interop("mcp/node_modules/@modelcontextprotocol/conformance/dist/index.js");
    assert!(package.exists(), "npm packages are missing: {}", process::TO_INSTALL);
    let results = process::scratch("conformance");
    let mut command = Command::new(process::node());
    command.arg("--import").arg(interop("mcp/conformance.mjs")).arg(package);
    command.args(["client", "--scenario", scenario, "--verbose", "--output-dir"]).arg(&results);
    command.arg("--command").arg(example("mcp_conformance"));
    let output = command.envs(variables.iter().copied()).output().expect("Node runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let folder = std::fs::read_dir(results.join("auth")).expect("results").next();
    let folder = folder.expect("a scenario").expect("a folder").path();
    let read = |name: &str| std::fs::read_to_string(folder.join(name));
    let checks = read("checks.json").unwrap_or_else(|error| panic!("{error}: {printed}"));
    let checks: Vec<Value> = serde_json::from_str(&checks).expect("checks");
    let text = |check: &Value, name: &str| check[name].as_str().expect("a text").to_owned();
    let checks = checks.iter().map(|check| (text(check, "id"), text(check, "status"))).collect();
    let said = read("stderr.txt").unwrap_or_default();
    let _gone_already = std::fs::remove_dir_all(&results);
    (checks, said)
}

fn is_bad((_, status): &&(String, String)) -> bool {
    status == "FAILURE" || status == "WARNING"
}

// WI10, and what else of the conformance tests is for services.
#[test]
fn wi10_the_conformance_tests_for_services_pass() {
    for (scenario, check) in [
        ("auth/wif-jwt-bearer", "wif-assertion-verified"),
        ("auth/client-credentials-jwt", "client-credentials-jwt-verified"),
        ("auth/client-credentials-basic", "client-credentials-basic-auth"),
    ] {
        let (checks, said) = conformance(scenario, &[]);
        assert_eq!(checks.iter().find(is_bad), None, "{scenario}: {said}");
        let passed = (check.to_owned(), "SUCCESS".to_owned());
        assert!(checks.contains(&passed), "{scenario}: {checks:?} {said}");
    }
}

// DC20. Their user is the client's own; the rest is tower-bearer's.
#[test]
fn dc20_the_conformance_tests_for_dpop_pass() {
    const ALWAYS: [&str; 3] = [
        "sep-1932-client-token-request-proof",
        "sep-1932-client-dpop-auth-scheme",
        "sep-1932-client-fresh-proof",
    ];
    for (scenario, also) in [
        ("auth/dpop", &[][..]),
        ("auth/dpop-nonce", &["sep-1932-client-as-nonce", "sep-1932-client-rs-nonce"]),
    ] {
        let (checks, said) = conformance(scenario, &[]);
        assert_eq!(checks.iter().find(is_bad), None, "{scenario}: {said}");
        for id in ALWAYS.iter().chain(also) {
            let passed = ((*id).to_owned(), "SUCCESS".to_owned());
            assert!(checks.contains(&passed), "{scenario}: {checks:?} {said}");
        }
    }
}

// WI10: a refusal is said, and neither asked for again nor got around by another grant.
#[test]
fn wi10_a_refused_workload_is_told_and_asks_no_more() {
    for (variable, value, failed, told) in [
        ("WORKLOAD_TOKEN", "wrong_audience_jwt", Some("wif-assertion-audience"), "invalid_grant"),
        ("WORKLOAD_SCOPE", "wif.rejected", None, "invalid_scope"),
        ("WORKLOAD_SCOPE", "wif.trigger-unauthorized", None, "unauthorized_client"),
        // It isn't even sent: the server has seen no request.
        ("WORKLOAD_TOKEN", "expired_jwt", Some("wif-assertion-verified"), "has expired"),
    ] {
        let (checks, said) = conformance("auth/wif-jwt-bearer", &[(variable, value)]);
        let bad: Vec<_> = checks.iter().filter(is_bad).map(|(id, _)| &**id).collect();
        assert_eq!(bad, Vec::from_iter(failed), "{value}: {checks:?}");
        assert!(said.contains(told), "{value}: {said}");
    }
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

// P4: the audience of tokens isn't the address that clients use, and neither is the place of the keys the one
// that the issuer would lead to.
#[tokio::test]
async fn the_example_takes_keys_audience_and_resource_from_the_environment() {
    const AUDIENCE: &str = "api://mcp-tools";
    const RESOURCE: &str = "https://mcp.example/tools/mcp";
    // Without metadata: nothing but `JWKS_URI` leads to its keys.
    let issuer = TestIssuer::builder().discovery(Discovery::None).start().await.expect("an issuer");
    let server = Server::start(&[
        ("ISSUER", issuer.issuer()),
        ("JWKS_URI", &issuer.jwks_uri()),
        ("AUDIENCE", AUDIENCE),
        ("RESOURCE", RESOURCE),
    ]);
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let origin = server.url.strip_suffix("/mcp").expect("the path of the server");
    let document = format!("{origin}/.well-known/oauth-protected-resource/tools/mcp");
    let document = http.get(document).send().await.expect("an answer");
    assert_eq!(document.status(), 200);
    let document: Value = document.json().await.expect("JSON");
    assert_eq!(document["resource"], RESOURCE, "{document}");
    assert_eq!(document["authorization_servers"], json!([issuer.issuer()]), "{document}");
    let call = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": { "name": "add", "arguments": { "a": 1, "b": 2 } },
    });
    let token = |audience: &str| issuer.token().audience(audience).scope("mcp:use").sign();
    for (token, expected) in [
        (Some(token(AUDIENCE)), 200),
        // Only what is set is the audience.
        (Some(token(RESOURCE)), 401),
        (Some(token(&server.url)), 401),
        (None, 401),
    ] {
        let mut request = http
            .post(&server.url)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(call.to_string());
        if let Some(token) = &token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), expected, "{}", server.process.stderr());
        if expected == 401 {
            let challenge = answer.headers()["www-authenticate"].to_str().expect("text");
            let url = "https://mcp.example/.well-known/oauth-protected-resource/tools/mcp";
            assert!(challenge.contains(&format!("resource_metadata=\"{url}\"")), "{challenge}");
        } else {
            let answer: Value = answer.json().await.expect("JSON");
            assert_eq!(answer["result"]["content"][0]["text"], "3", "{answer}");
        }
    }
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
