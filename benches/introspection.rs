//! P10: opaque tokens, whose issuer is asked about them.

use std::hint::black_box;

use http::StatusCode;
use sha2::{Digest as _, Sha256};
use support::capability::Capability;
use support::case::{Case, Place};
use support::opaque::{Asking, good};
use support::resident;
use support::service::{Template, router, send};
use support::turns::{Contender, turns};
use tower::Layer as _;
use tower_bearer::BearerAuthLayer;

use crate::{Effort, Table};

const MIB: f64 = 1_048_576.0;

pub fn all(table: &mut Table, effort: &Effort) {
    for (place, name) in [(Place::Layer, "as layer"), (Place::Around, "around")] {
        let cases = [
            Case::Bare,
            Case::Warm(place),
            Case::With(Capability::Digest),
            Case::With(Capability::Opaque(place)),
        ];
        let rounds = turns(effort.rounds, cases.map(Case::contender));
        let what = format!("opaque token, {name}: overhead, of a JWT's and its SHA-256's");
        let ratio =
            rounds.median(|[bare, jwt, hash, opaque]| (opaque - bare) / (jwt - bare + hash));
        table.row("P10", &what, ratio, 1.0, "x");
    }
    short(table, effort);
    flood(table, effort);
}

/// A token of a length that such tokens usually have.
fn short(table: &mut Table, effort: &Effort) {
    let token = good(0, 64);
    let mut service = BearerAuthLayer::new(Asking::seen(&token)).layer(router());
    let hash = Contender::calls({
        let token = token.clone();
        move || _ = black_box(Sha256::digest(black_box(token.as_bytes())))
    });
    let opaque = Contender::requests(
        move |request| send(&mut service, request),
        vec![Template::with(&token)],
        StatusCode::OK,
    );
    let [bare, jwt] = [Case::Bare, Case::Warm(Place::Around)].map(Case::contender);
    let rounds = turns(effort.rounds, [bare, jwt, hash, opaque]);
    let what = "the same, of 64 bytes, around";
    let ratio = rounds.median(|[bare, jwt, hash, opaque]| (opaque - bare) / (jwt - bare + hash));
    table.row("P10", what, ratio, 1.0, "x");
    table.floor("that SHA-256", rounds.median(|[_, _, hash, _]| *hash), "ns");
}

fn flood(table: &mut Table, effort: &Effort) {
    let garbage = if effort.test { 2_000 } else { 200_000 };
    if let Some(flooded) = resident::measured(garbage) {
        let what = format!("{garbage} made-up tokens: growth of resident memory");
        table.row("P10", &what, flooded.bytes / MIB, 32.0, "MiB");
        let what = "1000 good ones beside them: how often their issuer was asked again";
        table.row("P10", what, flooded.asked_again, 0.0, "");
    }
}
