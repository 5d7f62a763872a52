//! Rotations within floods of made-up `kid`s, at random.
//!
//! A few hundred rotations by default; `FLOOD_ROUNDS=20 cargo nextest run --all-features --test
//! lifecycle flood --no-capture` runs more, and prints the longest time for which a valid token was
//! answered 503.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;
use tower_bearer::jwks::Jwks;
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::transport::TransportErrorKind;
use tower_bearer::{Refusal, Validator};

use crate::support::{AUDIENCE, ISSUER, Issuer, URL, key, now, pass, secs, set};

/// How the issuer behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    /// Answers within this time.
    Within(f64),
    /// Answers after this time.
    After(f64),
    /// For some of the time it doesn't answer.
    Silent,
    /// For some of the time it can't be reached.
    Failing,
    /// For some of the time it asks for rest.
    Limiting,
}

impl Manner {
    /// Returns `true` if no token of a new key may be turned away when a flood begins.
    fn is_prompt(self) -> bool {
        matches!(self, Self::Within(most) if most <= 0.5)
    }

    fn has_outages(self) -> bool {
        matches!(self, Self::Silent | Self::Failing | Self::Limiting)
    }
}

/// Numbers that look random, and are the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * (self.next() % 1_000_000) as f64 / 1e6
    }
}

struct World {
    issuer: Issuer,
    validator: Validator,
    _jwks: Jwks,
    site: Arc<Mutex<Site>>,
    key: TestKey,
    generation: u32,
    begun: Instant,
}

/// What the issuer does now.
struct Site {
    set: String,
    manner: Manner,
    /// When it is out of order, and until when it asked to be left alone.
    down: bool,
    rest_until: Instant,
    random: Random,
    /// When it was asked, past all caches.
    asked: Vec<Instant>,
    all: usize,
}

impl Site {
    fn answer(&mut self, no_cache: bool) -> ScriptedAnswer {
        self.all += 1;
        if no_cache {
            self.asked.push(now());
        }
        let answer = ScriptedAnswer::json(self.set.clone());
        match self.manner {
            Manner::Silent if self.down => ScriptedAnswer::never(),
            Manner::Failing if self.down => ScriptedAnswer::error(TransportErrorKind::Connect),
            Manner::Limiting if self.down => {
                let rest = 1 + self.random.next() % 20;
                self.rest_until = now() + secs(rest);
                ScriptedAnswer::status(StatusCode::TOO_MANY_REQUESTS)
                    .header("retry-after", &rest.to_string())
            }
            Manner::Within(most) => {
                answer.delay(Duration::from_secs_f64(self.random.between(0.0, most)))
            }
            Manner::After(delay) => answer.delay(Duration::from_secs_f64(delay)),
            Manner::Silent | Manner::Failing | Manner::Limiting => answer,
        }
    }
}

impl World {
    async fn new(manner: Manner, cooldown: u64, seed: u64) -> Self {
        let first = key("0");
        let issuer = Issuer::with(&[&first]);
        let site = Arc::new(Mutex::new(Site {
            set: set(&[&first]).to_string(),
            manner,
            down: false,
            rest_until: now(),
            random: Random(seed | 1),
            asked: Vec::new(),
            all: 0,
        }));
        let transport = ScriptedTransport::from_fn({
            let site = Arc::clone(&site);
            move |request| {
                site.lock().unwrap().answer(request.headers().contains_key("cache-control"))
            }
        });
        let jwks = Jwks::url(ISSUER, URL)
            .transport(transport)
            .clock(issuer.clock.clone())
            .ttl(secs(86_400))
            .cooldown(secs(cooldown))
            .build()
            .unwrap();
        let validator = Validator::builder(ISSUER, AUDIENCE)
            .keys(jwks.clone())
            .clock(issuer.clock.clone())
            .build()
            .unwrap();
        jwks.ready(secs(10)).await.unwrap();
        Self { issuer, validator, _jwks: jwks, site, key: first, generation: 0, begun: now() }
    }

    fn kid(&self, ahead: u32) -> String {
        (self.generation + ahead).to_string()
    }

