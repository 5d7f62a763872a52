//! A key set, of which every key is made ready to verify.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_bearer::__private::count_keys;
use tower_bearer::jose::Backend;
use tower_bearer::jwks::Jwks;
use tower_bearer_fuzz::ISSUER;

fuzz_target!(|data: &[u8]| {
    let aws = count_keys(data, Backend::AwsLcRs);
    let rust = count_keys(data, Backend::RustCrypto);
    assert_eq!(aws.is_some(), rust.is_some());
    if let (Some((used, ignored)), Some((fewer, more))) = (aws, rust) {
        assert_eq!(used + ignored, fewer + more);
        // It has neither P-521 nor RSA beyond 4096 bits.
        assert!(fewer <= used, "only rust-crypto takes a key: {fewer} of {used}");
    }
    // A byte order mark at the beginning changes nothing, but a second one is no JSON.
    const MARK: &[u8] = b"\xef\xbb\xbf";
    let marked = count_keys(&[MARK, data].concat(), Backend::AwsLcRs);
    assert_eq!(marked, aws.filter(|_| !data.starts_with(MARK)));
    if let Ok(text) = std::str::from_utf8(data) {
        let built = Jwks::static_set(ISSUER, text);
        assert_eq!(built.is_ok(), aws.is_some_and(|(used, _)| used > 0));
    }
});
