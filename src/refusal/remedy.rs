//! What an operator can do about each refusal: the one exhaustive table.

#![deny(clippy::wildcard_enum_match_arm)]

use crate::refusal::fault::Refusal;
use crate::refusal::kind::{RejectionKind, UnavailableReason};

impl RejectionKind {
    /// Returns what can be done about it, and the setting that would help if the token should have
    /// been accepted: one sentence for the operator, never for callers.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NoCredentials => {
                "callers must send \"Authorization: Bearer <token>\"; if they do, a proxy in front \
                 removes the field"
            }
            Self::MalformedCredentials => {
                "callers must send one token after \"Bearer \", without quotes or spaces in it"
            }
            Self::MultipleCredentials => {
                "callers must send the token once; a proxy in front may add a second Authorization \
                 field"
            }
            Self::AmbiguousPath => {
                "callers must send paths without dot segments, double slashes and encoded slashes, \
                 or a proxy in front must normalize them"
            }
            Self::TokenTooLong => {
                "raise ValidatorBuilder::max_token_bytes, or have the issuer put less into tokens"
            }
            Self::MalformedToken => {
                "callers must send the whole token; if the issuer's tokens are opaque, accept them with \
                 introspection, or have it issue JWTs for this audience"
            }
            Self::EncryptedToken => "have the issuer sign access tokens and not encrypt them",
            Self::UnsupportedAlgorithm => {
                "if the issuer signs with this algorithm, add it to ValidatorBuilder::algorithms; \
                 else have it sign with an accepted one"
            }
            Self::UnsupportedCritical => {
                "have the issuer leave critical extensions (crit, b64) out of the header"
            }
            Self::WrongType => {
                "callers must send an access token; if the issuer's have another typ, leave \
                 ValidatorBuilder::require_typ and rfc9068 out"
            }
            Self::IdToken => "callers must send the access token in place of the ID token",
            Self::SenderConstrained => {
                "the client must show the key (DPoP) or certificate, and ValidatorBuilder::dpop or mtls \
                 accept it; else have the issuer give this client tokens that aren't bound (no cnf)"
            }
            Self::TokenNotBound => {
                "have the issuer bind this client's tokens, or leave out what requires it here \
                 (Dpop::require, require_dpop, require_bound, fapi2)"
            }
            Self::CertificateMissing => {
                "the client must connect with the certificate that it got the token with; a proxy in \
                 front must be trusted, request it and pass it on"
            }
            Self::CertificateMismatch => {
                "the client must connect with the certificate that it got the token with, or get a new \
                 token after it has changed"
            }
            Self::CertificateMalformed => {
                "choose the ClientCertHeader of the proxy in front, and have it replace what clients \
                 send in that header"
            }
            Self::DpopKeyMismatch => {
                "the client must sign the proof with the key that its token is bound to"
            }
            Self::DpopProofMissing => {
                "the client must send exactly one DPoP field; a proxy in front may remove or double it"
            }
            Self::DpopProofMalformed => "the client must send a proof by RFC 9449 §4.2",
            Self::DpopProofMismatch => {
                "the client must make the proof for this method, address and token; behind a proxy, set \
                 the public address"
            }
            Self::DpopProofOutOfTime => {
                "the client must make a new proof for each request, and its clock must be right"
            }
            Self::DpopProofBadSignature => {
                "the client must sign the proof with the key that it names"
            }
            Self::DpopProofReplayed => "the client must make a new proof for each request",
            Self::DpopNonceRequired => {
                "nothing: the client repeats the request with the nonce of the answer"
            }
            Self::UnknownKey => {
                "compare issuer and environment: if the issuer is right, its key set lacks the key \
                 that it signs with; Jwks::status lists the keys, and why some are ignored"
            }
            Self::AmbiguousKey => "have the issuer put a kid into its tokens and its keys",
            Self::BadSignature => {
                "check that the token arrives whole and unchanged from this issuer; with a shared \
                 secret, that both sides have the same one"
            }
            Self::Inactive => {
                "clients must get a new token: this one has expired, was revoked, or is another \
                 environment's; some servers say so too if this service may not ask about it"
            }
            Self::WrongIssuer => {
                "if the presented issuer is the right one, give it to Validator::builder exactly so, \
                 trailing slash and all, or to also_issuer; else the client uses another environment"
            }
            Self::IssuerNotAllowed => {
                "the route accepts tokens of other issuers only: give the client one of those, or let the \
                 route accept this one"
            }
            Self::WrongAudience => {
                "if the presented audience means this service, give it to Validator::builder or \
                 also_audience exactly so, trailing slash and all; else have the issuer put the expected \
                 one into aud"
            }
            Self::Expired => {
                "clients must get a new token before exp; if the token is new, a clock is wrong: \
                 synchronize it (ValidatorBuilder::leeway allows up to 300 s)"
            }
            Self::NotYetValid => {
                "a clock is wrong: synchronize it (ValidatorBuilder::leeway allows up to 300 s)"
            }
            Self::TooOld => {
                "clients must get a new token sooner, or raise ValidatorBuilder::max_age"
            }
            Self::MissingClaim => {
                "have the issuer add the claim, or leave out what requires it: \
                 ValidatorBuilder::require_claim, rfc9068 or max_age; for tokens without aud see \
                 dangerous_clients_without_audience"
            }
            Self::MalformedClaim => {
                "have the issuer send the claim in its standard form, or change the type given to \
                 ValidatorBuilder::claims"
            }
            Self::InsufficientScope => {
                "grant the client the scope at the issuer; if the token has it in another claim, set \
                 ValidatorBuilder::scope_source"
            }
            Self::MalformedMessage => {
                "callers must send one JSON-RPC message without a name twice in an object"
            }
            Self::MessageTooLarge => {
                "callers must send shorter messages, or raise the limit of the MCP layer"
            }
            Self::MessageTimedOut => {
                "callers must send the body sooner, or raise the time that the MCP layer waits"
            }
            Self::UnknownSession => {
                "callers must begin an MCP session of their own; a session ends with its service"
            }
            Self::InsufficientLogin => {
                "the user must log in again as the challenge says (acr_values, max_age); else relax \
                 the route's conditions"
            }
            Self::ClaimRefused => {
                "have the issuer put an allowed value into the claim, or relax the route's conditions"
            }
            Self::WrongClient => {
                "add the client to the route's conditions; its id is where \
                 ValidatorBuilder::client_id_source says"
            }
            Self::ExchangeRefused => {
                "clients must get a new token: the authorization server doesn't accept this one (any more) as the subject of an exchange; the event client_retrieval_failed has its answer"
            }
            Self::ExchangeForbidden => {
                "at the authorization server, let the user and this service have tokens for the target and the scopes that OnBehalf asks for; the event client_retrieval_failed has its answer"
            }
            Self::Denied => {
                "give the route an entry in the RouteTable, or change BearerAuthLayer::fallback"
            }
        }
    }
}

