//! Writes the JSON document from the metadata and what the layer adds to it.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serializer;
use serde_json::Value;

use crate::metadata::description::{ResourceMetadata, Scopes};
use crate::metadata::metadata_url::check_url;
use crate::metadata::servers::{AuthorizationServers, KnownIssuers};
use crate::scope::ScopeSet;
use crate::telemetry::event;

/// What a layer adds to the metadata.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) issuers: AuthorizationServers,
    pub(crate) scopes: ScopeSet,
    /// The algorithms that DPoP proofs may be signed with, if proofs are accepted.
    pub(crate) proofs: Vec<String>,
    /// Whether all tokens must come with a proof.
    pub(crate) all_are_proved: bool,
    /// Whether tokens may be bound to a certificate.
    pub(crate) certificates: bool,
}

impl ResourceMetadata {
    /// Writes the document (RFC 9728 §2). `issuers` are the validator's.
    pub(crate) fn document(&self, facts: &Facts, issuers: &KnownIssuers) -> Bytes {
        let mut members: Vec<(Cow<'_, str>, Value)> = Vec::new();
        let mut list = |name: &'static str, values: Vec<&str>| {
            // Arrays without elements are left out (RFC 9728 §3.2).
            if !values.is_empty() {
                members.push((name.into(), values.into()));
            }
        };
        list("authorization_servers", self.issuers(issuers));
        list("scopes_supported", self.listed_scopes(facts));
        list("bearer_methods_supported", vec!["header"]);
        let proofs = facts.proofs.iter().map(String::as_str).collect();
        list("dpop_signing_alg_values_supported", proofs);
        if facts.all_are_proved {
            members.push(("dpop_bound_access_tokens_required".into(), true.into()));
        }
        if facts.certificates {
            members.push(("tls_client_certificate_bound_access_tokens".into(), true.into()));
        }
        let resource = std::iter::once(("resource".into(), (*self.place.resource).into()));
        let all = resource.chain(members).chain(self.members.iter().cloned());
        let mut json = serde_json::Serializer::new(Vec::new());
        // Writing text to a vector can't fail.
        let _ = json.collect_map(all);
        json.into_inner().into()
    }

    /// Logs a warning for what the document can't list, and if it names no authorization server at all.
    pub(crate) fn check_issuers(&self, of_layer: &KnownIssuers) {
        let patterns = match &self.authorization_servers {
            Some(_) => &[][..],
            None => &*of_layer.patterns,
        };
        for _pattern in patterns {
            event!(
                WARN,
                issuers = %_pattern,
                "metadata_issuers_unknown: the metadata lists none of these issuers, since their names aren't \
                 known: name those that clients may use with ResourceMetadataBuilder::authorization_servers"
            );
        }
        if patterns.is_empty() && self.issuers(of_layer).is_empty() {
            event!(
                WARN,
                "metadata_no_authorization_server: no issuer is an https URL: name those that clients can reach \
                 with ResourceMetadataBuilder::authorization_servers"
            );
        }
    }

    /// Returns the authorization servers: an issuer that is no URL, such as a SPIFFE trust domain, isn't
    /// one.
    fn issuers<'a>(&'a self, of_layer: &'a KnownIssuers) -> Vec<&'a str> {
        let issuers = self.authorization_servers.as_deref().unwrap_or(&of_layer.names);
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
