//! The cache of decisions about tokens, and how long each one is valid.

use std::sync::Arc;

use crate::clock::UnixTime;
use crate::refusal::Rejection;
use crate::token::Verified;
use crate::validator::standing::Standing;
use crate::validator::table::Table;

/// How many refused tokens are remembered, and how many bytes of them. Any caller can cause some, so the
/// bounds are small, and separate from those of the accepted ones.
const REFUSED_ENTRIES: usize = 512;
const REFUSED_BYTES: usize = 1_024 * 1_024;

/// The size of an accepted token's claims beyond its own length and the places of its audiences.
const CLAIMS_BYTES: usize = 512;

/// The decisions about tokens whose signatures were checked, so that they needn't be checked again.
///
/// It belongs to one validator, whose policy and application claims never change: an accepted token is
/// later refused only because of the time or of other keys, and a refused one accepted only because of
/// other keys.
#[derive(Debug)]
pub(crate) struct Cache<C> {
    accepted: Table<Known<Arc<Verified<C>>>>,
    refused: Table<Known<Rejection>>,
}

/// A decision about a token, while it is valid.
struct Known<T> {
    term: Term,
    what: T,
}

/// While a decision about a token is valid: not before `from`, before `until`, and with the keys of
/// this generation. At other times the token may be refused for another reason.
#[derive(Debug)]
pub(crate) struct Term {
    pub(crate) from: UnixTime,
    pub(crate) until: UnixTime,
    pub(crate) generation: u64,
    /// The issuer of those keys, if there are several.
    pub(crate) standing: Option<Arc<Standing>>,
}

impl Term {
    #[inline]
    pub(crate) fn holds(&self, now: UnixTime, generation: u64) -> bool {
        self.generation == generation && self.from <= now && now < self.until
    }

    /// The same, of one of several issuers.
    #[inline(never)]
    pub(crate) fn stands(&self, now: UnixTime) -> bool {
        let standing = self.standing.as_ref();
        standing.is_some_and(|standing| {
            let holds = self.holds(now, standing.generation_at(now));
            if holds {
                standing.use_again();
            }
            holds
        })
    }

    /// Returns `true` if it can't be valid again.
    fn is_over(&self, now: UnixTime) -> bool {
        let is_past = |standing: &Arc<Standing>| standing.is_past(self.generation);
        now >= self.until || self.standing.as_ref().is_some_and(is_past)
    }
}

impl<T: Clone> Known<T> {
    #[inline]
    fn if_it(&self, holds: impl FnOnce(&Term) -> bool) -> Option<T> {
        holds(&self.term).then(|| self.what.clone())
    }
}

