//! What a validator accepts, for the log and for operators.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::jose::Algorithm;
use crate::text::listed;
use crate::transport::printable;
use crate::validator::policy::Profile;
use crate::validator::realm::Realm;
use crate::validator::realms::Realms;
use crate::validator::trust::Trust;

/// How many values of each kind are shown.
const SHOWN: usize = 8;

/// What a validator accepts, and where it gets its keys: what the event `auth_in_force` says at start.
///
/// It is created by [`Validator::in_force`](crate::Validator::in_force). Of several values, the first eight
/// are shown; of a key set's address, only the host, since its path may be a secret between two parties.
/// `Display` writes several lines. None of it is secret.
#[derive(Clone, Debug)]
pub struct InForce {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) algorithms: String,
    accepted: Vec<Algorithm>,
    /// Where the keys are.
    pub(crate) keys: String,
    /// Where opaque tokens are introspected; `None` if they aren't.
    pub(crate) introspection: Option<String>,
    /// In seconds.
    pub(crate) leeway: String,
    least_leeway: Duration,
}

impl InForce {
    /// Returns the issuers.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the audiences.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Returns the accepted algorithms, in words.
    pub fn algorithms(&self) -> &str {
        &self.algorithms
    }

    /// Returns `true` if signatures by an issuer's key are accepted with this algorithm.
    pub fn accepts(&self, algorithm: Algorithm) -> bool {
        self.accepted.contains(&algorithm)
    }

    /// Returns where the keys are, in words.
    pub fn keys(&self) -> &str {
        &self.keys
    }

    /// Returns where opaque tokens are introspected, in words; `None` if they aren't.
    pub fn introspection(&self) -> Option<&str> {
        self.introspection.as_deref()
    }

    /// Returns by how much clocks may differ; the least, of several issuers.
    pub const fn leeway(&self) -> Duration {
        self.least_leeway
    }
}

impl fmt::Display for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "issuer:         {}", self.issuer)?;
        writeln!(f, "audience:       {}", self.audience)?;
        writeln!(f, "algorithms:     {}", self.algorithms)?;
        writeln!(f, "keys:           {}", self.keys)?;
        if let Some(introspection) = &self.introspection {
            writeln!(f, "introspection:  {introspection}")?;
        }
        write!(f, "leeway:         {} s", self.leeway)
    }
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
            accepted: accepted(&realms),
            keys: distinct(realms.iter().map(keys)),
            introspection: introspection(&realms),
            least_leeway: realms.iter().map(|it| it.policy.times.leeway).min().unwrap_or_default(),
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

fn accepted(realms: &[Arc<Realm>]) -> Vec<Algorithm> {
    let by_keys = realms.iter().filter(|realm| matches!(realm.trust, Trust::Jwks { .. }));
    by_keys.flat_map(|realm| realm.policy.algorithms.iter().copied()).collect()
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
