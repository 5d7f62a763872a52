//! The demonstration of the whole flow, as a newcomer runs it.

use std::process::Command;

#[test]
fn each_step_is_one_readable_line() {
    let mut path = std::env::current_exe().unwrap();
    path.pop(); // the test
    path.pop(); // deps
    path.push("examples/service_to_service");
    assert!(path.exists(), "{}: build it with cargo build --examples", path.display());
    let output = Command::new(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<String> =
        lines.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let called = |step: &str, sums: &str| format!("{step} 200 hello, service-a {sums}");
    let expected = [
        "without a token B refuses 401 Unauthorized granted 0, key sets 1, refused 1".to_owned(),
        "A asks the issuer for a token orders:read, for 3 s granted 1, key sets 1, refused 1"
            .into(),
        called("A calls B", "granted 1, key sets 1, refused 1"),
        called("A calls B again, with the same token", "granted 1, key sets 1, refused 1"),
        called("the token has expired, A gets another", "granted 2, key sets 1, refused 1"),
        called("the issuer signs with a new key, B fetches it", "granted 3, key sets 2, refused 1"),
        called("A's token is revoked, B refuses it, A retries", "granted 4, key sets 3, refused 2"),
        called("A calls B", "granted 4, key sets 3, refused 2"),
    ];
    assert_eq!(lines, expected);
}
