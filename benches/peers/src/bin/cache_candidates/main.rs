//! Which structure for a cache of verified tokens? Measures candidates in turns and prints
//! Markdown. See the README beside this file.

mod candidates;
mod draft;
mod generations;
mod validator;

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use tower_bearer_peers::{median, spread};

use candidates::{Cache, Claims, Nothing, ShardedLru, ShardedMap};
use draft::{Locked, Swapped};
use generations::Generations;
use validator::table::Table;

const TOKEN: usize = 900;
const HEADER: usize = 120;
const BATCH: usize = 20_000;
const NOW: u64 = 1_000_000;
const GENERATION: u64 = 7;
const THREADS: [u64; 3] = [1, 2, 8];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Writes what differs from token to token: a claim, after a header that is always the same,
    /// and the end of the signature.
    fn sign(&mut self, token: &mut [u8]) {
        let signature = token.len() - 32;
        for at in [HEADER, signature, signature + 8, signature + 16, signature + 24] {
            token[at..at + 8].copy_from_slice(&self.next().to_ne_bytes());
        }
    }
}

/// One batch's result: nanoseconds for an operation, and the share of known tokens found.
#[derive(Clone, Copy)]
struct Sample {
    nanos: f64,
    found: f64,
}

struct Load<'a> {
    tokens: &'a [Box<[u8]>],
    /// How many in a hundred operations ask for a known token.
    hits: usize,
    operations: usize,
    /// What a miss costs before its insertion.
    on_miss: &'a (dyn Fn() + Sync),
}

fn claims() -> Claims {
    Claims::new(NOW + 300, GENERATION)
}

fn batch<C: Cache>(cache: &C, load: &Load<'_>, seed: u64) -> Sample {
    let mut random = Random(seed | 1);
    let mut presented = load.tokens[0].clone();
    let (mut asked, mut found) = (0u32, 0u32);
    let start = Instant::now();
    for _ in 0..load.operations {
        // A request brings its token with it: what it costs to read is no part of the look-up.
        let known = random.below(100) < load.hits;
        if known {
            asked += 1;
            presented.copy_from_slice(&load.tokens[random.below(load.tokens.len())]);
        } else {
            random.sign(&mut presented);
        }
        match cache.get(black_box(&presented)) {
            Some(hit) => {
                let claims = C::claims(&hit);
                assert!(claims.expires_at > NOW && claims.generation == GENERATION);
                found += u32::from(known);
                black_box(&hit);
            }
            None => {
                (load.on_miss)();
                cache.insert(&presented, claims());
            }
        }
    }
    let nanos = start.elapsed().as_nanos() as f64 / load.operations as f64;
    Sample { nanos, found: f64::from(found) / f64::from(asked.max(1)) }
}

trait Candidate: Sync {
    fn fill(&self, tokens: &[Box<[u8]>]);
    fn run(&self, load: &Load<'_>, seed: u64) -> Sample;
}

impl<C: Cache> Candidate for C {
    fn fill(&self, tokens: &[Box<[u8]>]) {
        for token in tokens {
            self.insert(token, claims());
        }
    }

    fn run(&self, load: &Load<'_>, seed: u64) -> Sample {
        batch(self, load, seed)
    }
}

fn run(candidate: &dyn Candidate, load: &Load<'_>, threads: u64, seed: u64) -> Sample {
    if threads == 1 {
        return candidate.run(load, seed);
    }
    let barrier = Barrier::new(threads as usize);
    let samples: Vec<Sample> = thread::scope(|scope| {
        let work = |thread: u64| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                candidate.run(load, seed ^ (thread << 60))
            })
        };
        let handles: Vec<_> = (1..=threads).map(work).collect();
        handles.into_iter().map(|handle| handle.join().expect("a worker")).collect()
    });
    let mean = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / threads as f64;
    Sample { nanos: mean(|sample| sample.nanos), found: mean(|sample| sample.found) }
}

