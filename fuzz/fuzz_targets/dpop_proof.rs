//! The field `DPoP` of a request; or a header and claims of a proof, which the target completes and signs, so
//! that what lies behind the signature is reached as well. What is accepted must satisfy a second, simpler
//! reader.
#![no_main]

use std::sync::LazyLock;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use http::{HeaderValue, Uri};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use tower_bearer_fuzz::{Bound, NOW, hash, is_strict, thumbprint};

static WORLD: LazyLock<Bound> = LazyLock::new(Bound::new);

/// The usual members, and over them those of the input.
fn over(usual: Value, input: &[u8]) -> Option<String> {
    let changes: Map<String, Value> = serde_json::from_slice(input).ok()?;
    let mut all = usual;
    for (name, value) in changes {
        all[name] = value;
    }
    Some(all.to_string())
}

/// `1`, a header, NUL, claims: completed and signed. `2`: signed as they are. Anything else: a field, after
/// the first byte.
fn field(data: &[u8]) -> Option<Vec<u8>> {
    let (kind, rest) = data.split_first()?;
    if !matches!(kind, b'1' | b'2') {
        return Some(rest.to_vec());
    }
    let at = rest.iter().position(|byte| *byte == 0)?;
    let (header, claims) = (rest.get(..at)?, rest.get(at + 1..)?);
    let world = &*WORLD;
    let (header, claims) = match kind {
        b'1' => {
            let jwk = world.client.public_jwk();
            let jwk = json!({ "kty": jwk["kty"], "crv": jwk["crv"], "x": jwk["x"] });
            let usual = json!({
                "jti": "j", "htm": "GET", "htu": "https://api.example/a", "iat": NOW, "ath": hash(world.token.as_bytes()),
            });
            (
                over(json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk }), header)?,
                over(usual, claims)?,
            )
        }
        _ => (String::from_utf8(header.to_vec()).ok()?, String::from_utf8(claims.to_vec()).ok()?),
    };
    Some(world.client.sign(header, claims).into_bytes())
}

fn check_accepted(field: &[u8]) {
    let text = std::str::from_utf8(field).unwrap();
    let parts: Vec<_> =
        text.split('.').map(|it| BASE64_URL_SAFE_NO_PAD.decode(it).unwrap()).collect();
    let [header, claims, _] = parts.as_slice() else { panic!("{} parts", parts.len()) };
    assert!(is_strict(header) && is_strict(claims));
    let header: Value = serde_json::from_slice(header).unwrap();
    let claims: Value = serde_json::from_slice(claims).unwrap();
    let typ = header["typ"].as_str().unwrap().to_ascii_lowercase();
    assert!(typ == "dpop+jwt" || typ == "application/dpop+jwt");
    assert!(header["alg"] == "EdDSA" || header["alg"] == "Ed25519");
    assert!(header.get("crit").is_none() && header.get("enc").is_none());
    let jwk = header["jwk"].as_object().unwrap();
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        assert!(!jwk.contains_key(private), "{private}");
    }
    assert_eq!(thumbprint(&header["jwk"]), WORLD.jkt);
    assert!(!claims["jti"].as_str().unwrap().is_empty());
    assert_eq!(
        (&claims["htm"], &claims["ath"]),
        (&json!("GET"), &json!(hash(WORLD.token.as_bytes())))
    );
    assert!(claims["htu"].is_string());
    let iat = claims["iat"].as_f64().unwrap().floor();
    assert!((iat - NOW as f64).abs() <= 65.0);
}

fuzz_target!(|data: &[u8]| {
    let Some(field) = field(data) else { return };
    let Ok(value) = HeaderValue::from_bytes(&field) else { return };
    if WORLD.accepts(Uri::from_static("/a"), value) {
        check_accepted(&field);
    }
});
