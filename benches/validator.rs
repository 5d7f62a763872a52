//! `Validator::validate` alone, beside the bare check of a signature.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use support::case::Refused;
use support::scripted::{Swap, Swapper};
use support::service::{builder, forgetful_validator, now, validator};
use support::tokens::{AUDIENCE, ISSUER, Issuer, Signing, looked_up, numbered_key_set};
use tower_bearer::Validator;
use tower_bearer::jwks::Jwks;

fn accept(validator: &Validator, token: &str) {
    assert!(now(validator.validate(black_box(token))).is_ok());
}

fn refuse(validator: &Validator, token: &str) {
    assert!(now(validator.validate(black_box(token))).is_err());
}

fn accepted(criterion: &mut Criterion) {
    let token = Issuer::new(Signing::Rs256).token(0);
    let known = validator(Signing::Rs256);
    criterion.bench_function("validator/seen", |bencher| bencher.iter(|| accept(&known, &token)));

    for signing in Signing::ALL {
        let issuer = Issuer::new(signing);
        let token = issuer.token(0);
        let (new, floor) = (forgetful_validator(signing), issuer.floor(&token));
        let mut group = criterion.benchmark_group(format!("validator/{}", signing.name()));
        group.bench_function("signature", |bencher| bencher.iter(|| assert!(floor.check())));
        group.bench_function("new", |bencher| bencher.iter(|| accept(&new, &token)));
        group.finish();
    }
}

fn refused(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("validator/refused");
    for refused in Refused::ALL {
        // The others aren't refused by the validator.
        if matches!(refused, Refused::NoToken | Refused::Scope) {
            continue;
        }
        let (validator, token) = (refused.validator(), refused.token().unwrap());
        group.bench_function(refused.name(), |bencher| bencher.iter(|| refuse(&validator, &token)));
    }
    group.finish();
}

/// What a token costs that is refused right after its key was looked up, or right before.
fn key_lookup(criterion: &mut Criterion) {
    const TOKENS: usize = 1_000;
    let mut group = criterion.benchmark_group("validator/key lookup");
    for (keys, bound) in [(1, true), (1, false), (10, false), (1_000, false)] {
        let jwks = Jwks::static_set(ISSUER, &numbered_key_set(keys).to_string()).unwrap();
        let validator = Validator::builder(ISSUER, AUDIENCE).keys(jwks).build().unwrap();
        let tokens: Vec<_> =
            (0..TOKENS).map(|number| looked_up(number, number * 389 % keys, bound)).collect();
        let mut all = tokens.iter().cycle();
        let name = if bound { "without".to_owned() } else { format!("{keys} keys") };
        group.bench_function(name, |bencher| {
            bencher.iter(|| refuse(&validator, all.next().unwrap()));
        });
    }
    group.finish();
}

/// Hot tokens, of which the cache can hold twice as many, and one in ten that comes once.
fn stream(criterion: &mut Criterion) {
    const HOT: usize = 1_000;
    let issuer = Issuer::new(Signing::EdDsa);
    let hot: Vec<_> = (0..HOT).map(|number| issuer.token(number)).collect();
    let mut group = criterion.benchmark_group("validator/hot tokens beside a stream, ten requests");
    for (name, entries) in [("bounded", 2 * HOT), ("unbounded", 500_000)] {
        let cache = builder(Signing::EdDsa).cache_entries(entries).cache_bytes(1 << 30);
        let validator = cache.build().unwrap();
        hot.iter().chain(&hot).for_each(|token| accept(&validator, token));
        let (mut once, mut next) = (HOT, hot.iter().cycle());
        let mut mint = || {
            once += 1;
            issuer.token(once)
        };
        for _ in 0..2 * HOT {
            accept(&validator, &mint());
        }
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                &mut mint,
                |once| {
                    next.by_ref().take(9).for_each(|token| accept(&validator, token));
                    accept(&validator, &once);
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Requests of one thread and of two at once, each on the same tokens.
fn threads(criterion: &mut Criterion) {
    let issuer = Issuer::new(Signing::EdDsa);
    let mut group = criterion.benchmark_group("validator/threads");
    for tokens in [1, 1_000] {
        let tokens: Vec<_> = (0..tokens).map(|number| issuer.token(number)).collect();
        let validator = validator(Signing::EdDsa);
        tokens.iter().for_each(|token| accept(&validator, token));
        for threads in [1, 2] {
            group.throughput(Throughput::Elements(threads));
            group.bench_function(format!("{threads} on {} tokens", tokens.len()), |bencher| {
                bencher.iter_custom(|times| on_threads(threads, times, &validator, &tokens));
            });
        }
    }
    group.finish();
}

fn on_threads(threads: u64, times: u64, validator: &Validator, tokens: &[String]) -> Duration {
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let times = usize::try_from(times).unwrap();
                tokens.iter().cycle().take(times).for_each(|token| accept(validator, token));
            });
        }
    });
    start.elapsed()
}

/// Readers while the key set is fetched and swapped every ten milliseconds.
fn swaps(criterion: &mut Criterion) {
    let token = Issuer::new(Signing::Rs256).token(0);
    let swapper = Swapper::start();
    let known = Validator::builder(ISSUER, AUDIENCE).keys(swapper.jwks.clone()).build().unwrap();
    let mut group = criterion.benchmark_group("validator/swaps");
    for (name, swap) in
        [("none", Swap::Nothing), ("the same keys", Swap::Same), ("other keys", Swap::Other)]
    {
        swapper.order(swap);
        group.bench_function(name, |bencher| bencher.iter(|| accept(&known, &token)));
    }
    group.finish();
}

criterion_group!(benches, accepted, refused, key_lookup, stream, threads, swaps);
