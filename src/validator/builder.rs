//! The builder of a validator for one issuer.

use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::token::{ClientIdSource, NoClaims};
use crate::validator::handle::Validator;
use crate::validator::settings::{Kind, Settings, issuer_setters};
use crate::validator::shared::{Shared, shared_setters};

/// Builds a [`Validator`](crate::Validator).
///
/// | setting | default |
/// |---|---|
/// | [`keys`](Self::keys) | found by discovery from the issuer |
/// | [`algorithms`](Self::algorithms) | all of [`Algorithm`](crate::jose::Algorithm) that the backend has, but ML-DSA |
/// | [`leeway`](Self::leeway) | 60 seconds |
/// | [`rfc9068`](Self::rfc9068) | off |
/// | [`require_typ`](Self::require_typ) | off: `typ` may also be `JWT` or absent |
/// | [`require_claim`](Self::require_claim) | `iss`, `aud` and `exp`, which always are |
/// | [`max_age`](Self::max_age) | none |
/// | [`scope_source`](Self::scope_source) | `scope` and `scp` |
/// | [`client_id_source`](Self::client_id_source) | `client_id` |
/// | [`max_token_bytes`](Self::max_token_bytes) | 16 KiB |
/// | [`cache_entries`](Self::cache_entries) | 10 000 tokens |
/// | [`cache_bytes`](Self::cache_bytes) | 32 MiB |
///
/// `also_`, `require_` and `keep_` settings and `dangerous_clients_without_audience` add up, in any order. Of any other
/// setting, the last value counts; but keys and a shared secret exclude each other.
pub struct ValidatorBuilder<C = NoClaims> {
    pub(crate) settings: Settings,
    pub(crate) shared: Shared,
    claims: PhantomData<fn() -> C>,
}

impl Validator {
    /// Starts building a validator for tokens of `issuer` that are meant for `audience`.
    ///
    /// `issuer` is compared with `iss` character by character: take it from the authorization
    /// server's metadata, trailing slash and all. `audience` is the authorization server's name for
    /// this service, and one of `aud` must be the same.
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
        ValidatorBuilder::new(issuer.into(), audience.into(), Kind::AccessToken)
    }

    /// Starts building a validator for the JWT-SVIDs of a SPIFFE trust domain, such as
    /// `example.org`, that are meant for `audience`, which is this workload's SPIFFE ID by custom.
    ///
    /// They differ from access tokens, and only they are accepted then: `sub` must be the SPIFFE ID
    /// of a workload of the trust domain, with a path; `iss` is ignored, and
    /// [`Claims::issuer`](crate::token::Claims::issuer) returns the trust domain's SPIFFE ID; `typ`
    /// is `JWT`, `JOSE` or absent; EdDSA isn't accepted. The client's id is `sub`.
    ///
    /// The keys must come from the trust domain's bundle:
    ///
    /// ```
    /// use tower_bearer::{Validator, jwks::Jwks};
    ///
    /// # fn validator() -> Result<Validator, tower_bearer::ConfigError> {
    /// Validator::jwt_svid("example.org", "spiffe://example.org/orders")
    ///     .keys(Jwks::spiffe_bundle("example.org", "https://spire.example.org/bundle"))
    ///     .build()
    /// # }
    /// ```
    pub fn jwt_svid(
        trust_domain: impl Into<String>,
        audience: impl Into<String>,
    ) -> ValidatorBuilder {
        ValidatorBuilder::new(trust_domain.into(), audience.into(), Kind::JwtSvid)
            .client_id_source(ClientIdSource::subject())
    }
}

impl ValidatorBuilder {
    fn new(issuer: String, audience: String, kind: Kind) -> Self {
        let settings = Settings::new(issuer, audience, kind);
        Self { settings, shared: Shared::default(), claims: PhantomData }
    }
}

impl<C> ValidatorBuilder<C> {
    /// Reads the application's own claims as `D`, from the whole claims object, once per token.
    ///
    /// A token from which `D` can't be read is refused as `malformed_claim`.
    ///
    /// ```
    /// # use tower_bearer::{ConfigError, Validator, jwks::Jwks};
    /// #[derive(serde::Deserialize)]
    /// struct Tenant {
    ///     tenant_id: String,
    /// }
    ///
    /// # let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    /// let validator = Validator::builder("https://issuer.example", "https://api.example")
    ///     .claims::<Tenant>()
    /// #   .keys(Jwks::static_set("https://issuer.example", set)?)
    ///     .build()?;
    /// # Ok::<(), ConfigError>(())
    /// ```
    pub fn claims<D: DeserializeOwned>(self) -> ValidatorBuilder<D> {
        ValidatorBuilder { settings: self.settings, shared: self.shared, claims: PhantomData }
    }

    issuer_setters!();
    shared_setters!();
}

impl<C> fmt::Debug for ValidatorBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidatorBuilder")
            .field("issuer", &self.settings.issuer)
            .field("audiences", &self.settings.audiences)
            .finish_non_exhaustive()
    }
}
