//! Each row of `fixtures/dpop/requests.json`: some requests to a service, one after the other, and what each
//! comes to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::Layer as _;
use tower_bearer::dpop::{Dpop, ForwardedFields, NonceKeys};
use tower_bearer::jose::Algorithm;
use tower_bearer::testing::{TestKey, TestProof};
use tower_bearer::{Access, Secret};

use crate::service::{ORIGIN, Service, World, accept, all, require, thumbprint, verdict};
use crate::world::{Answer, has_test, request, send};

const PATH: &str = "/a/b";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    name: String,
    #[serde(default)]
    settings: Settings,
    /// What the token is bound to.
    #[serde(default = "to_key")]
    cnf: Value,
    #[serde(default)]
    scope: String,
    steps: Vec<Step>,
}

fn to_key() -> Value {
    json!({ "jkt": "$JKT" })
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    require: bool,
    origins: Option<Vec<String>>,
    nonces: bool,
    nonce_replaces_iat: bool,
    quota: Option<u32>,
    bytes: Option<usize>,
    no_record: bool,
    proxies: Option<String>,
    needs: Option<String>,
    /// Whether metadata is served, which challenges name.
    metadata: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// How many seconds pass before.
    #[serde(default)]
    wait: u64,
    times: Option<u32>,
    #[serde(default = "get")]
    method: String,
    #[serde(default = "path")]
    uri: String,
    #[serde(default = "dpop")]
    scheme: Option<String>,
    /// Whose token.
    #[serde(default = "own")]
    token: String,
    #[serde(default)]
    fields: Vec<(String, String)>,
    peer: Option<String>,
    #[serde(default = "made")]
    proof: Value,
    /// `null` for whatever.
    expect: Option<String>,
    challenges: Option<Vec<String>>,
    /// Whether the answer has one.
    nonce: Option<bool>,
}

fn get() -> String {
    "GET".to_owned()
}

fn path() -> String {
    PATH.to_owned()
}

fn dpop() -> Option<String> {
    Some("DPoP".to_owned())
}

fn own() -> String {
    "own".to_owned()
}

fn made() -> Value {
    json!({})
}

impl Settings {
    fn dpop(&self) -> Dpop {
        let dpop = if self.require { require() } else { accept() };
        let dpop = match &self.origins {
            // The usual one is set already.
            Some(more) => {
                let fresh = if self.require { Dpop::require() } else { Dpop::accept() };
                let fresh = fresh.algorithms([Algorithm::ES256, Algorithm::EdDSA]);
                drop(dpop);
                fresh.public_origins(more)
            }
            None => dpop,
        };
        let dpop = match self.nonces {
            true => dpop.nonces(NonceKeys::new(Secret::new([1; 32])).unwrap()),
            false => dpop,
        };
        let dpop = if self.nonce_replaces_iat { dpop.nonce_replaces_iat() } else { dpop };
        let dpop = self.quota.into_iter().fold(dpop, Dpop::replay_quota);
        let dpop = self.bytes.into_iter().fold(dpop, Dpop::replay_bytes);
        let dpop = if self.no_record { dpop.dangerous_no_replay_check() } else { dpop };
        let Some(proxies) = &self.proxies else { return dpop };
        let fields = match proxies.as_str() {
            "forwarded" => ForwardedFields::Forwarded,
            "x_forwarded" => ForwardedFields::XForwarded,
            other => panic!("{other}"),
        };
        let address = |peer: &ConnectInfo<SocketAddr>| Some(peer.0.ip());
        dpop.trusted_proxies(fields, ["10.0.0.0/24"], address).unwrap()
    }

    fn service(&self, world: &World) -> Service {
        let layer = world.layer(self.dpop());
        let layer = if self.metadata { layer.resource(ORIGIN).unwrap() } else { layer };
        let layer = match &self.needs {
            Some(scope) => layer.fallback(Access::scope(scope)).unwrap(),
            None => layer,
        };
        layer.layer(world.inner.clone())
    }
}

/// A row under way.
struct Run<'a> {
    world: &'a World,
    other: &'a TestKey,
    tokens: [String; 2],
    /// The first nonce, and the newest.
    nonces: [String; 2],
    last: String,
}

