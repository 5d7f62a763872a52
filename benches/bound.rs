//! P11 and P12: tokens that are bound to a key or to a certificate.

use support::capability::{Capability, Shown};
use support::case::{Case, Place};
use support::turns::turns;

use crate::{Effort, Table};

const PLACES: [(Place, &str); 2] = [(Place::Layer, "as layer"), (Place::Around, "around")];

/// P11.
pub fn proofs(table: &mut Table, effort: &Effort) {
    let [layer, around] = [Place::Layer, Place::Around].map(Capability::Proved);
    let cases = [Capability::Proof, layer, around].map(Case::With);
    let [floor, layer, around] = cases.map(Case::contender);
    let rounds = turns(effort.rounds, [Case::Bare.contender(), floor, layer, around]);
    let floor = rounds.median(|[_, floor, ..]| *floor) / 1_000.0;
    for (at, name) in [(2, "as layer"), (3, "around")] {
        let ratio = rounds.median(|took| (took[at] - took[0]) / took[1]);
        let what = format!("token with a proof, {name}: overhead, of its ES256's {floor:.1} µs");
        table.row("P11", &what, ratio, 1.08, "x");
    }
}

/// P12.
pub fn certificates(table: &mut Table, effort: &Effort) {
    for (place, name) in PLACES {
        let all = [Shown::Ignored, Shown::Nothing, Shown::Certificate, Shown::Unhashed];
        let cases = all.map(|shown| Case::With(Capability::Connected(place, shown)));
        let rounds = turns(effort.rounds, cases.map(Case::contender));
        let beyond = |at: usize, from: usize| rounds.median(|took| took[at] - took[from]);
        let what = format!("token with its certificate, {name}: time beyond an unbound one's");
        table.row("P12", &what, beyond(2, 1), 150.0, "ns");
        let what = format!("the same, {name}: beyond one where none can be bound");
        table.row("P12", &what, beyond(2, 0), 150.0, "ns");
        table.floor("the thumbprint, made for each request", beyond(3, 2), "ns");
    }
}
