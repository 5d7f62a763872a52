//! What a request takes, counted.

use std::collections::BTreeMap;

use crate::alloc::counted;
use crate::callgrind;
use crate::case::{Case, Place, Refused};
use crate::service::now;
use crate::tokens::Signing;

/// What was counted beyond the bare router, by the names that `limits.toml` has for it.
pub type Counts = BTreeMap<&'static str, f64>;

const COLD: Signing = Signing::Rs256;

/// Counts allocations. The program's allocator must be [`Counting`](crate::alloc::Counting).
pub fn allocations() -> Counts {
    let bare = allocations_of(Case::Bare);
    let beyond = |case| allocations_of(case) - bare;
    BTreeMap::from([
        ("allocations.control.layer", beyond(Case::Control(Place::Layer))),
        ("allocations.control.around", beyond(Case::Control(Place::Around))),
        ("allocations.wrapping.layer", beyond(Case::Wrapping)),
        ("allocations.warm.layer", beyond(Case::Warm(Place::Layer))),
        ("allocations.warm.around", beyond(Case::Warm(Place::Around))),
        ("allocations.cold.layer", beyond(Case::Cold(Place::Layer, COLD))),
        ("allocations.cold.around", beyond(Case::Cold(Place::Around, COLD))),
        ("allocations.before_signature", before_signature()),
    ])
}

/// Counts instructions. Those of a new token are without its signature's.
pub fn instructions() -> Counts {
    let (bare, floor) =
        (callgrind::instructions(Case::Bare), callgrind::instructions(Case::Floor(COLD)));
    let beyond = |case| callgrind::instructions(case) - bare;
    BTreeMap::from([
        ("instructions.control.layer", beyond(Case::Control(Place::Layer))),
        ("instructions.control.around", beyond(Case::Control(Place::Around))),
        ("instructions.wrapping.layer", beyond(Case::Wrapping)),
        ("instructions.warm.layer", beyond(Case::Warm(Place::Layer))),
        ("instructions.warm.around", beyond(Case::Warm(Place::Around))),
        ("instructions.cold.layer", beyond(Case::Cold(Place::Layer, COLD)) - floor),
        ("instructions.cold.around", beyond(Case::Cold(Place::Around, COLD)) - floor),
    ])
}

fn allocations_of(case: Case) -> f64 {
    const REQUESTS: usize = 64;
    let mut started = case.start();
    let mut times = 0;
    for _ in 0..REQUESTS {
        let request = started.template.request();
        let (status, asked) = counted(|| (started.send)(request));
        assert_eq!(status, started.status);
        times += asked.times;
    }
    times as f64 / REQUESTS as f64
}

/// The most that the validator asks for to refuse a token, for what it says or for its signature.
fn before_signature() -> f64 {
    let refused = [Refused::Garbage, Refused::Forged].into_iter().chain(Refused::UNCHECKED);
    let counts = refused.map(|refused| {
        let (validator, token) = (refused.validator(), refused.token().unwrap());
        assert!(now(validator.validate(&token)).is_err(), "{refused:?}");
        let (decided, asked) = counted(|| now(validator.validate(&token)));
        assert!(decided.is_err(), "{refused:?}");
        asked.times as f64
    });
    counts.fold(0.0, f64::max)
}
