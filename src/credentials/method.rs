//! The ways in which a client authenticates, and what differs between them.

#![deny(clippy::wildcard_enum_match_arm)]

use crate::credentials::assertion::Assertion;
use crate::credentials::basic::BasicEncoding;
#[cfg(feature = "client")]
use crate::credentials::fingerprinted::FingerprintedSecret;
use crate::credentials::source::SecretSource;
use crate::credentials::workload::WorkloadToken;
use crate::digest::{Digest, Parts};

/// A way to authenticate, with what is needed for it.
///
/// The matches in this file and in `authentication` have no wildcard, so that each must decide on a new way.
/// Tests then ask for its parameters in the client's `RESERVED` and for its name in `KNOWN` of
/// `client::grant::metadata`. `testing::AuthMethod`, of the embedded issuer, needn't have it.
#[derive(Clone, Debug)]
pub(crate) enum AuthMethod {
    Basic(SecretSource, BasicEncoding),
    Body(SecretSource),
    PrivateKey(Assertion),
    SecretJwt(Assertion),
    Workload(WorkloadToken, AssertionType),
    Tls,
    None,
}

/// The `client_assertion_type` of a workload's token.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AssertionType {
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer` (RFC 7523 §2.2).
    #[default]
    JwtBearer,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-spiffe`, for JWT-SVIDs
    /// (draft-ietf-oauth-spiffe-client-auth).
    JwtSpiffe,
}

impl AssertionType {
    pub(crate) const fn urn(self) -> &'static str {
        match self {
            Self::JwtBearer => "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            Self::JwtSpiffe => "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
        }
    }
}

impl AuthMethod {
    /// Returns the name in the IANA registry "OAuth Token Endpoint Authentication Methods".
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Basic(..) => "client_secret_basic",
            Self::Body(_) => "client_secret_post",
            Self::PrivateKey(_) | Self::Workload(_, AssertionType::JwtBearer) => "private_key_jwt",
            Self::Workload(_, AssertionType::JwtSpiffe) => "spiffe_jwt",
            Self::SecretJwt(_) => "client_secret_jwt",
            Self::Tls => "tls_client_auth",
            Self::None => "none",
        }
    }

    /// Returns `true` if the client authenticates by the transport's TLS certificate. Its tokens may be
    /// bound to that (RFC 8705 §3).
    pub(crate) const fn is_by_certificate(&self) -> bool {
        match self {
            Self::Tls => true,
            Self::Basic(..)
            | Self::Body(_)
            | Self::PrivateKey(_)
            | Self::SecretJwt(_)
            | Self::Workload(..)
            | Self::None => false,
        }
    }

    /// Returns `true` if servers that accept this way list it in their metadata: those that accept a
    /// platform's tokens often don't.
    #[cfg(feature = "client")]
    pub(crate) const fn is_advertised(&self) -> bool {
        match self {
            Self::Basic(..)
            | Self::Body(_)
            | Self::PrivateKey(_)
            | Self::SecretJwt(_)
            | Self::Tls => true,
            Self::Workload(..) | Self::None => false,
        }
    }

    /// Returns `true` if the client doesn't authenticate.
    pub(crate) const fn is_none(&self) -> bool {
        match self {
            Self::None => true,
            Self::Basic(..)
            | Self::Body(_)
            | Self::PrivateKey(_)
            | Self::SecretJwt(_)
            | Self::Workload(..)
            | Self::Tls => false,
        }
    }

    /// Returns `true` if the server has the same secret.
    pub(crate) const fn shares_secret(&self) -> bool {
        match self {
            Self::Basic(..) | Self::Body(_) | Self::SecretJwt(_) => true,
            Self::PrivateKey(_) | Self::Workload(..) | Self::Tls | Self::None => false,
        }
    }

    #[cfg(feature = "client")]
    pub(crate) const fn assertion(&self) -> Option<&Assertion> {
        match self {
            Self::PrivateKey(assertion) | Self::SecretJwt(assertion) => Some(assertion),
            Self::Basic(..) | Self::Body(_) | Self::Workload(..) | Self::Tls | Self::None => None,
        }
    }

    pub(crate) const fn source(&self) -> Option<&SecretSource> {
        match self {
            Self::Basic(source, _) | Self::Body(source) => Some(source),
            Self::PrivateKey(assertion) | Self::SecretJwt(assertion) => assertion.source(),
            Self::Workload(token, _) => Some(token.source()),
            Self::Tls | Self::None => None,
        }
    }

    /// Returns what distinguishes the secret or key from others in this process, whose cache keeps their
    /// tokens apart.
    pub(crate) fn identity(&self) -> Digest {
        match self {
            Self::Basic(source, _) | Self::Body(source) => source.identity(),
            Self::PrivateKey(assertion) | Self::SecretJwt(assertion) => assertion.key_identity(),
            Self::Workload(token, _) => token.source().identity(),
            Self::Tls | Self::None => Digest::default(),
        }
    }

    /// Returns what distinguishes the holder of the secret from others in all processes: the shared store
    /// names tokens by it, so it is the same in each process of one client.
    #[cfg(feature = "client")]
    pub(crate) fn holder(&self, known: Option<&FingerprintedSecret>) -> Digest {
        let Some(known) = known else { return Digest::default() };
        match self {
            Self::Basic(..) | Self::Body(_) | Self::PrivateKey(_) | Self::SecretJwt(_) => {
                *known.fingerprint()
            }
            // Each process has its own token, which changes after a while.
            Self::Workload(..) => WorkloadToken::holder(known),
            Self::Tls | Self::None => Digest::default(),
        }
    }

    /// Adds what else distinguishes clients, except the secret. It must differ for any two that send
    /// different requests, since they would share tokens otherwise.
    pub(crate) fn distinguish(&self, parts: Parts) -> Parts {
        match self {
            Self::Basic(_, encoding) => parts.part(format!("{encoding:?}")),
            Self::PrivateKey(assertion) | Self::SecretJwt(assertion) => {
                parts.list(assertion.distinction().into_iter())
            }
            Self::Workload(..) => parts.part("workload"),
            Self::Body(_) | Self::Tls | Self::None => parts,
        }
    }
}
