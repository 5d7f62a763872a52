//! Makes tokens from the issuer's settings and the changes that a test asks for.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Map, Value};

use crate::jose::{hmac_sha256, random_id, signing_input};
use crate::testing::issuer::client;
use crate::testing::issuer::state::State;
use crate::testing::misuse::{lock, misuse};
use crate::testing::tokens::key::TestKey;

/// The changes by which one token differs from the default one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recipe {
    /// Claims that are set before the issuer's shape function changes them.
    pub(crate) usual: Map<String, Value>,
    pub(crate) claims: Map<String, Value>,
    pub(crate) without_claims: Vec<String>,
    pub(crate) header: Map<String, Value>,
    pub(crate) without_header: Vec<String>,
    pub(crate) raw_header: Option<String>,
    pub(crate) raw_payload: Option<String>,
    pub(crate) key: Option<TestKey>,
    pub(crate) embed_jwk: bool,
    pub(crate) tampered: Option<(String, Value)>,
    pub(crate) seal: Seal,
}

/// How a token is signed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Seal {
    #[default]
    Good,
    Broken,
    /// No signature.
    Unsecured,
    /// An HMAC with the public key's PEM as the secret.
    PublicKeyHmac,
}

/// Makes a token.
#[track_caller]
pub(crate) fn mint(state: &State, recipe: &Recipe) -> String {
    let default = || lock(&state.ring).default_signing().cloned();
    let Some(key) = recipe.key.clone().or_else(default) else {
        misuse("the embedded issuer has no keys");
    };
    let header = recipe.raw_header.clone();
    let header = header.unwrap_or_else(|| make_header(state, recipe, &key));
    let claims = make_claims(state, recipe);
    let payload = recipe.raw_payload.clone().unwrap_or_else(|| text(&claims));
    let token = seal(recipe.seal, &key, &header, &payload);
    match &recipe.tampered {
        None => token,
        Some((name, value)) => replace_payload(&token, claims, name, value),
    }
}

/// Makes an opaque token, and registers its claims for the introspection endpoint.
#[track_caller]
pub(crate) fn register(state: &State, recipe: &Recipe) -> String {
    let claims = make_claims(state, recipe);
    let Ok(token) = random_id() else { misuse("no random numbers left") };
    lock(&state.opaque).insert(token.clone(), claims);
    token
}

fn make_header(state: &State, recipe: &Recipe, key: &TestKey) -> String {
    let mut header = Map::new();
    header.insert("alg".into(), key.algorithm().name().into());
    header.insert("typ".into(), state.config.typ.as_str().into());
    header.insert("kid".into(), key.kid().into());
    if recipe.embed_jwk {
        header.insert("jwk".into(), key.public_jwk());
    }
    (state.config.shape_header)(&mut header);
    header.extend(recipe.header.clone());
    header.retain(|name, _| !recipe.without_header.contains(name));
    text(&header)
}

fn make_claims(state: &State, recipe: &Recipe) -> Map<String, Value> {
    let config = &state.config;
    let Ok(id) = random_id() else { misuse("no random numbers left") };
    let now = state.now();
    let mut claims = Map::new();
    claims.insert("iss".into(), config.issuer.as_str().into());
    claims.insert("sub".into(), client::DEFAULT_ID.into());
    claims.insert("client_id".into(), client::DEFAULT_ID.into());
    claims.insert("aud".into(), config.audience.as_str().into());
    claims.insert("iat".into(), now.as_secs().into());
    claims.insert("exp".into(), now.plus(config.lifetime).as_secs().into());
    claims.insert("jti".into(), id.into());
    claims.extend(recipe.usual.clone());
    (config.shape_claims)(&mut claims);
    claims.extend(recipe.claims.clone());
    claims.retain(|name, _| !recipe.without_claims.contains(name));
    claims
}

pub(crate) fn seal(seal: Seal, key: &TestKey, header: &str, payload: &str) -> String {
    let input = || signing_input(header.as_bytes(), payload.as_bytes());
    match seal {
        Seal::Good => key.sign(header, payload),
        Seal::Unsecured => format!("{}.", input()),
        Seal::PublicKeyHmac => {
            let tag = hmac_sha256(key.public_pem().as_bytes(), input().as_bytes());
            format!("{}.{}", input(), BASE64_URL_SAFE_NO_PAD.encode(tag))
        }
        Seal::Broken => {
            let token = key.sign(header, payload);
            let (input, signature) = token.rsplit_once('.').unwrap_or_default();
            let mut signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
            // Not in the first or last byte of a number, so that it stays in its range.
            let at = signature.len() / 3;
            if let Some(byte) = signature.get_mut(at) {
                *byte ^= 1;
            }
            format!("{input}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
        }
    }
}
fn text(object: &Map<String, Value>) -> String {
    Value::Object(object.clone()).to_string()
}

fn replace_payload(
    token: &str,
    mut claims: Map<String, Value>,
    name: &str,
    value: &Value,
) -> String {
    claims.insert(name.into(), value.clone());
    let (header, rest) = token.split_once('.').unwrap_or_default();
    let (_, signature) = rest.split_once('.').unwrap_or_default();
    format!("{header}.{}.{signature}", BASE64_URL_SAFE_NO_PAD.encode(text(&claims)))
}
