//! Tokens that are bound to a key, with a new proof for each request, through the same router with
//! every contender in turns, in one process and one thread. Prints Markdown.

#[path = "in_process/allocations.rs"]
mod allocations;

use http::StatusCode;
use rustix::time::{ClockId, clock_gettime};
use tower_bearer_peers::dpop::client::Client;
use tower_bearer_peers::dpop::contenders::{self, Contender, Role};
use tower_bearer_peers::issuer::{Algorithm, Issuer};
use tower_bearer_peers::{Spread, median, spread};

/// Each has a token and a key, and sends one request in a turn.
const CLIENTS: usize = 64;

fn main() {
    let asked = |word| std::env::args().any(|argument| argument == word);
    let rounds = if asked("--quick") { 31 } else { 301 };
    if asked("--rust-crypto") {
        // What authkestra takes by itself. The first one to be installed stays.
        let provider = &jsonwebtoken_11::crypto::rust_crypto::DEFAULT_PROVIDER;
        provider.install_default().expect("the first one");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    for issuer in Issuer::start_all() {
        if issuer.algorithm != Algorithm::EdDsa {
            runtime.block_on(run(&issuer, rounds));
        }
    }
}

async fn run(issuer: &Issuer, rounds: usize) {
    let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::new(issuer)).collect();
    let mut contenders = contenders::all(issuer, &clients).await;
    let (token, proof) = (clients[0].token().len(), clients[0].proof().len());
    println!(
        "\n## {} tokens of {token} bytes, ES256 proofs of {proof}, {CLIENTS} clients in turn\n",
        issuer.algorithm.name()
    );
    let broken = statuses(&clients, &mut contenders).await;
    let refusing: Vec<&str> = broken.iter().map(|index| contenders[*index].name).collect();
    if !refusing.is_empty() {
        println!("\nNot measured, since they don't take the good proof: {}.", refusing.join(", "));
    }
    for index in broken.into_iter().rev() {
        contenders.remove(index);
    }
    let measured = measure(&clients, &mut contenders, rounds).await;
    print(&contenders, &measured);
}

/// What everyone answers to what. Gives those that don't take a good proof; ends the process if one
/// takes a bad one, which the others have to refuse as well.
async fn statuses(clients: &[Client], contenders: &mut [Contender]) -> Vec<usize> {
    let [client, stranger, ..] = clients else { panic!("two clients") };
    let columns: Vec<&str> = client.bad(stranger).into_iter().map(|(name, _)| name).collect();
    println!("| answers | good | again | {} |", columns.join(" | "));
    println!("|---|---|---|{}", "---|".repeat(columns.len()));
    let mut broken = Vec::new();
    for (index, contender) in contenders.iter_mut().enumerate() {
        let (role, name) = (contender.role, contender.name);
        if !role.checks_proofs() {
            continue;
        }
        let good = client.shown();
        let accepted = contender.subject.status(good.clone()).await.expect("an answer");
        let again = contender.subject.status(good).await.expect("an answer");
        print!("| {name} | {} | {} |", accepted.as_u16(), again.as_u16());
        assert!(again != StatusCode::OK || role == Role::Forgetful, "{name}: again");
        for (column, shown) in client.bad(stranger) {
            let status = contender.subject.status(shown).await.expect("an answer");
            print!(" {} |", status.as_u16());
            assert_ne!(status, StatusCode::OK, "{name}: {column}");
        }
        println!();
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

/// For how many nanoseconds this thread was on a processor. The clock on the wall would count what
/// others do meanwhile on a busy machine, and more of it the longer a turn is.
fn on_processor() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

async fn measure(clients: &[Client], contenders: &mut [Contender], rounds: usize) -> Vec<Measured> {
    let count = contenders.len();
    let mut measured: Vec<Measured> = (0..count).map(|_| Measured::default()).collect();
    for round in 0..=rounds {
        for turn in 0..count {
            let index = (turn + round) % count;
            let subject = &mut contenders[index].subject;
            subject.prepare(clients);
            let (allocations, start) = (allocations::count(), on_processor());
            subject.batch().await;
            let nanos = (on_processor() - start) as f64 / CLIENTS as f64;
            let allocations = (allocations::count() - allocations) as f64 / CLIENTS as f64;
            // In the first round, no token was seen before.
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

fn print(contenders: &[Contender], measured: &[Measured]) {
    let bare = &measured[find(contenders, Role::Bare)];
    // What a contender takes over the bare router, by round; signatures alone are taken as they are.
    let overhead = |index: usize| -> Vec<f64> {
        let own = &measured[index].nanos;
        if contenders[index].role.is_raw() {
            return own.clone();
        }
        own.iter().zip(&bare.nanos).map(|(own, bare)| own - bare).collect()
    };
    let [proof, both, seen] =
        [Role::Proof, Role::Both, Role::Seen].map(|role| overhead(find(contenders, role)));
    let ratio = |own: &[f64], base: &[f64]| {
        let ratios = own.iter().zip(base).map(|(own, base)| own / base);
        let Spread { low, median, high } = spread(ratios);
        format!("{median:.2} ({low:.2} to {high:.2})")
    };
    println!(
        "\n| over the bare router ({:.2} µs, {:.0} allocations) | µs | quartiles | × the proof's \
         signature | × both signatures | × tower-bearer, seen, `.layer` | allocations |",
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
        let mut allocations = median(measured[index].allocations.iter().copied());
        if !contender.role.is_raw() {
            allocations -= median(bare.allocations.iter().copied());
        }
        println!(
            "| {} | {:.1} | {:.1} to {:.1} | {} | {} | {} | {allocations:.0} |",
            contender.name,
            middle / 1e3,
            low / 1e3,
            high / 1e3,
            ratio(&own, &proof),
            ratio(&own, &both),
            ratio(&own, &seen),
        );
    }
}
