//! Every check of a token alone, for operators: the pipeline stops at the first failure, this continues. It
//! decides nothing.

use std::fmt::Display;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::clock::UnixTime;
use crate::jose::{Algorithm, Compact, Header, Scratch, VerificationKey, decode_into};
use crate::jwks::{Candidates, Jwks, KeysState};
use crate::progress::Progress;
use crate::refusal::{Refusal, Rejection, RejectionKind};
use crate::text::{Excerpt, Excerpts, Span, listed};
use crate::token::{RawClaims, Verified};
use crate::validator::bound_to::BoundTo;
use crate::validator::handle::Validator;
use crate::validator::realm::{Realm, unknown_key};
use crate::validator::realms::Realms;
use crate::validator::trust::Trust;

/// The result of one check.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    /// `None` if it couldn't be made.
    pub(crate) passed: Option<bool>,
    /// What was expected and what is presented.
    pub(crate) said: String,
}

/// A signature, and what it is checked with. `algorithm` is `None` for the shared secret's.
struct Signed<'a> {
    algorithm: Option<Algorithm>,
    kid: Option<&'a str>,
    input: &'a [u8],
    signature: &'a [u8],
}

/// The checks so far.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<Check>);

impl Checks {
    pub(crate) fn passed(&mut self, name: &'static str, said: impl Display) {
        self.0.push(Check { name, passed: Some(true), said: said.to_string() });
    }

    fn failed(&mut self, name: &'static str, said: impl Display) {
        self.0.push(Check { name, passed: Some(false), said: said.to_string() });
    }

    pub(crate) fn open(&mut self, name: &'static str, said: impl Display) {
        self.0.push(Check { name, passed: None, said: said.to_string() });
    }

    /// Adds the result of asking the issuer about the token.
    #[cfg(feature = "introspection")]
    fn answered(&mut self, refusal: Option<&Refusal>) {
        const NAME: &str = "introspection";
        match refusal {
            None => self.passed(NAME, "the issuer says that the token is active"),
            Some(refusal @ Refusal::Unavailable(_)) => self.open(NAME, refusal),
            Some(_) if self.0.iter().any(|check| check.passed != Some(true)) => {
                self.open(NAME, "the issuer isn't asked about a token that already fails");
            }
            Some(refusal) => self.failed(NAME, refusal),
        }
    }

    /// Adds a check if it failed, and returns whether it did.
    #[cfg(any(feature = "dpop", feature = "mtls"))]
    pub(crate) fn refuses(&mut self, name: &'static str, result: Result<(), Rejection>) -> bool {
        result.is_err_and(|rejection| {
            self.failed(name, rejection);
            true
        })
    }

