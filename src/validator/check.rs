use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::jose::{Algorithm, Compact, Header, HmacKey, decode_segment};
use crate::jwks::{Candidates, Health, Jwks, KeyWait, KeysState, Miss};
use crate::refusal::{Detail, Refusal, Rejection, RejectionKind, Unavailable, UnavailableReason};
use crate::token::{AccessToken, Claims, NoClaims, RawClaims, Verified};
use crate::validator::builder::ValidatorBuilder;
use crate::validator::policy::{Policy, unsupported_algorithm};

/// Decides whether an access token is valid: from whom it must be, for whom, signed with which
/// keys.
///
/// Cloning is cheap, and clones share everything. See [`Validator::builder`].
pub struct Validator<C = NoClaims> {
    inner: Arc<Inner<C>>,
}

pub(crate) struct Inner<C> {
    pub(crate) policy: Policy,
    pub(crate) trust: Trust,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) claims: std::marker::PhantomData<fn() -> C>,
}

/// What signatures are checked with.
#[derive(Debug)]
pub(crate) enum Trust {
    Jwks(Jwks),
    SharedSecret(HmacKey),
}

/// What became of a token at first sight.
#[derive(Debug)]
pub(crate) enum Check<C> {
    Done(Checked<C>),
    /// It could be valid, with a key that a refresh may bring.
    Wait(KeyWait),
}

pub(crate) type Checked<C> = Result<AccessToken<C>, Refusal>;

/// Why the pipeline stopped.
enum Stop {
    Refused(Refusal),
    Wait(KeyWait),
}

impl<T: Into<Refusal>> From<T> for Stop {
    fn from(refusal: T) -> Self {
        Self::Refused(refusal.into())
    }
}

impl Validator {
    /// Starts building a validator for tokens of `issuer` that are meant for `audience`.
    ///
    /// `issuer` is compared with `iss` character by character: take it from the authorization
    /// server's metadata, trailing slash and all. `audience` is what the authorization server
    /// calls this service, and one of `aud` must be the same.
    ///
    /// By default the keys are found by discovery; see [`ValidatorBuilder`] for all defaults.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_bearer::Validator;
    ///
    /// let validator = Validator::builder("https://issuer.example", "https://api.example").build()?;
    /// let token = validator.validate("eyJhbGciOi…").await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(issuer: impl Into<String>, audience: impl Into<String>) -> ValidatorBuilder {
        ValidatorBuilder::new(issuer.into(), audience.into())
    }
}

impl<C> Validator<C> {
    pub(crate) fn new(inner: Inner<C>) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Returns the key source; `None` if a shared secret is used.
    pub fn jwks(&self) -> Option<&Jwks> {
        match &self.inner.trust {
            Trust::Jwks(jwks) => Some(jwks),
            Trust::SharedSecret(_) => None,
        }
    }

    /// Waits until the first keys are there, for at most this long.
    ///
    /// # Errors
    ///
    /// If they aren't there by then.
    pub async fn ready(&self, deadline: Duration) -> Result<(), Unavailable> {
        match self.jwks() {
            Some(jwks) => jwks.ready(deadline).await,
            None => Ok(()),
        }
    }

    /// Tells whether tokens can be checked now.
    pub fn health(&self) -> Health {
        self.jwks().map_or(Health::Ready, Jwks::health)
    }

    pub(crate) fn audience(&self) -> &str {
        self.inner.policy.audiences.first().map_or("", AsRef::as_ref)
    }
}

impl<C: DeserializeOwned> Validator<C> {
    /// Decides whether a token is valid now.
    ///
    /// This waits only for the first keys, or for a token whose `kid` is unknown and which could
    /// otherwise be valid; never longer than the key source's `request_wait`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Rejection`] if it isn't valid, [`Refusal::Unavailable`] if that can't be told.
    pub async fn validate(&self, token: &str) -> Result<AccessToken<C>, Refusal> {
        match self.check(token.as_bytes()) {
            Check::Done(checked) => checked,
            Check::Wait(wait) => {
                wait.await?;
                self.check_again(token.as_bytes())
            }
        }
    }

    /// Decides at first sight. Nothing waits here, and nothing is fetched.
    pub(crate) fn check(&self, token: &[u8]) -> Check<C> {
        match self.run(token, false) {
            Ok(token) => Check::Done(Ok(token)),
            Err(Stop::Refused(refusal)) => Check::Done(Err(refusal)),
            Err(Stop::Wait(wait)) => Check::Wait(wait),
        }
    }

    /// Decides after the wait: now the keys are as fresh as they get.
    pub(crate) fn check_again(&self, token: &[u8]) -> Checked<C> {
        self.run(token, true).map_err(|stop| match stop {
            Stop::Refused(refusal) => refusal,
            // The keys that came are gone again. Nobody waits twice.
            Stop::Wait(_) => {
                let reason = UnavailableReason::RefreshTimedOut;
                Unavailable::new(reason, Duration::from_secs(1)).into()
            }
        })
    }

