//! The `WWW-Authenticate` lines and the other header fields of each answer, rendered when the layer is built.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use http::header::Entry;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

use crate::answer::challenge::Challenge;
use crate::answer::wire::{self, Wire};
use crate::error::ConfigError;
use crate::scope::ScopeSet;

/// What every challenge of a layer says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space<'a> {
    pub(crate) realm: &'a str,
    /// The URL of the metadata, which was checked.
    pub(crate) metadata: Option<&'a str>,
    /// The scopes that are named where the request needs no others.
    pub(crate) scopes: Option<&'a ScopeSet>,
    /// The algorithms of DPoP proofs, if any are accepted.
    pub(crate) proofs: Option<&'a str>,
}

/// Which challenges an answer has, and which of them says what is wrong.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Schemes {
    /// A bearer token was sent, or nothing: all schemes, with the error in that of Bearer.
    #[default]
    Bearer,
    /// The scheme DPoP was used: all schemes, with the error in that one.
    #[cfg_attr(not(feature = "dpop"), allow(dead_code, reason = "no proof is accepted"))]
    Dpop,
    /// Bearer tokens aren't accepted: DPoP alone.
    #[cfg_attr(not(feature = "dpop"), allow(dead_code, reason = "no proof is accepted"))]
    OnlyDpop,
}

impl<'a> Space<'a> {
    /// The protection space of this name, without metadata.
    pub(crate) const fn of(realm: &'a str) -> Self {
        Self { realm, metadata: None, scopes: None, proofs: None }
    }
}

/// How many sets of scopes have challenges that are rendered when the layer is built.
const MAX_SETS: usize = 1_024;

type Lines = SmallVec<[HeaderValue; 2]>;

/// The challenges of one protection space, one field line for each scheme (RFC 9110 §11.6.1), Bearer
/// first, and the header fields of the answers they are in: rendered when the layer is built.
#[derive(Clone, Debug, Default)]
pub(crate) struct Challenges {
    /// `None` without a layer.
    bearer: Option<Challenge>,
    /// `None` where no proof is accepted.
    dpop: Option<Challenge>,
    /// The header fields of the answers that name no scopes of their own.
    fixed: Box<[(&'static Wire, HeaderMap)]>,
    /// The same where DPoP was used, and where it is the only scheme, in the order of `fixed`. Empty
    /// where no proof is accepted.
    proved: Box<[[HeaderMap; 2]]>,
    /// The challenges that name these scopes, in the order of `fixed`.
    scoped: HashMap<Box<str>, Box<[Option<HeaderValue>]>, RandomState>,
}

impl Challenges {
    /// Renders the challenges of a protection space, whose requests may need these scopes.
    ///
    /// # Errors
    ///
    /// If the realm is empty, has a character other than printable ASCII, or the name of a parameter.
    pub(crate) fn new<'a>(
        space: Space<'_>,
        sets: impl IntoIterator<Item = &'a ScopeSet>,
    ) -> Result<Self, ConfigError> {
        let bearer = Challenge::bearer(space.realm, space.metadata)?;
        let dpop = space.proofs.map(|names| Challenge::dpop(space.realm, space.metadata, names));
        let dpop = dpop.transpose()?;
        let all = |wire: &'static Wire, asked: Schemes| {
            let challenges = render(&bearer, dpop.as_ref(), asked, wire, space.scopes)?;
            Ok::<_, ConfigError>(fields(wire, challenges))
        };
        let fixed = wire::ALL.iter().map(|wire| Ok((*wire, all(wire, Schemes::Bearer)?)));
        let fixed = fixed.collect::<Result<_, ConfigError>>()?;
        let proved = wire::ALL.iter().filter(|_| dpop.is_some());
        let proved =
            proved.map(|wire| Ok([all(wire, Schemes::Dpop)?, all(wire, Schemes::OnlyDpop)?]));
        let proved = proved.collect::<Result<_, ConfigError>>()?;
        let mut scoped = HashMap::default();
        for set in sets.into_iter().filter(|set| !set.is_empty()) {
            if scoped.len() == MAX_SETS {
                break;
            }
            let challenges = wire::ALL.iter().map(|wire| bearer.challenge(wire, Some(set), true));
            let challenges = challenges.collect::<Result<_, ConfigError>>()?;
            scoped.insert(set.as_str().into(), challenges);
        }
        Ok(Self { bearer: Some(bearer), dpop, fixed, proved, scoped })
    }

    /// Returns the realm of a service with this audience: `api`, if the audience can't be sent in a
    /// challenge.
    pub(crate) fn realm_of_audience(audience: &str) -> &str {
        if Challenge::bearer(audience, None).is_ok() { audience } else { "api" }
    }

