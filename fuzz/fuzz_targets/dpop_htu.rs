//! The URL of a request and the `htu` of a proof for it, which the target signs. The first line is the request's
//! target, and the rest is `htu`. What is accepted must be the same by a second, simpler reader, whichever of
//! the two is which.
#![no_main]

use std::sync::LazyLock;

use http::{HeaderValue, Uri};
use libfuzzer_sys::fuzz_target;
use tower_bearer::Clock as _;
use tower_bearer::testing::TestProof;
use tower_bearer_fuzz::{Bound, FixedClock};

static WORLD: LazyLock<Bound> = LazyLock::new(Bound::new);

/// A path with needless escapes undone, escapes in upper case, and without dot segments; `None` if it has a
/// broken escape.
fn normal(path: &str) -> Option<String> {
    let (mut text, mut rest) = (String::new(), path);
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        let digits = rest.get(at + 1..at + 3)?;
        let byte = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
        match char::from(byte) {
            it if it.is_ascii_alphanumeric() || "-._~".contains(it) => text.push(it),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
        rest = &rest[at + 3..];
    }
    text.push_str(rest);
    let mut segments: Vec<&str> = Vec::new();
    let all: Vec<&str> = text.strip_prefix('/').unwrap_or(&text).split('/').collect();
    for (at, segment) in all.iter().enumerate() {
        let is_last = at + 1 == all.len();
        match *segment {
            "." if is_last => segments.push(""),
            "." => {}
            ".." => {
                segments.pop();
                if is_last {
                    segments.push("");
                }
            }
            other => segments.push(other),
        }
    }
    Some(format!("/{}", segments.join("/")))
}

/// The path of a URL of the one origin.
fn path_of(htu: &str) -> Option<&str> {
    let (scheme, rest) = htu.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let authority = authority.to_ascii_lowercase();
    let port = authority.strip_prefix("api.example")?;
    let is_default =
        port.is_empty() || port == ":" || port.strip_prefix(':')?.parse() == Ok(443_u16);
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("https") && is_default).then_some(path)
}

fn is_accepted(uri: &Uri, htu: &str) -> bool {
    let proof = TestProof::by(&WORLD.client).now(FixedClock.now()).method("GET");
    let proof = proof.uri(htu).token(&WORLD.token).sign();
    WORLD.accepts(uri.clone(), HeaderValue::try_from(proof).unwrap())
}

fuzz_target!(|data: &str| {
    let Some((target, htu)) = data.split_once('\n') else { return };
    let Ok(uri) = target.parse::<Uri>() else { return };
    if !uri.path().starts_with('/') {
        assert!(!is_accepted(&uri, htu), "{target} {htu}");
        return;
    }
    let accepted = is_accepted(&uri, htu);
    let same = path_of(htu).is_some_and(|path| {
        let one = normal(uri.path());
        one.is_some() && one == normal(path)
    });
    assert!(!accepted || same, "{target} {htu}");
    // As it is on the wire, it is always the same: in ASCII, as every URI is (RFC 3986 section 2).
    let own = format!("https://api.example{}", uri.path());
    if own.is_ascii() && own.len() <= 2_048 && normal(uri.path()).is_some() {
        assert!(is_accepted(&uri, &own), "{target}");
    }
});
