//! The issuers of a validator, and the choice of the one that a token is checked against.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::error::ConfigError;
use crate::jose::Scratch;
use crate::jwks::{Health, NotReady};
use crate::metadata::{AuthorizationServers, KnownIssuers};
use crate::progress::Progress;
use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::text::Excerpt;
use crate::token::{Claims, RawClaims};
use crate::validator::directory::{Directory, Found};
use crate::validator::issuers::readiness::Readiness;
use crate::validator::list::List;
use crate::validator::opened::Opened;
use crate::validator::realm::Realm;
use crate::validator::unverified::{iss_of, unverified_iss};

/// The longest token that may belong to a tenant, whose own limit isn't known yet.
const MAX_TOKEN: usize = 1_024 * 1_024;

/// The issuers whose tokens are accepted.
#[derive(Clone, Debug)]
pub(crate) enum Realms {
    One(Arc<Realm>),
    Many(Arc<Many>),
}

impl Realms {
    /// Returns all current issuers.
    pub(crate) fn all(&self) -> Vec<Arc<Realm>> {
        match self {
            Self::One(realm) => vec![Arc::clone(realm)],
            Self::Many(many) => many.list().realms().cloned().collect(),
        }
    }
}

/// Several issuers, which may be replaced by others while requests are served.
pub(crate) struct Many {
    list: ArcSwap<List>,
    readiness: Readiness,
    /// The directories that may know further issuers.
    directories: Box<[Arc<Directory>]>,
    /// The names of the issuers, for metadata.
    pub(crate) servers: AuthorizationServers,
    /// Held while the list is replaced.
    changing: Mutex<()>,
}

impl Realms {
    /// Returns the first audience of all.
    pub(crate) fn audience(&self) -> Arc<str> {
        match self {
            Self::One(realm) => realm.policy.audience(),
            Self::Many(many) => many.list().audience(),
        }
    }
}

#[cfg(feature = "introspection")]
impl Realms {
    /// Returns `true` if any issuer is asked about tokens.
    #[inline]
    pub(crate) fn ask(&self) -> bool {
        match self {
            Self::One(realm) => realm.asked.is_some(),
            Self::Many(many) => many.list.load().asks(),
        }
    }

    /// Returns `true` if a route may name the issuer to ask.
    #[inline]
    pub(crate) fn ask_by_route(&self) -> bool {
        match self {
            Self::One(_) => false,
            Self::Many(many) => many.list.load().asks_by_route(),
        }
    }
}

impl Many {
    pub(crate) fn new(
        list: List,
        directories: Vec<Arc<Directory>>,
        readiness: Readiness,
    ) -> Result<Self, ConfigError> {
        let changing = Mutex::default();
        let directories: Box<[Arc<Directory>]> = directories.into();
        let servers = AuthorizationServers::new(authorization_servers(&list, &directories));
        let list = ArcSwap::from_pointee(list);
        let many = Self { list, readiness, directories, servers, changing };
        many.check(&many.list())?;
        Ok(many)
    }

    fn check(&self, list: &List) -> Result<(), ConfigError> {
        if list.is_empty() && self.directories.is_empty() {
            return Err(ConfigError::new("there is no issuer: give at least one"));
        }
        self.readiness.check(list)
    }

    /// Returns the issuer that a token with these claims is checked against, if it is known by now.
    pub(crate) fn of(&self, claims: &Claims) -> Option<Arc<Realm>> {
        let (iss, list) = (claims.issuer(), self.list.load());
        if let Some(all) = list.namesakes(iss) {
            let is_its = |realm: &&Arc<Realm>| claims.audience().any(|it| realm.policy.is_for(it));
            return all.iter().find(is_its).cloned();
        }
        let live = || self.directories.iter().find_map(|directory| directory.live(iss));
        list.of(iss).cloned().or_else(live)
    }

