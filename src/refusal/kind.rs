//! The kinds of rejections and of unavailability, each with its code and its sentence.

macro_rules! codes {
    ($(#[$enum_doc:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal, $summary:literal;)+ }) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns a stable, machine-readable code, for logs and metrics.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            pub(crate) const fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary,)+ }
            }
        }
    };
}

codes! {
    /// The kinds of [`Rejection`](crate::Rejection).
    RejectionKind {
        /// No bearer token came with the request.
        NoCredentials = "no_credentials", "the request has no bearer token";
        /// The `Authorization` field of the Bearer scheme breaks its grammar (RFC 6750 §2.1).
        MalformedCredentials = "malformed_credentials", "the Authorization field is malformed";
        /// More than one `Authorization` field, or more than one way to send a token.
        MultipleCredentials = "multiple_credentials", "more than one Authorization field was sent";
        /// The path can be read in two ways, and a route table is set.
        AmbiguousPath = "ambiguous_path", "the path can be read in two ways";
        /// The token is longer than allowed.
        TokenTooLong = "token_too_long", "the token is longer than allowed";
        /// The token isn't a compact JWS of two JSON objects (RFC 7515 §7.1, RFC 7519 §7.2).
        MalformedToken = "malformed_token", "the token isn't a well-formed JWT";
        /// The token is encrypted (RFC 7516), or nested.
        EncryptedToken = "encrypted_token", "the token is encrypted or nested";
        /// `alg` isn't one that is accepted; `none` never is.
        UnsupportedAlgorithm = "unsupported_algorithm", "the token's alg isn't accepted";
        /// The header has a critical extension (RFC 7515 §4.1.11) or one that changes the signature.
        UnsupportedCritical = "unsupported_critical", "the token's header has a critical extension";
        /// The token says that it is no access token: by the header's `typ`, by a claim `typ` or
        /// `token_use`, or by the `events` of a security event (RFC 8417), such as a logout.
        WrongType = "wrong_type", "the token's type isn't accepted";
        /// The token is an ID token: it has a claim that only ID tokens have (`at_hash`, `c_hash`,
        /// `s_hash`), or one that says so (`typ`, `token_use`).
        IdToken = "id_token", "the token is an ID token";
        /// The token is bound to a key or certificate (`cnf`), and was sent as a mere bearer token.
        SenderConstrained = "sender_constrained", "the token is bound to a key or certificate that wasn't shown";
        /// The token isn't bound to a key of the client, and was sent with the scheme `DPoP`, or to a
        /// route that accepts only such tokens (RFC 9449 §7.2); or it is bound to nothing, where only
        /// bound tokens are accepted.
        TokenNotBound = "token_not_bound", "the token isn't bound to a key or certificate of the client";
        /// The token is bound to a certificate (RFC 8705 §3), and the client has shown none.
        CertificateMissing = "certificate_missing", "the token is bound to a certificate that wasn't shown";
        /// The token is bound to another certificate than the client has shown (RFC 8705 §3).
        CertificateMismatch = "certificate_mismatch", "the token is bound to another certificate than the client's";
        /// The token is bound to a certificate, and what the proxy in front sent about the client's can't be
        /// read.
        CertificateMalformed = "certificate_malformed", "the header with the client's certificate is malformed";
        /// The DPoP proof is signed with another key than the one that the token is bound to
        /// (RFC 9449 §7.1).
        DpopKeyMismatch = "dpop_key_mismatch", "the DPoP proof is signed with another key than the token is bound to";
        /// The token was sent with the scheme `DPoP`, without exactly one field `DPoP`.
        DpopProofMissing = "dpop_proof_missing", "the request doesn't have exactly one DPoP proof";
        /// The DPoP proof isn't a JWT of the form that RFC 9449 §4.2 says, or names a key or an
        /// algorithm that isn't accepted.
        DpopProofMalformed = "dpop_proof_malformed", "the DPoP proof is malformed";
        /// The DPoP proof is for another request or token: by `htm`, `htu` or `ath`.
        DpopProofMismatch = "dpop_proof_mismatch", "the DPoP proof is for another request or token";
        /// The DPoP proof is too old, or from the future: by `iat`, `exp` or `nbf`.
        DpopProofOutOfTime = "dpop_proof_out_of_time", "the DPoP proof is too old or from the future";
        /// The DPoP proof's signature is invalid.
        DpopProofBadSignature = "dpop_proof_bad_signature", "the DPoP proof's signature is invalid";
        /// The DPoP proof was used before.
        DpopProofReplayed = "dpop_proof_replayed", "the DPoP proof was used before";
        /// The DPoP proof is valid, but its nonce is missing, unknown or too old.
        DpopNonceRequired = "dpop_nonce_required", "the DPoP proof needs a nonce of this service";
        /// No key of the issuer has the token's `kid`, for this `alg`.
        UnknownKey = "unknown_key", "no key of the issuer fits the token";
        /// The token has no `kid`, and too many keys would fit.
        AmbiguousKey = "ambiguous_key", "the token has no kid and too many keys fit";
        /// The signature is invalid.
        BadSignature = "bad_signature", "the token's signature is invalid";
        /// The issuer was asked, and says that the token isn't active (RFC 7662 §2.2).
        Inactive = "inactive", "the issuer says that the token isn't active";
        /// `iss` isn't the configured issuer.
        WrongIssuer = "wrong_issuer", "the token has another issuer";
        /// `aud` doesn't hold the configured audience.
        WrongAudience = "wrong_audience", "the token is for another audience";
        /// `exp` has passed.
        Expired = "expired", "the token has expired";
        /// `nbf` is in the future; or `iat` is, where tokens have a maximum age.
        NotYetValid = "not_yet_valid", "the token isn't valid yet";
        /// `iat` is longer ago than the configured maximum.
        TooOld = "too_old", "the token was issued too long ago";
        /// A required claim is absent.
        MissingClaim = "missing_claim", "the token lacks a required claim";
        /// A claim isn't of its type.
        MalformedClaim = "malformed_claim", "a claim of the token is malformed";
        /// The token is valid but lacks a required scope.
        InsufficientScope = "insufficient_scope", "the token lacks a required scope";
        /// The token is valid, but of an issuer whose tokens aren't accepted here.
        IssuerNotAllowed = "issuer_not_allowed", "the token's issuer isn't accepted here";
        /// The body or the fields of an MCP request can't be read, or can be read in two ways.
        MalformedMessage = "malformed_message", "the MCP message can't be read in one way only";
        /// The body of an MCP request is longer than the MCP layer reads.
        MessageTooLarge = "message_too_large", "the MCP message is longer than allowed";
        /// The body of an MCP request didn't arrive in time.
        MessageTimedOut = "message_timed_out", "the MCP message didn't arrive in time";
        /// The MCP session belongs to another principal, or is unknown.
        UnknownSession = "unknown_session", "the MCP session isn't the caller's";
        /// The token is valid, but its user must log in again, or in a stronger way (RFC 9470 §3).
        InsufficientLogin = "insufficient_login", "the user's login is too old or too weak";
        /// The token is valid, but a claim doesn't have the value that the request requires.
        ClaimRefused = "claim_refused", "a claim of the token doesn't have an allowed value";
        /// The token is valid, but its client isn't among those allowed.
        WrongClient = "wrong_client", "the token's client isn't allowed";
        /// The token is valid, but its authorization server refuses to exchange it for another.
        ExchangeRefused = "exchange_refused", "the authorization server refuses to exchange the token";
        /// The token is valid, but its authorization server grants its caller no token for the service that
        /// the request needs.
        ExchangeForbidden = "exchange_forbidden", "the caller is granted no token for a service behind this one";
        /// The token is valid, but nothing is allowed here.
        Denied = "denied", "no token is allowed here";
    }
}

