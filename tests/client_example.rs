//! The demonstration of the whole flow, as a newcomer runs it.

#![allow(clippy::disallowed_methods, reason = "processes live in real time")]

#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "support/process.rs"]
mod process;

use std::process::Command;

/// Runs an example, and returns its lines, with one space between words.
fn lines_of(name: &str) -> Vec<String> {
    let output = Command::new(process::example(name)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn each_step_is_one_readable_line() {
    // What is left of three seconds may be less than two and a half when the token is there.
    let lines = lines_of("service_to_service");
    let lines: Vec<_> = lines.iter().map(|line| line.replace("for 2 s", "for 3 s")).collect();
    let called = |step: &str, sums: &str| format!("{step} 200 hello, service-a {sums}");
    let expected = [
        "without a token B refuses 401 Unauthorized granted 0, key sets 2, refused 1".to_owned(),
        "A asks the issuer for a token orders:read, for 3 s granted 1, key sets 2, refused 1"
            .into(),
        called("A calls B", "granted 1, key sets 2, refused 1"),
        called("A calls B again, with the same token", "granted 1, key sets 2, refused 1"),
        called("the token has expired, A gets another", "granted 2, key sets 2, refused 1"),
        called("the issuer signs with a new key, B fetches it", "granted 3, key sets 3, refused 1"),
        called("A's token is revoked, B refuses it, A retries", "granted 4, key sets 4, refused 2"),
        called("A calls B", "granted 4, key sets 4, refused 2"),
        "A calls B, which calls C on A's behalf 200 service-a by service-b granted 5, key sets 5, \
         refused 2"
            .into(),
        "the same, with the same tokens 200 service-a by service-b granted 5, key sets 5, refused 2"
            .into(),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn wi1_wi2_a_projected_token_is_swapped_while_the_service_runs() {
    let expected = [
        "the file is read sent the first granted 1",
        "it was swapped, and is read again sent the second granted 2",
        "half of it is there, the one before serves sent the second granted 3",
        "it was swapped again sent the third granted 4",
        "it is gone, and the one before has expired the workload's token has expired, and there is no \
         newer one granted 4",
        "it is back sent the fourth granted 5",
    ];
    assert_eq!(lines_of("workload_identity"), expected);
}
