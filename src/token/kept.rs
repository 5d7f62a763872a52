//! The claims beside the registered ones that a validator keeps for conditions and handlers.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::ConfigError;
use crate::json::{Budget, check};
use crate::token::taken::is_taken;

/// The names of the claims that are kept.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct KeptNames(Option<Arc<[Box<str>]>>);

/// Claims that have methods of their own.
const READ: [&str; 4] = ["sub", "client_id", "acr", "auth_time"];

/// The most names that may be kept: each name of a token is compared with all of them.
const MAX: usize = 32;

impl KeptNames {
    /// Adds names.
    #[must_use]
    pub(crate) fn and(&self, names: impl IntoIterator<Item = String>) -> Self {
        let mut all: Vec<Box<str>> = self.iter().map(Box::from).collect();
        for name in names {
            if !all.iter().any(|known| **known == *name) {
                all.push(name.into());
            }
        }
        Self((!all.is_empty()).then(|| all.into()))
    }

    /// Checks that all of them can be kept.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if let Some(name) = self.iter().find(|name| is_taken(name, &READ)) {
            return Err(ConfigError::new(format!(
                "the claim {name:?} can't be kept: it has a method of its own, or is never the \
                 application's"
            )));
        }
        match self.iter().count() {
            0..=MAX => Ok(()),
            count => Err(ConfigError::new(format!(
                "{count} claims are to be kept: use at most {MAX}, and a type of claims for more"
            ))),
        }
    }

    /// Returns the place of a name among them.
    #[inline]
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.0.as_ref()?.iter().position(|kept| **kept == *name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|names| names.iter()).map(AsRef::as_ref)
    }
}

/// Returns `true` if a claim has the shape that its specification requires, if it has one (RFC 9396 §2).
fn has_its_shape(name: &str, value: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Detail {
        #[serde(rename = "type")]
        _kind: String,
    }
    name != "authorization_details" || serde_json::from_str::<Vec<Detail>>(value.get()).is_ok()
}

const SHAPE: &str = "a claim isn't of its shape";

/// Reads a claim that is kept as it is written.
pub(crate) struct KeptSeed<'n, 'b>(pub(crate) &'n str, pub(crate) &'b Budget);

impl<'de> DeserializeSeed<'de> for KeptSeed<'_, '_> {
    type Value = &'de RawValue;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<&'de RawValue, D::Error> {
        let value = <&RawValue>::deserialize(from)?;
        check(value, self.1).map_err(|_| D::Error::custom(SHAPE))?;
        if has_its_shape(self.0, value) { Ok(value) } else { Err(D::Error::custom(SHAPE)) }
    }
}

/// Reads a claim of any shape, strictly.
pub(crate) fn checked<'de, A: MapAccess<'de>>(
    map: &mut A,
    budget: &Budget,
) -> Result<&'de RawValue, A::Error> {
    let value = map.next_value()?;
    check(value, budget).map_err(|_| A::Error::custom(SHAPE))?;
    Ok(value)
}

/// The claims that were kept of one token.
pub(crate) struct Kept {
    names: KeptNames,
    values: Vec<(usize, Value)>,
    bytes: usize,
}

/// A claim that a rule asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lookup<'a> {
    /// The validator doesn't keep it: whether the token has it isn't known.
    NotKept,
    Absent,
    Is(&'a Value),
}

impl Kept {
    /// Reads the claims of a token that was checked; `None` if none are kept.
    pub(crate) fn of(names: &KeptNames, kept: &[(usize, &RawValue)]) -> Option<Box<Self>> {
        names.0.as_ref()?;
        let values = kept.iter().filter_map(|(at, raw)| {
            // It was read strictly when the token was.
            Some((*at, serde_json::from_str(raw.get()).ok()?))
        });
        // The tree of "[0,0,…" takes the most memory.
        let held = kept.iter().map(|(_, raw)| raw.get().len().saturating_mul(16));
        let bytes = held.fold(size_of::<Self>(), usize::saturating_add);
        Some(Box::new(Self { names: names.clone(), values: values.collect(), bytes }))
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn find(&self, name: &str) -> Lookup<'_> {
        let Some(at) = self.names.place(name) else { return Lookup::NotKept };
        let found = self.values.iter().find(|(place, _)| *place == at);
        found.map_or(Lookup::Absent, |(_, value)| Lookup::Is(value))
    }
}

/// They identify a person.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}
