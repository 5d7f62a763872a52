//! The folder is the architecture: a file imports only from floors below its own, or from its own room
//! without a circle, and what names a crypto, HTTP-client or framework crate lies in its one place.

mod imports;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::imports::{Sources, before_tests, circle, code, imports, named, sources};

/// Floor of each room, by the first part of a path below `src`.
const FLOORS: &[(&str, u8)] = &[
    ("cause", 0),
    ("clock", 0),
    ("digest", 0),
    ("kinds", 0),
    ("secret", 0),
    ("syntax", 0),
    ("telemetry", 0),
    ("text", 0),
    ("error", 1),
    ("json", 1),
    ("turns", 1),
    ("slots", 1),
    ("file", 2),
    ("jose", 2),
    ("scope", 2),
    ("refusal", 3),
    ("transport", 3),
    ("credentials", 4),
    ("issuer", 4),
    ("metadata", 5),
    ("progress", 5),
    ("redis_link", 5),
    ("token", 5),
    ("binding", 6),
    ("client", 6),
    ("jwks", 6),
    ("introspection", 7),
    ("answer", 8),
    ("validator", 8),
    ("explain", 9),
    ("middleware", 9),
    ("mcp", 10),
    ("testing", 10),
];

/// A word, and the only files (or folders) that may have it.
const PLACES: &[(&str, &[&str])] = &[
    ("aws_lc_rs", &["jose/backend/", "redis_link/tls.rs"]),
    ("aws_sdk_secretsmanager", &["credentials/aws_secrets_manager.rs"]),
    (
        "redis::",
        &[
            "binding/dpop/mod.rs",
            "binding/replay/redis.rs",
            "client/mod.rs",
            "client/shared/redis/",
            "redis_link/",
        ],
    ),
    ("rustls::", &["redis_link/tls.rs"]),
    // What goes on without who asked for it: a follower of keys, connections, a login that leaves a token.
    (
        "tokio::spawn",
        &["binding/dpop/nonce_provider.rs", "credentials/vault/session.rs", "redis_link/"],
    ),
    ("jsonwebtoken", &["jose/backend/rust_crypto.rs"]),
    (
        "arc_swap",
        &[
            "client/tokens/cache.rs",
            "jwks/kept/store.rs",
            "validator/realms.rs",
            "validator/set.rs",
            "validator/table.rs",
        ],
    ),
    ("chacha20poly1305", &["client/shared/seal.rs"]),
    ("getrandom::", &["digest.rs"]),
    ("sha2::", &["digest.rs"]),
    (
        "reqwest::",
        &[
            "client/attach/reqwest.rs",
            "transport/builder.rs",
            "transport/certificate.rs",
            "transport/dial.rs",
            "transport/mod.rs",
            "transport/renewable.rs",
            "transport/reqwest.rs",
        ],
    ),
    ("flate2", &["transport/gunzip.rs"]),
    ("hyper::", &["testing/"]),
    ("hyper_util::", &["testing/"]),
    ("axum::", &["lib.rs", "metadata/service.rs", "middleware/"]),
    ("matchit", &["middleware/routes/lookup.rs"]),
    (
        ".spawn(",
        &[
            "client/tokens/flight.rs",
            "introspection/flights.rs",
            "jwks/refresher.rs",
            "middleware/deadline/wheel.rs",
            "middleware/unread.rs",
            "testing/",
            "validator/directory.rs",
        ],
    ),
    // What others wrote is read strictly first; these read only what was checked, or pieces of it.
    (
        "serde_json::from_",
        &[
            "client/grant/response.rs",
            "credentials/field.rs",
            "json/document.rs",
            "token/kept.rs",
            "token/scope_text.rs",
        ],
    ),
    ("serde_json::Deserializer", &["json/document.rs", "validator/metered.rs"]),
    ("Instant::now", &["clock.rs"]),
    ("SystemTime::now", &["clock.rs"]),
    ("\"RS256\"", &["jose/alg.rs"]),
    ("\"PS256\"", &["jose/alg.rs"]),
    ("\"ES256\"", &["jose/alg.rs"]),
    ("\"EdDSA\"", &["jose/alg.rs"]),
    ("\"HS256\"", &["jose/alg.rs"]),
];

/// The most lines a file may have before its tests.
const MAX_LINES: usize = 350;

