//! Opaque tokens, and the issuer that is asked about them, without a network.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower_bearer::Validator;
use tower_bearer::client::ClientAuth;
use tower_bearer::introspection::Introspection;
use tower_bearer::transport::{Limits, Transport, TransportFuture};

use crate::scripted::runtime;
use crate::service::builder;
use crate::tokens::{Issuer, Signing};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// What begins so is active.
const GOOD: &str = "good-";

/// How many may ask at a time, or wait for their turn.
const WAVE: usize = 1_000;

/// A good token of this length.
pub fn good(number: usize, length: usize) -> String {
    // As long as any, and as long as the JWT that it is measured beside.
    let text = URL_SAFE_NO_PAD.encode(Issuer::new(Signing::EdDsa).token(number).repeat(2));
    let end = text.len().checked_sub(length - GOOD.len() - 12).unwrap();
    format!("{GOOD}{number:012x}{}", &text[end..])
}

/// A good token as long as the JWT of the benches.
pub fn as_long_as_a_jwt() -> String {
    good(0, Issuer::new(Signing::Rs256).token(0).len())
}

/// Answers as an introspection endpoint, and counts how often.
#[derive(Clone, Default)]
struct Endpoint(Arc<AtomicUsize>);

impl Transport for Endpoint {
    fn send(&self, request: Request<Bytes>, _: Limits) -> TransportFuture {
        self.0.fetch_add(1, Ordering::Relaxed);
        let good = format!("token={GOOD}");
        let is_good = request.body().windows(good.len()).any(|it| it == good.as_bytes());
        let answer = if is_good { active() } else { json!({ "active": false }) };
        let response = Response::builder().header(CONTENT_TYPE, "application/json");
        let response = response.body(answer.to_string().into());
        Box::pin(async move { Ok(response.unwrap()) })
    }
}

fn active() -> Value {
    let mut answer = Issuer::claims(0);
    answer["active"] = true.into();
    answer["token_type"] = "Bearer".into();
    answer
}

/// A validator that asks about opaque tokens, and the runtime to ask in.
pub struct Asking {
    pub validator: Validator,
    runtime: Runtime,
    endpoint: Endpoint,
}

impl Default for Asking {
    fn default() -> Self {
        let endpoint = Endpoint::default();
        let auth = ClientAuth::basic("orders", "secret");
        let asking = Introspection::endpoint("https://login.example.com/introspect", auth)
            .transport(endpoint.clone())
            .ttl(HOUR);
        let validator = builder(Signing::Rs256).introspection(asking).build();
        Self { validator: validator.unwrap(), runtime: runtime(), endpoint }
    }
}

impl Asking {
    /// The validator, which knows this token already.
    pub fn seen(token: &str) -> Validator {
        let asking = Self::default();
        asking.runtime.block_on(asking.validator.validate(token)).unwrap();
        asking.validator
    }

    fn calls(&self) -> usize {
        self.endpoint.0.load(Ordering::Relaxed)
    }

    /// Validates these tokens, and returns how many are good.
    fn ask(&self, tokens: impl Iterator<Item = String>) -> usize {
        self.runtime.block_on(async {
            let asked: Vec<_> = tokens
                .map(|token| {
                    let validator = self.validator.clone();
                    tokio::spawn(async move { validator.validate(&token).await.is_ok() })
                })
                .collect();
            let mut good = 0;
            for asked in asked {
                good += usize::from(asked.await.unwrap());
            }
            good
        })
    }
}

/// What became of good tokens beside a flood of garbage.
#[derive(Clone, Copy, Debug)]
pub struct Flooded {
    /// How much more memory is resident.
    pub bytes: f64,
    /// How many good tokens had to be asked about again.
    pub asked_again: f64,
}

/// Sends so many made-up tokens beside a thousand good ones that are used all along; `None` where the
/// system doesn't say how much memory is resident. For a process of its own: what others gave back to
/// the allocator would be used first.
pub fn flood(garbage: usize) -> Option<Flooded> {
    let asking = Asking::default();
    let good = || (0..WAVE).map(|number| good(number, 64));
    for _ in 0..3 {
        assert_eq!(asking.ask(good()), WAVE);
    }
    let (before, calls) = (resident()?, asking.calls());
    let mut sent = 0;
    while sent < garbage {
        let wave = sent..garbage.min(sent + WAVE);
        sent = wave.end;
        assert_eq!(asking.ask(wave.map(|number| format!("garbage-{number:040x}"))), 0);
        assert_eq!(asking.ask(good()), WAVE);
    }
    let asked_again = (asking.calls() - calls - garbage) as f64;
    Some(Flooded { bytes: resident()? - before, asked_again })
}

/// The resident memory of this process, in bytes.
fn resident() -> Option<f64> {
    const PAGE: f64 = 4_096.0;
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split(' ').nth(1)?.parse::<f64>().ok()? * PAGE)
}