    /// Returns the challenges of an answer, with these scopes, if there are any.
    pub(crate) fn lines(
        &self,
        wire: &Wire,
        scopes: Option<&ScopeSet>,
        asked: Schemes,
    ) -> impl Iterator<Item = HeaderValue> + use<> {
        let (at, fixed) = self.fixed(wire, asked).unzip();
        let lines = match (self.with_scopes(at, wire, scopes, asked), fixed) {
            (Some(scoped), _) => scoped,
            (None, Some(fixed)) => fixed.get_all(WWW_AUTHENTICATE).iter().cloned().collect(),
            (None, None) => Lines::new(),
        };
        lines.into_iter()
    }

    /// Returns the header fields of an answer.
    pub(crate) fn fields(
        &self,
        wire: &Wire,
        scopes: Option<&ScopeSet>,
        asked: Schemes,
    ) -> HeaderMap {
        let (at, fixed) = self.fixed(wire, asked).unzip();
        let mut fields = fixed.cloned().unwrap_or_else(|| fields(wire, None));
        if let Some(scoped) = self.with_scopes(at, wire, scopes, asked)
            && let Entry::Occupied(mut challenges) = fields.entry(WWW_AUTHENTICATE)
        {
            for (challenge, scoped) in challenges.iter_mut().zip(scoped) {
                *challenge = scoped;
            }
        }
        fields
    }

    fn with_scopes(
        &self,
        at: Option<usize>,
        wire: &Wire,
        scopes: Option<&ScopeSet>,
        asked: Schemes,
    ) -> Option<Lines> {
        let scopes = scopes.filter(|scopes| !scopes.is_empty())?;
        let bearer = self.bearer.as_ref()?;
        match (&self.dpop, self.scoped.get(scopes.as_str()), at) {
            (None, Some(rendered), Some(at)) => Some(rendered.get(at)?.iter().cloned().collect()),
            (dpop, ..) => render(bearer, dpop.as_ref(), asked, wire, Some(scopes)).ok(),
        }
    }

    fn fixed(&self, wire: &Wire, asked: Schemes) -> Option<(usize, &HeaderMap)> {
        let mut fixed = self.fixed.iter().enumerate();
        let (at, (_, fields)) = fixed.find(|(_, (of, _))| std::ptr::eq(*of, wire))?;
        let fields = match (asked, self.proved.get(at)) {
            (Schemes::Bearer, _) | (_, None) => fields,
            (Schemes::Dpop, Some([both, _])) => both,
            (Schemes::OnlyDpop, Some([_, alone])) => alone,
        };
        Some((at, fields))
    }
}

/// Renders the challenges of an answer, that of Bearer first.
fn render(
    bearer: &Challenge,
    dpop: Option<&Challenge>,
    asked: Schemes,
    wire: &Wire,
    scopes: Option<&ScopeSet>,
) -> Result<Lines, ConfigError> {
    let mut lines = Lines::new();
    if asked != Schemes::OnlyDpop || dpop.is_none() {
        let was_used = asked == Schemes::Bearer || dpop.is_none();
        lines.extend(bearer.challenge(wire, scopes, was_used)?);
    }
    if let Some(dpop) = dpop {
        lines.extend(dpop.challenge(wire, scopes, asked != Schemes::Bearer)?);
    }
    Ok(lines)
}

