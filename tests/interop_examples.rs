//! The examples, run as a newcomer runs them: with nothing set, and the lines they print pasted
//! into a shell.

#![allow(clippy::expect_used, clippy::panic)]

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use support::authorization_server::{AUDIENCE, AuthorizationServer};
use support::process::Process;

const START: Duration = Duration::from_secs(20);

/// Returns the built example. Cargo builds the examples with the tests.
fn example(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().expect("the test is a file");
    path.pop(); // the test
    path.pop(); // deps
    path.push("examples");
    path.push(name);
    assert!(path.exists(), "{}: build it with cargo build --examples", path.display());
    path
}

/// Starts the example without the variables that it reads, but for these.
fn start(name: &str, variables: &[(&str, &str)]) -> Process {
    let mut command = Command::new(example(name));
    for variable in [
        "ISSUER",
        "AUDIENCE",
        "JWKS_URI",
        "LISTEN",
        "LEEWAY_SECS",
        "JWKS_TTL_SECS",
        "JWKS_COOLDOWN_SECS",
        "JWKS_TIMEOUT_SECS",
        "JWKS_MAX_BYTES",
        "RUST_LOG",
    ] {
        command.env_remove(variable);
    }
    command.envs(variables.iter().copied());
    Process::spawn(command)
}

/// Reads what the example prints until its `curl` lines are complete.
fn curl_lines(process: &Process) -> Vec<String> {
    let mut lines = Vec::new();
    let mut wait = START;
    while let Some(line) = process.line(wait) {
        if line.trim_start().starts_with("curl ") {
            lines.push(line.trim().to_owned());
            wait = Duration::from_millis(500);
        }
    }
    assert!(!lines.is_empty(), "no curl line was printed: {}", process.stderr());
    lines
}

/// Runs the line in a shell as it stands, but for the output: its status only.
fn paste(line: &str) -> u16 {
    let quiet = line.replacen("curl ", "curl --silent --output /dev/null --write-out '%{http_code}' ", 1);
    let output = Command::new("sh").args(["-c", &quiet]).output().expect("a shell");
    let status = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    let status = status.chars().rev().take(3).collect::<Vec<_>>().into_iter().rev();
    status.collect::<String>().parse().unwrap_or_else(|_| panic!("no status: {line}"))
}

#[test]
fn resource_server_with_nothing_set_answers_the_lines_it_prints() {
    let mut process = start("resource_server", &[]);
    let mut statuses: Vec<u16> = curl_lines(&process).iter().map(|line| paste(line)).collect();
    statuses.sort_unstable();
    statuses.dedup();
    assert_eq!(statuses, [200, 401, 403]);
    assert_stops(&mut process);
}

fn assert_stops(process: &mut Process) {
    process.terminate();
    let status = process.wait(Duration::from_secs(5)).expect("it stops within five seconds");
    assert!(status.success(), "{status}: {}", process.stderr());
}
