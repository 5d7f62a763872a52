//! SPIFFE IDs and trust domains, as far as JWT-SVIDs need them (SPIFFE-ID §2, JWT-SVID §3.1).

use std::sync::Arc;

use crate::error::ConfigError;
use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::text::Excerpt;

const SCHEME: &str = "spiffe://";
/// SPIFFE-ID §2.3.
const MAX_ID_BYTES: usize = 2_048;
const MAX_TRUST_DOMAIN_BYTES: usize = 255;

/// A trust domain, by its SPIFFE ID: `spiffe://example.org`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Reads `example.org` or `spiffe://example.org`.
    ///
    /// # Errors
    ///
    /// If it isn't the name of a trust domain.
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let name = text.strip_prefix(SCHEME).unwrap_or(text);
        let named = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        if name.is_empty() || name.len() > MAX_TRUST_DOMAIN_BYTES || !name.bytes().all(named) {
            return Err(ConfigError::new(format!(
                "{text:?} isn't a SPIFFE trust domain: give its name, in lower case and without \
                 port or path, such as \"example.org\""
            )));
        }
        Ok(Self(format!("{SCHEME}{name}").into()))
    }

    /// Returns `spiffe://` and the name.
    pub(crate) const fn id(&self) -> &Arc<str> {
        &self.0
    }

    /// Checks that a subject is the SPIFFE ID of a workload of this trust domain.
    pub(crate) fn check_subject(&self, subject: &str) -> Result<(), Rejection> {
        let parts = subject.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/'));
        let Some((_, path)) = parts.filter(|_| subject.len() <= MAX_ID_BYTES) else {
            return Err(self.refused(RejectionKind::MalformedClaim, subject));
        };
        if subject.strip_prefix(&*self.0).is_none_or(|path| !path.starts_with('/')) {
            return Err(self.refused(RejectionKind::WrongIssuer, subject));
        }
        // SPIFFE-ID §2.2: no empty, relative or escaped segments.
        let sound = |segment: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            !matches!(segment, "" | "." | "..") && segment.bytes().all(allowed)
        };
        if !path.split('/').all(sound) {
            return Err(self.refused(RejectionKind::MalformedClaim, subject));
        }
        Ok(())
    }

    fn refused(&self, kind: RejectionKind, subject: &str) -> Rejection {
        let detail = match kind {
            RejectionKind::WrongIssuer => {
                Detail::Compared { expected: Arc::clone(&self.0), presented: Excerpt::new(subject) }
            }
            _ => Detail::Value { claim: "sub", presented: Excerpt::new(subject) },
        };
        Rejection::with(kind, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fb8_a_trust_domain_is_a_name_in_lower_case() {
        for name in ["example.org", "spiffe://example.org", "my_td-1"] {
            assert!(TrustDomain::parse(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "spiffe://",
            "Example.org",
            "example.org/",
            "example.org:1",
            "https://example.org",
            "spiffe://example.org/a",
            "ex ample",
            "user@example.org",
            "SPIFFE://example.org",
        ] {
            assert!(TrustDomain::parse(name).is_err(), "{name}");
        }
        assert!(TrustDomain::parse(&"a".repeat(255)).is_ok());
        assert!(TrustDomain::parse(&"a".repeat(256)).is_err());
    }

    #[test]
    fn fb8_a_subject_is_a_workload_of_the_trust_domain() {
        let domain = TrustDomain::parse("example.org").unwrap();
        let kind = |subject: &str| domain.check_subject(subject).err().map(|it| it.kind());
        for subject in ["spiffe://example.org/web", "spiffe://example.org/ns/a/sa/B_2.x-y"] {
            assert_eq!(kind(subject), None, "{subject}");
        }
        for subject in [
            "spiffe://example.org.evil/web",
            "spiffe://evil/spiffe://example.org/web",
            "spiffe://example.com/web",
            "spiffe://EXAMPLE.org/web",
            "spiffe://example.org:1/web",
            "spiffe://example.org@evil/web",
            "spiffe://example.orgx/web",
        ] {
            assert_eq!(kind(subject), Some(RejectionKind::WrongIssuer), "{subject}");
        }
        for subject in [
            "",
            "web",
            "spiffe://",
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe://example.org/web/",
            "spiffe://example.org//web",
            "spiffe://example.org/../x",
            "spiffe://example.org/./x",
            "spiffe://example.org/a%2fb",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a#b",
            "spiffe://example.org/ä",
            "https://example.org/web",
            "SPIFFE://example.org/web",
            " spiffe://example.org/web",
        ] {
            assert_eq!(kind(subject), Some(RejectionKind::MalformedClaim), "{subject}");
        }
        let long = format!("spiffe://example.org/{}", "a".repeat(2_048 - 21));
        assert_eq!((long.len(), kind(&long)), (2_048, None));
        assert_eq!(kind(&format!("{long}a")), Some(RejectionKind::MalformedClaim));
    }
}