    /// Returns the issuer that is configured by this name, or is a live tenant's.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Realm>> {
        let live = || self.directories.iter().find_map(|directory| directory.live(name));
        self.list.load().named(name).cloned().or_else(live)
    }

    /// Forgets a tenant.
    pub(crate) fn forget(&self, iss: &str) {
        self.directories.iter().for_each(|directory| directory.forget(iss));
    }

    pub(crate) async fn ready(&self, deadline: Duration) -> Result<(), NotReady> {
        self.readiness.ready(&self.list(), deadline).await
    }

    pub(crate) fn health(&self) -> Health {
        self.readiness.health(&self.list())
    }

    /// Returns the current issuers.
    pub(crate) fn list(&self) -> Arc<List> {
        self.list.load_full()
    }

    /// Replaces the issuers. The tokens of those that aren't in the new list become invalid.
    pub(crate) fn replace(
        &self,
        next: impl FnOnce(&List) -> Result<List, ConfigError>,
    ) -> Result<(), ConfigError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.list.load_full();
        let next = next(&before)?;
        self.check(&next)?;
        let stays = |realm: &Arc<Realm>| next.realms().any(|it| Arc::ptr_eq(it, realm));
        let gone: Vec<_> = before.realms().filter(|realm| !stays(realm)).collect();
        // Before the new list accepts anything: what was replaced is never remembered beside
        // what replaces it.
        gone.iter().for_each(|realm| realm.end());
        let servers = authorization_servers(&next, &self.directories);
        self.list.store(Arc::new(next));
        self.servers.replace(servers);
        Ok(())
    }

    /// Selects the issuer to check a token against, by the token's unverified claims.
    ///
    /// # Errors
    ///
    /// If it names none of those that are configured: after the same work, whatever it names.
    pub(crate) fn select(
        &self,
        token: &[u8],
    ) -> Result<Progress<Arc<Realm>, Arc<Realm>>, Rejection> {
        self.check_length(token)?;
        let (mut scratch, mut claims) = (Scratch::take(token.len()), RawClaims::default());
        self.select_by(&mut Opened::new(token, &mut scratch)?, &mut claims)
    }

    /// Refuses a token that is too long for any issuer, before anything of it is decoded.
    pub(crate) fn check_length(&self, token: &[u8]) -> Result<(), Rejection> {
        let longest = match &*self.directories {
            [] => self.list.load().max_token_bytes(),
            _ => MAX_TOKEN,
        };
        if token.len() > longest {
            return Err(RejectionKind::TokenTooLong.into());
        }
        Ok(())
    }

    /// Selects the issuer by the claims of a token, which are still to be held against it. Where all issuers
    /// read them alike, they are read with this.
    ///
    /// # Errors
    ///
    /// As [`select`](Self::select).
    pub(crate) fn select_by<'a>(
        &self,
        token: &mut Opened<'a>,
        claims: &mut RawClaims<'a>,
    ) -> Result<Progress<Arc<Realm>, Arc<Realm>>, Rejection> {
        let (json, list) = (token.claims()?, self.list.load());
        // How tenants read them isn't known before it is known which one it is.
        if let (Some(sources), true) = (list.sources(), self.directories.is_empty()) {
            token.claims_were_read = claims.read(json, sources).is_ok();
        }
        let iss = if token.claims_were_read {
            Cow::Borrowed(iss_of(claims)?)
        } else {
            // What is wrong with them may come after the name of an issuer that isn't known.
            *claims = RawClaims::default();
            unverified_iss(json)?
        };
        let iss = &*iss;
        if let Some(realm) = list.of(iss) {
            let realm = match list.namesakes(iss) {
                None => realm,
                Some(all) => by_audience(all, json)?,
            };
            return Ok(Progress::Ready(Arc::clone(realm)));
        }
        match self.directories.iter().find_map(|directory| directory.find(iss)) {
            Some(Found::Live(realm)) => Ok(Progress::Ready(realm)),
            Some(Found::Later(realm)) => Ok(Progress::Pending(realm)),
            Some(Found::Unknown) | None => {
                let (known, presented) = (Arc::clone(list.names()), Excerpt::new(iss));
                let detail = Detail::Issuer { known, presented };
                Err(Rejection::with(RejectionKind::WrongIssuer, detail))
            }
        }
    }
}

/// Returns what metadata can say of the issuers: which tenants there are isn't known.
fn authorization_servers(list: &List, directories: &[Arc<Directory>]) -> KnownIssuers {
    let mut issuers = list.authorization_servers();
    issuers.patterns.extend(directories.iter().map(|directory| directory.pattern().to_owned()));
    issuers
}

/// Selects among issuers of one name by the token's unverified audience.
///
/// # Errors
///
/// `WrongAudience` if it is for more than one of them; `WrongIssuer` if there are none at all, which no
/// list of namesakes is.
fn by_audience<'a>(all: &'a [Arc<Realm>], claims: &[u8]) -> Result<&'a Arc<Realm>, Rejection> {
    // Each reads them as it would alone.
    let fits = |realm: &&Arc<Realm>| {
        RawClaims::parse(claims, &realm.policy.sources)
            .is_ok_and(|claims| realm.policy.check_audience(&claims).is_ok())
    };
    let mut fitting = all.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(_), Some(_)) => {
            let detail = Detail::Note("it is for several entries of its issuer at once");
            Err(Rejection::with(RejectionKind::WrongAudience, detail))
        }
        // If it is for none, the first one refuses it.
        (found, _) => found.or(all.first()).ok_or_else(|| RejectionKind::WrongIssuer.into()),
    }
}