codes! {
    /// Why a token can't be checked at the moment.
    UnavailableReason {
        /// No key of the issuer has ever been loaded.
        KeysNotLoaded = "keys_not_loaded", "no key of the issuer has been loaded yet";
        /// The keys are too old to be trusted, and couldn't be refreshed.
        KeysExpired = "keys_expired", "the issuer's keys are too old to be trusted";
        /// The token's key is unknown, and the refresh that may have brought it failed.
        RefreshFailed = "refresh_failed", "the issuer's keys couldn't be refreshed";
        /// The token's key is unknown, and the refresh took longer than a request may wait.
        RefreshTimedOut = "refresh_timed_out", "refreshing the issuer's keys takes too long";
        /// The token's key is unknown, and the issuer can't be asked again soon enough. Made-up
        /// `kid`s lead here, too: no reason for an alert.
        RateLimited = "rate_limited", "the issuer's keys can't be refreshed again yet";
        /// The token's key arrived, but the inner service wasn't ready before the gRPC call's deadline.
        ServiceNotReady = "service_not_ready", "the inner service wasn't ready in time";
        /// The record of used DPoP proofs is full.
        ReplayStoreFull = "replay_store_full", "the record of used DPoP proofs is full";
        /// The caller's key has reached its quota of recorded DPoP proofs.
        ReplayQuotaUsedUp = "replay_quota_used_up", "too many DPoP proofs of one key are recorded";
        /// The DPoP proof couldn't be recorded, or not in time.
        ReplayStoreFailed = "replay_store_failed", "the record of used DPoP proofs can't be reached";
        /// The token's issuer may be a tenant, but the resolver failed, or didn't answer in time.
        TenantUnavailable = "tenant_unavailable", "it is unknown whether the token's issuer is a tenant";
        /// The issuer can't be asked about the token: it is down, or doesn't answer as it should.
        IntrospectionFailed = "introspection_failed", "the issuer can't be asked about the token";
        /// The issuer refuses this service's own credentials, or they can't be read.
        IntrospectionDenied = "introspection_denied", "this service's own credentials are refused or can't be read";
        /// Too many tokens are being asked about.
        IntrospectionOverloaded = "introspection_overloaded", "too many tokens are being asked about";
        /// No token was obtained on the caller's behalf.
        ExchangeFailed = "exchange_failed", "no token was obtained on the caller's behalf";
        /// The key source was shut down.
        ShutDown = "shut_down", "the key source was shut down";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct() {
        let mut codes: Vec<_> = RejectionKind::ALL.iter().map(|kind| kind.code()).collect();
        codes.extend(UnavailableReason::ALL.iter().map(|reason| reason.code()));
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }
}
