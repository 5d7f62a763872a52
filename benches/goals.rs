//! Measures what the library is to reach, and prints one table. The contenders take turns in one
//! process, and each number is the median over many rounds of what was seen within one: whatever
//! else the machine does hits all of them.

mod bound;
mod introspection;
mod issuers;
mod replay;

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use http::StatusCode;
use support::alloc::{Counting, counted};
use support::callgrind;
use support::case::{Behind, Case, Place, Refused};
use support::counts::{allocations, instructions};
use support::resident;
use support::scripted::{Swap, Swapper, on_behalf, tenants, token_source};
use support::service::{ControlLayer, Template, builder, now, router, send, validator};
use support::tokens::{AUDIENCE, ISSUER, Issuer, Signing, key_set_of, looked_up, numbered_key_set};
use support::turns::{Contender, median, turns};
use tower_bearer::jwks::Jwks;
use tower_bearer::{BearerAuthLayer, Validator};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    callgrind::run_if_counted();
    resident::run_if_measured();
    let effort = if std::env::args().any(|argument| argument == "--test") {
        Effort { rounds: 1, window: Duration::from_millis(1), many: 10, test: true }
    } else {
        Effort { rounds: 400, window: Duration::from_millis(100), many: 1_000, test: false }
    };
    let mut table = Table::new(effort.test);
    let chosen: Vec<_> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    for (words, measure) in GROUPS {
        let is_chosen = words.split(' ').any(|word| chosen.iter().any(|it| it == word));
        if is_chosen || chosen.is_empty() {
            measure(&mut table, &effort);
        }
    }
    if table.all_reached { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Adds the rows of a group.
type Rows = fn(&mut Table, &Effort);

/// What is measured together, and the words by which it is chosen.
const GROUPS: [(&str, Rows); 15] = [
    ("counts P1 P2 P3 P11 MCP", counts),
    ("seen P1", seen_before),
    ("asked P1", asked_for),
    ("new P2", new),
    ("refused P4", refused),
    ("tools MCP MD", tool_calls),
    ("scale P6", scale),
    ("threads P6", threads),
    ("rotation P7", rotation),
    ("client P8", client),
    ("issuers P9", issuers::all),
    ("introspection P10", introspection::all),
    ("proofs P11", bound::proofs),
    ("certificates P12", bound::certificates),
    ("replay P11", replay::all),
];

/// How much is done for a number.
struct Effort {
    rounds: usize,
    window: Duration,
    many: usize,
    test: bool,
}

/// The goals, as they are measured.
struct Table {
    /// Nothing is measured that is done but once.
    test: bool,
    all_reached: bool,
}

impl Table {
    fn new(test: bool) -> Self {
        let measured = if test { "" } else { "measured" };
        println!("{:<4} {:<67} {measured:>12} {:>12}", "goal", "", "at most");
        Self { test, all_reached: true }
    }

    /// What stands in the way: the least that a part of what a goal is for costs anybody.
    fn floor(&self, what: &str, measured: f64, unit: &str) {
        let digits = if unit == "x" { 3 } else { 0 };
        let measured =
            if self.test { String::new() } else { format!("{measured:.digits$} {unit}") };
        println!("     - {what:<65} {:>12}", measured.trim());
    }

    fn row(&mut self, goal: &str, what: &str, measured: f64, limit: f64, unit: &str) {
        let reached = self.test || measured <= limit;
        let verdict = if reached { "" } else { "  missed" };
        self.all_reached &= reached;
        let digits = if unit == "x" { 2 } else { 0 };
        let [measured, limit] = [measured, limit].map(|it| format!("{it:.digits$} {unit}"));
        let measured = if self.test { "" } else { measured.trim() };
        println!("{goal:<4} {what:<67} {measured:>12} {:>12}{verdict}", limit.trim());
    }
}

/// What is counted of P1, P2 and P3.
fn counts(table: &mut Table, effort: &Effort) {
    let mut counts = allocations();
    if !effort.test && callgrind::is_there() {
        counts.extend(instructions());
    }
    let control = counts.get("allocations.control.layer").copied().unwrap_or_default();
    for (goal, what, name, limit) in [
        ("P1", "seen token, as layer: instructions", "instructions.warm.layer", 2_500.0),
        ("P1", "seen token, as layer: allocations", "allocations.warm.layer", control),
        ("P1", "seen token, around the router: instructions", "instructions.warm.around", 1_500.0),
        ("P1", "seen token, around the router: allocations", "allocations.warm.around", 2.0),
        (
            "P2",
            "new token: instructions without the signature",
            "instructions.cold.layer",
            15_000.0,
        ),
        ("P3", "new token: allocations", "allocations.cold.layer", 12.0),
        ("P3", "allocations before the signature holds", "allocations.before_signature", 0.0),
        (
            "P11",
            "token with a proof, around: instructions without the signature",
            "instructions.proved",
            20_000.0,
        ),
        ("MCP", "a tool call of 1 KiB: allocations beyond the layer", "allocations.tool_call", 2.0),
    ] {
        if let Some(count) = counts.get(name) {
            table.row(goal, what, *count, limit, "");
        }
    }
    for (what, name) in [
        ("the control, as layer: instructions", "instructions.control.layer"),
        ("the same with bodies of its own type: instructions", "instructions.wrapping.layer"),
        ("the same: allocations", "allocations.wrapping.layer"),
    ] {
        if let Some(count) = counts.get(name) {
            table.floor(what, *count, "");
        }
    }
}

/// P1.
fn seen_before(table: &mut Table, effort: &Effort) {
    let cases = [
        Case::Bare,
        Case::Control(Place::Layer),
        Case::Wrapping,
        Case::Warm(Place::Layer),
        Case::Warm(Place::Around),
    ];
    let rounds = turns(effort.rounds, cases.map(Case::contender));
    let of_control = |at: usize| rounds.median(|took| (took[at] - took[0]) / (took[1] - took[0]));
    let control = rounds.median(|[bare, control, ..]| control - bare);
    let control = format!("overhead, of the control's {control:.0} ns");
    table.row("P1", &format!("seen token, as layer: {control}"), of_control(3), 1.4, "x");
    table.floor("the control with bodies of its own type, as layer", of_control(2), "x");
    table.row("P1", &format!("seen token, around the router: {control}"), of_control(4), 1.0, "x");

    let (validator, token) = (validator(Signing::Rs256), Issuer::new(Signing::Rs256).token(0));
    let alone = Contender::calls(|| assert!(now(validator.validate(black_box(&token))).is_ok()));
    let alone = turns(effort.rounds, [alone]).median(|[alone]| *alone);
    table.row("P1", "seen token: the lookup and its checks alone", alone, 100.0, "ns");
}

/// P1, where the handler asks for the token: the control's asks for what that inserts.
fn asked_for(table: &mut Table, effort: &Effort) {
    let cases = [
        Case::Bare,
        Case::ControlAsked(Place::Layer),
        Case::Asked(Place::Layer),
        Case::Asked(Place::Around),
    ];
    let rounds = turns(effort.rounds, cases.map(Case::contender));
    let control = rounds.median(|[bare, control, ..]| control - bare);
    let of_control = |at: usize| rounds.median(|took| (took[at] - took[0]) / (took[1] - took[0]));
    let control = format!("of the control's {control:.0} ns");
    table.row("P1", &format!("with its extractor, as layer: {control}"), of_control(2), 1.5, "x");
    table.row("P1", &format!("with its extractor, around: {control}"), of_control(3), 1.0, "x");
}

/// P2.
fn new(table: &mut Table, effort: &Effort) {
    for (signing, limit) in [(Signing::Rs256, 1.06), (Signing::Es256, 1.04), (Signing::EdDsa, 1.04)]
    {
        let cases = [
            Case::Bare,
            Case::Floor(signing),
            Case::Cold(Place::Layer, signing),
            Case::Cold(Place::Around, signing),
            Case::Checking(Place::Layer, signing),
            Case::Checking(Place::Around, signing),
        ];
        let rounds = turns(effort.rounds, cases.map(Case::contender));
        let of_floor = |at: usize| rounds.median(|took| (took[at] - took[0]) / took[1]);
        let floor = rounds.median(|[_, floor, ..]| *floor);
        let name = signing.name();
        let what = format!("new token, {name}, as layer: overhead, of the signature's");
        table.row("P2", &format!("{what} {:.1} µs", floor / 1_000.0), of_floor(2), limit, "x");
        let what = format!("new token, {name}, around: overhead, of the signature's");
        table.row("P2", &what, of_floor(3), limit, "x");
        for (at, place) in [(4, "as layer"), (5, "around")] {
            let what = "a layer that only decodes, and checks the signature";
            table.floor(&format!("{what}: {place}"), of_floor(at), "x");
        }
    }
}

/// P4.
fn refused(table: &mut Table, effort: &Effort) {
    let cheap = [
        (Refused::NoToken, 60.0),
        (Refused::Garbage, 150.0),
        (Refused::WrongAlgorithm, 2_000.0),
        (Refused::WrongIssuer, 2_000.0),
        (Refused::WrongAudience, 2_000.0),
        (Refused::Expired, 2_000.0),
        (Refused::ForgedAgain, 1_000.0),
    ];
    for (refused, limit) in cheap {
        let [layer, around] = [Place::Layer, Place::Around].map(|it| Case::Refused(it, refused));
        let rounds = turns(effort.rounds, [Case::Bare, layer, around].map(Case::contender));
        let layer = rounds.median(|[bare, layer, _]| layer - bare);
        let around = rounds.median(|[bare, _, around]| around - bare);
        table.row("P4", &format!("{}, as layer: overhead", refused.name()), layer, limit, "ns");
        table.row("P4", &format!("{}, around: overhead", refused.name()), around, limit, "ns");
    }

    let refusing = [Place::Layer, Place::Around].map(Case::Refusing);
    let [layer, around] = refusing.map(|case| {
        let rounds = turns(effort.rounds, [Case::Bare, case].map(Case::contender));
        rounds.median(|[bare, refusing]| refusing - bare)
    });
    table.floor("a layer that refuses everybody with one answer: as layer", layer, "ns");
    table.floor("the same: around", around, "ns");

    let token = Issuer::new(Signing::Rs256).forged(0);
    for len in [6, 1_000] {
        let jwks = Jwks::static_set(ISSUER, &key_set_of(len).to_string()).unwrap();
        let builder = Validator::builder(ISSUER, AUDIENCE).keys(jwks).cache_entries(0);
        let mut service = router().layer(BearerAuthLayer::new(builder.build().unwrap()));
        let forged = Contender::requests(
            move |request| send(&mut service, request),
            vec![Template::with(&token)],
            StatusCode::UNAUTHORIZED,
        );
        let [bare, floor] = [Case::Bare, Case::Floor(Signing::Rs256)].map(Case::contender);
        let ratio = turns(effort.rounds, [bare, floor, forged])
            .median(|[bare, floor, forged]| (forged - bare) / floor);
        let what = format!("forged, {len} keys: overhead, of the signature's");
        table.row("P4", &what, ratio, 1.06, "x");
    }
}

/// What MCP and metadata add.
fn tool_calls(table: &mut Table, effort: &Effort) {
    let cases = [Behind::Layer, Behind::Guard].map(Case::Tool).map(Case::contender);
    let beyond = turns(effort.rounds, cases).median(|[layer, guard]| guard - layer);
    table.row("MCP", "a tool call of 1 KiB: overhead beyond the layer", beyond, 3_000.0, "ns");
    let cases = [Case::Refused(Place::Around, Refused::NoToken), Case::Published(Place::Around)];
    let rounds = turns(effort.rounds, cases.map(Case::contender));
    let beyond = rounds.median(|[without, with]| with - without);
    table.row("MD", "no token, around, with metadata: time beyond without", beyond, 100.0, "ns");
}

/// P6, on one thread.
fn scale(table: &mut Table, effort: &Effort) {
    // The cost of the lookup alone is the difference to a token that is refused right before it.
    let lookups = [(1, true), (1, false), (1_000, false)].map(|(keys, bound)| {
        let jwks = Jwks::static_set(ISSUER, &numbered_key_set(keys).to_string()).unwrap();
        let builder = Validator::builder(ISSUER, AUDIENCE).keys(jwks).cache_entries(0);
        let validator = builder.build().unwrap();
        let token = |number| looked_up(number, number * 389 % keys, bound);
        let tokens: Vec<_> = (0..effort.many).map(token).collect();
        let mut all = tokens.into_iter().cycle();
        Contender::calls(move || {
            let token = all.next().unwrap();
            assert!(now(validator.validate(black_box(&token))).is_err());
        })
    });
    let rounds = turns(effort.rounds, lookups);
    let one = rounds.median(|[before, one, _]| one - before);
    let thousand = rounds.median(|[before, _, thousand]| thousand - before);
    let what = format!("key lookup with 1000 keys: time, of the {one:.0} ns with one");
    table.row("P6", &what, thousand / one, 1.5, "x");

    memory(table, effort);
    stream(table, effort);
}

/// P6: what a cached token holds.
fn memory(table: &mut Table, effort: &Effort) {
    let issuer = Issuer::new(Signing::EdDsa);
    let entries = 4 * effort.many;
    let tokens: Vec<_> = (0..2 * entries).map(|number| issuer.token(number)).collect();
    let (validator, asked) = counted(|| {
        let validator = builder(Signing::EdDsa).cache_entries(entries).build().unwrap();
        tokens.iter().for_each(|token| accept(&validator, token));
        validator
    });
    let each = asked.bytes as f64 / entries as f64;
    let beyond = each - tokens[0].len() as f64;
    table.row("P6", "bytes for a cached token, beyond its own length", beyond, 700.0, "");
    drop(validator);
}

/// P6: hot tokens beside a stream of tokens that come once.
fn stream(table: &mut Table, effort: &Effort) {
    const ONE_IN: usize = 10;
    let (hot, batch, rounds) = (effort.many, effort.many, effort.rounds.div_ceil(4));
    let issuer = Issuer::new(Signing::EdDsa);
    let cached = 2 * hot;
    let once = cached + rounds * batch / ONE_IN + batch;
    let tokens: Vec<_> = (0..hot + once).map(|number| issuer.token(number)).collect();
    let (hot, once) = tokens.split_at(hot);

    let contenders = [cached, 500_000].map(|entries| {
        let cache = builder(Signing::EdDsa).cache_entries(entries).cache_bytes(1 << 30);
        let validator = cache.build().unwrap();
        let mut once = once.iter();
        for token in once.by_ref().take(cached) {
            accept(&validator, token);
            hot.iter().take(2).for_each(|token| accept(&validator, token));
        }
        hot.iter().chain(hot).for_each(|token| accept(&validator, token));
        let (mut number, mut random) = (0, 1_usize);
        let next = move || {
            number += 1;
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let token = match number % ONE_IN {
                0 => once.next().unwrap(),
                _ => &hot[(random >> 33) % hot.len()],
            };
            accept(&validator, token);
        };
        Contender::calls(next).of(batch)
    });
    let ratio = turns(rounds, contenders).median(|[bounded, unbounded]| bounded / unbounded);
    table.row("P6", "hot tokens beside a stream, cache full: time, of unbounded", ratio, 1.1, "x");
}

fn accept(validator: &Validator, token: &str) {
    assert!(now(validator.validate(black_box(token))).is_ok());
}

/// P6, on two threads.
fn threads(table: &mut Table, effort: &Effort) {
    let issuer = Issuer::new(Signing::EdDsa);
    for many in [1, effort.many] {
        let templates: Vec<_> =
            (0..many).map(|number| Template::with(&issuer.token(number))).collect();
        let control = router().layer(ControlLayer::default());
        let ours = router().layer(BearerAuthLayer::new(validator(Signing::EdDsa)));
        let gain = |app: &Router| {
            let [one, two] = [1, 2].map(|threads| throughput(app, &templates, threads, effort));
            two / one
        };
        throughput(&ours, &templates, 1, effort);
        let rounds = effort.rounds.div_ceil(20);
        let lost = (0..rounds).map(|_| gain(&control) / gain(&ours)).collect();
        let what = format!("two threads, {many} tokens: time, of the control's with two");
        table.row("P6", &what, median(lost), 1.05, "x");
    }
}

/// Requests a second, on so many threads.
fn throughput(app: &Router, templates: &[Template], threads: usize, effort: &Effort) -> f64 {
    let stop = AtomicBool::new(false);
    let count = || {
        let (mut app, mut count) = (app.clone(), 0);
        // Not all at the same token at the same time, unless there is but one.
        for template in templates.iter().cycle() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            assert_eq!(send(&mut app, template.request()), StatusCode::OK);
            count += 1;
        }
        count
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(count)).collect();
        let start = Instant::now();
        std::thread::sleep(effort.window);
        stop.store(true, Ordering::Relaxed);
        let total: u32 = running.into_iter().map(|thread| thread.join().unwrap()).sum();
        f64::from(total) / start.elapsed().as_secs_f64()
    })
}

