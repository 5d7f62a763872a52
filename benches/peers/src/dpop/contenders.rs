//! Everything that is measured, in the order of the tables.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use huskarl_axum::layers::ValidatorLayer;
use huskarl_axum::resource_server::core::jwt::JtiUniquenessChecker;
use serde::Deserialize;
use tower::Layer;
use tower_bearer::BearerAuthLayer;
use tower_bearer::dpop::Dpop;

use crate::contenders::{handler, ready, router, validator};
use crate::dpop::client::{Client, ORIGIN};
use crate::dpop::seen::Seen;
use crate::dpop::subject::{Raw, Served, Subject};
use crate::issuer::{AUDIENCE, Algorithm, Issuer};
use crate::peers::{huskarl_validator, install_providers};

/// How the tables' columns find their contenders.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    Bare,
    /// The proofs' signatures alone.
    Proof,
    /// The tokens' and the proofs'.
    Both,
    Seen,
    Other,
    /// It takes a proof again, since it keeps no record.
    Forgetful,
}

impl Role {
    pub fn is_raw(self) -> bool {
        matches!(self, Self::Proof | Self::Both)
    }

    pub fn checks_proofs(self) -> bool {
        !self.is_raw() && self != Self::Bare
    }
}

pub struct Contender {
    pub name: &'static str,
    pub role: Role,
    pub subject: Box<dyn Subject>,
}

fn contender(name: &'static str, role: Role, subject: impl Subject + 'static) -> Contender {
    Contender { name, role, subject: Box::new(subject) }
}

/// Builds everything, with the keys loaded. Must be called in the runtime that will serve it.
pub async fn all(issuer: &Issuer, clients: &[Client]) -> Vec<Contender> {
    // A record of used proofs for each.
    let (layer, around) = (bearer(issuer, None).await, bearer(issuer, None).await);
    let (new, new_around) = (bearer(issuer, Some(0)).await, bearer(issuer, Some(0)).await);
    let seen = || Some(Arc::new(Seen::default()) as Arc<dyn JtiUniquenessChecker>);
    vec![
        contender("bare router", Role::Bare, Served::new(router())),
        contender("the proof's signature alone", Role::Proof, Raw::proofs(clients)),
        contender("the token's and the proof's", Role::Both, {
            Raw::both(clients, issuer.public_key())
        }),
        contender("tower-bearer, token seen before, `.layer`", Role::Seen, {
            Served::new(router().layer(layer))
        }),
        contender("tower-bearer, token seen before, around", Role::Other, {
            Served::new(around.layer(router()))
        }),
        contender("tower-bearer, no cache, `.layer`", Role::Other, {
            Served::new(router().layer(new))
        }),
        contender("tower-bearer, no cache, around", Role::Other, {
            Served::new(new_around.layer(router()))
        }),
        contender("authkestra", Role::Other, Served::new(authkestra(issuer))),
        contender("huskarl-axum, with a record of ours", Role::Other, {
            Served::new(huskarl(issuer, seen()).await)
        }),
        contender("huskarl-axum, as it comes", Role::Forgetful, {
            Served::new(huskarl(issuer, None).await)
        }),
    ]
}

/// `cache_entries`: `None` for the default.
async fn bearer(issuer: &Issuer, cache_entries: Option<usize>) -> BearerAuthLayer {
    let dpop = Dpop::accept().public_origins([ORIGIN]);
    ready(validator(issuer, cache_entries).dpop(dpop)).await
}

async fn huskarl(issuer: &Issuer, seen: Option<Arc<dyn JtiUniquenessChecker>>) -> Router {
    let validator = huskarl_validator(issuer, seen).await;
    let layer = ValidatorLayer::builder().validator(validator).base_url(ORIGIN);
    router().layer(layer.expect("an origin").build().authenticated())
}

/// What an application reads of a token.
#[derive(Deserialize)]
#[expect(dead_code, reason = "deserialized for its price")]
struct Claims {
    sub: String,
    client_id: String,
    scope: String,
}

/// An extractor; it fetches its keys with the first request.
fn authkestra(issuer: &Issuer) -> Router {
    use authkestra_axum::Auth;
    use authkestra_engine::store::memory::MemoryStore;
    use authkestra_resource::jwt::{JwtStrategy, ValidationConfig};
    use authkestra_resource::{DpopJtiRecord, Guard};

    install_providers();
    let algorithm = match issuer.algorithm {
        Algorithm::Rs256 => jsonwebtoken_11::Algorithm::RS256,
        Algorithm::Es256 => jsonwebtoken_11::Algorithm::ES256,
        Algorithm::EdDsa => jsonwebtoken_11::Algorithm::EdDSA,
    };
    let config = ValidationConfig::builder()
        .jwks_url(issuer.jwks_uri())
        .issuer(issuer.url())
        .audience(AUDIENCE)
        .algorithms(vec![algorithm])
        .require_kid(true)
        .require_dpop(true)
        .dpop_resource_origin(ORIGIN)
        .build();
    let record = Arc::new(MemoryStore::<DpopJtiRecord>::new());
    let strategy = JwtStrategy::<Claims>::new(config).with_dpop_replay_store(record);
    let guard = Arc::new(Guard::builder().strategy(strategy).build());
    let handler = |_: Auth<Claims>| handler();
    Router::new().route("/orders", get(handler)).with_state(guard)
}
