//! A token, or a header and a payload that are then signed properly, so that what lies behind the
//! signature is reached as well. Both backends must decide the same, and what is accepted must
//! satisfy a second, simpler reader.
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower_bearer::Validator;
use tower_bearer::jose::Backend;
use tower_bearer_fuzz::{AUDIENCE, Extra, ISSUER, NOW, at_once, is_strict, validator};

static VALIDATORS: LazyLock<[Validator<Extra>; 2]> =
    LazyLock::new(|| [validator(Backend::AwsLcRs), validator(Backend::RustCrypto)]);

static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| {
    let pem = include_str!("../../fixtures/keys/ed25519.pem");
    let der = STANDARD.decode(pem.lines().nth(1).unwrap()).unwrap();
    Ed25519KeyPair::from_seed_unchecked(&der[der.len() - 32..]).unwrap()
});

/// `1`, a header, NUL, a payload: signed. Anything else: a token, after the first byte.
fn token(data: &[u8]) -> Option<String> {
    let (kind, rest) = data.split_first()?;
    if *kind != b'1' {
        return std::str::from_utf8(rest).ok().map(str::to_owned);
    }
    let at = rest.iter().position(|byte| *byte == 0)?;
    let (header, payload) = (&rest[..at], &rest[at + 1..]);
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(KEY.sign(message.as_bytes()));
    Some(format!("{message}.{signature}"))
}

fn check_accepted(token: &str, extra: &Extra, has_es512: bool) {
    let segments: Vec<_> = token.split('.').map(|it| URL_SAFE_NO_PAD.decode(it).unwrap()).collect();
    let [header, claims, _] = segments.as_slice() else { panic!("{} segments", segments.len()) };
    assert!(is_strict(header) && is_strict(claims));
    let header: Value = serde_json::from_slice(header).unwrap();
    let claims: Value = serde_json::from_slice(claims).unwrap();
    assert_eq!(claims.as_object(), Some(extra), "the application sees what was checked");
    assert!(has_es512 || header["alg"] != "ES512");
    assert!(!header["alg"].as_str().unwrap().starts_with("HS"));
    assert!(header.get("crit").is_none() && header.get("enc").is_none());
    assert_eq!(claims["iss"], ISSUER);
    let aud = &claims["aud"];
    assert!(
        aud == AUDIENCE || aud.as_array().is_some_and(|all| all.iter().any(|one| one == AUDIENCE))
    );
    let now = NOW as f64;
    assert!(claims["exp"].as_f64().unwrap() + 60.0 > now);
    assert!(claims.get("nbf").is_none_or(|nbf| nbf.as_f64().unwrap() - 60.0 <= now));
    for absent in ["cnf", "at_hash", "c_hash", "s_hash", "events"] {
        assert!(claims.get(absent).is_none(), "{absent}");
    }
    let text = |claim: &str| claims.get(claim).map(|value| value.as_str().unwrap());
    assert!(text("token_use").is_none_or(|it| it.eq_ignore_ascii_case("access")));
    let other = ["ID", "Logout", "Refresh", "Offline"];
    assert!(text("typ").is_none_or(|it| !other.iter().any(|typ| typ.eq_ignore_ascii_case(it))));
}

fuzz_target!(|data: &[u8]| {
    let Some(token) = token(data) else { return };
    let [aws, rust] = VALIDATORS.each_ref().map(|validator| {
        let checked = at_once(validator.validate(&token));
        if let Err(refusal) = &checked {
            let _ = refusal.to_string();
        }
        let explanation = at_once(validator.explain(&token));
        assert_eq!(explanation.refusal(), checked.as_ref().err());
        let printable = |c: char| matches!(c, ' '..='~' | '\n' | '…');
        assert!(explanation.to_string().chars().all(printable));
        checked
            .map(|token| (token.scopes().to_string(), token.extra().clone()))
            .map_err(|refusal| refusal.code())
    });
    if aws != rust {
        // The one difference there is: `rust-crypto` has no ES512.
        assert_eq!(rust, Err("unsupported_algorithm"), "{aws:?}");
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&header).unwrap()["alg"], "ES512");
    }
    if let Ok((_, extra)) = &aws {
        check_accepted(&token, extra, true);
    }
});
