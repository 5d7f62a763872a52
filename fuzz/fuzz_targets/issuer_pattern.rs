//! A pattern for the issuers of tenants, and the `iss` of a token, which the resolver is asked for only if it
//! matches. The first line is the pattern, and the rest is the `iss`.
#![no_main]

use std::sync::{Arc, LazyLock, Mutex};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower_bearer::Validator;
use tower_bearer::issuers::{Tenant, Tenants};
use tower_bearer_fuzz::FixedClock;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().unwrap());

/// The pattern with these texts in place of its placeholders, one after the other.
fn filled<'a>(pattern: &str, mut names: impl Iterator<Item = &'a str>) -> String {
    let mut parts = pattern.split('{');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (_, after) = part.split_once('}').expect("an end");
        text.push_str(names.next().expect("a name for each placeholder"));
        text.push_str(after);
    }
    assert_eq!(names.next(), None);
    text
}

fuzz_target!(|data: &str| {
    let Some((pattern, iss)) = data.split_once('\n') else { return };
    let asked: Arc<Mutex<Vec<Tenant>>> = Arc::default();
    let seen = Arc::clone(&asked);
    let tenants = Tenants::new(pattern, move |tenant: Tenant| {
        seen.lock().unwrap().push(tenant);
        async { Ok(None) }
    });
    let Ok(validator) = Validator::issuers([]).tenants(tenants).clock(FixedClock).build() else {
        return;
    };
    let claims = serde_json::json!({ "iss": iss, "aud": "a", "exp": 1_900_000_000 }).to_string();
    let [header, claims] =
        [r#"{"alg":"EdDSA"}"#, &claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    let token = format!("{header}.{claims}.AA");
    assert!(RUNTIME.block_on(validator.validate(&token)).is_err());
    for tenant in &*asked.lock().unwrap() {
        assert_eq!(tenant.issuer(), iss);
        assert_eq!(filled(pattern, tenant.names()), iss);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        assert!(tenant.names().all(|name| !name.is_empty() && name.chars().all(plain)));
        assert!(!iss.contains(['?', '#', '@', '\\', '\0', ' ']) && iss.is_ascii());
    }
});
