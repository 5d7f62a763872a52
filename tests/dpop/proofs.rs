//! Each row of `fixtures/dpop/proofs.json`: one change to a good request, and what it comes to.

use std::time::Duration;

use serde_json::json;
use tower_bearer::dpop::Dpop;
use tower_bearer::jose::Algorithm;
use tower_bearer::testing::{TestKey, TestProof};

use crate::rows::{PATH, Row};
use crate::service::{NOW, ORIGIN, World, accept, verdict};
use crate::world::{request, send};

/// Every algorithm that is accepted by default.
fn accept_all() -> Dpop {
    Dpop::accept().public_origins([ORIGIN])
}

#[tokio::test]
async fn d1_to_d49_each_row_comes_to_what_it_says() {
    let (rows, world) = (Row::all(), World::new());
    let other = TestKey::generate(Algorithm::ES256);
    let of_client = world.bound("");
    let mut accepted = 0;
    // Once where no proof of the client was seen, and once where its usual header is known.
    for (row, known) in rows.iter().flat_map(|row| [(row, false), (row, true)]) {
        let (dpop, token) = match row.jkt() {
            Some(jkt) => (accept_all(), world.token("", json!({ "jkt": jkt }))),
            None => (accept(), of_client.clone()),
        };
        let service = world.service(dpop.replay_bytes(16 * 1_024));
        if known {
            let token = &of_client;
            let proof = world.proof("GET", PATH, token).sign();
            let good = send(&service, crate::service::proved("GET", PATH, token, &proof)).await;
            assert_eq!(verdict(&good), "accepted");
        }
        let proof = row.proof(&world.client, &other, &token, NOW);
        let what = format!("{}: {}, known: {known}", row.id, row.name);
        let scheme = row.scheme.as_deref().unwrap_or("DPoP ");
        let scheme = if scheme.ends_with([' ', '\t']) { scheme } else { &format!("{scheme} ") };
        let shown = row.token.as_deref().unwrap_or(&token);
        let authorization = format!("{scheme}{shown}");
        let mut fields = vec![("authorization", authorization.as_str())];
        let proofs = row.proofs.clone().unwrap_or_else(|| vec!["$PROOF".to_owned()]);
        let proofs: Vec<String> = proofs.iter().map(|it| it.replace("$PROOF", &proof)).collect();
        fields.extend(proofs.iter().map(|proof| ("dpop", proof.as_str())));
        let answer = send(&service, request("GET", PATH, &fields)).await;
        assert_eq!(verdict(&answer), row.expect, "{what}");
        accepted += usize::from(row.expect == "accepted");
        let status = match row.expect.as_str() {
            "accepted" => 200,
            "malformed_credentials" => 400,
            _ => 401,
        };
        assert_eq!(answer.status(), status, "{what}");
        if status == 200 {
            continue;
        }
        // D55: a bad proof uses nothing up.
        let token = &of_client;
        let proof = world.proof("GET", PATH, token).jti("j").sign();
        let good = send(&service, crate::service::proved("GET", PATH, token, &proof)).await;
        assert_eq!(verdict(&good), "accepted", "after {what}");
    }
    assert!(accepted > 2 * 25 && rows.len() > 120, "{accepted} of {}", rows.len());
}

// D26, D28: every kind of key that is accepted by default.
#[tokio::test]
async fn d26_every_default_algorithm_is_accepted_and_no_other() {
    use Algorithm::{ES256, ES384, ES512, EdDSA, PS256, PS384, RS256, RS512};
    for (algorithm, good) in [
        (ES256, true),
        (ES384, true),
        (EdDSA, true),
        (PS256, true),
        (RS256, true),
        (ES512, false),
        (PS384, false),
        (RS512, false),
    ] {
        let world = World { client: TestKey::generate(algorithm), ..World::new() };
        let dpop = Dpop::accept().public_origins([ORIGIN]);
        let service = world.service(dpop);
        let token = world.bound("");
        let names: &[&str] =
            if algorithm == EdDSA { &["EdDSA", "Ed25519"] } else { &[algorithm.name()] };
        for name in names {
            let proof = world.proof("GET", "/", &token).alg(name).sign();
            let answer = send(&service, crate::service::proved("GET", "/", &token, &proof)).await;
            let expected = if good { "accepted" } else { "dpop_proof_malformed" };
            assert_eq!(verdict(&answer), expected, "{name}");
        }
    }
}