impl fmt::Debug for Many {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list().realms()).finish()
    }
}

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::jose::Algorithm;
    use crate::jwks::Jwks;
    use crate::refusal::Refusal;
    use crate::testing::TestKey;
    use crate::token::ScopeSource;
    use crate::validator::Validator;
    use crate::validator::issuers::Issuer;

    fn issuer(name: &str) -> Issuer {
        let key = TestKey::generate(Algorithm::EdDSA).with_kid("k");
        let set = serde_json::json!({ "keys": [key.public_jwk()] }).to_string();
        Issuer::new(name, "api").keys(Jwks::static_set(name, &set).unwrap())
    }

    /// Two issuers, and a third that reads claims as they do, or otherwise.
    fn validator(source: ScopeSource) -> Validator {
        let names = ["https://a.example", "https://b.example", "https://c.example"];
        let [a, b, c] = names.map(issuer);
        Validator::issuers([a, b, c.scope_source(source)]).build().unwrap()
    }

    fn many(validator: &Validator) -> &Many {
        match &validator.inner.realms {
            Realms::Many(many) => many,
            Realms::One(_) => panic!("there is one"),
        }
    }

    /// What was selected, and why the token is refused.
    fn decided(
        validator: &Validator,
        token: &str,
    ) -> (Result<Arc<str>, RejectionKind>, RejectionKind) {
        let selected = match many(validator).select(token.as_bytes()) {
            Ok(Progress::Ready(realm)) => Ok(realm.policy.name()),
            Ok(Progress::Pending(_)) => panic!("there are no tenants"),
            Err(rejection) => Err(rejection.kind()),
        };
        match validator.verify(token.as_bytes(), None) {
            Progress::Ready(Err(Refusal::Rejection(it))) => (selected, it.kind()),
            _ => panic!("{token} isn't refused"),
        }
    }

    const MEMBERS: [&str; 22] = [
        r#""iss":"https://a.example""#,
        r#""iss":"https://b.example""#,
        r#""iss":"https:\/\/b.ex\u0061mple""#,
        r#""iss":"https://x.example""#,
        r#""\u0069ss":"https://a.example""#,
        r#""iss":["https://a.example"]"#,
        r#""iss":null"#,
        r#""iss":"\uD800""#,
        r#""aud":"api""#,
        r#""aud":["api","é"]"#,
        r#""aud":1"#,
        r#""exp":32503680000"#,
        r#""exp":"soon""#,
        r#""exp":1"#,
        r#""sub":"s""#,
        r#""scope":{}"#,
        r#""perms":{}"#,
        r#""x":{"iss":"https://b.example"}"#,
        r#""x":{"y":1,"y":1}"#,
        r#""x":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]"#,
        r#""$serde_json::private::RawValue":"1""#,
        r#""y":tru"#,
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        // N4: which issuer, and why a token is refused, don't depend on how often its claims are read.
        #[test]
        fn n4_claims_read_once_or_twice_are_refused_alike(
            header in select(vec![r#"{"alg":"EdDSA","kid":"k"}"#, r#"{"alg":"none"}"#, "{"]),
            members in proptest::collection::vec(select(&MEMBERS[..]), 0..6),
            space in select(vec!["", " ", "\n\t"]),
            end in select(vec!["}", "}", "}", "}", "", "}}", ",}", "} \u{e9}", "}\0"]),
        ) {
            let (once, twice) = VALIDATORS.with(Clone::clone);
            let claims = format!("{space}{{{space}{}{end}", members.join(&format!("{space},")));
            let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
            let token = format!("{}.{}.AA", encode(header), encode(&claims));
            prop_assert_eq!(decided(&once, &token), decided(&twice, &token), "{}", claims);
        }
    }

    thread_local! {
        static VALIDATORS: (Validator, Validator) = {
            let once = validator(ScopeSource::default());
            let twice = validator(ScopeSource::claim("perms").unwrap());
            assert!(many(&once).list().sources().is_some());
            assert!(many(&twice).list().sources().is_none());
            (once, twice)
        };
    }
}