    /// The pipeline. What costs nothing comes first, and the signature last, so that a token which
    /// can't be valid costs neither a signature nor a fetch.
    fn run(&self, token: &[u8], waited: bool) -> Result<AccessToken<C>, Stop> {
        let policy = &self.inner.policy;
        if token.len() > policy.max_token_bytes {
            return Err(RejectionKind::TokenTooLong.into());
        }
        let compact = Compact::split(token)?;
        let header = decode_segment(compact.header)?;
        let header = Header::parse(&header)?;
        policy.check_type(&header)?;
        let algorithm = self.check_algorithm(&header)?;

        let payload = decode_segment(compact.payload)?;
        let claims = RawClaims::parse(&payload, &policy.scope_source)?;
        policy.check_claims(&claims, self.inner.clock.now())?;

        let signature = decode_segment(compact.signature)?;
        let message = compact.signing_input;
        match (&self.inner.trust, algorithm) {
            (Trust::Jwks(jwks), Some(algorithm)) => {
                check_signature(jwks, algorithm, &header, message, &signature, waited)?;
            }
            (Trust::SharedSecret(key), None) if key.verify(message, &signature) => {}
            _ => return Err(RejectionKind::BadSignature.into()),
        }

        // Only now is anything of the application's done with what the token says.
        let extra =
            C::deserialize(&mut serde_json::Deserializer::from_slice(&payload)).map_err(|_| {
                let note = Detail::Note("the application's own claims can't be read");
                Rejection::with(RejectionKind::MalformedClaim, note)
            })?;
        let claims = self.accept(claims, &payload, header, algorithm)?;
        Ok(AccessToken::new(Verified { claims, extra }))
    }

    /// Returns the accepted algorithm; `None` for the shared secret's, which is then the only one.
    fn check_algorithm(&self, header: &Header<'_>) -> Result<Option<Algorithm>, Rejection> {
        match &self.inner.trust {
            Trust::Jwks(_) => self.inner.policy.check_algorithm(header).map(Some),
            Trust::SharedSecret(key) if header.alg == key.algorithm().name() => Ok(None),
            Trust::SharedSecret(_) => Err(unsupported_algorithm(header)),
        }
    }

    /// Makes the claims of a verified token its own.
    fn accept(
        &self,
        claims: RawClaims<'_>,
        payload: &[u8],
        header: Header<'_>,
        algorithm: Option<Algorithm>,
    ) -> Result<Claims, Rejection> {
        let policy = &self.inner.policy;
        Ok(Claims {
            issuer: Arc::clone(&policy.issuer),
            scopes: claims.scopes(payload, &policy.scope_source)?,
            audience: claims.aud.iter().flat_map(|aud| aud.iter()).map(Box::from).collect(),
            subject: claims.sub.map(Into::into),
            client_id: claims.client_id.map(Into::into),
            expires_at: claims.exp.unwrap_or_default(),
            not_before: claims.nbf,
            issued_at: claims.iat,
            jwt_id: claims.jti.map(Into::into),
            algorithm,
            key_id: header.kid.map(Into::into),
        })
    }
}

/// Checks the signature with the issuer's keys, of which the header may name one.
fn check_signature(
    jwks: &Jwks,
    algorithm: Algorithm,
    header: &Header<'_>,
    message: &[u8],
    signature: &[u8],
    waited: bool,
) -> Result<(), Stop> {
    let loaded = jwks.load();
    if loaded.state() != KeysState::Serving {
        return Err(missed(jwks.wait_cold()));
    }
    let kid = header.kid.as_deref();
    match loaded.keys().candidates(algorithm, kid) {
        Candidates::Fitting(fitting) => {
            if fitting.iter().any(|key| key.verify(algorithm, message, signature)) {
                Ok(())
            } else {
                Err(RejectionKind::BadSignature.into())
            }
        }
        Candidates::TooMany => Err(RejectionKind::AmbiguousKey.into()),
        Candidates::None => match kid {
            Some(kid) if !waited => Err(missed(jwks.miss(&loaded, kid))),
            _ => Err(RejectionKind::UnknownKey.into()),
        },
    }
}

fn missed(miss: Miss) -> Stop {
    match miss {
        Miss::Absent => RejectionKind::UnknownKey.into(),
        Miss::Unavailable(unavailable) => unavailable.into(),
        Miss::Wait(wait) => Stop::Wait(wait),
    }
}

impl<C> Clone for Validator<C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<C> fmt::Debug for Validator<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validator")
            .field("policy", &self.inner.policy)
            .field("trust", &self.inner.trust)
            .finish_non_exhaustive()
    }
}
