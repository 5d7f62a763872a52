//! P11: the record of used proofs.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use support::alloc::counted;
use support::replay::{A_SECOND, REMEMBERED, Record, Stream, key};
use support::turns::{Contender, median, turns};

use crate::{Effort, Table};

const MIB: usize = 1 << 20;

pub fn all(table: &mut Table, effort: &Effort) {
    time(table, effort);
    room(table, effort);
    threads(table, effort);
    end(table, effort);
}

/// With as many entries as 70 seconds have.
fn time(table: &mut Table, effort: &Effort) {
    let record = Record::new(None);
    let mut stream = Stream { number: 0, step: 1 };
    let live = if effort.test { 10 } else { REMEMBERED * A_SECOND };
    (0..live).for_each(|_| stream.record(&record));
    let mut idle = Stream { number: 0, step: 1 };
    let none = Contender::calls(move || {
        let (number, second) = idle.advance();
        black_box((key(number), second));
    });
    let recording = Contender::calls(|| stream.record(&record));
    let time = turns(effort.rounds, [none, recording]).median(|[none, record]| record - none);
    table.row("P11", "the replay record, with 700 000 entries: time", time, 300.0, "ns");
}

/// How many fit before one is refused.
fn room(table: &mut Table, effort: &Effort) {
    let ((_record, fits), asked) = counted(|| {
        let record = Record::new(effort.test.then_some(MIB));
        let fits = (0..).take_while(|number| record.record(*number, 0)).count();
        (record, fits)
    });
    let what = format!("the replay record: bytes for each of the {fits} that fit");
    table.row("P11", &what, asked.bytes as f64 / fits as f64, 64.0, "");
}

/// Two threads with one record, or with one of half the size each. How much of it comes from the size alone shows
/// with one thread, and how much from what both write to with two of the whole size.
fn threads(table: &mut Table, effort: &Effort) {
    let rounds = effort.rounds.div_ceil(20);
    let [half, whole] = [8 * MIB, 16 * MIB].map(|bytes| move || used(bytes, effort));
    let lost = (0..rounds).map(|_| {
        let one = throughput(&[&half()], effort) / throughput(&[&whole()], effort);
        let (halves, wholes, shared) = ([half(), half()], [whole(), whole()], whole());
        let apart = [halves, wholes].map(|[a, b]| throughput(&[&a, &b], effort));
        let together = throughput(&[&shared, &shared], effort);
        [apart[0] / together, one, apart[1] / together]
    });
    let lost: Vec<_> = lost.collect();
    let [halves, one, wholes] =
        [0, 1, 2].map(|at| median(lost.iter().map(|lost| lost[at]).collect()));
    let what = "the replay record, two threads: time, of that with a half each";
    table.row("P11", what, halves, 1.05, "x");
    table.floor("one thread with the whole record: time, of that with a half", one, "x");
    table.floor("two threads: time, of that with a whole one each", wholes, "x");
}

/// A record that has had entries everywhere: where there were none, the system gives memory first, and
/// allocators do so in one way for one size and in another for another.
fn used(bytes: usize, effort: &Effort) -> Record {
    let record = Record::new(Some(bytes));
    let entries = if effort.test { 10 } else { bytes as u64 / 256 };
    (0..entries).for_each(|number| assert!(record.record(USED + number, 0)));
    record
}

/// Numbers that no stream comes to.
const USED: u64 = 1 << 40;

/// Entries a second, of all threads.
fn throughput(records: &[&Record], effort: &Effort) -> f64 {
    let stop = AtomicBool::new(false);
    let count = |record: &Record, first: u64| {
        let mut stream = Stream { number: first, step: 2 };
        while !stop.load(Ordering::Relaxed) {
            // A thread that was interrupted is seconds behind the other, and may find no room.
            let (number, second) = stream.advance();
            black_box(record.record(number, second));
        }
        stream.number
    };
    std::thread::scope(|scope| {
        let count = &count;
        let running: Vec<_> =
            (0..).zip(records).map(|(first, it)| scope.spawn(move || count(it, first))).collect();
        let start = Instant::now();
        std::thread::sleep(effort.window);
        stop.store(true, Ordering::Relaxed);
        let total: u64 = running.into_iter().map(|thread| thread.join().unwrap()).sum();
        total as f64 / start.elapsed().as_secs_f64()
    })
}

/// A million entries that end all at once: the longest of what comes then.
fn end(table: &mut Table, effort: &Effort) {
    let entries = if effort.test { 1_000 } else { 1_000_000 };
    let record = Record::new(Some(32 * MIB));
    let mut numbers = 0..;
    let mut second = 0;
    let mut longest = || {
        for number in numbers.by_ref().take(entries) {
            assert!(record.record(number, second));
        }
        second += REMEMBERED + 1;
        let took = numbers.by_ref().take(1_000).map(|number| {
            let start = Instant::now();
            assert!(record.record(number, second));
            start.elapsed().as_nanos() as f64 / 1_000.0
        });
        let longest = took.fold(0.0, f64::max);
        second += REMEMBERED + 1;
        longest
    };
    let longest = median((0..effort.rounds.div_ceil(20)).map(|_| longest()).collect());
    let what = "a million entries end: the longest of the next 1000 records";
    table.row("P11", what, longest, 1_000.0, "µs");
}