type Named = (&'static str, Box<dyn Candidate>);

/// As many as fit `entries`; maps without a bound of their own get two generations.
fn candidates(entries: usize, generation: usize) -> Vec<Named> {
    fn named(name: &'static str, candidate: impl Candidate + 'static) -> Named {
        (name, Box::new(candidate))
    }
    type Fold = foldhash::fast::RandomState;
    type Sip = std::hash::RandomState;
    vec![
        named("the crate's `Table`", Table::new(entries, usize::MAX)),
        named("draft: 8-way, `ArcSwapOption`", Swapped::<8, 1>::new(entries)),
        named("draft: 16-way, `ArcSwapOption`", Swapped::<16, 1>::new(entries)),
        named("draft: 8-way, two choices, `ArcSwapOption`", Swapped::<8, 2>::new(entries)),
        named("draft: 16-way, `RwLock` a set", Locked::<16>::new(entries)),
        named("quick_cache", candidates::quick(entries)),
        named("moka (sync)", candidates::moka(entries)),
        named("lru, 64 `Mutex` shards", ShardedLru::new(entries)),
        named("scc `HashCache`", candidates::scc(entries)),
        named(
            "64 `RwLock<HashMap>`, foldhash",
            Generations::new(generation, ShardedMap::<Fold>::default),
        ),
        named(
            "64 `RwLock<HashMap>`, std hasher",
            Generations::new(generation, ShardedMap::<Sip>::default),
        ),
        named("dashmap, 64 shards", Generations::new(generation, candidates::dash)),
        named("papaya", Generations::new(generation, candidates::papaya)),
    ]
}

/// Runs every candidate in turns, the order rotated, and gives each one's samples by round.
fn rounds(named: &[Named], load: &Load<'_>, threads: u64, rounds: usize) -> Vec<Vec<Sample>> {
    let mut samples = vec![Vec::with_capacity(rounds); named.len()];
    for round in 0..=rounds {
        for turn in 0..named.len() {
            let index = (turn + round) % named.len();
            let seed = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(round as u64 + 1);
            let sample = run(&*named[index].1, load, threads, seed);
            // The first round only warms up.
            if round > 0 {
                samples[index].push(sample);
            }
        }
    }
    samples
}

fn tokens(count: usize) -> Vec<Box<[u8]>> {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut one = || {
        let mut token = vec![b'a'; TOKEN].into_boxed_slice();
        random.sign(&mut token);
        token
    };
    (0..count).map(|_| one()).collect()
}

/// A row for each candidate: medians of what is over the idle one, and of the ratio to `base` in
/// the same round.
fn print_rows(named: &[Named], columns: &[Vec<Vec<Sample>>], base: usize, idle: Option<usize>) {
    for (index, (name, _)) in named.iter().enumerate() {
        print!("| {name} |");
        for samples in columns {
            let gross = |of: usize| samples[of].iter().map(|sample| sample.nanos);
            let net = |of: usize| -> Vec<f64> {
                match idle {
                    Some(idle) => {
                        gross(of).zip(gross(idle)).map(|(own, idle)| own - idle).collect()
                    }
                    None => gross(of).collect(),
                }
            };
            if idle == Some(index) {
                print!(" ({:.0}) |", median(gross(index)));
                continue;
            }
            let own = net(index);
            let ratio = spread(own.iter().zip(net(base)).map(|(own, base)| own / base));
            let nanos = median(own.into_iter());
            let found = median(samples[index].iter().map(|sample| sample.found));
            print!(" {nanos:.0} ({:.2} ±{:.2})", ratio.median, (ratio.high - ratio.low) / 2.0);
            if found < 0.9995 && found > 0.0 {
                print!(" {:.1} %", found * 100.0);
            }
            print!(" |");
        }
        println!();
    }
}

fn main() {
    let count = if std::env::args().any(|argument| argument == "--quick") { 7 } else { 31 };
    // A word chooses candidates, beside the crate's own.
    let word = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let is_chosen = |named: &Named| {
        named.0.contains("Table") || word.as_ref().is_none_or(|word| named.0.contains(&**word))
    };
    let nothing = || {};
    for (count_of_tokens, entries) in [(1_000, 10_000), (100_000, 128_000)] {
        let tokens = tokens(count_of_tokens);
        let mut named = candidates(entries, entries);
        named.retain(is_chosen);
        named.push(("the loop alone", Box::new(Nothing)));
        let idle = named.len() - 1;
        for (_, candidate) in &named {
            candidate.fill(&tokens);
        }
        let mut columns = Vec::new();
        for hits in [100, 90, 0] {
            for threads in THREADS {
                let load = Load { tokens: &tokens, hits, operations: BATCH, on_miss: &nothing };
                columns.push(rounds(&named, &load, threads, count));
            }
        }
        println!(
            "\n{count_of_tokens} tokens, {entries} entries; columns by the share of known tokens and the"
        );
        println!("number of threads: ns for an operation in a thread, over");
        println!(
            "the loop; in brackets the ratio to the first row and half its quartiles' distance; a"
        );
        println!("percentage is the share of known tokens that were found, where it isn't all.\n");
        print!("| structure |");
        for hits in [100, 90, 0] {
            THREADS.iter().for_each(|threads| print!(" {hits} %, {threads} |"));
        }
        println!("\n|---{}", "|---".repeat(3 * THREADS.len()) + "|");
        print_rows(&named, &columns, 0, Some(idle));
    }
    scan(count, &is_chosen);
}

/// A thousand hot tokens beside a stream of tokens seen once, the cache full; a miss pays for an
/// RS256 check.
fn scan(count: usize, is_chosen: &dyn Fn(&Named) -> bool) {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
    let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref())
        .expect("its own public key");
    let mut signature = vec![0; pair.public_modulus_len()];
    let message = [b'm'; TOKEN - 343];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &message, &mut signature)
        .expect("a signature");
    let verify = || key.verify_sig(&message, &signature).expect("a good signature");

    let tokens = tokens(1_000);
    let mut named = candidates(2_048, 1_024);
    named.retain(is_chosen);
    type Fold = foldhash::fast::RandomState;
    named.push((
        "unbounded: 64 `RwLock<HashMap>`, foldhash",
        Box::new(ShardedMap::<Fold>::default()),
    ));
    let base = named.len() - 1;
    let fill = Load { tokens: &tokens, hits: 90, operations: BATCH * 2, on_miss: &|| {} };
    for (_, candidate) in &named {
        candidate.fill(&tokens);
        candidate.run(&fill, 3);
    }
    let load = Load { tokens: &tokens, hits: 90, operations: BATCH / 5, on_miss: &verify };
    let samples = rounds(&named, &load, 1, count);
    println!("\n1000 hot tokens, 10 % one-off ones, 2048 entries, full, RS256 on a miss.\n");
    println!("| structure | ns a request (ratio to unbounded), hot tokens found |");
    println!("|---|---|");
    print_rows(&named, &[samples], base, None);
}
