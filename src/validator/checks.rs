//! Every check of a token alone, for operators: the pipeline stops at the first failure, this continues. It
//! decides nothing.

use std::fmt::Display;
use std::sync::Arc;

use crate::clock::UnixTime;
use crate::jose::{Algorithm, Compact, Header, Scratch, decode_into};
use crate::jwks::{Candidates, Jwks, KeysState};
use crate::progress::Progress;
use crate::refusal::{Refusal, Rejection, RejectionKind};
use crate::text::{Excerpt, Excerpts, Span, listed};
use crate::token::RawClaims;
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

#[derive(Debug, Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn passed(&mut self, name: &'static str, said: impl Display) {
        self.0.push(Check { name, passed: Some(true), said: said.to_string() });
    }

    fn failed(&mut self, name: &'static str, said: impl Display) {
        self.0.push(Check { name, passed: Some(false), said: said.to_string() });
    }

    fn open(&mut self, name: &'static str, said: impl Display) {
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

    /// Adds a check; `None` if it failed.
    fn add<T, E: Into<Rejection>>(
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

impl<C> Validator<C> {
    /// Checks a token against every rule, with the current keys. `refusal` is the decision about it;
    /// an issuer isn't asked again.
    pub(crate) fn checks(&self, token: &[u8], _refusal: Option<&Refusal>) -> Vec<Check> {
        let mut checks = Checks::default();
        #[cfg(feature = "introspection")]
        if let Some(realm) = self.judged_by_asking(token) {
            if realm.add_length(token, &mut checks) {
                checks.answered(_refusal);
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
            realm.add_checks(token, self.inner.clock.now(), &mut checks);
            #[cfg(feature = "introspection")]
            if realm.asks_about_jwts() {
                checks.answered(_refusal);
            }
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

    fn add_checks(&self, token: &[u8], now: UnixTime, checks: &mut Checks) {
        if !self.add_length(token, checks) {
            return;
        }
        let policy = &self.policy;
        let form = |_: &Compact<'_>| "three parts of base64url".to_owned();
        let Some(compact) = checks.add("form", Compact::split(token), form) else { return };
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
        let Some((json, claims, room)) = read else { return };
        self.add_claims(&claims, typed, now, checks);
        let signature = decode_into(compact.signature, room).map_err(Rejection::from);
        match (signature, &header, algorithm) {
            (Ok((signature, _)), Some(header), Some(algorithm)) => {
                let signed = [compact.signing_input, signature];
                self.add_signature(algorithm, header.kid.as_deref(), signed, now, checks);
            }
            (Err(rejection), ..) => checks.failed("signature", rejection),
            _ => checks.open("signature", "it isn't known which key to check it with"),
        }
        let scopes = claims.scopes(json, &policy.sources.scope);
        checks.add("scopes", scopes, |scopes| {
            let names: Vec<String> = scopes.iter().map(quoted).collect();
            if names.is_empty() { "none".to_owned() } else { listed(names, 8) }
        });
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
        checks.add("iss", policy.check_issuer(claims), |()| {
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
            "bound to no key, or to one".to_owned()
        });
        checks.add("kind", mark.map_or(Ok(()), Err), |()| "an access token".to_owned());
    }

    fn add_signature(
        &self,
        algorithm: Option<Algorithm>,
        kid: Option<&str>,
        [input, signature]: [&[u8]; 2],
        now: UnixTime,
        checks: &mut Checks,
    ) {
        let genuine = match (&self.trust, algorithm) {
            (Trust::SharedSecret(key), _) => key.verify(input, signature),
            (Trust::Jwks { keys, .. }, Some(algorithm)) => {
                add_clock(keys, self.policy.times.leeway.as_secs(), checks);
                let loaded = keys.load(now);
                if loaded.state() != KeysState::Serving {
                    let why =
                        keys.trouble(None).map_or("no keys".to_owned(), |why| why.to_string());
                    return checks.open("key", why);
                }
                let fitting = match loaded.candidates(algorithm, kid) {
                    Candidates::Fitting(fitting) => Ok(fitting),
                    Candidates::TooMany => Err(RejectionKind::AmbiguousKey.into()),
                    Candidates::None => Err(unknown_key(loaded.keys(), algorithm, kid)),
                };
                let known = loaded.keys().listed();
                let found = checks.add("key", fitting, |_| format!("one of {known}"));
                let Some(fitting) = found else { return };
                fitting.iter().any(|key| key.verify(algorithm, input, signature))
            }
            (Trust::Jwks { .. }, None) => return,
            #[cfg(feature = "introspection")]
            (Trust::Introspection, _) => return,
        };
        let result = if genuine { Ok(()) } else { Err(RejectionKind::BadSignature) };
        checks.add("signature", result, |()| "it is valid".to_owned());
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
