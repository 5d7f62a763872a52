//! The registered claims of a verified token, in one allocation.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use smallvec::SmallVec;

use crate::clock::UnixTime;
use crate::jose::{Algorithm, HmacAlgorithm};
use crate::scope::ScopeSet;
use crate::token::actor::Actor;
use crate::token::entry::Entry;
use crate::token::evidence::Evidence;
use crate::token::identity::Identity;
use crate::token::kept::{Kept, Lookup};
use crate::token::login::Told;
use crate::token::raw_claims::{Audience, RawClaims};
use crate::token::times::Times;
use crate::token::unreadable_detail::{Unreadable, UnreadableDetail};

/// The registered claims of a valid access token (RFC 7519 §4.1, RFC 9068 §2.2).
///
/// `Debug` shows none of them, since they identify a person.
pub struct Claims {
    issuer: Arc<str>,
    entry: Option<Arc<Entry>>,
    /// All text, concatenated: one allocation.
    text: Box<str>,
    subject: Option<Span>,
    client_id: Option<Span>,
    jwt_id: Option<Span>,
    key_thumbprint: Option<Span>,
    certificate_thumbprint: Option<Span>,
    audience: SmallVec<[Span; 2]>,
    times: Times,
    scopes: ScopeSet,
    proof: Proof,
    acr: Told<Span>,
    auth_time: Told<UnixTime>,
    actor: Option<Box<Actor>>,
    /// `None` if the validator keeps no claims.
    kept: Option<Box<Kept>>,
}

/// [`Evidence`], with its text among the claims'.
enum Proof {
    Signature { algorithm: Algorithm, key_id: Option<Span> },
    SharedSecret { algorithm: HmacAlgorithm },
    Introspection,
}

/// A part of the text.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

impl Claims {
    /// Builds the owned claims of a token that was checked.
    pub(crate) fn new(
        issuer: Arc<str>,
        entry: Option<Arc<Entry>>,
        claims: &RawClaims<'_>,
        client_id: Option<&str>,
        scopes: ScopeSet,
        evidence: Evidence<'_>,
    ) -> Self {
        let key_id = match evidence {
            Evidence::Signature { key_id, .. } => key_id,
            Evidence::SharedSecret { .. } | Evidence::Introspection => None,
        };
        let [sub, jti] = [&claims.sub, &claims.jti].map(|claim| claim.as_deref());
        let audience = || claims.aud.iter().flat_map(Audience::iter);
        let acr = claims.acr.as_ref().map(AsRef::as_ref);
        let binding = claims.confirmation.binding();
        let jkt = binding.and_then(|it| it.key.as_deref());
        let x5t = binding.and_then(|it| it.certificate.as_deref());
        let parts = [sub, client_id, jti, jkt, x5t, key_id, acr.ok()];
        let bytes = parts.into_iter().flatten().map(str::len).fold(0, usize::saturating_add);
        let bytes = audience().map(str::len).fold(bytes, usize::saturating_add);
        let mut text = String::with_capacity(bytes);
        let mut push = |part: &str| {
            let start = text.len();
            text.push_str(part);
            // A token is never as long as 4 GiB.
            let at = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
            Span { start: at(start), end: at(text.len()) }
        };
        Self {
            issuer,
            entry,
            subject: sub.map(&mut push),
            client_id: client_id.map(&mut push),
            jwt_id: jti.map(&mut push),
            key_thumbprint: jkt.map(&mut push),
            certificate_thumbprint: x5t.map(&mut push),
            proof: match evidence {
                Evidence::Signature { algorithm, key_id } => {
                    Proof::Signature { algorithm, key_id: key_id.map(&mut push) }
                }
                Evidence::SharedSecret { algorithm } => Proof::SharedSecret { algorithm },
                Evidence::Introspection => Proof::Introspection,
            },
            audience: audience().map(&mut push).collect(),
            acr: acr.map(&mut push),
            auth_time: claims.auth_time,
            actor: claims.actor.clone(),
            kept: Kept::of(&claims.kept_names, &claims.kept),
            text: text.into_boxed_str(),
            times: claims.times,
            scopes,
        }
    }

