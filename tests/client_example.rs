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
    let lines: Vec<Vec<&str>> = lines
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|it| !it.is_empty()).collect())
        .collect();
    let called = |step, granted| vec![step, "200 OK", "hello, service-a", granted];
    let expected = [
        vec!["without a token B refuses", "401 Unauthorized"],
        vec!["A asks the issuer for a token", "orders:read, for 3 s"],
        called("A calls B", "tokens granted: 1"),
        called("A calls B again, with the same token", "tokens granted: 1"),
        called("the token has expired, A gets another", "tokens granted: 2"),
        called("the issuer signs with a new key, B fetches it", "tokens granted: 3"),
        called("A's token is revoked, B refuses it, A retries", "tokens granted: 4"),
        called("A calls B", "tokens granted: 4"),
    ];
    // Columns that are full are one space apart.
    let flat = |lines: &[Vec<&str>]| lines.iter().map(|line| line.join(" ")).collect::<Vec<_>>();
    assert_eq!(flat(&lines), flat(&expected));
}