impl Run<'_> {
    fn filled(&self, text: &str) -> String {
        let jkt = thumbprint(&self.world.client);
        // The last character stays: another one could be no end of 32 bytes in base64url.
        let lower = [&jkt[..42].to_lowercase(), &jkt[42..]].concat();
        [
            ("$TOKEN", &*self.tokens[0]),
            ("$FIRST", &*self.nonces[0]),
            ("$NEWEST", &*self.nonces[1]),
            ("$OTHER_JKT", &*thumbprint(self.other)),
            ("$LOWER_JKT", &*lower),
            ("$JKT", &*jkt),
        ]
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    fn proof(&self, step: &Step, token: &str) -> Option<String> {
        let made = match &step.proof {
            Value::Null => return None,
            Value::String(it) if it == "last" => return Some(self.last.clone()),
            Value::String(text) => return Some(text.clone()),
            Value::Object(made) => made,
            other => panic!("{other}"),
        };
        let text = |name: &str| made.get(name).map(|it| it.as_str().unwrap());
        let key = match text("by") {
            Some("other") => self.other,
            Some(other) => panic!("{other}"),
            None => &self.world.client,
        };
        let uri = text("uri").map_or_else(|| format!("{ORIGIN}{PATH}"), str::to_owned);
        let proof = TestProof::by(key).now(self.world.now()).token(token).uri(&uri);
        let proof = proof.method(text("method").unwrap_or("GET"));
        let proof = text("jti").into_iter().fold(proof, |it, jti| it.jti(jti));
        let proof = text("alg").into_iter().fold(proof, |it, alg| it.alg(alg));
        let proof =
            text("nonce").into_iter().fold(proof, |it, nonce| it.nonce(&self.filled(nonce)));
        let iat = made.get("iat").map_or(0, |it| it.as_i64().unwrap());
        let by = Duration::from_secs(iat.unsigned_abs());
        let proof = if iat < 0 { proof.issued_ago(by) } else { proof.issued_in(by) };
        let proof = if made.contains_key("broken") { proof.wrong_signature() } else { proof };
        let known = ["by", "uri", "method", "jti", "alg", "nonce", "iat", "broken"];
        assert!(made.keys().all(|name| known.contains(&name.as_str())), "{made:?}");
        Some(proof.sign())
    }

    fn request(&mut self, step: &Step) -> Request<Empty<Bytes>> {
        let token = self.tokens[usize::from(step.token == "other")].clone();
        let mut fields = Vec::new();
        if let Some(scheme) = &step.scheme {
            fields.push(("authorization".to_owned(), format!("{scheme} {token}")));
        }
        if let Some(proof) = self.proof(step, &token) {
            self.last.clone_from(&proof);
            fields.push(("dpop".to_owned(), proof));
        }
        fields.extend(step.fields.iter().map(|(name, value)| (name.clone(), self.filled(value))));
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut request = request(&step.method, &step.uri, &fields);
        if let Some(peer) = &step.peer {
            let peer = SocketAddr::new(peer.parse().unwrap(), 40_000);
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        request
    }

    fn see(&mut self, answer: &Answer) {
        if let Some(nonce) = answer.header("dpop-nonce") {
            nonce.clone_into(&mut self.nonces[1]);
            if self.nonces[0].is_empty() {
                nonce.clone_into(&mut self.nonces[0]);
            }
        }
    }
}

async fn run(row: &Row, wrong: &mut Vec<String>) {
    let (world, other) = (World::new(), TestKey::generate(Algorithm::ES256));
    let service = row.settings.service(&world);
    let mut run = Run {
        world: &world,
        other: &other,
        tokens: Default::default(),
        nonces: Default::default(),
        last: String::new(),
    };
    let cnf = serde_json::from_str(&run.filled(&row.cnf.to_string())).unwrap();
    run.tokens = [
        world.token(&row.scope, cnf),
        world.token(&row.scope, json!({ "jkt": thumbprint(&other) })),
    ];
    for (at, step) in row.steps.iter().enumerate() {
        world.clock.advance(Duration::from_secs(step.wait));
        for _ in 0..step.times.unwrap_or(1) {
            let request = run.request(step);
            let answer = send(&service, request).await;
            run.see(&answer);
            let Some(expected) = &step.expect else { continue };
            let status = match expected.as_str() {
                "accepted" => 200,
                "multiple_credentials" => 400,
                "insufficient_scope" => 403,
                "misconfigured" => 500,
                "replay_quota_used_up" | "replay_store_full" => 503,
                _ => 401,
            };
            let challenges = all(&answer, "www-authenticate");
            let is_wrong = verdict(&answer) != expected
                || answer.status() != status && step.method != "POST"
                || step.challenges.as_ref().is_some_and(|it| *it != challenges)
                || step.nonce.is_some_and(|it| it != answer.header("dpop-nonce").is_some());
            if is_wrong {
                let said = answer.refusal().map(ToString::to_string).unwrap_or_default();
                wrong.push(format!(
                    "{} {:?} step {at}: {} {} {said} {challenges:#?}",
                    row.id,
                    row.name,
                    verdict(&answer),
                    answer.status()
                ));
            }
        }
    }
}

fn rows() -> Vec<Row> {
    serde_json::from_str(include_str!("../../fixtures/dpop/requests.json")).unwrap()
}

#[tokio::test]
async fn d15_to_d79_each_row_of_requests_comes_to_what_it_says() {
    let mut wrong = Vec::new();
    for row in rows() {
        run(&row, &mut wrong).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lines that later ones say more exactly: for D12 and D13, those of certificates.
const SAID_AGAIN: [(u8, &str); 11] = [
    (2, "D35"),
    (4, "D37"),
    (5, "D38"),
    (6, "D64"),
    (7, "D46"),
    (8, "D49"),
    (9, "D54"),
    (10, "D79"),
    (11, "D75"),
    (12, "MT1"),
    (13, "MT14"),
];

/// Where a row can't say it: the tests that do, with the text of their file.
const NOT_AS_ROWS: [(u8, &str, &str); 12] = [
    (24, include_str!("presentation.rs"), "d24_proofs_are_sensitive_and_removed_with_the_token"),
    (56, include_str!("routes.rs"), "d56_a_layer_within_a_layer_checks_a_proof_once"),
    (61, include_str!("replay.rs"), "d61_a_store_that_fails_is_our_trouble_and_not_the_callers"),
    (63, include_str!("metrics.rs"), "d63_proofs_are_counted_by_what_was_decided_about_them"),
    (68, include_str!("nonces.rs"), "d68_the_key_is_replaced_while_requests_come"),
    (71, include_str!("nonces.rs"), "d71_a_client_gets_in_at_its_second_try_also_in_a_storm"),
    (72, include_str!("answers.rs"), "d72_scripts_may_send_proofs_and_read_nonces"),
    (80, include_str!("answers.rs"), "d44_d80_grpc_calls_carry_proofs_and_get_statuses"),
    (81, include_str!("answers.rs"), "d81_the_metadata_says_what_is_on"),
    (82, include_str!("introspected.rs"), "d82_an_opaque_token_is_bound_to_the_key_in_the_answer"),
    (83, include_str!("issuer.rs"), "d83_the_embedded_issuer_grants_bound_tokens"),
    (
        84,
        include_str!("mutations.rs"),
        "d84_whatever_the_field_holds_it_is_refused_and_nothing_panics",
    ),
];

// Each line is there twice: as something wrong, and as its harmless twin.
#[test]
fn d1_to_d84_every_line_has_an_attack_and_a_twin() {
    #[derive(Deserialize)]
    struct Proof {
        id: String,
        expect: String,
    }
    let proofs = include_str!("../../fixtures/dpop/proofs.json");
    let proofs: Vec<Proof> = serde_json::from_str(proofs).unwrap();
    let mut seen: BTreeMap<u8, [bool; 2]> = BTreeMap::new();
    let mut see = |id: &str, good: bool| {
        let line: u8 = id.strip_prefix('D').unwrap().parse().unwrap();
        seen.entry(line).or_default()[usize::from(good)] = true;
    };
    for Proof { id, expect } in &proofs {
        see(id, expect == "accepted");
    }
    for row in rows() {
        let last = row.steps.last().unwrap();
        see(&row.id, last.expect.as_deref() == Some("accepted"));
    }
    let certificates = concat!(
        include_str!("../../fixtures/mtls/fields.json"),
        include_str!("../../fixtures/mtls/requests.json")
    );
    for line in 1..=84 {
        if let Some((_, again)) = SAID_AGAIN.iter().find(|(other, _)| *other == line) {
            let later = again.strip_prefix('D').map(|again| seen.get(&again.parse().unwrap()));
            let is_there = later.map_or_else(
                || certificates.contains(&format!(r#""id": "{again}""#)),
                |later| later == Some(&[true, true]),
            );
            assert!(is_there, "D{line} is said again by {again}, which isn't there");
        } else if let Some((_, file, test)) = NOT_AS_ROWS.iter().find(|(it, ..)| *it == line) {
            assert!(test.contains(&format!("d{line}_")) && has_test(file, test), "D{line}: {test}");
            assert!(!seen.contains_key(&line), "D{line} has rows: it needs no exception");
        } else {
            assert_eq!(seen.get(&line), Some(&[true, true]), "D{line} has no attack, or no twin");
        }
    }
}