    /// Adds a check; `None` if it failed.
    pub(crate) fn add<T, E: Into<Rejection>>(
        &mut self,
        name: &'static str,
        result: Result<T, E>,
        said: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        match result {
            Ok(found) => {
                let said = said(&found);
                self.passed(name, said);
                Some(found)
            }
            Err(error) => {
                let rejection: Rejection = error.into();
                self.failed(name, rejection);
                None
            }
        }
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Validator<C> {
    /// Checks a token against every rule, with the current keys. `_verified` is the decision about the token
    /// alone; an issuer isn't asked again.
    pub(crate) fn checks(
        &self,
        token: &[u8],
        _verified: Result<&Verified<C>, &Refusal>,
    ) -> Vec<Check> {
        let mut checks = Checks::default();
        #[cfg(feature = "introspection")]
        if let Some(realm) = self.judged_by_asking(token) {
            if realm.add_length(token, &mut checks) {
                checks.answered(_verified.err());
                self.add_binding(_verified.ok().map(BoundTo::of_verified), &mut checks);
            }
            return checks.0;
        }
        let realm = match &self.inner.realms {
            Realms::One(realm) => Some(Arc::clone(realm)),
            Realms::Many(many) => match many.select(token) {
                Ok(Progress::Ready(realm)) => {
                    checks.passed("issuer known", format_args!("{:?}", realm.policy.name()));
                    Some(realm)
                }
                Ok(Progress::Pending(_)) => {
                    checks.open("issuer known", "the resolver of tenants hasn't been asked yet");
                    None
                }
                Err(rejection) => {
                    checks.failed("issuer known", rejection);
                    None
                }
            },
        };
        if let Some(realm) = realm {
            let own = |payload: &[u8], is_genuine, checks: &mut Checks| {
                self.add_own_claims(payload, is_genuine, checks);
            };
            let bound = realm.add_checks(token, self.inner.clock.now(), own, &mut checks);
            #[cfg(feature = "introspection")]
            if realm.asks_about_jwts() {
                checks.answered(_verified.err());
            }
            self.add_binding(bound, &mut checks);
        }
        checks.0
    }
}

impl Realm {
    /// Adds the check of the token's length, and returns the token.
    fn add_length(&self, token: &[u8], checks: &mut Checks) -> bool {
        let most = self.policy.max_token_bytes;
        let sizes = format!("{} bytes, at most {most}", token.len());
        let fits = token.len() <= most;
        if fits {
            checks.passed("length", sizes)
        } else {
            checks.failed("length", sizes)
        }
        fits
    }

    /// Adds the checks of a JWT, and returns what it is bound to. `own` adds that of the application's own
    /// claims.
    fn add_checks(
        &self,
        token: &[u8],
        now: UnixTime,
        own: impl FnOnce(&[u8], bool, &mut Checks),
        checks: &mut Checks,
    ) -> Option<BoundTo> {
        if !self.add_length(token, checks) {
            return None;
        }
        let policy = &self.policy;
        let form = |_: &Compact<'_>| "three parts of base64url".to_owned();
        let compact = checks.add("form", Compact::split(token), form)?;
        let mut room_of_header = Scratch::take(token.len());
        let header = decode_into(compact.header, room_of_header.room())
            .and_then(|(json, _)| Header::parse(json));
        let header = checks.add("header", header, |header| {
            let kid = header.kid.as_deref().map_or("none".to_owned(), quoted);
            format!("alg {}, kid {kid}", Excerpt::new(&header.alg))
        });
        let mut typed = false;
        let mut algorithm = None;
        if let Some(header) = &header {
            let typ = header.typ.as_deref().map_or("none".to_owned(), quoted);
            let found = checks.add("typ", policy.check_type(header), |_| typ);
            typed = found.unwrap_or_default();
            algorithm = self.add_algorithm(header, checks);
        }
        let mut scratch = Scratch::take(token.len());
        let decoded = decode_into(compact.payload, scratch.room()).map_err(Rejection::from);
        let claims = decoded
            .and_then(|(json, room)| Ok((json, RawClaims::parse(json, &policy.sources)?, room)));
        let read =
            checks.add("claims", claims, |_| "a JSON object of claims of their types".to_owned());
        let (json, claims, room) = read?;
        self.add_claims(&claims, typed, now, checks);
        self.add_tenant(&claims, json, checks);
        let signature = decode_into(compact.signature, room).map_err(Rejection::from);
        let is_genuine = match (signature, &header, algorithm) {
            (Ok((signature, _)), Some(header), Some(algorithm)) => {
                let kid = header.kid.as_deref();
                let signed = Signed { algorithm, kid, input: compact.signing_input, signature };
                self.add_signature(&signed, &claims, now, checks)
            }
            (Err(rejection), ..) => {
                checks.failed("signature", rejection);
                false
            }
            _ => {
                checks.open("signature", "it isn't known which key to check it with");
                false
            }
        };
        own(json, is_genuine, checks);
        let scopes = claims.scopes(json, &policy.sources.scope);
        checks.add("scopes", scopes, |scopes| {
            let names: Vec<String> = scopes.iter().map(quoted).collect();
            if names.is_empty() { "none".to_owned() } else { listed(names, 8) }
        });
        let bound = BoundTo::of(&claims.confirmation);
        bound.filter(|_| self.policy.check_confirmation(&claims).is_ok())
    }

    /// Adds the check of the tenant, for an issuer that is a template.
    fn add_tenant(&self, claims: &RawClaims<'_>, json: &[u8], checks: &mut Checks) {
        let Some(template) = &self.policy.template else { return };
        let iss = claims.iss.as_deref().unwrap_or_default();
        checks.add("tid", template.check(iss, json), |()| "the tenant is allowed".to_owned());
    }

    /// Adds the check of the algorithm. `Some(None)` is that of the shared secret.
    fn add_algorithm(&self, header: &Header<'_>, checks: &mut Checks) -> Option<Option<Algorithm>> {
        let accepted = match &self.trust {
            Trust::Jwks { .. } => listed(self.policy.algorithms.iter(), usize::MAX),
            Trust::SharedSecret(key) => key.algorithm().name().to_owned(),
            #[cfg(feature = "introspection")]
            Trust::Introspection => "none".to_owned(),
        };
        let presented = Excerpt::new(&header.alg);
        checks.add("alg", self.trust.check_algorithm(&self.policy, header), |_| {
            format!("presented {presented}, accepted {accepted}")
        })
    }

    fn add_claims(&self, claims: &RawClaims<'_>, typed: bool, now: UnixTime, checks: &mut Checks) {
        let policy = &self.policy;
        checks.add("required claims", policy.check_presence(claims), |()| "all present".to_owned());
        // A JWT-SVID has its issuer in sub.
        let names_issuer = if policy.names_issuer_by_sub() { "sub" } else { "iss" };
        checks.add(names_issuer, policy.check_issuer(claims), |()| {
            format!("{:?}", policy.issuer_of(claims))
        });
        let leeway = policy.times.leeway.as_secs();
        checks.add("exp, nbf, iat", policy.times.check(claims.times, now), |()| {
            let left = claims.times.exp.map(|exp| exp.saturating_since(now));
            let left = left.map_or("never".to_owned(), |left| format!("in {}", Span(left)));
            format!("expires {left}, leeway {leeway} s")
        });
        checks.add("aud", policy.check_audience(claims), |()| match &claims.aud {
            Some(aud) => Excerpts::new(aud.iter()).to_string(),
            None => "none, which this client may do without".to_owned(),
        });
        let mark = claims.mark.as_ref().and_then(|mark| mark.refusal(typed));
        checks.add("cnf", policy.check_confirmation(claims), |()| {
            BoundTo::of(&claims.confirmation).map_or("", BoundTo::said).to_owned()
        });
        checks.add("kind", mark.map_or(Ok(()), Err), |()| "an access token".to_owned());
    }

    /// Adds the checks of the key and the signature, and returns whether that is valid.
    fn add_signature(
        &self,
        signed: &Signed<'_>,
        claims: &RawClaims<'_>,
        now: UnixTime,
        checks: &mut Checks,
    ) -> bool {
        let Signed { algorithm, kid, input, signature } = *signed;
        let mut may_sign = true;
        let genuine = match (&self.trust, algorithm) {
            (Trust::SharedSecret(key), _) => key.verify(input, signature),
            (Trust::Jwks { keys, .. }, Some(algorithm)) => {
                add_clock(keys, self.policy.times.leeway.as_secs(), checks);
                let loaded = keys.load(now);
                if loaded.state() != KeysState::Serving {
                    let why =
                        keys.trouble(None).map_or("no keys".to_owned(), |why| why.to_string());
                    checks.open("key", why);
                    return false;
                }
                let fitting = match loaded.candidates(algorithm, kid) {
                    Candidates::Fitting(fitting) => Ok(fitting),
                    Candidates::TooMany => Err(RejectionKind::AmbiguousKey.into()),
                    Candidates::None => Err(unknown_key(loaded.keys(), algorithm, kid)),
                };
                let known = loaded.keys().listed();
                let found = checks.add("key", fitting, |_| format!("one of {known}"));
                let Some(fitting) = found else { return false };
                let lets = |key: &VerificationKey| self.policy.lets_sign(key.issuer(), claims);
                may_sign = fitting.iter().any(lets);
                if self.policy.template.is_some() {
                    let issuers = fitting.iter().filter_map(|key| key.issuer());
                    add_key_issuer(may_sign, listed(issuers.map(quoted), 8), checks);
                }
                let usable = fitting.iter().filter(|key| lets(key) || !may_sign);
                usable.into_iter().any(|key| key.verify(algorithm, input, signature))
            }
            (Trust::Jwks { .. }, None) => return false,
            #[cfg(feature = "introspection")]
            (Trust::Introspection, _) => return false,
        };
        let result = if genuine { Ok(()) } else { Err(RejectionKind::BadSignature) };
        checks.add("signature", result, |()| "it is valid".to_owned());
        genuine && may_sign
    }
}

/// Adds the check of the member `issuer` of the keys that fit, which Microsoft Entra's have.
fn add_key_issuer(may_sign: bool, issuers: String, checks: &mut Checks) {
    const NAME: &str = "key's issuer";
    match (may_sign, issuers.is_empty()) {
        (true, true) => checks.passed(NAME, "none: the key may sign for each tenant"),
        (true, false) => checks.passed(NAME, issuers),
        (false, _) => {
            let said = format!("the key signs for another issuer than the token's: {issuers}");
            checks.failed(NAME, said);
        }
    }
}

fn quoted(text: &str) -> String {
    Excerpt::new(text).to_string()
}

/// Adds the check of the issuer's clock, if its offset is known.
fn add_clock(keys: &Jwks, leeway: u64, checks: &mut Checks) {
    let Some(offset) = keys.clock_offset() else { return };
    let by = offset.unsigned_abs();
    let direction = if offset < 0 { "behind" } else { "ahead of" };
    let said = format!("the issuer's is {by} s {direction} this one, leeway {leeway} s");
    if by > leeway { checks.failed("clock", said) } else { checks.passed("clock", said) }
}
