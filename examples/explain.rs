//! Explains why a token is accepted or refused, or checks an issuer without a token.
//!
//! ```text
//! ISSUER=https://… AUDIENCE=… cargo run --example explain -- TOKEN
//! ISSUER=https://… AUDIENCE=… cargo run --example explain -- -        # reads the token from stdin
//! ISSUER=https://… AUDIENCE=… cargo run --example explain -- --check
//! ```
//!
//! [`Validator::from_env`] has the other variables, such as `JWKS_URI`. The exit status is 0 if the token is
//! accepted, or nothing would keep tokens from being accepted; 1 if not; 2 if it can't be told. Its output is
//! for operators: callers must never see it.

use std::error::Error;
use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

use tower_bearer::Validator;
use tower_bearer::jwks::Health;

/// How long the issuer may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A clock that differs by more is a trouble, by the validator's default.
const LEEWAY_SECS: u64 = 60;

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
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::from(2)
        }
    }
}

async fn explain(token: Option<&str>) -> Result<bool, Box<dyn Error>> {
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
    let _ = validator.ready(PATIENCE).await;
    let explanation = validator.explain(token.trim()).await;
    println!("{explanation}");
    Ok(explanation.refusal().is_none())
}

/// Looks at everything that has to do with the issuer, and says what would keep its tokens from being
/// accepted.
async fn check() -> Result<bool, Box<dyn Error>> {
    // Discovery and fetches, step by step, beside the report.
    let log = tracing_subscriber::fmt().with_env_filter("tower_bearer=debug").with_ansi(false);
    log.with_writer(std::io::stderr).init();
    let validator = Validator::from_env()?.build()?;
    let Some(jwks) = validator.jwks() else { return Ok(true) };
    let mut troubles = Vec::new();
    if let Err(error) = validator.ready(PATIENCE).await {
        let remedy = error.cause().map_or("see above", |cause| cause.remedy());
        troubles.push(format!("{error:?}; {remedy}"));
    }
    let status = jwks.status();
    println!("issuer:  {}", jwks.issuer());
    println!("keys:    {}, {} in the set", status.state, status.keys.len());
    for key in &status.keys {
        let kid = key.kid.as_deref().unwrap_or("no kid");
        let kty = key.kty.as_deref().unwrap_or("unknown");
        match key.ignored {
            None => println!("         {kid:?} {kty}: usable"),
            Some(reason) => println!("         {kid:?} {kty}: ignored, {reason}"),
        }
    }
    match status.clock_offset {
        Some(offset) => {
            let direction = if offset < 0 { "behind" } else { "ahead of" };
            println!("clock:   the issuer's is {} s {direction} this one", offset.unsigned_abs());
            if offset.unsigned_abs() > LEEWAY_SECS {
                troubles
                    .push("the clocks differ by more than the leeway: synchronize them".to_owned());
            }
        }
        None => println!("clock:   unknown: no answer with keys and a date"),
    }
    if validator.health() == Health::NotReady && troubles.is_empty() {
        troubles.push("tokens can't be checked".to_owned());
    }
    match &*troubles {
        [] => println!(
            "keys and clock are fine; whether a token's iss, aud and scopes fit, a token tells: \
             give one in place of --check"
        ),
        troubles => troubles.iter().for_each(|trouble| println!("trouble: {trouble}")),
    }
    Ok(troubles.is_empty())
}
