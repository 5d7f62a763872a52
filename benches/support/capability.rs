//! Requests for which the library does more than to check a bearer token of one issuer.

use std::hint::black_box;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tower::Layer as _;
use tower_bearer::dpop::Dpop;
use tower_bearer::mtls::{Certificate, Mtls};
use tower_bearer::{BearerAuthLayer, Validator};

use crate::case::{Place, Started, placed};
use crate::issuers::among;
use crate::opaque::{Asking, as_long_as_a_jwt};
use crate::proofs::Prover;
use crate::service::{Connection, ORIGIN, Template, builder, router, validator};
use crate::tokens::{Issuer, Signing};

/// What is asked for beyond that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Capability {
    /// A token of one of a thousand issuers.
    Issuers(Place, Age),
    /// An opaque token, which was asked about before.
    Opaque(Place),
    /// No request, but the SHA-256 of that token.
    Digest,
    /// A token that was seen before, and is bound to a key, with a proof that wasn't.
    Proved(Place),
    /// No request, but the bare checks of such proofs' signatures.
    Proof,
    /// A token that was seen before, where tokens may be bound to a certificate.
    Connected(Place, Shown),
}

/// Whether a token was seen before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Age {
    Seen,
    New,
}

/// What a token is bound to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shown {
    /// Nothing, and it couldn't be.
    Ignored,
    Nothing,
    /// The connection's certificate, whose thumbprint was made when that was accepted.
    Certificate,
    /// The same, whose thumbprint is made for each request.
    Unhashed,
}

/// As long as certificates with a key of P-256 and few names are.
const CERTIFICATE: [u8; 700] = [7; 700];

impl Capability {
    pub fn all() -> impl Iterator<Item = Self> {
        let placed = [Place::Layer, Place::Around].into_iter().flat_map(|place| {
            let shown = [Shown::Ignored, Shown::Nothing, Shown::Certificate, Shown::Unhashed];
            let shown = shown.map(|shown| Self::Connected(place, shown));
            [Self::Opaque(place), Self::Proved(place)]
                .into_iter()
                .chain([Age::Seen, Age::New].map(|age| Self::Issuers(place, age)))
                .chain(shown)
        });
        placed.chain([Self::Digest, Self::Proof])
    }

    /// Whether it is no request.
    pub fn is_floor(self) -> bool {
        matches!(self, Self::Digest | Self::Proof)
    }

    /// Whether each request is another.
    pub fn is_fresh(self) -> bool {
        matches!(self, Self::Proved(_))
    }

    pub(crate) fn start(self) -> Started {
        let layer = BearerAuthLayer::new;
        let jwt = || Template::with(&Issuer::new(Signing::Rs256).token(0));
        match self {
            Self::Issuers(place, age) => {
                let issuers = among(Signing::Rs256);
                let issuers = match age {
                    Age::Seen => issuers,
                    Age::New => issuers.cache_entries(0),
                };
                placed!(place, layer(issuers.build().unwrap()), jwt())
            }
            Self::Opaque(place) => {
                let token = as_long_as_a_jwt();
                placed!(place, layer(Asking::seen(&token)), Template::with(&token))
            }
            Self::Digest => {
                let token = as_long_as_a_jwt();
                Started::alone(move || _ = black_box(Sha256::digest(black_box(&token).as_bytes())))
            }
            Self::Proved(place) => {
                let dpop = Dpop::accept().public_origins([ORIGIN]);
                let validator = builder(Signing::Rs256).dpop(dpop).build().unwrap();
                placed!(place, layer(validator), Template::proved(Prover::default()))
            }
            Self::Proof => {
                let prover = Prover::default();
                let floors: Vec<_> = (0..512).map(|_| prover.floor()).collect();
                let mut next = 0;
                Started::alone(move || {
                    next = (next + 1) % floors.len();
                    assert!(floors[next].check());
                })
            }
            Self::Connected(place, shown) => {
                let connection = Connection(Certificate::from_der(&CERTIFICATE));
                let template = match shown {
                    Shown::Ignored | Shown::Nothing => jwt(),
                    Shown::Certificate | Shown::Unhashed => {
                        let cnf = json!({ "x5t#S256": connection.0.thumbprint() });
                        Template::with(&Issuer::new(Signing::Rs256).token_with("cnf", cnf))
                    }
                };
                placed!(place, layer(connected(shown)), template.over(connection))
            }
        }
    }
}

fn connected(shown: Shown) -> Validator {
    let mtls = match shown {
        Shown::Ignored => return validator(Signing::Rs256),
        Shown::Nothing | Shown::Certificate => {
            Mtls::from_connection(|connection: &Connection| Some(connection.0))
        }
        Shown::Unhashed => Mtls::from_connection(|_: &Connection| {
            Some(Certificate::from_der(black_box(&CERTIFICATE)))
        }),
    };
    builder(Signing::Rs256).mtls(mtls).build().unwrap()
}
