//! Conditions on a token's scopes, and the scopes that would satisfy them.

use std::collections::BTreeSet;

use crate::error::ConfigError;
use crate::scope::{Implications, Scope, ScopeSet};

/// The most sets of scopes, each of which suffices, that are listed.
const MAX_ALTERNATIVES: usize = 64;

/// A condition on a token's scopes: one scope, all of several, or any of several, nested as needed.
///
/// ```
/// # use tower_bearer::{Implications, Requirement, ScopeSet};
/// let read = Requirement::scope("orders:read")?;
/// let staff = Requirement::any([Requirement::scope("staff")?, Requirement::scope("admin")?])?;
/// let both = Requirement::all([read, staff]);
///
/// let none = Implications::default();
/// assert!(both.is_met_by(&ScopeSet::parse("admin orders:read"), &none));
/// assert!(!both.is_met_by(&ScopeSet::parse("admin staff"), &none));
/// # Ok::<(), tower_bearer::ConfigError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Requirement(Node);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Node {
    Scope(Scope),
    All(Box<[Requirement]>),
    /// Never empty.
    Any(Box<[Requirement]>),
}

impl Requirement {
    /// Requires nothing but a valid token.
    pub fn none() -> Self {
        Self(Node::All([].into()))
    }

    /// Requires one scope.
    ///
    /// # Errors
    ///
    /// If it is no scope (see [`Scope::new`]).
    pub fn scope(scope: &str) -> Result<Self, ConfigError> {
        Scope::new(scope).map(Self::from)
    }

    /// Requires all of these.
    pub fn all(parts: impl IntoIterator<Item = impl Into<Self>>) -> Self {
        Self(Node::All(parts.into_iter().map(Into::into).collect()))
    }

    /// Requires at least one of these.
    ///
    /// # Errors
    ///
    /// If there are none: no token could satisfy that.
    pub fn any(parts: impl IntoIterator<Item = impl Into<Self>>) -> Result<Self, ConfigError> {
        let parts: Box<[Self]> = parts.into_iter().map(Into::into).collect();
        if parts.is_empty() {
            return Err(ConfigError::new(
                "an any-of requirement without alternatives can never be met: name at least one",
            ));
        }
        Ok(Self(Node::Any(parts)))
    }

    /// Requires at least one of these. The first is an argument of its own, so that there is one.
    pub(crate) fn any_of(first: Self, others: impl IntoIterator<Item = Self>) -> Self {
        Self(Node::Any(std::iter::once(first).chain(others).collect()))
    }

    /// Returns `true` if a token with these scopes satisfies the requirement.
    pub fn is_met_by(&self, granted: &ScopeSet, implications: &Implications) -> bool {
        match &self.0 {
            Node::Scope(scope) => implications.grants(granted, scope.as_str()),
            Node::All(parts) => parts.iter().all(|part| part.is_met_by(granted, implications)),
            Node::Any(parts) => parts.iter().any(|part| part.is_met_by(granted, implications)),
        }
    }

    /// Returns scopes that would have sufficed: a token with these, and no others, passes.
    ///
    /// Among alternatives, the one with the fewest missing scopes is chosen, the first of equals. A
    /// client that requests what a challenge names thus requests no more than it needs.
    pub fn sufficient_for(&self, granted: &ScopeSet, implications: &Implications) -> ScopeSet {
        let mut chosen = Vec::new();
        self.choose(granted, implications, &mut chosen);
        chosen.into_iter().map(Scope::as_str).collect()
    }

    /// Returns the scopes that it is about, as often as they are written.
    pub(crate) fn names(&self) -> Vec<&str> {
        match &self.0 {
            Node::Scope(scope) => vec![scope.as_str()],
            Node::All(parts) | Node::Any(parts) => parts.iter().flat_map(Self::names).collect(),
        }
    }

    /// Returns sets of scopes, each of which suffices: all of them, or the first 64.
    pub(crate) fn alternatives(&self) -> Vec<BTreeSet<&str>> {
        match &self.0 {
            Node::Scope(scope) => vec![BTreeSet::from([scope.as_str()])],
            Node::Any(parts) => {
                parts.iter().flat_map(Self::alternatives).take(MAX_ALTERNATIVES).collect()
            }
            Node::All(parts) => parts.iter().fold(vec![BTreeSet::new()], |ways, part| {
                Self::combined(&ways, &part.alternatives())
            }),
        }
    }