// RFC 9964: with the one parameter set whose proofs fit, once it is named.
#[tokio::test]
async fn d26_d34_a_token_can_be_bound_to_a_key_of_ml_dsa_44() {
    let world = World { client: TestKey::generate(Algorithm::MlDsa44), ..World::new() };
    let other = World { client: TestKey::generate(Algorithm::MlDsa44), ..World::new() };
    let named = || Dpop::accept().public_origins([ORIGIN]).algorithms([Algorithm::MlDsa44]);
    let token = world.bound("");
    let good = || world.proof("GET", PATH, &token);
    let foreign = other.proof("GET", PATH, &token);
    for (proof, dpop, expected) in [
        (good(), named(), "accepted"),
        (good(), Dpop::accept().public_origins([ORIGIN]), "dpop_proof_malformed"),
        (good().wrong_signature(), named(), "dpop_proof_bad_signature"),
        (good().jwk_of(&other.client), named(), "dpop_key_mismatch"),
        (foreign.clone(), named(), "dpop_key_mismatch"),
        (foreign.jwk_of(&world.client), named(), "dpop_proof_bad_signature"),
        (good().jwk_member("alg", "ML-DSA-65"), named(), "dpop_proof_malformed"),
        (good().jwk_member("priv", "AA"), named(), "dpop_proof_malformed"),
    ] {
        let proof = proof.sign();
        assert!((5_000..8 * 1_024).contains(&proof.len()), "{}", proof.len());
        let service = world.service(dpop);
        let answer = send(&service, crate::service::proved("GET", PATH, &token, &proof)).await;
        assert_eq!(verdict(&answer), expected);
    }
}

#[test]
fn d20_d26_algorithms_whose_proofs_would_be_too_long_cannot_be_named() {
    let world = World::new();
    for algorithm in [Algorithm::MlDsa65, Algorithm::MlDsa87] {
        let client = TestKey::generate(algorithm);
        let usual = TestProof::by(&client).method("GET").uri("https://api.example/orders/7");
        let usual = usual.token("t").nonce(&"n".repeat(43)).sign();
        assert!(usual.len() > 8 * 1_024, "{}", usual.len());
        let dpop = accept().algorithms([Algorithm::ES256, algorithm]);
        let error = world.builder(dpop).build().unwrap_err().to_string();
        assert!(error.contains(algorithm.name()) && error.contains("8 KiB"), "{error}");
    }
    world.validator(accept().algorithms([Algorithm::ES256, Algorithm::MlDsa44]));
}

// V1, V1b, V2: the RFC's own proof, at its time, for a token of ours that would be the RFC's.
#[tokio::test]
async fn v1_the_proof_of_the_rfc_is_read() {
    const PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let world = World::new();
    world.clock.set(tower_bearer::UnixTime::from_secs(1_562_262_618));
    let origins = ["https://resource.example.org"];
    let service = world.service(Dpop::accept().public_origins(origins));
    let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let token = world.token("", json!({ "jkt": jkt }));
    let answer =
        send(&service, crate::service::proved("GET", "/protectedresource", &token, PROOF)).await;
    // All of it is good but the hash of the token, which is of the RFC's.
    assert_eq!(
        answer.refusal().unwrap().to_string(),
        "the DPoP proof is for another request or token: ath is another token's"
    );
    let other = send(&service, crate::service::proved("GET", "/other", &token, PROOF)).await;
    assert!(
        other.refusal().unwrap().to_string().ends_with("htu has another path than the request")
    );
}

