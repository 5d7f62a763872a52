//! What operators read, held against what the code says: codes, events and metrics.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All quoted words of a text that begin with this.
fn words(text: &str, start: &str) -> BTreeSet<String> {
    let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    text.match_indices(start)
        .filter(|(at, _)| !text[..*at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
        .map(|(at, _)| text[at..].split(ends).next().unwrap().to_owned())
        .collect()
}

/// The cells of the table row whose first cell is this code.
fn row(page: &str, code: &str) -> Vec<String> {
    let start = format!("| `{code}` |");
    let line = page.lines().find(|line| line.starts_with(&start));
    let line = line.unwrap_or_else(|| panic!("docs/operations.md has no row for `{code}`"));
    line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
}

fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|it| it == "rs") {
            all.push(path);
        }
    }
}

/// Code, sentence and remedy of each reason why an introspection fails, but for the one with a status.
fn introspection() -> Vec<[String; 3]> {
    // `Timeout = "timeout", "…", "…";`, of which a string may go on with the next line.
    let kinds = file("src/introspection/error_kind.rs");
    let kinds = kinds.split("kinds! {\n").nth(1).unwrap().split("\n}\n").next().unwrap();
    let kinds: Vec<&str> = kinds.lines().filter(|it| !it.trim().starts_with("///")).collect();
    let joined: Vec<_> = kinds.iter().map(|it| it.trim_start().trim_end_matches('\\')).collect();
    let joined = joined.concat();
    let texts: Vec<String> = joined.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    let kinds: Vec<_> = texts.chunks_exact(3).map(|it| it.to_vec().try_into().unwrap()).collect();
    assert!(kinds.len() > 25 && kinds.len() * 3 == texts.len(), "{texts:?}");
    kinds
}

#[test]
fn each_reason_why_an_introspection_fails_is_described() {
    let page = file("docs/operations.md");
    let part = page.split("## Failed introspections").nth(1).unwrap();
    let part = part.split("\n## ").next().unwrap();
    for [code, cause, remedy] in introspection() {
        assert_eq!(row(part, &code), [format!("`{code}`"), cause, remedy]);
    }
    let status = row(part, "http_error");
    let kinds = file("src/introspection/error_kind.rs");
    assert!(status[1..].iter().all(|text| kinds.contains(&format!("\"{text}\""))), "{status:?}");
}

#[test]
fn each_code_has_a_cause_and_a_remedy() {
    let page = file("docs/operations.md");
    // `NoCredentials = "no_credentials", "…";`
    let kinds = file("src/refusal/kind.rs");
    let codes = kinds.lines().filter_map(|line| {
        let (_, rest) = line.trim().split_once(" = \"")?;
        let (code, rest) = rest.split_once("\", \"")?;
        rest.ends_with("\";").then(|| code.to_owned())
    });
    let codes: Vec<String> = codes.collect();
    assert!(codes.len() > 30, "{codes:?}");
    // `Self::Timeout => "timeout",`
    let errors = file("src/jwks/fetch/error.rs");
    let of_code = errors.split("fn code(self)").nth(1).unwrap().split("\n    }\n").next().unwrap();
    let fetching: Vec<String> = of_code.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(fetching.len() > 15, "{fetching:?}");
    // Introspection has some of the same codes, in a table of its own.
    let of_refusals = page.split("\n## Failed").next().unwrap();
    let of_fetches = page.split("\n## Failed fetches").nth(1).unwrap();
    let of_fetches = of_fetches.split("\n## ").next().unwrap();
    let codes = codes.iter().map(|code| (code, of_refusals));
    for (code, part) in codes.chain(fetching.iter().map(|code| (code, of_fetches))) {
        let cells = row(part, code);
        assert!(cells.len() >= 3 && cells.iter().all(|cell| !cell.is_empty()), "{code}: {cells:?}");
    }
}

#[test]
fn each_remedy_is_that_of_the_code() {
    let page = file("docs/operations.md");
    let page = page.split("\n## Failed introspections").next().unwrap();
    let unescaped = page.replace("&lt;", "<").replace("&gt;", ">").replace("\\|", "|");
    let refusals = file("src/refusal/remedy.rs");
    let refusals = refusals.split("#[cfg(test)]").next().unwrap();
    let fetches = file("src/jwks/fetch/error.rs");
    let fetches = fetches.split("fn remedy(self)").nth(1).unwrap();
    let table = [refusals, fetches.split("\n    }\n").next().unwrap()].concat();
    // Lines that end with a backslash go on with the next one.
    let joined: Vec<&str> = table.split("\\\n").map(str::trim_start).collect();
    let joined = joined.concat().replace("\\\"", "\u{1}");
    let mut remedies = 0;
    for remedy in joined.split('"').skip(1).step_by(2).map(|it| it.replace('\u{1}', "\"")) {
        if remedy != "change the program as the error says" {
            assert!(unescaped.contains(&remedy), "docs/operations.md hasn't: {remedy}");
            remedies += 1;
        }
    }
    assert!(remedies > 60, "{remedies}");
}