/// Returns the header fields that an answer has for every request.
fn fields(wire: &Wire, challenges: impl IntoIterator<Item = HeaderValue>) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(4);
    for challenge in challenges {
        fields.append(WWW_AUTHENTICATE, challenge);
    }
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The HTTP server would add it to each answer again.
    fields.insert(CONTENT_LENGTH, wire.body.len().into());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::wire::{Disclosure, wire};
    use crate::refusal::{Refusal, Rejection, RejectionKind};

    fn api() -> Challenges {
        Challenges::new(Space::of("api"), []).unwrap()
    }

    fn wire_of(kind: RejectionKind) -> &'static Wire {
        wire(&Refusal::Rejection(Rejection::new(kind)), Disclosure::default())
    }

    // W2: without a realm there is one all the same.
    #[test]
    fn w2_the_default_realm_is_the_audience() {
        for (audience, realm) in
            [("https://api.example", "https://api.example"), ("caf\u{e9}", "api"), ("", "api")]
        {
            let space = Space::of(Challenges::realm_of_audience(audience));
            let challenges = Challenges::new(space, []).unwrap();
            let lines =
                challenges.lines(wire_of(RejectionKind::NoCredentials), None, Schemes::Bearer);
            assert!(lines.eq([format!("Bearer realm=\"{realm}\"")]));
        }
    }

    /// Returns the lines of an answer of a service that accepts proofs; both ways to have them agree.
    fn with_proofs(kind: RejectionKind, scopes: Option<&str>, asked: Schemes) -> Vec<String> {
        let space = Space { proofs: Some("ES256 EdDSA"), ..Space::of("api") };
        let challenges = Challenges::new(space, []).unwrap();
        let scopes = scopes.map(ScopeSet::parse);
        let wire = wire_of(kind);
        let lines: Vec<_> = challenges.lines(wire, scopes.as_ref(), asked).collect();
        let fields = challenges.fields(wire, scopes.as_ref(), asked);
        assert!(fields.get_all(WWW_AUTHENTICATE).into_iter().eq(&lines));
        lines.iter().map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    // Whole answers, byte for byte.
    #[test]
    fn d74_d75_d76_each_scheme_has_a_line_and_the_used_one_says_what_is_wrong() {
        use RejectionKind as Kind;
        use Schemes::{Bearer, Dpop, OnlyDpop};
        const BEARER: &str = r#"Bearer realm="api""#;
        const DPOP: &str = r#"DPoP realm="api", algs="ES256 EdDSA""#;
        for (kind, asked, lines) in [
            (Kind::NoCredentials, Bearer, &[BEARER, DPOP][..]),
            (Kind::NoCredentials, OnlyDpop, &[DPOP]),
            (
                Kind::DpopProofMalformed,
                Dpop,
                &[
                    BEARER,
                    r#"DPoP realm="api", error="invalid_dpop_proof", error_description="The DPoP proof is not valid", algs="ES256 EdDSA""#,
                ],
            ),
            (
                Kind::DpopNonceRequired,
                Dpop,
                &[
                    BEARER,
                    r#"DPoP realm="api", error="use_dpop_nonce", error_description="The DPoP proof needs a nonce", algs="ES256 EdDSA""#,
                ],
            ),
            (
                Kind::BadSignature,
                Bearer,
                &[
                    r#"Bearer realm="api", error="invalid_token", error_description="The access token is invalid""#,
                    DPOP,
                ],
            ),
            (
                Kind::DpopKeyMismatch,
                Dpop,
                &[
                    BEARER,
                    r#"DPoP realm="api", error="invalid_token", error_description="The access token is invalid", algs="ES256 EdDSA""#,
                ],
            ),
            (
                Kind::TokenNotBound,
                OnlyDpop,
                &[
                    r#"DPoP realm="api", error="invalid_token", error_description="The access token is invalid", algs="ES256 EdDSA""#,
                ],
            ),
            (Kind::Denied, Dpop, &[]),
        ] {
            assert_eq!(with_proofs(kind, None, asked), lines, "{kind:?}");
            assert_eq!(with_proofs(kind, Some(""), asked), lines, "{kind:?}");
        }
    }

    #[test]
    fn d77_d78_scopes_are_in_both_challenges() {
        assert_eq!(
            with_proofs(RejectionKind::NoCredentials, Some("a b"), Schemes::Bearer),
            [
                r#"Bearer realm="api", scope="a b""#,
                r#"DPoP realm="api", scope="a b", algs="ES256 EdDSA""#
            ]
        );
        let [bearer, dpop] =
            &*with_proofs(RejectionKind::InsufficientScope, Some("a"), Schemes::Dpop)
        else {
            panic!("two lines");
        };
        assert_eq!(bearer, r#"Bearer realm="api", scope="a""#);
        assert!(dpop.starts_with(r#"DPoP realm="api", error="insufficient_scope""#), "{dpop}");
        assert!(dpop.ends_with(r#", scope="a", algs="ES256 EdDSA""#), "{dpop}");
    }

    #[test]
    fn d77_the_metadata_is_in_both_challenges() {
        let metadata = Some("https://api.example/m");
        let space = Space { proofs: Some("ES256"), metadata, ..Space::of("api") };
        let challenges = Challenges::new(space, []).unwrap();
        let wire = wire_of(RejectionKind::NoCredentials);
        assert!(challenges.lines(wire, None, Schemes::Bearer).eq([
            r#"Bearer realm="api", resource_metadata="https://api.example/m""#,
            r#"DPoP realm="api", resource_metadata="https://api.example/m", algs="ES256""#
        ]));
    }

    #[test]
    fn without_proofs_there_is_one_scheme_whatever_was_asked() {
        let wire = wire_of(RejectionKind::BadSignature);
        for asked in [Schemes::Bearer, Schemes::Dpop, Schemes::OnlyDpop] {
            assert_eq!(api().lines(wire, None, asked).count(), 1);
            assert_eq!(api().lines(wire, Some(&ScopeSet::parse("a")), asked).count(), 1);
        }
    }

    #[test]
    fn an_answer_without_a_challenge_has_none_whatever_the_scopes() {
        let scopes = ScopeSet::parse("a");
        for (challenges, wire) in [
            (api(), wire_of(RejectionKind::Denied)),
            (api(), &wire::HIDDEN),
            (Challenges::default(), wire_of(RejectionKind::InsufficientScope)),
        ] {
            assert_eq!(challenges.lines(wire, Some(&scopes), Schemes::Bearer).count(), 0);
            let fields = challenges.fields(wire, Some(&scopes), Schemes::Bearer);
            assert!(!fields.contains_key(WWW_AUTHENTICATE));
        }
    }
}