/// P7.
fn rotation(table: &mut Table, effort: &Effort) {
    let swapper = Swapper::start();
    let builder = Validator::builder(ISSUER, AUDIENCE).keys(swapper.jwks.clone());
    let validator = builder.build().unwrap();
    let mut app = router().layer(BearerAuthLayer::new(validator.clone()));
    let template = Template::with(&Issuer::new(Signing::Rs256).token(0));
    let mut p999 = |swap| {
        swapper.order(swap);
        slowest(effort.window * 3, 1_000, || {
            assert_eq!(send(&mut app, template.request()), StatusCode::OK);
        })
    };
    let rounds: Vec<_> = (0..effort.rounds.div_ceil(20))
        .map(|_| [Swap::Nothing, Swap::Same, Swap::Other].map(&mut p999))
        .collect();
    let of = |at: usize| median(rounds.iter().map(|round| round[at]).collect());
    for (at, keys) in [(1, "the same keys"), (2, "other keys")] {
        let ratio = median(rounds.iter().map(|round| round[at] / round[0]).collect());
        let what = format!("{keys} every 10 ms: p99.9, of {:.0} ns without", of(0));
        table.row("P7", &what, ratio, 1.1, "x");
    }

    // Whether the cache was emptied, shows in the first request after a refresh.
    let token = Issuer::new(Signing::Rs256).token(0);
    swapper.order(Swap::Same);
    let first = (0..effort.rounds.div_ceil(20)).map(|_| {
        accept(&validator, &token);
        let swaps = swapper.swaps();
        while swapper.swaps() == swaps {
            std::thread::yield_now();
        }
        let start = Instant::now();
        accept(&validator, &token);
        start.elapsed().as_nanos() as f64
    });
    let first = median(first.collect());
    let [floor] = [Case::Floor(Signing::Rs256)].map(Case::contender);
    let floor = turns(effort.rounds.div_ceil(4), [floor]).median(|[floor]| *floor);
    let what = "the first request after the same keys came: time, of a signature's";
    table.row("P7", what, first / floor, 0.5, "x");
}

