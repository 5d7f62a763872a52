//! Counts what one request takes, and holds it against `limits.toml`. Counts, unlike times, don't
//! depend on what else the machine does.

use std::process::ExitCode;

use support::alloc::Counting;
use support::callgrind;
use support::counts::{Counts, allocations, instructions};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMITS: &str = include_str!("limits.toml");

fn main() -> ExitCode {
    callgrind::run_if_counted();
    let mut counts = allocations();
    if std::env::args().any(|argument| argument == "--test") {
        println!("instructions: not counted in a test");
    } else if !callgrind::is_there() {
        println!("instructions: not counted, there is no valgrind");
    } else if !callgrind::is_comparable() {
        println!("instructions: not counted, the limits are those of x86-64 with AVX2");
    } else {
        counts.extend(instructions());
    }
    if report(&counts) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(counts: &Counts) -> bool {
    println!("{:<32}{:>10}{:>10}", "beyond the bare router", "counted", "limit");
    let mut kept = true;
    for (name, count) in counts {
        let limit = limits().find(|(limited, _)| limited == name);
        let exceeded = limit.is_some_and(|(_, limit)| *count > limit);
        kept &= !exceeded;
        let limit = limit.map(|(_, limit)| limit.to_string()).unwrap_or_default();
        println!("{name:<32}{count:>10.0}{limit:>10}{}", if exceeded { "  exceeded" } else { "" });
    }
    kept
}

/// Lines of the form `name = number`; the rest of a line from a `#` on is a comment.
fn limits() -> impl Iterator<Item = (&'static str, f64)> {
    let lines = LIMITS.lines().map(|line| line.split('#').next().unwrap().trim());
    lines.filter(|line| !line.is_empty()).map(|line| {
        let (name, limit) = line.split_once('=').unwrap();
        (name.trim(), limit.trim().parse().unwrap())
    })
}
