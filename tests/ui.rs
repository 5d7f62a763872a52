//! What must not compile, and what the compiler says then. Each case of `tests/ui/fail` has a twin
//! of the same name in `tests/ui/pass` that differs only in what is wrong.
#![cfg(all(feature = "axum", feature = "test-util"))]

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn mistakes_do_not_compile_and_their_twins_do() {
    let cases = |folder: &str| -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui").join(folder);
        let names = std::fs::read_dir(folder).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".rs")).collect()
    };
    assert!(!cases("fail").is_empty());
    assert_eq!(cases("fail"), cases("pass"));

    let compiler = trybuild::TestCases::new();
    compiler.pass("tests/ui/pass/*.rs");
    compiler.compile_fail("tests/ui/fail/*.rs");
}
