//! The same requests through the same router with every contender in turns, in one process and
//! one thread. Prints Markdown.

mod allocations;

use std::time::Instant;

use http::StatusCode;
use tower_bearer_peers::contenders::{self, Contender, Role};
use tower_bearer_peers::issuer::{Algorithm, Issuer};
use tower_bearer_peers::{Spread, median, spread};

/// One and the same signature would teach the processor's branch predictor.
const TOKENS: usize = 64;
const QUICK_BATCH: usize = 1_500;
const SLOW_BATCH: usize = 60;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let rounds = if arguments.iter().any(|argument| argument == "--quick") { 31 } else { 301 };
    let tokens = arguments.iter().position(|argument| argument == "--tokens");
    let tokens = tokens.map_or(TOKENS, |at| arguments[at + 1].parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    for issuer in Issuer::start_all() {
        runtime.block_on(run(&issuer, tokens, rounds));
    }
}

async fn run(issuer: &Issuer, tokens: usize, rounds: usize) {
    let mut contenders = contenders::all(issuer, tokens).await;
    let (name, length) = (issuer.algorithm.name(), issuer.token().len());
    println!("\n## {name}, {tokens} tokens of {length} bytes in turn\n");
    let broken = statuses(issuer, &mut contenders).await;
    let refusing: Vec<&str> = broken.iter().map(|index| contenders[*index].name).collect();
    if !refusing.is_empty() {
        println!("\nNot measured, since they don't take the valid token: {}.", refusing.join(", "));
    }
    for index in broken.into_iter().rev() {
        contenders.remove(index);
    }
    let measured = measure(&mut contenders, rounds).await;
    print(&contenders, &measured);
    print_goals(issuer.algorithm, &contenders, &measured);
}

/// What everyone answers to what. Gives those that don't take the valid token; ends the process if
/// one takes a forged, an expired or somebody else's.
async fn statuses(issuer: &Issuer, contenders: &mut [Contender]) -> Vec<usize> {
    let valid = issuer.token();
    let bad = issuer.bad_tokens();
    let columns: Vec<&str> = bad.iter().map(|(name, _)| *name).collect();
    println!("| answers | valid | none | {} |", columns.join(" | "));
    println!("|---|---|---|{}", "---|".repeat(columns.len()));
    let mut broken = Vec::new();
    for (index, contender) in contenders.iter_mut().enumerate() {
        if !contender.role.checks_tokens() {
            continue;
        }
        let subject = &mut contender.subject;
        let accepted = subject.status(Some(&valid)).await.expect("an answer");
        let none = subject.status(None).await.expect("an answer");
        print!("| {} | {} | {} |", contender.name, accepted.as_u16(), none.as_u16());
        for (column, token) in &bad {
            let status = subject.status(Some(token)).await.expect("an answer");
            print!(" {} |", status.as_u16());
            let must = ["forged", "expired", "other audience"].contains(column);
            assert!(!must || status != StatusCode::OK, "{}: {column}", contender.name);
        }
        println!();
        assert_ne!(none, StatusCode::OK);
        if accepted != StatusCode::OK {
            broken.push(index);
        }
    }
    broken
}

/// One contender's rounds.
#[derive(Default)]
struct Measured {
    nanos: Vec<f64>,
    allocations: Vec<f64>,
}

async fn measure(contenders: &mut [Contender], rounds: usize) -> Vec<Measured> {
    let count = contenders.len();
    let mut measured: Vec<Measured> = (0..count).map(|_| Measured::default()).collect();
    for round in 0..=rounds {
        for turn in 0..count {
            let index = (turn + round) % count;
            let contender = &mut contenders[index];
            let batch = if contender.role.is_quick() { QUICK_BATCH } else { SLOW_BATCH };
            let allocations = allocations::count();
            let start = Instant::now();
            contender.subject.batch(batch).await;
            let nanos = start.elapsed().as_nanos() as f64 / batch as f64;
            let allocations = (allocations::count() - allocations) as f64 / batch as f64;
            // The first round only warms up.
            if round > 0 {
                measured[index].nanos.push(nanos);
                measured[index].allocations.push(allocations);
            }
        }
        // Whatever the contenders do in the background.
        tokio::task::yield_now().await;
    }
    measured
}

fn find(contenders: &[Contender], role: Role) -> usize {
    contenders.iter().position(|contender| contender.role == role).expect("it is in the list")
}

