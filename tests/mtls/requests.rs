//! Each row of `fixtures/mtls/requests.json`: a token, what the connection or its proxy shows, and what it comes
//! to.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::Layer as _;
use tower_bearer::BearerAuthLayer;
use tower_bearer::mtls::{Certificate, ClientCertHeader};

use crate::service::{Connection, Vector, World, behind, from_connection, vectors, verdict};
use crate::world::{get, has_test, send};

const GARBAGE: &[u8] = b"no certificate at all";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    name: String,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    require_bound: bool,
    #[serde(default)]
    keep: bool,
    #[serde(default = "to_own")]
    cnf: Value,
    #[serde(default = "bearer")]
    scheme: String,
    /// What the connection shows.
    #[serde(default = "own")]
    shown: String,
    peer: Option<String>,
    /// What an earlier request of the same proxy had.
    before: Option<Vec<(String, String)>>,
    #[serde(default)]
    fields: Vec<(String, String)>,
    expect: String,
    /// Which of the fields the handler sees.
    left: Option<Vec<String>>,
    vary: Option<String>,
    #[serde(default)]
    no_store: bool,
}

fn to_own() -> Value {
    json!({ "x5t#S256": "$OWN" })
}

fn bearer() -> String {
    "Bearer".to_owned()
}

fn own() -> String {
    "own".to_owned()
}

fn filled(text: &str, own: &Vector, other: &Vector) -> String {
    [
        ("$OWN", &*own.thumbprint),
        ("$HALF", &own.thumbprint[..21]),
        ("$LOWER", &*own.thumbprint.to_lowercase()),
        ("$GARBAGE", Certificate::from_der(GARBAGE).thumbprint()),
        ("$BASE64", &*own.der),
        ("$OTHER_BASE64", &*other.der),
    ]
    .iter()
    .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn rows() -> Vec<Row> {
    serde_json::from_str(include_str!("../../fixtures/mtls/requests.json")).unwrap()
}

#[tokio::test]
async fn mt1_to_mt28_each_row_of_requests_comes_to_what_it_says() {
    let [own, other] = vectors();
    let mut wrong = Vec::new();
    for row in rows() {
        let world = World::new();
        let mtls = match row.source.as_deref() {
            None => from_connection(),
            Some("rfc9440") => behind(ClientCertHeader::rfc9440()),
            Some(other) => panic!("{other}"),
        };
        let mtls = if row.keep { mtls.keep_header() } else { mtls };
        let builder = world.builder().mtls(mtls);
        let builder = if row.require_bound { builder.require_bound() } else { builder };
        let layer = BearerAuthLayer::new(builder.build().unwrap());
        let service = layer.layer(world.inner.clone());
        let cnf: Value = serde_json::from_str(&filled(&row.cnf.to_string(), &own, &other)).unwrap();
        let token = world.issuer().token_with(json!({ "cnf": cnf }));
        let ask = async |fields: &[(String, String)]| {
            let authorization = format!("{} {token}", row.scheme);
            let mut request = get("/", &[("authorization", &authorization)]);
            for (name, value) in fields {
                let name: http::HeaderName = name.parse().unwrap();
                request.headers_mut().append(name, filled(value, &own, &other).parse().unwrap());
            }
            let shown = match row.shown.as_str() {
                "own" => Some(Some(Certificate::from_der(&own.decoded()))),
                "other" => Some(Some(Certificate::from_der(&other.decoded()))),
                "garbage" => Some(Some(Certificate::from_der(GARBAGE))),
                "none" => Some(None),
                "absent" => None,
                other => panic!("{other}"),
            };
            if let Some(shown) = shown {
                request.extensions_mut().insert(Connection(shown));
            }
            if let Some(peer) = &row.peer {
                let peer = SocketAddr::new(peer.parse().unwrap(), 40_000);
                request.extensions_mut().insert(ConnectInfo(peer));
            }
            send(&service, request).await
        };
        if let Some(before) = &row.before {
            ask(before).await;
        }
        let answer = ask(&row.fields).await;
        let status = match row.expect.as_str() {
            "accepted" => 200,
            "misconfigured" => 500,
            _ => 401,
        };
        let left = |name: &str| world.inner.headers().contains_key(name);
        let is_wrong = verdict(&answer) != row.expect
            || answer.status() != status
            || row.vary.as_ref().is_some_and(|it| it != answer.header("vary").unwrap_or_default())
            || row.no_store && answer.header("cache-control") != Some("no-store")
            || status == 200
                && row.left.as_ref().is_some_and(|it| {
                    row.fields.iter().any(|(name, _)| it.contains(name) != left(name))
                });
        if is_wrong {
            let said = answer.refusal().map(ToString::to_string).unwrap_or_default();
            wrong.push(format!("{} {:?}: {} {said}", row.id, row.name, verdict(&answer)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Where a row can't say it: the tests that do, with the text of their file.
const NOT_AS_ROWS: [(u8, &str, &str); 11] = [
    (6, GRPC, "mt6_tonic_shows_the_first_certificate_of_the_connection"),
    (
        7,
        include_str!("../interop_proxies.rs"),
        "mt7_the_example_that_ends_tls_itself_answers_the_lines_it_prints",
    ),
    (8, include_str!("connection.rs"), "mt8_a_server_of_connectrpc_shows_the_first_certificate"),
    (9, GRPC, "mt9_tonic_can_hash_once_a_connection"),
    (10, GRPC, "mt10_resumed_sessions_show_the_same_certificate"),
    (12, include_str!("settings.rs"), "mt12_the_metadata_says_so_only_if_it_is_so"),
    (13, include_str!("issuer.rs"), "mt13_introspected_tokens_are_bound_alike"),
    (29, INTEROP, "mt29_mt30_mt31_a_certificate_is_all_that_it_takes"),
    (30, CLIENT, "mt30_the_root_endpoint_can_be_used_in_spite_of_an_alias"),
    (31, INTEROP, "mt29_mt30_mt31_a_certificate_is_all_that_it_takes"),
    (32, CLIENT, "mt32_another_certificate_ends_the_tokens_of_the_one_before"),
];
const GRPC: &str = include_str!("../grpc_mutual_tls.rs");
const CLIENT: &str = include_str!("../client/certificates.rs");
const INTEROP: &str = include_str!("../interop_certificates.rs");

// Each line is there twice: as something wrong, and as its harmless twin.
#[test]
fn mt1_to_mt32_every_line_has_an_attack_and_a_twin() {
    #[derive(Deserialize)]
    struct Field {
        id: String,
        expect: String,
    }
    let fields = include_str!("../../fixtures/mtls/fields.json");
    let fields: Vec<Field> = serde_json::from_str(fields).unwrap();
    let rows = rows().into_iter().map(|Row { id, expect, .. }| Field { id, expect });
    let mut seen: BTreeMap<u8, [bool; 2]> = BTreeMap::new();
    for Field { id, expect } in fields.into_iter().chain(rows) {
        let line: u8 = id.strip_prefix("MT").unwrap().parse().unwrap();
        seen.entry(line).or_default()[usize::from(expect == "accepted")] = true;
    }
    for line in 1..=32 {
        if let Some((_, file, test)) = NOT_AS_ROWS.iter().find(|(it, ..)| *it == line) {
            let is_named = test.contains(&format!("mt{line}_"));
            assert!(is_named && has_test(file, test), "MT{line}: {test}");
            assert!(!seen.contains_key(&line), "MT{line} has rows: it needs no exception");
        } else {
            assert_eq!(seen.get(&line), Some(&[true, true]), "MT{line} has no attack, or no twin");
        }
    }
}
