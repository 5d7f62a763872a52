use std::borrow::Cow;

use bytes::Bytes;
use serde::Serializer;
use serde_json::Value;

use crate::metadata::description::{ResourceMetadata, Scopes};
use crate::metadata::place::check_url;
use crate::scope::ScopeSet;

/// What a layer knows of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) issuers: Vec<String>,
    pub(crate) scopes: ScopeSet,
    /// The algorithms that DPoP proofs may be signed with, if any are accepted.
    pub(crate) proofs: Vec<String>,
    /// Whether all tokens must come with one.
    pub(crate) all_are_proved: bool,
}

impl ResourceMetadata {
    /// Writes the document (RFC 9728 §2).
    pub(crate) fn document(&self, facts: &Facts) -> Bytes {
        let mut members: Vec<(Cow<'_, str>, Value)> = Vec::new();
        let mut list = |name: &'static str, values: Vec<&str>| {
            // Arrays without elements are left out (RFC 9728 §3.2).
            if !values.is_empty() {
                members.push((name.into(), values.into()));
            }
        };
        list("authorization_servers", self.issuers(facts));
        list("scopes_supported", self.listed_scopes(facts));
        list("bearer_methods_supported", vec!["header"]);
        let proofs = facts.proofs.iter().map(String::as_str).collect();
        list("dpop_signing_alg_values_supported", proofs);
        if facts.all_are_proved {
            members.push(("dpop_bound_access_tokens_required".into(), true.into()));
        }
        let resource = std::iter::once(("resource".into(), (*self.place.resource).into()));
        let all = resource.chain(members).chain(self.members.iter().cloned());
        let mut json = serde_json::Serializer::new(Vec::new());
        // Names and values are text, and a vector takes what is written to it.
        let _ = json.collect_map(all);
        json.into_inner().into()
    }

    /// Returns the authorization servers: an issuer that is no URL, such as a SPIFFE trust domain, isn't
    /// one.
    fn issuers<'a>(&'a self, facts: &'a Facts) -> Vec<&'a str> {
        let issuers = self.authorization_servers.as_ref().unwrap_or(&facts.issuers);
        let issuers = issuers.iter().map(String::as_str);
        issuers.filter(|issuer| check_url("authorization server", issuer).is_ok()).collect()
    }

    fn listed_scopes<'a>(&'a self, facts: &'a Facts) -> Vec<&'a str> {
        let (known, own) = match &self.scopes {
            Scopes::Hidden => return Vec::new(),
            Scopes::Only(only) => (None, only),
            Scopes::And(own) => (Some([&facts.scopes, &self.challenge_scopes]), own),
        };
        let mut listed: Vec<&str> = Vec::new();
        for scope in known.into_iter().flatten().chain([own]).flat_map(ScopeSet::iter) {
            if scope != "offline_access" && !listed.contains(&scope) {
                listed.push(scope);
            }
        }
        listed
    }
}
