//! A list of scopes (RFC 6749 section 3.3), against a second, simpler reader.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use tower_bearer::{Implications, Requirement, Scope, ScopeSet};

fn is_scope(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

fuzz_target!(|text: &str| {
    let set = ScopeSet::parse(text);
    let simple: BTreeSet<&str> = text.split(' ').filter(|word| is_scope(word)).collect();
    assert_eq!(set.iter().collect::<BTreeSet<_>>(), simple);
    assert_eq!(set.iter().count(), simple.len(), "a scope is there twice");
    assert_eq!(set.is_empty(), simple.is_empty());

    // What is printed reads as the same again.
    assert_eq!(ScopeSet::parse(&set.to_string()), set);

    let none = Implications::default();
    for word in text.split(' ') {
        assert_eq!(Scope::new(word).is_ok(), is_scope(word), "{word:?}");
        assert_eq!(set.contains(word), is_scope(word), "{word:?}");
    }
    let all = Requirement::all(set.iter().map(|word| Scope::new(word).unwrap()));
    assert!(all.is_met_by(&set, &none));
    assert_eq!(all.sufficient_for(&ScopeSet::parse(""), &none), set);
    assert_eq!(all.is_met_by(&ScopeSet::parse(""), &none), set.is_empty());
});
