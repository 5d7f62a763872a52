//! P9: several issuers.

use std::hint::black_box;

use support::alloc::counted;
use support::capability::{Age, Capability};
use support::case::{Case, Place};
use support::issuers::{MANY, Realms, Strangers, among, name};
use support::service::{builder, now};
use support::tokens::{Issuer, Signing};
use support::turns::{Contender, median, turns};
use tower_bearer::Validator;

use crate::{Effort, Table, slowest};

/// How many tenants there are, of which so many are live.
/// Of those that were live, names are kept in batches of 1 024: this is a multiple of that.
const TENANTS: usize = 10_240;
const LIVE: usize = 256;

pub fn all(table: &mut Table, effort: &Effort) {
    configured(table, effort);
    one_of_each(table, effort);
    tenants(table, effort);
    strangers(table, effort);
}

/// The same token, where its issuer is the only one and where it is one of a thousand.
fn configured(table: &mut Table, effort: &Effort) {
    for (age, what, limit) in [(Age::Seen, "seen", 1.05), (Age::New, "new", 1.02)] {
        for (place, name) in [(Place::Layer, "as layer"), (Place::Around, "around")] {
            let one = match age {
                Age::Seen => Case::Warm(place),
                Age::New => Case::Cold(place, Signing::Rs256),
            };
            let cases = [Case::Bare, one, Case::With(Capability::Issuers(place, age))];
            let rounds = turns(effort.rounds, cases.map(Case::contender));
            let ratio = rounds.median(|[bare, one, many]| (many - bare) / (one - bare));
            let what = format!("{what} token, 1000 issuers, {name}: overhead, of one issuer's");
            table.row("P9", &what, ratio, limit, "x");
        }
    }
}

/// A thousand tokens in turn, all of one issuer and each of another.
fn one_of_each(table: &mut Table, effort: &Effort) {
    let issuer = Issuer::new(Signing::Rs256);
    let many = effort.many.min(MANY);
    let ours: Vec<_> = (0..many).map(|number| issuer.token(number)).collect();
    let each: Vec<_> = (1..many).map(|number| issuer.token_with("iss", name(number))).collect();
    for (what, entries) in [("seen", 16 * MANY), ("new", 0)] {
        let one = builder(Signing::Rs256).cache_entries(entries).build().unwrap();
        let many = among(Signing::Rs256).cache_entries(entries).build().unwrap();
        let contenders = [in_turn(&one, &ours), in_turn(&many, &each)];
        let ratio = turns(effort.rounds, contenders).median(|[one, many]| many / one);
        let what = format!("{what} tokens of 1000 issuers in turn, of as many of one");
        table.floor(&what, ratio, "x");
    }
}

fn in_turn<'a>(validator: &'a Validator, tokens: &'a [String]) -> Contender<'a> {
    let mut next = tokens.iter().cycle();
    for token in tokens {
        assert!(now(validator.validate(token)).is_ok());
    }
    Contender::calls(move || {
        let token = next.next().unwrap();
        assert!(now(validator.validate(black_box(token))).is_ok());
    })
}

/// What ten thousand tenants leave behind.
fn tenants(table: &mut Table, effort: &Effort) {
    let (tenants, live) = if effort.test { (100, 16) } else { (TENANTS, LIVE) };
    let (realms, first) = counted(|| {
        let realms = Realms::new(live, live);
        realms.visit(0..tenants);
        realms
    });
    let ((), second) = counted(|| realms.visit(tenants..2 * tenants));
    let grown = (first.bytes + second.bytes) as f64 / first.bytes as f64;
    let held = first.bytes >> 10;
    let what = format!("10 240 tenants, 256 live: memory of twice as many, of {held} KiB");
    table.row("P9", &what, grown, 1.05, "x");
    table.row("P9", "10 240 tenants, 256 live: tasks", realms.tasks() as f64, live as f64, "");
    table.row("P9", "the same: tasks after the validator", realms.end() as f64, 0.0, "");
}

/// Known tenants while strangers name tenants that there aren't, to the same validator or, for as much
/// of the machine, to another one.
fn strangers(table: &mut Table, effort: &Effort) {
    let live = if effort.test { 16 } else { LIVE };
    for (what, entries) in [("seen", 16 * LIVE), ("new", 0)] {
        let [known, other] = [(); 2].map(|()| {
            let realms = Realms::new(live, entries);
            realms.visit(0..live);
            realms
        });
        let tokens: Vec<_> = (0..live).map(|tenant| known.token(tenant)).collect();
        let mut next = tokens.iter().cycle();
        let mut p99 = |victim: &Realms| {
            let _strangers = Strangers::start(victim);
            slowest(effort.window, 100, || {
                let token = next.next().unwrap();
                assert!(now(known.validator.validate(black_box(token))).is_ok());
            })
        };
        let rounds: Vec<_> =
            (0..effort.rounds.div_ceil(20)).map(|_| [&other, &known].map(&mut p99)).collect();
        let without = median(rounds.iter().map(|[other, _]| *other).collect()) / 1_000.0;
        let ratio = median(rounds.iter().map(|[other, known]| known / other).collect());
        let what =
            format!("{what} tokens of tenants beside strangers: p99, of {without:.1} µs without");
        table.row("P9", &what, ratio, 1.1, "x");
    }
}