    /// Starts a flood, which ends with what is returned.
    fn flood(&self, rate: f64, seed: u64) -> tokio::task::JoinHandle<()> {
        let validator = self.validator.clone();
        let token = self.issuer.token(&self.key);
        let mut random = Random(seed | 1);
        tokio::spawn(async move {
            let begun = now();
            for n in 0_u64.. {
                let kid = format!("made-up-{:016x}", random.next());
                let token = forged(&kid, &token);
                if rate > 100.0 {
                    // Such a caller doesn't wait for the answer.
                    let _ = tokio_test::task::spawn(validator.validate(&token)).poll();
                } else {
                    let validator = validator.clone();
                    tokio::spawn(async move {
                        assert!(validator.validate(&token).await.is_err());
                    });
                }
                let next = begun + Duration::from_secs_f64((n + 1) as f64 / rate);
                tokio::time::sleep_until(next).await;
            }
        })
    }

    /// Sends a forged token with the `kid` of the key that comes next.
    fn predict(&self) {
        let forged = self.issuer.token(&self.key.clone().with_kid(&self.kid(1)));
        let validator = self.validator.clone();
        tokio::spawn(async move { validator.validate(&forged).await });
    }

    fn rotate(&mut self) {
        self.generation += 1;
        self.key = key(&self.kid(0));
        self.site.lock().unwrap().set = set(&[&self.key]).to_string();
    }

    fn set_down(&self, down: bool) {
        self.site.lock().unwrap().down = down;
    }

    /// Presents valid tokens of the newest key until it is known, and returns when each was
    /// answered 503, and when it was presented.
    async fn clients(&self, every: f64, fresh: bool) -> Vec<(Instant, Instant)> {
        let refused = Arc::new(Mutex::new(Vec::new()));
        let known = Arc::new(Mutex::new(false));
        let token = self.issuer.token(&self.key);
        let begun = now();
        let mut tasks = Vec::new();
        while !*known.lock().unwrap() {
            assert!(begun.elapsed() < secs(120), "never known");
            let (refused, known) = (Arc::clone(&refused), Arc::clone(&known));
            let validator = self.validator.clone();
            let token = if fresh { self.issuer.token(&self.key) } else { token.clone() };
            tasks.push(tokio::spawn(async move {
                let presented = now();
                match validator.validate(&token).await {
                    Ok(_) => *known.lock().unwrap() = true,
                    Err(Refusal::Unavailable(unavailable)) => {
                        assert_ne!(unavailable.reason(), UnavailableReason::KeysExpired);
                        assert!(unavailable.retry_after() >= secs(1));
                        refused.lock().unwrap().push((presented, now()));
                    }
                    Err(other) => panic!("a valid token of a published key: {other:?}"),
                }
            }));
            pass(every).await;
        }
        for task in tasks {
            task.await.unwrap();
        }
        std::mem::take(&mut *refused.lock().unwrap())
    }

    /// Checks how often the issuer was asked.
    fn check_budget(&self, what: &str) {
        let asked = self.site.lock().unwrap().asked.clone();
        let at: Vec<f64> = asked.iter().map(|at| (*at - self.begun).as_secs_f64()).collect();
        for begin in &at {
            let count = at.iter().filter(|at| (*begin..=begin + 30.0).contains(*at)).count();
            assert!(count <= 10, "{what}: {count} from {begin}: {at:?}");
            assert!(count <= 4 || *begin < 60.0, "{what}: {count} from {begin}: {at:?}");
        }
    }
}