// D84: a proof that is wrong in anything else is refused for that, so that nobody checks its signature.
#[tokio::test]
async fn d52_whatever_is_wrong_comes_before_the_signature() {
    let world = World::new();
    let service = world.service(accept());
    let token = world.bound("");
    let good = || world.proof("GET", PATH, &token);
    let other = TestKey::generate(Algorithm::ES256);
    for (proof, expected) in [
        (good(), "dpop_proof_bad_signature"),
        (good().typ("JWT"), "dpop_proof_malformed"),
        (good().alg("ES384"), "dpop_proof_malformed"),
        (good().without_claim("jti"), "dpop_proof_malformed"),
        (good().jwk_member("d", "AA"), "dpop_proof_malformed"),
        (good().method("POST"), "dpop_proof_mismatch"),
        (good().uri("https://api.example/"), "dpop_proof_mismatch"),
        (good().token("another"), "dpop_proof_mismatch"),
        (good().issued_ago(Duration::from_secs(66)), "dpop_proof_out_of_time"),
        (
            TestProof::by(&other)
                .now(world.now())
                .method("GET")
                .uri(&format!("{ORIGIN}{PATH}"))
                .token(&token),
            "dpop_key_mismatch",
        ),
    ] {
        let answer = send(
            &service,
            crate::service::proved("GET", PATH, &token, &proof.wrong_signature().sign()),
        )
        .await;
        assert_eq!((verdict(&answer), answer.status()), (expected, 401));
    }
    let answer = send(&service, crate::service::proved("GET", PATH, &token, &good().sign())).await;
    assert_eq!(verdict(&answer), "accepted");
}

// What is remembered is the token's own verdict.
#[tokio::test]
async fn d53_the_verdict_about_a_proof_is_never_remembered() {
    let world = World::new();
    let service = world.service(accept());
    let token = world.bound("");
    let good = || world.proof("GET", PATH, &token);
    let ask = async |proof: &str| {
        verdict(&send(&service, crate::service::proved("GET", PATH, &token, proof)).await)
    };
    let used = good().sign();
    assert_eq!(ask(&used).await, "accepted");
    for _ in 0..2 {
        assert_eq!(ask(&good().wrong_signature().sign()).await, "dpop_proof_bad_signature");
        assert_eq!(ask(&good().method("POST").sign()).await, "dpop_proof_mismatch");
        assert_eq!(ask("").await, "dpop_proof_malformed");
        assert_eq!(ask(&used).await, "dpop_proof_replayed");
        let fields = [("authorization", &*format!("Bearer {token}"))];
        assert_eq!(
            verdict(&send(&service, request("GET", PATH, &fields)).await),
            "sender_constrained"
        );
        assert_eq!(ask(&good().sign()).await, "accepted", "nor is a bad one");
    }
}

// A 400 would say that the request can't be had right with another proof.
#[tokio::test]
async fn d79_whatever_is_wrong_with_a_proof_is_a_401() {
    let world = World::new();
    let service = world.service(accept());
    let token = world.bound("");
    let good = world.proof("GET", PATH, &token).sign();
    let fields = [
        "",
        "a",
        "a.b.c",
        "....",
        "\u{e4}",
        "{}",
        &good[..good.len() - 1],
        &good.replace('.', ","),
    ];
    for field in fields.into_iter().chain([&*"x".repeat(9_000)]) {
        let answer = send(&service, crate::service::proved("GET", PATH, &token, field)).await;
        assert_eq!(answer.status(), 401, "{field}");
        assert!(verdict(&answer).starts_with("dpop_proof_"), "{field}");
        let challenges = crate::service::all(&answer, "www-authenticate");
        assert!(challenges[1].contains(r#"error="invalid_dpop_proof""#), "{challenges:?}");
    }
    let answer = send(&service, crate::service::proved("GET", PATH, &token, &good)).await;
    assert_eq!(answer.status(), 200);
}
