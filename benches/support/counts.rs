//! What a request takes, counted.

use std::collections::BTreeMap;

use crate::alloc::counted;
use crate::callgrind;
use crate::capability::{Age, Capability, Shown};
use crate::case::{Behind, Case, Place, Refused};
use crate::service::now;
use crate::tokens::Signing;

/// What was counted beyond the bare router, by the names that `limits.toml` has for it.
pub type Counts = BTreeMap<&'static str, f64>;

const COLD: Signing = Signing::Rs256;

/// What is counted is the difference.
const GUARDED: Case = Case::Tool(Behind::Guard);
const UNGUARDED: Case = Case::Tool(Behind::Layer);
const PUBLISHED: Case = Case::Published(Place::Around);
const UNPUBLISHED: Case = Case::Refused(Place::Around, Refused::NoToken);

const ONE_OF_MANY: Case = Case::With(Capability::Issuers(Place::Around, Age::Seen));
const NEW_OF_MANY: Case = Case::With(Capability::Issuers(Place::Around, Age::New));
const OPAQUE: Case = Case::With(Capability::Opaque(Place::Around));
const DIGEST: Case = Case::With(Capability::Digest);
const PROVED: Case = Case::With(Capability::Proved(Place::Around));
const PROOF: Case = Case::With(Capability::Proof);
const BOUND: Case = Case::With(Capability::Connected(Place::Around, Shown::Certificate));
const UNBOUND: Case = Case::With(Capability::Connected(Place::Around, Shown::Nothing));

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
        ("allocations.asked.layer", beyond(Case::Asked(Place::Layer))),
        ("allocations.asked.around", beyond(Case::Asked(Place::Around))),
        ("allocations.control_asked.layer", beyond(Case::ControlAsked(Place::Layer))),
        ("allocations.control_asked.around", beyond(Case::ControlAsked(Place::Around))),
        ("allocations.cold.layer", beyond(Case::Cold(Place::Layer, COLD))),
        ("allocations.cold.around", beyond(Case::Cold(Place::Around, COLD))),
        ("allocations.before_signature", before_signature()),
        ("allocations.tool_call", allocations_of(GUARDED) - allocations_of(UNGUARDED)),
        ("allocations.published", allocations_of(PUBLISHED) - allocations_of(UNPUBLISHED)),
        ("allocations.issuers.warm", beyond(ONE_OF_MANY) - beyond(Case::Warm(Place::Around))),
        ("allocations.issuers.cold", beyond(NEW_OF_MANY) - beyond(Case::Cold(Place::Around, COLD))),
        ("allocations.opaque", beyond(OPAQUE) - beyond(Case::Warm(Place::Around))),
        ("allocations.proved", beyond(PROVED)),
        ("allocations.certificate", beyond(BOUND) - beyond(UNBOUND)),
    ])
}

/// Counts instructions. Those of a new token are without its signature's.
pub fn instructions() -> Counts {
    let (bare, floor) =
        (callgrind::instructions(Case::Bare), callgrind::instructions(Case::Floor(COLD)));
    let beyond = |case| callgrind::instructions(case) - bare;
    let (warm, cold) = (beyond(Case::Warm(Place::Around)), beyond(Case::Cold(Place::Around, COLD)));
    BTreeMap::from([
        ("instructions.control.layer", beyond(Case::Control(Place::Layer))),
        ("instructions.control.around", beyond(Case::Control(Place::Around))),
        ("instructions.wrapping.layer", beyond(Case::Wrapping)),
        ("instructions.warm.layer", beyond(Case::Warm(Place::Layer))),
        ("instructions.warm.around", warm),
        ("instructions.asked.layer", beyond(Case::Asked(Place::Layer))),
        ("instructions.asked.around", beyond(Case::Asked(Place::Around))),
        ("instructions.control_asked.layer", beyond(Case::ControlAsked(Place::Layer))),
        ("instructions.control_asked.around", beyond(Case::ControlAsked(Place::Around))),
        ("instructions.cold.layer", beyond(Case::Cold(Place::Layer, COLD)) - floor),
        ("instructions.cold.around", cold - floor),
        ("instructions.tool_call", beyond(GUARDED) - beyond(UNGUARDED)),
        ("instructions.published", beyond(PUBLISHED) - beyond(UNPUBLISHED)),
        ("instructions.issuers.warm", beyond(ONE_OF_MANY) - warm),
        ("instructions.issuers.cold", beyond(NEW_OF_MANY) - cold),
        ("instructions.opaque", beyond(OPAQUE) - warm - callgrind::instructions(DIGEST)),
        ("instructions.proved", beyond(PROVED) - callgrind::instructions(PROOF)),
        ("instructions.certificate", beyond(BOUND) - beyond(UNBOUND)),
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
