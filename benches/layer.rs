//! Whole requests, through the layer and what it protects.

use criterion::{BatchSize, Bencher, Criterion, criterion_group};
use support::capability::Capability;
use support::case::{Case, Place, Refused};
use support::tokens::Signing;

const PLACES: [(Place, &str); 2] = [(Place::Layer, "as layer"), (Place::Around, "around")];

fn requests(bencher: &mut Bencher<'_>, case: Case) {
    let mut started = case.start();
    let template = started.template.clone();
    bencher.iter_batched(|| template.request(), |it| (started.send)(it), BatchSize::SmallInput);
}

fn unprotected(criterion: &mut Criterion) {
    criterion.bench_function("bare router", |bencher| requests(bencher, Case::Bare));
    for (place, name) in PLACES {
        let mut group = criterion.benchmark_group(name);
        group.bench_function("control", |bencher| requests(bencher, Case::Control(place)));
        group.finish();
    }
}

fn accepted(criterion: &mut Criterion) {
    for (place, name) in PLACES {
        let mut group = criterion.benchmark_group(name);
        group.bench_function("seen", |bencher| requests(bencher, Case::Warm(place)));
        for signing in Signing::ALL {
            let case = Case::Cold(place, signing);
            let name = format!("new/{}", signing.name());
            group.bench_function(name, |bencher| requests(bencher, case));
        }
        group.finish();
    }
}

fn refused(criterion: &mut Criterion) {
    for (place, name) in PLACES {
        let mut group = criterion.benchmark_group(name);
        for refused in Refused::ALL {
            let case = Case::Refused(place, refused);
            let name = format!("refused/{}", refused.name());
            group.bench_function(name, |bencher| requests(bencher, case));
        }
        group.finish();
    }
}

/// Several issuers, opaque tokens, proofs, certificates, and the floors beneath them.
fn beyond(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("with");
    for capability in Capability::all() {
        let case = Case::With(capability);
        group.bench_function(format!("{capability:?}"), |bencher| requests(bencher, case));
    }
    group.finish();
}

criterion_group!(benches, unprotected, accepted, refused, beyond);