impl UnavailableReason {
    /// Returns what can be done about it: one sentence for the operator, never for callers.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::KeysNotLoaded => {
                "make the issuer's keys reachable from here; the event jwks_fetch_failed has the \
                 address, the cause and the setting"
            }
            Self::KeysExpired => {
                "make the issuer's keys reachable from here; JwksBuilder::max_stale is how long old keys \
                 serve"
            }
            Self::RefreshFailed => {
                "make the issuer's keys reachable from here: the token names a key that must be fetched"
            }
            Self::RefreshTimedOut => {
                "the issuer answers slowly: JwksBuilder::request_wait is how long a request waits"
            }
            Self::RateLimited => {
                "nothing, if callers make up key ids; else the issuer signs with a key that its key \
                 set lacks"
            }
            Self::ServiceNotReady => {
                "the inner service is overloaded, or the deadline of the gRPC call is too short"
            }
            Self::TenantUnavailable => "make what the resolver of tenants asks reachable from here",
            Self::ReplayStoreFull => {
                "if one caller sends a flood of proofs, set Dpop::replay_quota; else let the record be larger"
            }
            Self::ReplayQuotaUsedUp => {
                "nothing, if that caller sends a flood of proofs; else raise Dpop::replay_quota"
            }
            Self::ReplayStoreFailed => "make the shared record of used proofs reachable from here",
            Self::IntrospectionFailed => {
                "make the introspection endpoint reachable from here; the event introspection_failed \
                 has the address, the cause and the setting"
            }
            Self::IntrospectionDenied => {
                "have the issuer accept this service's own client id and secret or key, as given to \
                 Introspection"
            }
            Self::IntrospectionOverloaded => {
                "nothing, if callers make up tokens; else let Introspection ask more at once, or \
                 remember answers longer"
            }
            Self::ExchangeFailed => {
                "make the token endpoint reachable from here, and have it accept this service's own client and grant; the event client_retrieval_failed has the cause"
            }
            Self::ShutDown => "send no requests here any more: Jwks::shutdown was called",
        }
    }
}

impl Refusal {
    /// Returns what can be done about it: one sentence for the operator, never for callers.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Rejection(rejection) => rejection.kind().remedy(),
            Self::Unavailable(unavailable) => unavailable.reason().remedy(),
            Self::Misconfigured(_) => "change the program as the error says",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_remedy_is_one_short_sentence() {
        let kinds = RejectionKind::ALL.iter().map(|kind| kind.remedy());
        let reasons = UnavailableReason::ALL.iter().map(|reason| reason.remedy());
        for remedy in kinds.chain(reasons) {
            assert!(remedy.len() <= 200 && !remedy.ends_with('.'), "{remedy}");
            assert!(!remedy.contains("  ") && !remedy.contains('\n'), "{remedy}");
        }
    }
}