/// Returns a token with this `kid`, and what follows the header from another token: a signature
/// isn't looked at before there is a key.
pub(crate) fn forged(kid: &str, other: &str) -> String {
    let (_, rest) = other.split_once('.').unwrap();
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let header = format!("{{\"alg\":\"EdDSA\",\"typ\":\"at+jwt\",\"kid\":\"{kid}\"}}");
    let mut token = String::with_capacity(512);
    for chunk in header.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            token.push(char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    token + "." + rest
}

fn rounds() -> u64 {
    std::env::var("FLOOD_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap())
}

/// Runs the rotations of one scenario, and returns how many there were and the longest time for
/// which valid tokens were answered 503.
fn run(manner: Manner, rate: f64, cooldown: u64, from_before: bool, seed: u64) -> (u32, f64) {
    let what = format!("{manner:?}, {rate} a second, from before: {from_before}, {seed}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut worst = 0.0_f64;
        let mut rotations = 0;
        let many = if rate > 100.0 { 2 } else { 5 };
        let mut world = World::new(manner, cooldown, random.next()).await;
        world.begun = now();
        let mut flood = from_before.then(|| (world.flood(rate, random.next()), now()));
        for _ in 0..many {
            let pause = if random.next().is_multiple_of(3) { 10.0 } else { 50.0 };
            pass(random.between(0.0, pause)).await;
            // The next key's name is foreseen, long before or just before it is there.
            for _ in 0..random.next() % 3 {
                world.predict();
                pass(random.between(0.0, 1.5)).await;
            }
            if manner.has_outages() {
                world.set_down(true);
                pass(random.between(0.0, 40.0)).await;
            }
            if !from_before {
                // A new service for a new flood.
                world = World::new(manner, cooldown, random.next()).await;
                flood = Some((world.flood(rate, random.next()), now()));
            }
            world.rotate();
            rotations += 1;
            let rotated = now();
            let flood_began = flood.as_ref().map(|(_, began)| *began).unwrap();
            let outage = manner.has_outages() && from_before;
            let down_for = if outage { random.between(0.0, 20.0) } else { 0.0 };
            let healing = async {
                pass(down_for).await;
                world.set_down(false);
            };
            let every = random.between(0.05, 1.0);
            let fresh = random.next().is_multiple_of(2);
            let (refused, ()) = tokio::join!(world.clients(every, fresh), healing);
            // The key couldn't be found before.
            let rest_until = world.site.lock().unwrap().rest_until;
            let knowable = (rotated + Duration::from_secs_f64(down_for)).max(rest_until);
            for (presented, answered) in refused {
                let hidden = answered.saturating_duration_since(knowable).as_secs_f64();
                assert!(hidden <= 10.0, "{what}: {hidden}");
                worst = worst.max(hidden);
                let early = presented < flood_began + secs(10);
                assert!(!manner.is_prompt() || !early, "{what}: {:?}", presented - flood_began);
            }
            if !from_before {
                flood.take().unwrap().0.abort();
                pass(61.0).await;
                world.check_budget(&what);
            }
        }
        world.check_budget(&what);
        (rotations, worst)
    })
}

const MANNERS: &[Manner] = &[
    Manner::Within(0.0),
    Manner::Within(0.5),
    Manner::After(0.5),
    Manner::After(1.5),
    Manner::After(2.3),
    Manner::Silent,
    Manner::Failing,
    Manner::Limiting,
];

fn search(manners: &[Manner], rates: &[f64], cooldown: u64) -> u32 {
    let mut rotations = 0;
    for manner in manners {
        for rate in rates {
            for from_before in [true, false] {
                let runs =
                    (1..=rounds()).map(|seed| run(*manner, *rate, cooldown, from_before, seed));
                let (many, worst) = runs.fold((0, 0.0_f64), |(many, worst), (more, longest)| {
                    (many + more, worst.max(longest))
                });
                rotations += many;
                println!(
                    "{manner:?}, {rate} a second, from before: {from_before}: \
                     {many} rotations, 503 for {worst:.1} s at worst"
                );
            }
        }
    }
    rotations
}

#[test]
fn fa5_a_rotation_within_a_flood_is_hidden_for_ten_seconds_at_most() {
    assert!(search(MANNERS, &[0.07, 1.0, 20.0], 30) >= 240);
}

#[test]
fn fa5_a_rotation_within_a_flood_of_a_thousand_a_second() {
    let manners = if rounds() > 1 { MANNERS } else { &[Manner::Within(0.5), Manner::Silent] };
    assert!(search(manners, &[1_000.0], 30) >= 8);
}

// A short cooldown makes no new flood of each of its tokens, and a long one forgets none.
#[test]
fn fa5_a_flood_has_its_budget_whatever_the_cooldown() {
    for cooldown in [1, 3_600] {
        assert!(search(&[Manner::Within(0.5), Manner::Silent], &[0.07, 0.9], cooldown) >= 40);
    }
}
