use std::collections::HashMap;

use foldhash::fast::RandomState;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};

use crate::answer::bearer::Bearer;
use crate::answer::table::{self, Wire};
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
}

impl<'a> Space<'a> {
    /// The protection space of this name, without metadata.
    pub(crate) const fn of(realm: &'a str) -> Self {
        Self { realm, metadata: None, scopes: None }
    }
}

/// How many sets of scopes have challenges that are rendered when the layer is built.
const MAX_SETS: usize = 1_024;

/// The challenges of one protection space, one field line for each scheme (RFC 9110 §11.6.1), Bearer
/// first, and the header fields of the answers they are in: rendered when the layer is built.
#[derive(Clone, Debug, Default)]
pub(crate) struct Challenges {
    /// `None` without a layer.
    bearer: Option<Bearer>,
    /// The header fields of the answers that name no scopes of their own.
    fixed: Box<[(&'static Wire, HeaderMap)]>,
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
        let bearer = Bearer::new(space.realm, space.metadata)?;
        let fixed = table::ALL.iter().map(|wire| {
            let challenges = bearer.challenge(wire, space.scopes)?;
            Ok((*wire, fields(wire, challenges)))
        });
        let fixed = fixed.collect::<Result<_, ConfigError>>()?;
        let mut scoped = HashMap::default();
        for set in sets.into_iter().filter(|set| !set.is_empty()) {
            if scoped.len() == MAX_SETS {
                break;
            }
            let challenges = table::ALL.iter().map(|wire| bearer.challenge(wire, Some(set)));
            let challenges = challenges.collect::<Result<_, ConfigError>>()?;
            scoped.insert(set.as_str().into(), challenges);
        }
        Ok(Self { bearer: Some(bearer), fixed, scoped })
    }

    /// Returns the realm of a service with this audience: `api`, if the audience can't be sent in a
    /// challenge.
    pub(crate) fn realm_of_audience(audience: &str) -> &str {
        if Bearer::new(audience, None).is_ok() { audience } else { "api" }
    }

    /// Returns the challenges of an answer; that of Bearer with these scopes, if there are any.
    pub(crate) fn lines(
        &self,
        wire: &Wire,
        scopes: Option<&ScopeSet>,
    ) -> impl Iterator<Item = HeaderValue> + use<'_> {
        let (at, fixed) = self.fixed(wire).unzip();
        let bearer = self.with_scopes(at, wire, scopes);
        let fixed = fixed.map(|fields| fields.get_all(WWW_AUTHENTICATE));
        let others = fixed.into_iter().flatten().skip(usize::from(bearer.is_some()));
        bearer.into_iter().chain(others.cloned())
    }

    /// Returns the header fields of an answer.
    pub(crate) fn fields(&self, wire: &Wire, scopes: Option<&ScopeSet>) -> HeaderMap {
        let (at, fixed) = self.fixed(wire).unzip();
        let mut fields = fixed.cloned().unwrap_or_else(|| fields(wire, None));
        if let Some(bearer) = self.with_scopes(at, wire, scopes)
            && let Some(first) = fields.get_mut(WWW_AUTHENTICATE)
        {
            *first = bearer;
        }
        fields
    }

    fn with_scopes(
        &self,
        at: Option<usize>,
        wire: &Wire,
        scopes: Option<&ScopeSet>,
    ) -> Option<HeaderValue> {
        let scopes = scopes.filter(|scopes| !scopes.is_empty())?;
        match (self.scoped.get(scopes.as_str()), at) {
            (Some(rendered), Some(at)) => rendered.get(at)?.clone(),
            _ => self.bearer.as_ref()?.challenge(wire, Some(scopes)).ok()?,
        }
    }

    fn fixed(&self, wire: &Wire) -> Option<(usize, &HeaderMap)> {
        let mut fixed = self.fixed.iter().enumerate();
        let (at, (_, fields)) = fixed.find(|(_, (of, _))| std::ptr::eq(*of, wire))?;
        Some((at, fields))
    }
}

/// Returns the header fields that an answer has for every request.
fn fields(wire: &Wire, challenges: impl IntoIterator<Item = HeaderValue>) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(4);
    for challenge in challenges {
        fields.append(WWW_AUTHENTICATE, challenge);
    }
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The HTTP server would add it to each answer anew.
    fields.insert(CONTENT_LENGTH, wire.body.len().into());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::table::{Disclosure, wire};
    use crate::refusal::{Refusal, Rejection, RejectionKind};

    impl Challenges {
        /// Adds a challenge of another scheme to each answer.
        pub(crate) fn and(mut self, challenge: HeaderValue) -> Self {
            for (_, fields) in &mut self.fixed {
                fields.append(WWW_AUTHENTICATE, challenge.clone());
            }
            self
        }
    }

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
            let lines = challenges.lines(wire_of(RejectionKind::NoCredentials), None);
            assert!(lines.eq([format!("Bearer realm=\"{realm}\"")]));
        }
    }

    // What a second scheme needs: a line of its own, after that of Bearer, which alone names scopes.
    #[test]
    fn each_scheme_has_a_field_line_and_bearer_is_first() {
        const OTHER: HeaderValue = HeaderValue::from_static("DPoP algs=\"ES256\"");
        let challenges = api().and(OTHER);
        let wire = wire_of(RejectionKind::NoCredentials);
        for (scopes, bearer) in [
            (None, r#"Bearer realm="api""#),
            (Some(""), r#"Bearer realm="api""#),
            (Some("a b"), r#"Bearer realm="api", scope="a b""#),
        ] {
            let scopes = scopes.map(ScopeSet::parse);
            let expected = [HeaderValue::from_static(bearer), OTHER];
            assert!(challenges.lines(wire, scopes.as_ref()).eq(expected.clone()));
            let fields = challenges.fields(wire, scopes.as_ref());
            assert!(fields.get_all(WWW_AUTHENTICATE).into_iter().eq(&expected));
            assert_eq!(fields.len(), 5);
        }
    }

    #[test]
    fn an_answer_without_a_challenge_has_none_whatever_the_scopes() {
        let scopes = ScopeSet::parse("a");
        for (challenges, wire) in [
            (api(), wire_of(RejectionKind::Denied)),
            (api(), &table::HIDDEN),
            (Challenges::default(), wire_of(RejectionKind::InsufficientScope)),
        ] {
            assert_eq!(challenges.lines(wire, Some(&scopes)).count(), 0);
            assert!(!challenges.fields(wire, Some(&scopes)).contains_key(WWW_AUTHENTICATE));
        }
    }
}