/// What a contender takes over the bare router, by round; the signature alone is taken as it is.
fn overhead(contenders: &[Contender], measured: &[Measured], index: usize) -> Vec<f64> {
    let own = measured[index].nanos.iter();
    if contenders[index].role == Role::Raw {
        return own.copied().collect();
    }
    let bare = &measured[find(contenders, Role::Bare)].nanos;
    own.zip(bare).map(|(own, bare)| own - bare).collect()
}

fn ratio(own: &[f64], base: &[f64]) -> Spread {
    spread(own.iter().zip(base).map(|(own, base)| own / base))
}

fn print(contenders: &[Contender], measured: &[Measured]) {
    let overhead = |index| overhead(contenders, measured, index);
    let [raw, seen, new] =
        [Role::Raw, Role::Seen, Role::New].map(|role| overhead(find(contenders, role)));
    let bare = &measured[find(contenders, Role::Bare)];
    println!(
        "\n| over the bare router ({:.2} µs, {:.0} allocations) | µs | quartiles | × the signature \
         | × tower-bearer, new | × tower-bearer, seen | allocations |",
        median(bare.nanos.iter().copied()) / 1e3,
        median(bare.allocations.iter().copied()),
    );
    println!("|---|---|---|---|---|---|---|");
    for (index, contender) in contenders.iter().enumerate() {
        if contender.role == Role::Bare {
            continue;
        }
        let own = overhead(index);
        let Spread { low, median: middle, high } = spread(own.iter().copied());
        let own_allocations = measured[index].allocations.iter();
        let bare_allocations =
            if contender.role == Role::Raw { &vec![0.0; own.len()] } else { &bare.allocations };
        let allocations = own_allocations.zip(bare_allocations).map(|(own, bare)| own - bare);
        println!(
            "| {} | {:.2} | {:.2} to {:.2} | {:.3} | {:.2} | {:.1} | {:.0} |",
            contender.name,
            middle / 1e3,
            low / 1e3,
            high / 1e3,
            ratio(&own, &raw).median,
            ratio(&own, &new).median,
            ratio(&own, &seen).median,
            median(allocations),
        );
    }
}

/// The ratios that the project holds itself to.
fn print_goals(algorithm: Algorithm, contenders: &[Contender], measured: &[Measured]) {
    let overhead = |role| overhead(contenders, measured, find(contenders, role));
    let median_of = |index: usize| median(measured[index].nanos.iter().copied());
    let peers = (0..contenders.len()).filter(|index| contenders[*index].role == Role::Peer);
    let fastest = peers.min_by(|a, b| median_of(*a).total_cmp(&median_of(*b))).expect("a peer");
    let name = contenders[fastest].name;
    let fastest = self::overhead(contenders, measured, fastest);
    let (beyond, ahead) = match algorithm {
        Algorithm::Rs256 => ("1.06", "1.3"),
        Algorithm::Es256 => ("1.04", "1.06"),
        Algorithm::EdDsa => ("1.04", "1.08"),
    };
    println!("\n| {} | goal | measured |", algorithm.name());
    println!("|---|---|---|");
    let line = |what: &str, goal: &str, Spread { low, median, high }: Spread| {
        println!("| {what} | {goal} | {median:.3} ({low:.3} to {high:.3}) |");
    };
    let seen = overhead(Role::Seen);
    let new = overhead(Role::New);
    line("seen, `.layer` / control", "≤ 1.4", ratio(&seen, &overhead(Role::Control)));
    line(
        "seen, around / control, `.layer`",
        "≤ 1",
        ratio(&overhead(Role::SeenAround), &overhead(Role::Control)),
    );
    line(
        "seen, around / control, around",
        "",
        ratio(&overhead(Role::SeenAround), &overhead(Role::ControlAround)),
    );
    line(
        "new, around / the signature",
        &format!("≤ {beyond}"),
        ratio(&overhead(Role::NewAround), &overhead(Role::Raw)),
    );
    line(
        "new, `.layer` / the signature",
        &format!("≤ {beyond}"),
        ratio(&new, &overhead(Role::Raw)),
    );
    line(&format!("{name} / new"), &format!("≥ {ahead}"), ratio(&fastest, &new));
    line(&format!("{name} / seen"), "", ratio(&fastest, &seen));
}