    /// Returns the memory that the places of the audiences and the kept claims take.
    pub(crate) fn places_bytes(&self) -> usize {
        let kept = self.kept.as_ref().map_or(0, |kept| kept.bytes());
        if self.audience.spilled() {
            self.audience.capacity().saturating_mul(size_of::<Span>()).saturating_add(kept)
        } else {
            kept
        }
    }

    fn part(&self, span: Span) -> &str {
        let range = span.start as usize..span.end as usize;
        self.text.get(range).unwrap_or_default()
    }

    fn part_of(&self, span: Option<Span>) -> Option<&str> {
        span.map(|span| self.part(span))
    }

    /// Returns `iss`, which is the configured issuer, or one of its accepted spellings; of a
    /// JWT-SVID, the SPIFFE ID of its trust domain.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the configured issuer of the token: the text that the validator was built
    /// with, where [`issuer`](Self::issuer) is one of several spellings.
    pub fn configured_issuer(&self) -> &str {
        self.entry.as_ref().map_or(&self.issuer, |entry| entry.name())
    }

    /// Returns `true` if the token is of this issuer, by the name that it is configured with or the
    /// one in the token.
    pub fn is_of_issuer(&self, issuer: &str) -> bool {
        self.issuer() == issuer || self.configured_issuer() == issuer
    }

    /// Returns issuer and subject together, by which a service with several issuers keeps its
    /// records; `None` if the token has no `sub`.
    pub fn identity(&self) -> Option<Identity> {
        let issuer = match &self.entry {
            Some(entry) => entry.identify(&self.issuer),
            None => &self.issuer,
        };
        Some(Identity::new(Arc::clone(issuer), self.subject()?))
    }

    /// Returns the configured issuer, if it is more than its name.
    pub(crate) fn entry(&self) -> Option<&Entry> {
        self.entry.as_deref()
    }

    /// Returns `sub`: the user on whose behalf the client calls, or, with the client-credentials
    /// grant, the client itself.
    ///
    /// This claim alone doesn't show which of the two it is: an authorization server may let
    /// a client choose an identifier that is also a user's (RFC 9068 §5). Look at
    /// [`client_id`](Self::client_id) too before taking a subject for a user. With several issuers, a
    /// subject alone is ambiguous: see [`identity`](Self::identity).
    pub fn subject(&self) -> Option<&str> {
        self.part_of(self.subject)
    }

    /// Returns `client_id`, the client that obtained the token (RFC 8693 §4.3), or what the validator's
    /// [`ClientIdSource`](crate::token::ClientIdSource) uses instead.
    pub fn client_id(&self) -> Option<&str> {
        self.part_of(self.client_id)
    }

    /// Returns `cnf.jkt`, the thumbprint (RFC 7638) of the client's key that the token is bound to
    /// (RFC 9449 §6.1). A request with such a token was accepted because it came with a proof of that
    /// key.
    pub fn key_thumbprint(&self) -> Option<&str> {
        self.part_of(self.key_thumbprint)
    }

    /// Returns `cnf.x5t#S256`, the thumbprint of the client's certificate that the token is bound to
    /// (RFC 8705 §3.1). A request with such a token was accepted because its sender had shown that
    /// certificate.
    pub fn certificate_thumbprint(&self) -> Option<&str> {
        self.part_of(self.certificate_thumbprint)
    }

    /// Returns `true` if the token is bound to a key or a certificate, so that only its holder can have
    /// used it.
    pub const fn is_bound(&self) -> bool {
        self.key_thumbprint.is_some() || self.certificate_thumbprint.is_some()
    }

    /// Returns `aud`, one or many. At least one is the configured audience.
    pub fn audience(&self) -> impl ExactSizeIterator<Item = &str> {
        self.audience.iter().map(|span| self.part(*span))
    }

    /// Returns `exp`. Every JWT that is accepted has one; an introspected token may have none.
    pub const fn expires_at(&self) -> Option<UnixTime> {
        self.times.exp
    }

