//! Recognizes JWTs that aren't access tokens, such as ID tokens (RFC 9068 §5, RFC 8725bis §3.11).

use std::borrow::Cow;

use crate::json::Value;
use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::text::Excerpt;

/// A claim that only other tokens than access tokens have, or that names their type.
#[derive(Debug)]
pub(crate) struct Mark<'a> {
    claim: &'static str,
    kind: Kind,
    /// `None` if it isn't a string, or isn't read.
    value: Option<Cow<'a, str>>,
}

/// What a mark says, the weakest first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Kind {
    /// An unknown type: an access token's only if the header says so.
    Unknown,
    /// Another token, whatever the header says.
    Other,
    /// An ID token, whatever the header says.
    IdToken,
}

/// Returns the name if the mere presence of the claim shows that the token isn't an access token: hashes
/// of what an ID token came with (OpenID Connect Core 1.0 §3.3.2.11, FAPI 1.0 Advanced §5.1.1), or
/// the events of a security event token (RFC 8417 §2.2), which logout tokens are.
///
/// `nonce` isn't among them: some servers copy it into access tokens.
pub(crate) fn telling_name(name: &str) -> Option<&'static str> {
    ["at_hash", "c_hash", "s_hash", "events"].into_iter().find(|telling| *telling == name)
}

/// Claims whose value names the token's type.
pub(crate) fn type_claim(name: &str) -> Option<&'static str> {
    ["typ", "token_use"].into_iter().find(|claim| *claim == name)
}

/// What `typ` calls an access token: Keycloak `Bearer` or `DPoP`, others what the header would say.
const ACCESS_TYPES: [&str; 7] =
    ["Bearer", "DPoP", "at+jwt", "application/at+jwt", "JWT", "access", "access_token"];

/// What `typ` calls other tokens, in Keycloak and elsewhere.
const OTHER_TYPES: [&str; 10] = [
    "Logout",
    "Refresh",
    "Offline",
    "Action",
    "InitialAccessToken",
    "RegistrationAccessToken",
    "logout+jwt",
    "secevent+jwt",
    "dpop+jwt",
    "refresh_token",
];

const ID_TYPES: [&str; 4] = ["ID", "Serialized-ID", "id_token", "id_token+jwt"];

impl<'a> Mark<'a> {
    /// The mark of a claim that is present, whatever its value.
    pub(crate) fn present(claim: &'static str) -> Self {
        let kind = if claim == "events" { Kind::Other } else { Kind::IdToken };
        Self { claim, kind, value: None }
    }

    /// The mark of a claim that names the token's type; `None` if it names an access token.
    pub(crate) fn of_type(claim: &'static str, value: Value<'a>) -> Option<Self> {
        let Some(value) = value.into_text() else {
            return Some(Self { claim, kind: Kind::Other, value: None });
        };
        let is_in = |list: &[&str]| list.iter().any(|known| known.eq_ignore_ascii_case(&value));
        let kind = match claim {
            "token_use" if is_in(&["access", "access_token"]) => return None,
            "token_use" if is_in(&["id"]) => Kind::IdToken,
            "token_use" => Kind::Other,
            _ if is_in(&ACCESS_TYPES) => return None,
            _ if is_in(&ID_TYPES) => Kind::IdToken,
            _ if is_in(&OTHER_TYPES) => Kind::Other,
            _ => Kind::Unknown,
        };
        Some(Self { claim, kind, value: Some(value) })
    }

    /// Returns `true` if this says more than what was found before.
    pub(crate) fn outweighs(&self, before: Option<&Self>) -> bool {
        before.is_none_or(|before| self.kind > before.kind)
    }

    /// Returns the refusal that follows from the mark.
    ///
    /// `typed` says that the header's `typ` is `at+jwt`, which decides for an access token if the
    /// claim's type is unknown; a claim that names another token takes precedence.
    pub(crate) fn refusal(&self, typed: bool) -> Option<Rejection> {
        let kind = match self.kind {
            Kind::Unknown if typed => return None,
            Kind::IdToken => RejectionKind::IdToken,
            Kind::Other | Kind::Unknown => RejectionKind::WrongType,
        };
        let detail = match &self.value {
            None => Detail::Claim(self.claim),
            Some(value) => Detail::Value { claim: self.claim, presented: Excerpt::new(value) },
        };
        Some(Rejection::with(kind, detail))
    }
}