impl<C> Cache<C> {
    /// Creates a cache of this many accepted tokens, which may hold this many bytes.
    pub(crate) fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self {
            accepted: Table::new(max_entries, max_bytes),
            refused: Table::new(REFUSED_ENTRIES, REFUSED_BYTES),
        }
    }

    /// Returns a token that was accepted, if that is still valid.
    #[inline]
    pub(crate) fn accepted(
        &self,
        token: &[u8],
        holds: impl FnOnce(&Term) -> bool,
    ) -> Option<Arc<Verified<C>>> {
        self.accepted.find(token, |known| known.if_it(holds))
    }

    /// Returns why a token was refused, if that is still valid.
    pub(crate) fn refused(
        &self,
        token: &[u8],
        holds: impl FnOnce(&Term) -> bool,
    ) -> Option<Rejection> {
        self.refused.find(token, |known| known.if_it(holds))
    }

    /// Remembers a token that was accepted, whose application claims hold this many bytes outside
    /// of themselves.
    pub(crate) fn remember_accepted(
        &self,
        token: &[u8],
        (term, now): (Term, UnixTime),
        held: usize,
        accepted: &Arc<Verified<C>>,
    ) {
        // The texts of our own claims are parts of the token.
        let claims = [token.len(), accepted.claims.places_bytes(), CLAIMS_BYTES, size_of::<C>()];
        let held = held.saturating_add(accepted.proving_bytes());
        let bytes = claims.into_iter().fold(held, usize::saturating_add);
        let quota = term.standing.as_ref().map(|standing| Arc::clone(&standing.quotas.accepted));
        let known = Known { term, what: accepted.clone() };
        self.accepted.insert(token, bytes, known, quota.as_ref(), |known| known.term.is_over(now));
    }

    /// Remembers a token that was refused after its signature was checked.
    pub(crate) fn remember_refused(
        &self,
        token: &[u8],
        (term, now): (Term, UnixTime),
        rejection: &Rejection,
    ) {
        let quota = term.standing.as_ref().map(|standing| Arc::clone(&standing.quotas.refused));
        let known = Known { term, what: rejection.clone() };
        self.refused.insert(token, 0, known, quota.as_ref(), |known| known.term.is_over(now));
    }
}

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use serde_json::{Value, json};

    use crate::clock::UnixTime;
    use crate::jose::Algorithm;
    use crate::jwks::Jwks;
    use crate::progress::Progress;
    use crate::refusal::{Refusal, RejectionKind};
    use crate::testing::{ManualClock, TestKey};
    use crate::token::AccessToken;
    use crate::token::Evidence;
    use crate::validator::realms::Realms;
    use crate::validator::{Presented, Validator};

    const NOW: i64 = 1_000_000;

    const SIGNED: Evidence<'_> =
        Evidence::Signature { algorithm: Algorithm::EdDSA, key_id: Some("test-key") };

    struct World {
        key: TestKey,
        clock: ManualClock,
        validator: Validator,
    }

    impl World {
        fn new() -> Self {
            let key = TestKey::generate(Algorithm::EdDSA);
            let set = json!({ "keys": [key.public_jwk()] }).to_string();
            let clock = ManualClock::new(UnixTime::from_secs(NOW));
            let keys = Jwks::static_set("https://i.example", &set).unwrap();
            let validator = Validator::builder("https://i.example", "api")
                .keys(keys)
                .clock(clock.clone())
                .build();
            Self { key, clock, validator: validator.unwrap() }
        }

        fn sign(&self, claims: &Value) -> String {
            let header = json!({ "alg": "EdDSA", "kid": self.key.kid() }).to_string();
            self.key.sign(header, claims.to_string())
        }

        fn valid(&self) -> String {
            self.sign(&json!({ "iss": "https://i.example", "aud": "api", "exp": NOW + 600 }))
        }

        fn forged(&self) -> String {
            let forger = Self { key: TestKey::generate(Algorithm::EdDSA), ..Self::new() };
            let forger = Self { key: forger.key.with_kid(self.key.kid()), ..forger };
            forger.valid()
        }

        fn check(&self, token: &str) -> Option<RejectionKind> {
            kind(at_once(&self.validator, token))
        }

        fn recall(&self, token: &str) -> Option<Option<RejectionKind>> {
            let token = token.as_bytes();
            let accepted = self.validator.recall(token).map(|_| None);
            accepted.or_else(|| self.validator.recall_refused(token).map(|it| Some(it.kind())))
        }
    }

    /// With the keys of a static set, no call waits.
    fn at_once<C>(validator: &Validator<C>, token: &str) -> Result<AccessToken<C>, Refusal>
    where
        C: serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        if let Some(token) = validator.recognize(token.as_bytes()) {
            return Ok(token);
        }
        match validator.authenticate(&Presented::bearer(token.as_bytes())) {
            Progress::Ready(decided) => decided,
            Progress::Pending(_) => panic!("it waits"),
        }
    }

    fn kind<T>(checked: Result<T, Refusal>) -> Option<RejectionKind> {
        checked.err().map(|refusal| match refusal {
            Refusal::Rejection(rejection) => rejection.kind(),
            other => panic!("{other}"),
        })
    }

    #[test]
    fn what_cost_a_signature_is_remembered_whether_it_was_good_or_bad() {
        let world = World::new();
        let (valid, forged) = (world.valid(), world.forged());
        for (token, decision) in [(valid, None), (forged, Some(RejectionKind::BadSignature))] {
            assert_eq!(world.recall(&token), None);
            assert_eq!(world.check(&token), decision);
            assert_eq!(world.recall(&token), Some(decision));
        }
    }

    #[test]
    fn what_cost_none_is_not() {
        let world = World::new();
        let late = json!({ "iss": "https://i.example", "aud": "api", "exp": NOW - 600 });
        let other = json!({ "iss": "https://i.example", "aud": "other", "exp": NOW + 600 });
        let unknown = World { key: world.key.clone().with_kid("unknown"), ..World::new() };
        for (token, reason) in [
            (world.sign(&late), RejectionKind::Expired),
            (world.sign(&other), RejectionKind::WrongAudience),
            (unknown.valid(), RejectionKind::UnknownKey),
            ("a.b.c".to_owned(), RejectionKind::MalformedToken),
        ] {
            assert_eq!(world.check(&token), Some(reason));
            assert_eq!(world.recall(&token), None, "{reason:?}");
        }
    }

    #[test]
    fn claims_that_the_application_cannot_read_are_remembered_as_such() {
        #[derive(serde::Deserialize)]
        struct Tenant {
            #[serde(rename = "tenant")]
            _tenant: String,
        }
        let world = World::new();
        let set = json!({ "keys": [world.key.public_jwk()] }).to_string();
        let validator = Validator::builder("https://i.example", "api")
            .claims::<Tenant>()
            .keys(Jwks::static_set("https://i.example", &set).unwrap())
            .clock(world.clock.clone())
            .build()
            .unwrap();
        let mut claims = json!({ "iss": "https://i.example", "aud": "api", "exp": NOW + 600 });
        let without = world.sign(&claims);
        claims["tenant"] = "t".into();
        let with = world.sign(&claims);
        for (token, decision) in [(without, Some(RejectionKind::MalformedClaim)), (with, None)] {
            let bytes = token.as_bytes();
            assert!(validator.recall(bytes).is_none() && validator.recall_refused(bytes).is_none());
            assert_eq!(kind(at_once(&validator, &token)), decision);
            assert_eq!(validator.recall(bytes).is_some(), decision.is_none());
            assert_eq!(validator.recall_refused(bytes).map(|it| it.kind()), decision);
        }
    }

    /// A header is remembered once a signature over it was good, and excuses nothing but itself.
    #[test]
    fn a_known_header_excuses_neither_the_claims_nor_the_signature() {
        let world = World::new();
        let (valid, forged) = (world.valid(), world.forged());
        let claims = |aud: &str, exp: i64| json!({ "iss": "https://i.example", "aud": aud, "exp": exp, "jti": "2" });
        let header = valid.split('.').next().unwrap();
        let Realms::One(realm) = &world.validator.inner.realms else { panic!("there is one") };
        let known = || realm.knows_header(header.as_bytes());
        let refused = [
            (forged, RejectionKind::BadSignature),
            (world.sign(&claims("other", NOW + 600)), RejectionKind::WrongAudience),
            (world.sign(&claims("api", NOW - 600)), RejectionKind::Expired),
            (format!("{header}.e30.AA"), RejectionKind::MissingClaim),
            (format!("{header}.e31.AA"), RejectionKind::MalformedToken),
            (format!("{valid}AAA"), RejectionKind::MalformedToken),
        ];
        for (token, reason) in &refused {
            assert_eq!(world.check(token), Some(*reason));
        }
        assert!(!known(), "by no token that is refused");
        assert_eq!(world.check(&valid), None);
        assert!(known());
        for (token, reason) in &refused {
            assert_eq!(world.check(token), Some(*reason));
        }
        let other = world.sign(&claims("api", NOW + 600));
        assert_eq!(world.check(&other), None);
        let token = world.validator.recall(other.as_bytes()).unwrap();
        assert_eq!(token.claims.evidence(), SIGNED);
    }

    #[test]
    fn claims_whose_reading_asks_the_validator_again_are_read_right() {
        thread_local! {
            static WORLD: World = World::new();
        }
        #[derive(Debug, PartialEq)]
        struct Nested(String);
        impl<'de> serde::Deserialize<'de> for Nested {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                struct Raw {
                    tenant: String,
                }
                WORLD.with(|world| assert_eq!(world.check(&world.valid()), None));
                Ok(Self(Raw::deserialize(from)?.tenant))
            }
        }
        let (set, clock, token) = WORLD.with(|world| {
            let claims = json!({ "iss": "https://i.example", "aud": "api", "exp": NOW + 600, "tenant": "t" });
            let set = json!({ "keys": [world.key.public_jwk()] }).to_string();
            (set, world.clock.clone(), world.sign(&claims))
        });
        let validator = Validator::builder("https://i.example", "api")
            .claims::<Nested>()
            .keys(Jwks::static_set("https://i.example", &set).unwrap())
            .clock(clock)
            .build()
            .unwrap();
        let read = at_once(&validator, &token).unwrap();
        assert_eq!((read.extra(), read.evidence()), (&Nested("t".into()), SIGNED));
    }

    #[cfg(feature = "dpop")]
    #[test]
    fn d53_a_bound_token_counts_for_the_header_of_its_proofs_too() {
        let world = World::new();
        let set = json!({ "keys": [world.key.public_jwk()] }).to_string();
        let token = |name: &str| {
            let jkt = json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" });
            world.sign(
                &json!({ "iss": "https://i.example", "aud": "api", "exp": NOW + 600, name: jkt }),
            )
        };
        let (bound, other) = (token("cnf"), token("abc"));
        for (bytes, expected) in [(1_000, false), (2_500, false), (4_500, true)] {
            let validator = Validator::builder("https://i.example", "api")
                .keys(Jwks::static_set("https://i.example", &set).unwrap())
                .clock(world.clock.clone())
                .dpop(crate::dpop::Dpop::accept().public_origins(["https://api.example"]))
                .cache_bytes(bytes)
                .build()
                .unwrap();
            let without = Some(RejectionKind::SenderConstrained);
            assert_eq!(kind(at_once(&validator, &bound)), without);
            assert_eq!(validator.recall(bound.as_bytes()).is_some(), expected, "{bytes}");
            assert_eq!(kind(at_once(&validator, &other)), None);
            assert_eq!(validator.recall(other.as_bytes()).is_some(), bytes > 1_000, "{bytes}");
        }
    }

    #[test]
    fn a_decision_holds_only_within_the_tokens_times() {
        let world = World::new();
        let claims = |nbf: i64, exp: i64| json!({ "iss": "https://i.example", "aud": "api", "nbf": nbf, "exp": exp });
        let good = world.sign(&claims(NOW - 10, NOW + 10));
        let bad = {
            let forger = World { key: TestKey::generate(Algorithm::EdDSA), ..World::new() };
            let forger = World { key: forger.key.with_kid(world.key.kid()), ..forger };
            forger.sign(&claims(NOW - 10, NOW + 10))
        };
        let forged = Some(RejectionKind::BadSignature);
        for (token, decision) in [(good, None), (bad, forged)] {
            world.clock.set(UnixTime::from_secs(NOW));
            assert_eq!(world.check(&token), decision);
            // The default leeway is a minute.
            for (now, other) in [
                (NOW - 70, None),
                (NOW - 71, Some(RejectionKind::NotYetValid)),
                (NOW + 69, None),
                (NOW + 70, Some(RejectionKind::Expired)),
            ] {
                world.clock.set(UnixTime::from_secs(now));
                match other {
                    None => assert_eq!(world.recall(&token), Some(decision), "{now}"),
                    Some(_) => {
                        assert_eq!(world.recall(&token), None, "{now}");
                        assert_eq!(world.check(&token), other, "{now}");
                    }
                }
            }
        }
    }

    #[test]
    fn refused_tokens_take_no_room_from_accepted_ones() {
        let world = World::new();
        let valid = world.valid();
        assert_eq!(world.check(&valid), None);
        let (head, _) = valid.rsplit_once('.').unwrap();
        let signature = |n: u64| format!("{head}.{}{n:020}AA", "A".repeat(64));
        for n in 0..2_000 {
            assert_eq!(world.check(&signature(n)), Some(RejectionKind::BadSignature));
        }
        assert_eq!(world.recall(&signature(1_999)), Some(Some(RejectionKind::BadSignature)));
        assert_eq!(world.recall(&signature(0)), None, "512 of them are remembered");
        assert_eq!(world.recall(&valid), Some(None));
    }
}
