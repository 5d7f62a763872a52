//! What a validator accepts, as the values of one log line.

use std::sync::Arc;

use crate::text::listed;
use crate::transport::printable;
use crate::validator::policy::Profile;
use crate::validator::realm::Realm;
use crate::validator::realms::Realms;
use crate::validator::trust::Trust;

/// How many values of each kind are shown.
const SHOWN: usize = 8;

/// What a validator accepts, for one line in the log. None of it is secret.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) algorithms: String,
    /// Where the keys are.
    pub(crate) keys: String,
    /// Where opaque tokens are introspected; `None` if they aren't.
    pub(crate) introspection: Option<String>,
    /// In seconds.
    pub(crate) leeway: String,
}

impl Realms {
    pub(crate) fn in_force(&self) -> InForce {
        let realms = self.all();
        let issuers = realms.iter().flat_map(|realm| &realm.policy.issuers);
        let audiences = realms.iter().flat_map(|realm| realm.policy.audiences.iter());
        InForce {
            issuer: distinct(issuers.map(|it| printable(it))),
            audience: distinct(audiences.map(|it| printable(it))),
            algorithms: distinct(realms.iter().map(algorithms)),
            keys: distinct(realms.iter().map(keys)),
            introspection: introspection(&realms),
            leeway: distinct(realms.iter().map(|it| it.policy.times.leeway.as_secs().to_string())),
        }
    }
}

fn distinct(values: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = Vec::new();
    for value in values {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    listed(all, SHOWN)
}

fn algorithms(realm: &Arc<Realm>) -> String {
    let names = match &realm.trust {
        Trust::Jwks { .. } => listed(realm.policy.algorithms.iter(), usize::MAX),
        Trust::SharedSecret(key) => key.algorithm().name().to_owned(),
        #[cfg(feature = "introspection")]
        Trust::Introspection => "none (the issuer is asked about each token)".to_owned(),
    };
    let typ = match realm.policy.profile {
        Profile::Interoperable => "",
        Profile::Rfc9068 => " (typ at+jwt)",
        Profile::JwtSvid(_) => " (JWT-SVIDs)",
    };
    format!("{names}{typ}")
}

fn keys(realm: &Arc<Realm>) -> String {
    let keys = match &realm.trust {
        Trust::Jwks { keys, .. } => keys
            .place()
            .map_or_else(|| "part of the configuration".to_owned(), |place| place.to_string()),
        Trust::SharedSecret(_) => "a shared secret".to_owned(),
        #[cfg(feature = "introspection")]
        Trust::Introspection => return "none: opaque tokens are introspected".to_owned(),
    };
    #[cfg(feature = "introspection")]
    if realm.asked.is_some() {
        return format!("{keys} (opaque tokens are introspected)");
    }
    keys
}

#[cfg(feature = "introspection")]
fn introspection(realms: &[Arc<Realm>]) -> Option<String> {
    let asked = realms.iter().filter_map(|realm| realm.asked.as_ref());
    let places = distinct(asked.map(|asked| asked.introspector.place().to_string()));
    (!places.is_empty()).then_some(places)
}

#[cfg(not(feature = "introspection"))]
fn introspection(_: &[Arc<Realm>]) -> Option<String> {
    None
}