    /// Returns the unions of each set of the one with each set of the other.
    pub(crate) fn combined<'a>(
        some: &[BTreeSet<&'a str>],
        others: &[BTreeSet<&'a str>],
    ) -> Vec<BTreeSet<&'a str>> {
        let all = some.iter().flat_map(|one| others.iter().map(move |other| one | other));
        all.take(MAX_ALTERNATIVES).collect()
    }

    /// Adds the chosen scopes to `chosen`; returns how many of them are missing.
    fn choose<'a>(
        &'a self,
        granted: &ScopeSet,
        implications: &Implications,
        chosen: &mut Vec<&'a Scope>,
    ) -> usize {
        match &self.0 {
            Node::Scope(scope) => {
                chosen.push(scope);
                usize::from(!implications.grants(granted, scope.as_str()))
            }
            Node::All(parts) => parts.iter().fold(0, |missing: usize, part| {
                missing.saturating_add(part.choose(granted, implications, chosen))
            }),
            Node::Any(parts) => {
                let options = parts.iter().map(|part| {
                    let mut scopes = Vec::new();
                    (part.choose(granted, implications, &mut scopes), scopes)
                });
                let Some((missing, scopes)) = options.min_by_key(|(missing, _)| *missing) else {
                    return 0;
                };
                chosen.extend(scopes);
                missing
            }
        }
    }
}

impl From<Scope> for Requirement {
    fn from(scope: Scope) -> Self {
        Self(Node::Scope(scope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(name: &str) -> Requirement {
        Requirement::scope(name).unwrap()
    }

    fn nested() -> Requirement {
        // a and (b or (c and d))
        Requirement::all([
            scope("a"),
            Requirement::any([scope("b"), Requirement::all([scope("c"), scope("d")])]).unwrap(),
        ])
    }

    #[test]
    fn cl6_each_alternative_suffices_and_there_are_at_most_64() {
        let ways = nested();
        let ways: Vec<Vec<&str>> =
            ways.alternatives().into_iter().map(|way| way.into_iter().collect()).collect();
        assert_eq!(ways, [vec!["a", "b"], vec!["a", "c", "d"]]);
        assert_eq!(Requirement::none().alternatives(), [BTreeSet::new()]);
        let two = |at: usize| {
            Requirement::any([scope(&format!("l{at}")), scope(&format!("r{at}"))]).unwrap()
        };
        let many = Requirement::all((0..30).map(two));
        let ways = many.alternatives();
        assert_eq!(ways.len(), 64);
        for way in ways {
            let granted: ScopeSet = way.into_iter().collect();
            assert!(many.is_met_by(&granted, &Implications::default()));
        }
    }

    #[test]
    fn nested_requirements_are_met_as_written() {
        let none = Implications::default();
        for (granted, met) in [
            ("a b", true),
            ("a c d", true),
            ("d c a x", true),
            ("a c", false),
            ("b c d", false),
            ("a", false),
            ("", false),
        ] {
            assert_eq!(nested().is_met_by(&ScopeSet::parse(granted), &none), met, "{granted}");
        }
        assert!(Requirement::none().is_met_by(&ScopeSet::default(), &none));
        assert!(Requirement::any([] as [Requirement; 0]).is_err());
    }

    #[test]
    fn implied_scopes_count() {
        let implications = Implications::builder().implies("admin", ["a", "b"]).build().unwrap();
        assert!(nested().is_met_by(&ScopeSet::parse("admin"), &implications));
        assert!(!scope("admin").is_met_by(&ScopeSet::parse("a b"), &implications));
    }

    #[test]
    fn what_is_named_would_have_sufficed() {
        let none = Implications::default();
        for (granted, named) in [
            ("", "a b"),
            ("a", "a b"),
            ("c", "a b"),
            ("a c", "a b"),
            ("c d", "a c d"),
            ("b", "a b"),
        ] {
            let needed = nested().sufficient_for(&ScopeSet::parse(granted), &none);
            assert_eq!(needed.as_str(), named, "{granted}");
            assert!(nested().is_met_by(&needed, &none), "{granted}");
        }
    }

    // W7: all needed scopes are named, not only the missing ones.
    #[test]
    fn w7_an_all_of_names_them_all() {
        let both = Requirement::all([scope("a"), scope("b")]);
        let needed = both.sufficient_for(&ScopeSet::parse("a"), &Implications::default());
        assert_eq!(needed.as_str(), "a b");
    }
}