/// The name of the event that is emitted by a call, of which this is all behind the opening parenthesis. Its
/// message is the last of the strings: a name, or a name, a colon and a sentence.
fn event(call: &str) -> Option<String> {
    let (mut message, mut depth, mut rest) = ("", 1, call);
    while depth > 0 {
        let at = rest.find(['(', ')', '"'])?;
        let after = &rest[at + 1..];
        match &rest[at..=at] {
            "(" => (depth, rest) = (depth + 1, after),
            ")" => (depth, rest) = (depth - 1, after),
            _ => {
                let ends = |(at, _): &(usize, &str)| !after[..*at].ends_with('\\');
                let (end, _) = after.match_indices('"').find(ends)?;
                (message, rest) = (&after[..end], &after[end + 1..]);
            }
        }
    }
    let name = message.split(": ").next()?;
    let is_name =
        |it: &str| it.contains('_') && it.bytes().all(|c| c.is_ascii_lowercase() || c == b'_');
    is_name(name).then(|| name.to_owned())
}

#[test]
fn the_name_of_an_event_is_found_in_its_call() {
    for (call, name) in [
        ("WARN, issuer = f(\"x\"), \"jwks_uri: it is {}\", url)", Some("jwks_uri")),
        ("DEBUG, \"dpop_redis_lost\");", Some("dpop_redis_lost")),
        ("DEBUG, \"request \\\"refused\\\"\");", None),
        ("$level:ident, $($rest:tt)+) => {{", None),
    ] {
        assert_eq!(event(call).as_deref(), name, "{call}");
    }
}

#[test]
fn each_event_and_each_metric_is_described() {
    let page = file("docs/operations.md");
    let mut paths = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut paths);
    let rows = page.split("## Events").nth(1).unwrap().split("\n## ").next().unwrap();
    let first_cells: Vec<&str> = rows.lines().filter_map(|row| row.split(" | ").next()).collect();
    let mut events = BTreeSet::new();
    // But for the macro itself.
    for path in paths.iter().filter(|path| !path.ends_with("src/telemetry.rs")) {
        let text = fs::read_to_string(path).unwrap();
        for (at, call) in text.match_indices("event!(") {
            events.extend(event(&text[at + call.len()..]));
        }
    }
    assert!(events.len() > 30, "{events:?}");
    assert!(events.contains("auth_summary") && events.contains("dpop_redis_lost"), "{events:?}");
    for event in &events {
        let name = format!("`{event}`");
        let listed = first_cells.iter().any(|cell| cell.contains(&name));
        assert!(listed, "docs/operations.md has no row for the event {name}");
    }
    let metrics = words(&file("src/telemetry/described.rs"), "tower_bearer_");
    assert!(metrics.len() > 15, "{metrics:?}");
    for metric in metrics.iter().filter(|name| *name != "tower_bearer_") {
        row(&page, metric);
    }
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_and_labels_that_there_are() {
    let metrics = words(&file("src/telemetry/described.rs"), "tower_bearer_");
    let kinds = file("src/refusal/kind.rs");
    for path in ["docs/alerts.yml", "docs/alerts_test.yml", "docs/dashboard.json"] {
        let text = file(path);
        let asked = words(&text, "tower_bearer_");
        assert!(asked.len() > 2, "{path}: {asked:?}");
        for name in asked {
            assert!(metrics.contains(&name), "{path} asks for {name}, which there isn't");
        }
        for reason in text.split("reason=\"").skip(1).chain(text.split("reason!=\"").skip(1)) {
            let reason = reason.split('"').next().unwrap();
            let known = ["none", "misconfigured"].contains(&reason)
                || kinds.contains(&format!("\"{reason}\""));
            assert!(known, "{path} asks for the reason {reason}, which there isn't");
        }
    }
    let dashboard: serde_json::Value = serde_json::from_str(&file("docs/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 10);
    for panel in panels {
        assert!(panel["targets"][0]["expr"].is_string(), "{}", panel["title"]);
    }
}

#[test]
fn each_alert_is_described_and_tried() {
    let (alerts, page) = (file("docs/alerts.yml"), file("docs/operations.md"));
    let tried = file("docs/alerts_test.yml");
    let names: Vec<&str> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() >= 7, "{names:?}");
    for name in names {
        row(&page, name);
        assert!(tried.contains(&format!("alertname: {name}")), "no test tries {name}");
    }
}