fn room(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    let sources = sources();
    for (file, text) in sources.iter().filter(|(file, _)| *file != "lib.rs") {
        let here = room(file);
        let own = floor(here).unwrap_or_else(|| panic!("{file} has no floor: give its room one"));
        for (path, targets) in named(&sources, file) {
            let written = path.join("::");
            let Some(named) = path.first().filter(|named| floor(named).is_some()) else {
                wrong.push(format!("{file}: crate::{written} is in no room; name its room"));
                continue;
            };
            // The room that is named, and the one that holds what it hands on.
            for target in targets.iter().map(|target| room(target)).chain([named.as_str()]) {
                let theirs = floor(target).unwrap_or(u8::MAX);
                if target != here && theirs >= own {
                    wrong.push(format!(
                        "{file} (floor {own}) imports crate::{written} of {target} (floor {theirs})"
                    ));
                }
            }
        }
        if code(text).contains("super::") {
            wrong.push(format!("{file}: super:: outside tests; name the path from the crate"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_file_imports_itself_through_others() {
    let found = circle(&imports(&sources()));
    assert!(found.is_none(), "a circle: {}", found.unwrap().join(" -> "));
}

#[test]
fn every_floor_is_of_a_room() {
    let sources = sources();
    for (name, _) in FLOORS {
        let real = sources.keys().any(|file| room(file) == *name);
        assert!(real, "there is no room {name}: take it out of the table");
    }
}

#[test]
fn the_map_for_contributors_has_every_room_on_its_floor() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONTRIBUTING.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| {
        let (floor, rest) = line.strip_prefix("| ")?.split_once(" | `")?;
        Some((rest.split_once('`')?.0.to_owned(), floor.parse::<u8>().ok()?))
    });
    let floors = FLOORS.iter().map(|(name, floor)| ((*name).to_owned(), *floor));
    assert_eq!(rows.collect::<BTreeSet<_>>(), floors.collect());
}

#[test]
fn each_foreign_thing_has_its_place() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let code = code(&text);
        for (word, places) in PLACES {
            if code.contains(word) && !places.iter().any(|place| file.starts_with(place)) {
                wrong.push(format!("{word} in {file}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_place_is_real() {
    let sources = sources();
    for (word, places) in PLACES {
        for place in *places {
            let used = sources
                .iter()
                .any(|(file, text)| file.starts_with(place) && code(text).contains(word));
            assert!(used, "{word} is no longer in {place}: take the place out of the table");
        }
    }
}

#[test]
fn mod_files_hold_no_logic_and_no_file_is_long() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let code = code(&text);
        let lines = before_tests(&text).lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{file} has {lines} lines before its tests"));
        }
        if file.ends_with("mod.rs") || file == "lib.rs" {
            for word in ["fn ", "impl ", "struct ", "enum ", "trait ", "macro_rules!"] {
                if code
                    .lines()
                    .any(|line| line.trim_start().trim_start_matches("pub ").starts_with(word))
                {
                    wrong.push(format!("{file} has logic: {word}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_file_begins_with_a_sentence_that_says_what_it_is_for() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let first = text.lines().next().and_then(|line| line.strip_prefix("//!"));
        if first.is_none_or(|sentence| sentence.trim().is_empty()) {
            wrong.push(format!(
                "{file} doesn't say what it is for: begin it with //! and a sentence"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Words of the protocol that look like the name of a metric or an event.
const PROTOCOL: &[&str] = &[
    "client_assertion",
    "client_assertion_type",
    "client_credentials",
    "client_id",
    "client_secret",
    "client_secret_basic",
    "client_secret_jwt",
    "client_secret_post",
    "introspection_endpoint_auth_methods_supported",
];

#[test]
fn a_rooms_docs_name_all_of_its_metrics_and_events() {
    let sources = sources();
    for (here, fewest) in [("client", 10), ("introspection", 5), ("jwks", 9)] {
        let docs = sources.get(&format!("{here}/mod.rs")).unwrap();
        let names = quoted(&sources, &format!("{here}_"));
        let names: Vec<_> =
            names.iter().filter(|name| !PROTOCOL.contains(&name.as_str())).collect();
        assert!(names.len() >= fewest, "{names:?}");
        let missing: Vec<_> = names.iter().filter(|name| !is_named(docs, name)).collect();
        assert!(missing.is_empty(), "src/{here}/mod.rs doesn't name {missing:?}");
    }
    let described = sources.get("telemetry/described.rs").unwrap();
    let metrics = quoted(&sources, "tower_bearer_");
    assert!(metrics.len() >= 20, "{metrics:?}");
    for name in &metrics {
        let named =
            sources.iter().any(|(file, text)| file.ends_with("mod.rs") && is_named(text, name));
        assert!(named, "no room's mod.rs names {name}");
        assert!(code(described).contains(&format!("\"{name}\"")), "{name} isn't described");
    }
}

#[test]
fn every_metric_has_the_prefix_its_kind_and_its_place() {
    let sources = sources();
    let described = code(sources.get("telemetry/described.rs").unwrap());
    let described: String = described.split_whitespace().collect();
    let mut used = BTreeSet::new();
    for (file, text) in sources.iter().filter(|(file, _)| *file != "telemetry.rs") {
        let code: String = code(text).split_whitespace().collect();
        for (call, kind) in [
            ("count!(", "Counter"),
            ("gauge!(", "Gauge"),
            ("change!(", "Gauge"),
            ("observe!(", "Histogram"),
        ] {
            let calls = code.match_indices(call).filter(|(at, _)| !code[..*at].ends_with('_'));
            for (at, _) in calls {
                let name = code[at + call.len()..].split('"').nth(1).unwrap();
                let entry = format!("Metric({kind},\"{name}\",");
                assert!(described.contains(&entry), "{file}: {name} is described as no {kind}");
                used.insert(name.to_owned());
            }
        }
    }
    assert_eq!(used, quoted(&sources, "tower_bearer_"));
}

/// Returns the names in the code that begin so, between quotes.
fn quoted(sources: &Sources, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for text in sources.values() {
        let code = code(text);
        for (at, _) in code.match_indices(&format!("\"{prefix}")) {
            let rest = &code[at + 1..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap();
            if matches!(&rest[end..=end], "\"" | ":") {
                names.insert(rest[..end].to_owned());
            }
        }
    }
    names
}

fn is_named(docs: &str, name: &str) -> bool {
    ["`", "{"].iter().any(|end| docs.contains(&format!("`{name}{end}")))
}

#[test]
fn security_lists_every_dangerous_setting_and_no_other() {
    let named = |text: &str| {
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        let mut names: Vec<String> =
            words.filter(|word| word.len() > "dangerous_".len()).map(Into::into).collect();
        names.retain(|word: &String| word.starts_with("dangerous_"));
        names.sort();
        names.dedup();
        names
    };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md");
    let declared: String = sources()
        .values()
        .flat_map(|text| code(text).lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| line.trim_start().starts_with("pub fn dangerous_"))
        .map(|line| line.split('(').next().unwrap().to_owned() + "\n")
        .collect();
    assert!(!declared.is_empty());
    assert_eq!(named(&declared), named(&fs::read_to_string(page).unwrap()));
}
