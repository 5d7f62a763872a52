//! Which scopes imply which others, checked for circles and closed under transitivity.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::ConfigError;
use crate::scope::{Scope, ScopeSet};

/// The scopes that other scopes imply: `orders:admin` ⇒ `orders:write` ⇒ `orders:read`.
///
/// Implications are transitive. By default there are none.
#[derive(Clone, Debug, Default)]
pub struct Implications {
    /// For each implied scope, all that imply it, directly or not.
    implied_by: BTreeMap<Box<str>, Box<[Scope]>>,
}

impl Implications {
    /// Starts declaring implications.
    ///
    /// ```
    /// # use tower_bearer::{Implications, ScopeSet};
    /// let implications = Implications::builder()
    ///     .implies("orders:admin", ["orders:write"])
    ///     .implies("orders:write", ["orders:read"])
    ///     .build()?;
    /// assert!(implications.grants(&ScopeSet::parse("orders:admin"), "orders:read"));
    /// assert!(!implications.grants(&ScopeSet::parse("orders:read"), "orders:admin"));
    ///
    /// let cycle = Implications::builder().implies("a", ["b"]).implies("b", ["a"]).build();
    /// assert!(cycle.is_err());
    /// # Ok::<(), tower_bearer::ConfigError>(())
    /// ```
    pub fn builder() -> ImplicationsBuilder {
        ImplicationsBuilder { declared: Vec::new() }
    }

    /// Returns `true` if a token with these scopes has this one, directly or by implication.
    pub fn grants(&self, granted: &ScopeSet, scope: &str) -> bool {
        granted.contains(scope)
            || self
                .implied_by
                .get(scope)
                .is_some_and(|by| by.iter().any(|stronger| granted.contains(stronger.as_str())))
    }
}

/// Declares [`Implications`].
#[derive(Clone, Debug)]
pub struct ImplicationsBuilder {
    declared: Vec<(String, Vec<String>)>,
}

impl ImplicationsBuilder {
    /// Declares that a token with the scope `stronger` has the scopes `weaker` as well.
    #[must_use]
    pub fn implies<I>(mut self, stronger: impl Into<String>, weaker: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.declared.push((stronger.into(), weaker.into_iter().map(Into::into).collect()));
        self
    }

    /// Checks the declarations and closes them under transitivity.
    ///
    /// # Errors
    ///
    /// If a word is no scope, or a scope implies itself, directly or through others.
    pub fn build(self) -> Result<Implications, ConfigError> {
        let mut direct: BTreeMap<Scope, BTreeSet<Scope>> = BTreeMap::new();
        for (stronger, weaker) in &self.declared {
            let implied = direct.entry(Scope::new(stronger)?).or_default();
            for scope in weaker {
                implied.insert(Scope::new(scope)?);
            }
        }
        let mut implied_by: BTreeMap<Box<str>, Vec<Scope>> = BTreeMap::new();
        for stronger in direct.keys() {
            let mut reached = BTreeSet::new();
            let mut open = vec![stronger];
            while let Some(scope) = open.pop() {
                for weaker in direct.get(scope).into_iter().flatten() {
                    if weaker == stronger {
                        return Err(ConfigError::new(format!(
                            "the scope {stronger:?} implies itself, through {scope:?}: take one of \
                             the implications out",
                            stronger = stronger.as_str(),
                            scope = scope.as_str(),
                        )));
                    }
                    if reached.insert(weaker) {
                        open.push(weaker);
                    }
                }
            }
            for weaker in reached {
                implied_by.entry(weaker.as_str().into()).or_default().push(stronger.clone());
            }
        }
        let implied_by = implied_by.into_iter().map(|(k, by)| (k, by.into())).collect();
        Ok(Implications { implied_by })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diamond_is_no_cycle_but_a_ring_is() {
        let diamond = Implications::builder()
            .implies("a", ["b", "c"])
            .implies("b", ["d"])
            .implies("c", ["d"])
            .build()
            .unwrap();
        assert!(diamond.grants(&ScopeSet::parse("a"), "d"));
        assert!(!diamond.grants(&ScopeSet::parse("d"), "a"));
        assert!(!diamond.grants(&ScopeSet::parse("b"), "c"));

        let ring = |from: &str, to: &str| {
            let (from, to) = (from.to_owned(), to.to_owned());
            Implications::builder()
                .implies("a", ["b"])
                .implies("b", ["c"])
                .implies(from, [to])
                .build()
        };
        assert!(ring("c", "d").is_ok());
        for (from, to) in [("c", "a"), ("b", "a"), ("c", "c"), ("c", "b")] {
            assert!(ring(from, to).is_err(), "{from} {to}");
        }
    }

    #[test]
    fn a_word_that_is_no_scope_is_refused() {
        assert!(Implications::builder().implies("a b", ["c"]).build().is_err());
        assert!(Implications::builder().implies("a", ["b\u{e9}"]).build().is_err());
    }
}
