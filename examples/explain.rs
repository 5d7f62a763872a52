//! Explains why a token is accepted or refused, or checks an issuer without a token.
//!
//! ```text
//! ISSUER=https://… AUDIENCE=… cargo run --example explain -- TOKEN
//! ISSUER=https://… AUDIENCE=… cargo run --example explain -- -        # reads the token from stdin
//! ISSUER=https://… AUDIENCE=… cargo run --example explain -- --check
//! ```
//!
//! [`Validator::from_env`] has the other variables, such as `JWKS_URI` and `LEEWAY_SECS`. The exit status is 0
//! if the token is accepted, or nothing would keep tokens from being accepted; 1 if not; 2 if it can't be told.
//! Its output is for operators: callers must never see it.

use std::error::Error;
use std::io::Read as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tower_bearer::explain::InForce;
use tower_bearer::jwks::{Health, KeyStatus, NotReady, Status};
use tower_bearer::{Refusal, Validator};

/// How long the issuer may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// After so long, it is looked whether an attempt to fetch keys has failed.
const LOOK: Duration = Duration::from_millis(100);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(argument), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: explain TOKEN | - | --check");
        return ExitCode::from(2);
    };
    let done = match argument.as_str() {
        "--check" => check().await,
        "-" => explain(None).await,
        token => explain(Some(token)).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::from(2)
        }
    }
}

async fn explain(token: Option<&str>) -> Result<ExitCode, Box<dyn Error>> {
    let validator = Validator::from_env()?.build()?;
    let token = match token {
        Some(token) => token.to_owned(),
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text
        }
    };
    // What is missing is part of the explanation.
    let _ = keys(&validator).await;
    let explanation = validator.explain(token.trim()).await;
    println!("{explanation}");
    Ok(match explanation.refusal() {
        None => ExitCode::SUCCESS,
        Some(Refusal::Unavailable(_)) => ExitCode::from(2),
        Some(_) => ExitCode::FAILURE,
    })
}

/// Looks at everything that has to do with the issuer, and says what would keep its tokens from being
/// accepted.
async fn check() -> Result<ExitCode, Box<dyn Error>> {
    let validator = Validator::from_env()?.build()?;
    let in_force = validator.in_force();
    println!("{in_force}\n");
    // Each address that is asked, and what comes of it: metadata_asked, jwks_fetched, jwks_fetch_failed.
    println!("discovery and keys, step by step:");
    let log = tracing_subscriber::fmt().with_env_filter("tower_bearer=debug").with_ansi(false);
    log.with_target(false).without_time().init();
    let ready = keys(&validator).await;
    println!();

    let mut troubles = Vec::new();
    if let Err(error) = &ready {
        let remedy = error.cause().map_or("see above", |cause| cause.remedy());
        troubles.push(format!("{error:?}; {remedy}"));
    }
    if let Some(jwks) = validator.jwks() {
        let status = jwks.status();
        print_keys(&status, &in_force, &mut troubles);
        print_clock(&status, &in_force, &mut troubles);
    }
    if validator.health() == Health::NotReady && troubles.is_empty() {
        troubles.push("tokens can't be checked".to_owned());
    }
    match &*troubles {
        [] => println!(
            "nothing that can be seen without a token would keep tokens from being accepted, if they have this \
             issuer and this audience and are signed by such a key; whether one does, it tells itself: give \
             it in place of --check"
        ),
        troubles => {
            println!("what would keep tokens from being accepted:");
            troubles.iter().for_each(|trouble| println!("trouble: {trouble}"));
        }
    }
    Ok(if troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits for the keys, or until an attempt to fetch them has failed.
async fn keys(validator: &Validator) -> Result<(), NotReady> {
    #[allow(clippy::disallowed_methods, reason = "a program lives in real time")]
    let began = Instant::now();
    loop {
        match validator.ready(LOOK).await {
            Err(error) if error.cause().is_none() && began.elapsed() < PATIENCE => {}
            ended => return ended,
        }
    }
}

/// Prints each key, and whether a token that is signed by it is accepted.
fn print_keys(status: &Status, in_force: &InForce, troubles: &mut Vec<String>) {
    println!("keys:    {}, {} in the set", status.state, status.keys.len());
    let accepted = |key: &KeyStatus| -> Vec<&str> {
        let verified = key.algorithms.iter().filter(|algorithm| in_force.accepts(**algorithm));
        verified.map(|algorithm| algorithm.name()).collect()
    };
    for key in status.keys.iter().chain(&status.refused_keys) {
        let kid = key.kid.as_deref().unwrap_or("none");
        let kty = key.kty.as_deref().unwrap_or("unknown");
        let alg = key.alg.map_or("none", |alg| alg.name());
        let said = match (key.ignored, &*accepted(key)) {
            (Some(reason), _) => format!("not accepted: {reason}"),
            (None, []) => "not accepted: its algorithm isn't among those of ALGORITHMS".to_owned(),
            (None, algorithms) => format!("accepted with {}", algorithms.join(", ")),
        };
        println!("         kid {kid:?}, kty {kty}, alg {alg}: {said}");
    }
    if !status.keys.is_empty() && status.keys.iter().all(|key| accepted(key).is_empty()) {
        troubles.push(format!(
            "no key of the issuer is for an accepted algorithm ({}): add its algorithm to ALGORITHMS, or have it \
             sign with an accepted one",
            in_force.algorithms()
        ));
    }
}

/// Prints how much the issuer's clock differs from this one.
fn print_clock(status: &Status, in_force: &InForce, troubles: &mut Vec<String>) {
    let leeway = in_force.leeway().as_secs();
    let Some(offset) = status.clock_offset else {
        return println!("clock:   unknown: no answer with keys and a date");
    };
    let direction = if offset < 0 { "behind" } else { "ahead of" };
    let by = offset.unsigned_abs();
    println!("clock:   the issuer's is {by} s {direction} this one, leeway {leeway} s");
    if by > leeway {
        troubles.push(format!(
            "the clocks differ by {by} s, which is more than the leeway of {leeway} s: synchronize whichever is \
             wrong (LEEWAY_SECS allows up to 300)"
        ));
    }
}