/// The time that one in so many calls takes longer than.
fn slowest(window: Duration, one_in: usize, mut call: impl FnMut()) -> f64 {
    let mut took = Vec::with_capacity(1_000_000);
    let start = Instant::now();
    let mut before = start;
    while before - start < window {
        call();
        let after = Instant::now();
        took.push((after - before).as_nanos() as f64);
        before = after;
    }
    took.sort_by(f64::total_cmp);
    took[took.len() - 1 - took.len() / one_in]
}

/// P8.
fn client(table: &mut Table, effort: &Effort) {
    let (source, _runtime) = token_source();
    let cached = Contender::calls(|| {
        let token = now(black_box(&source).token()).unwrap();
        black_box(token.header_value());
    });
    let cached = turns(effort.rounds, [cached]).median(|[cached]| *cached);
    table.row("P8", "a cached token and its header value", cached, 100.0, "ns");

    let (target, caller, _runtime) = on_behalf(&validator(Signing::EdDsa));
    let cached = Contender::calls(|| {
        let token = now(black_box(&target).token(black_box(&caller))).unwrap();
        black_box(token.header_value());
    });
    let cached = turns(effort.rounds, [cached]).median(|[cached]| *cached);
    table.row("P8", "a cached exchange and its header value", cached, 300.0, "ns");

    let many = 10 * effort.many;
    let (client, asked) = counted(|| tenants(many));
    let each = asked.bytes as f64 / many as f64;
    table.row("P8", &format!("bytes for each of {many} tenants"), each, 4_608.0, "");
    drop(client);
}