    /// Returns `nbf`.
    pub const fn not_before(&self) -> Option<UnixTime> {
        self.times.nbf
    }

    /// Returns `iat`.
    pub const fn issued_at(&self) -> Option<UnixTime> {
        self.times.iat
    }

    /// Returns `jti`.
    pub fn jwt_id(&self) -> Option<&str> {
        self.part_of(self.jwt_id)
    }

    /// Returns the scopes that the token grants, from wherever the validator's
    /// [`ScopeSource`](crate::token::ScopeSource) takes them.
    pub const fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// Returns `true` if the token grants this scope by name. Implications are not applied: only the layer
    /// knows them.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.contains(scope)
    }

    /// Returns `act`, the party that acts for the subject (RFC 8693 §4.1): in a token from an exchange, the
    /// service that exchanged it. A token without it may come from an exchange as well.
    pub fn actor(&self) -> Option<&Actor> {
        self.actor.as_deref()
    }

    /// Returns `acr`: how the user logged in, in the terms of the authorization server. `None` too if it
    /// isn't a string.
    pub fn acr(&self) -> Option<&str> {
        self.part_of(self.acr.ok())
    }

    /// Returns `auth_time`: when the user last logged in. `None` too if it isn't a number.
    pub const fn auth_time(&self) -> Option<UnixTime> {
        match self.auth_time {
            Told::Is(time) => Some(time),
            Told::Absent | Told::Malformed => None,
        }
    }

    /// Returns a claim that the validator
    /// [keeps](crate::ValidatorBuilder::keep_claims), read as a `T`; `None` if it is absent, not kept or
    /// can't be read as one.
    pub fn claim<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        match self.kept(name) {
            Lookup::Is(value) => T::deserialize(value).ok(),
            Lookup::Absent | Lookup::NotKept => None,
        }
    }

    /// Returns the objects of this `type` in `authorization_details` (RFC 9396 §2), read as a `T`; none if the
    /// token has none.
    ///
    /// The validator must [keep](crate::ValidatorBuilder::keep_claims) that claim, and then refuses a token
    /// where it isn't an array of objects with a `type`. Their meaning is for the application to decide: one
    /// that can't be read as a `T` is an `Err`, so that it isn't mistaken for an absent one. If the claim
    /// isn't kept, the one item is an `Err` too: whether the token is restricted by it is unknown.
    pub fn authorization_details<'a, T: Deserialize<'a>>(
        &'a self,
        kind: &str,
    ) -> impl Iterator<Item = Result<T, UnreadableDetail>> {
        let (all, unknown) = match self.kept("authorization_details") {
            Lookup::Is(value) => (value.as_array().map(Vec::as_slice).unwrap_or_default(), None),
            Lookup::Absent => (&[][..], None),
            Lookup::NotKept => (&[][..], Some(Err(UnreadableDetail(Unreadable::NotKept)))),
        };
        let fitting =
            all.iter().filter(move |detail| detail.get("type").is_some_and(|it| it == kind));
        let read = |detail| T::deserialize(detail).map_err(|_| Unreadable::Type);
        unknown.into_iter().chain(fitting.map(move |detail| read(detail).map_err(UnreadableDetail)))
    }

    /// Returns `true` if the token has a claim that is kept.
    #[cfg(feature = "axum")]
    pub(crate) fn has_kept(&self, name: &str) -> bool {
        matches!(self.kept(name), Lookup::Is(_))
    }

    /// Returns a claim that may be kept.
    pub(crate) fn kept(&self, name: &str) -> Lookup<'_> {
        self.kept.as_ref().map_or(Lookup::NotKept, |kept| kept.find(name))
    }

    /// Returns `acr` and `auth_time`, and whether they have their types.
    pub(crate) fn login(&self) -> (Told<&str>, Told<UnixTime>) {
        (self.acr.map(|span| self.part(span)), self.auth_time)
    }

    /// Returns the evidence that the issuer issued the token.
    pub fn evidence(&self) -> Evidence<'_> {
        match self.proof {
            Proof::Signature { algorithm, key_id } => {
                Evidence::Signature { algorithm, key_id: self.part_of(key_id) }
            }
            Proof::SharedSecret { algorithm } => Evidence::SharedSecret { algorithm },
            Proof::Introspection => Evidence::Introspection,
        }
    }

    /// Returns the claims that limit the token's validity.
    pub(crate) const fn times(&self) -> Times {
        self.times
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{ClientIdSource, Sources};

    fn claims_with(json: &str, key_id: Option<&str>, client_id: ClientIdSource) -> Claims {
        let sources = Sources { client_id, ..Sources::default() };
        let raw = RawClaims::parse(json.as_bytes(), &sources).unwrap();
        let client_id = raw.client_id(&sources.client_id);
        let evidence = Evidence::Signature { algorithm: Algorithm::EdDSA, key_id };
        Claims::new("i".into(), None, &raw, client_id, ScopeSet::default(), evidence)
    }

    fn claims(json: &str, key_id: Option<&str>) -> Claims {
        claims_with(json, key_id, ClientIdSource::default())
    }

    fn parts(claims: &Claims) -> ([Option<&str>; 4], Vec<&str>) {
        let Evidence::Signature { algorithm: Algorithm::EdDSA, key_id } = claims.evidence() else {
            panic!("{:?}", claims.evidence())
        };
        let singles = [claims.subject(), claims.client_id(), claims.jwt_id(), key_id];
        (singles, claims.audience().collect())
    }

    #[test]
    fn every_text_is_found_again_whole_and_absent_is_not_empty() {
        let all =
            r#"{"aud":["one","","\u00e9","four"],"jti":"j\"","client_id":"client","sub":"s"}"#;
        let all = claims(all, Some("k"));
        let singles = [Some("s"), Some("client"), Some("j\""), Some("k")];
        assert_eq!(parts(&all), (singles, vec!["one", "", "\u{e9}", "four"]));
        let few = claims(r#"{"aud":"a","client_id":""}"#, None);
        assert_eq!(parts(&few), ([None, Some(""), None, None], vec!["a"]));
        let none = claims("{}", Some(""));
        assert_eq!(parts(&none), ([None, None, None, Some("")], vec![]));
    }

    #[test]
    fn fb8_the_client_id_is_the_first_of_its_claims_wherever_they_stand() {
        let all = r#"{"azp":"a","sub":"s","appid":"b","client_id":"c","cid":"d"}"#;
        let back = r#"{"cid":"d","client_id":"c","appid":"b","sub":"s","azp":"a"}"#;
        for (source, expected) in [
            (ClientIdSource::rfc9068(), Some("c")),
            (ClientIdSource::keycloak(), Some("c")),
            (ClientIdSource::entra(), Some("a")),
            (ClientIdSource::okta(), Some("d")),
            (ClientIdSource::adfs(), Some("b")),
            (ClientIdSource::subject(), Some("s")),
            (ClientIdSource::claims(["x", "sub", "azp"]).unwrap(), Some("s")),
            (ClientIdSource::claims(["x", "azp", "cid"]).unwrap(), Some("a")),
            (ClientIdSource::claims(["x"]).unwrap(), None),
        ] {
            for json in [all, back] {
                let found = claims_with(json, None, source.clone());
                assert_eq!(found.client_id(), expected, "{source:?} {json}");
            }
        }
        let v1 = claims_with(r#"{"appid":"b"}"#, None, ClientIdSource::entra());
        assert_eq!(v1.client_id(), Some("b"));
        for json in [r#"{"azp":1}"#, r#"{"azp":null}"#, r#"{"azp":["a"]}"#, r#"{"appid":{}}"#] {
            let sources = Sources { client_id: ClientIdSource::entra(), ..Sources::default() };
            assert!(RawClaims::parse(json.as_bytes(), &sources).is_err(), "{json}");
            assert!(RawClaims::parse(json.as_bytes(), &Sources::default()).is_ok(), "{json}");
        }
    }
}
