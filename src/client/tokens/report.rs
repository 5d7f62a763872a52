//! What is counted and logged of fetches.

use crate::client::grant::definition::Grant;
use crate::client::grant::error::TokenError;
use crate::client::tokens::callers::Callers;
use crate::clock::monotonic;
use crate::telemetry::{count, event};

/// Counts a fetch that has ended.
pub(crate) fn ended(grant: &Grant, result: &'static str) {
    let [issuer, tenant] = grant.party().labels();
    count!(
        "tower_bearer_client_fetches_total",
        "result" => result,
        "issuer" => issuer,
        "tenant" => tenant
    );
}

/// Counts and logs a fetch that has failed. Of those on behalf of callers, of whom there may be thousands a second,
/// some are logged.
pub(crate) fn failed(grant: &Grant, error: &TokenError, callers: Option<&Callers>) {
    ended(grant, error.label());
    let times = callers.map_or(Some(1), |callers| callers.failed(error, monotonic()));
    if let Some(_times) = times {
        event!(
            WARN,
            host = grant.host(),
            client_id = grant.client_id(),
            tenant = error.tenant(),
            issuer = error.issuer(),
            endpoint = error.token_endpoint(),
            permanent = error.is_permanent(),
            error = %crate::cause::Report(error),
            times = _times,
            "client_retrieval_failed: no token could be obtained"
        );
    }
}
