//! The scopes of a token as its claims hold them, in every shape that servers give them.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, Error as _};
use serde_json::value::RawValue;

use crate::json::{Any, Budget, Texts, Value};
use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::scope::ScopeSet;
use crate::token::kept::KeptSeed;
use crate::token::scope_source::{ScopeSource, Shape};

/// The claim that is named when one with scopes can't be read.
pub(crate) const SCOPES: &str =
    "the claim that holds the scopes isn't of the shape that the ScopeSource says";

/// What one claim holds.
#[derive(Debug)]
pub(crate) enum ScopeText<'a> {
    /// Scopes separated by spaces.
    List(Cow<'a, str>),
    /// One scope per element.
    Array(Texts<'a>),
}

/// Gathers the scopes of the claims at the top level, and of those within objects. `json` is the payload
/// that they were read from.
///
/// # Errors
///
/// `MalformedClaim` if a nested place for scopes holds neither a string nor strings, or lies in
/// a value that isn't an object.
pub(crate) fn gather(
    texts: &[ScopeText<'_>],
    json: &[u8],
    source: &ScopeSource,
) -> Result<ScopeSet, Rejection> {
    if let ([ScopeText::List(list)], None) = (texts, source.nested().next()) {
        return Ok(ScopeSet::parse(list));
    }
    let mut tree = serde_json::Value::Null;
    if source.nested().next().is_some() {
        tree = serde_json::from_slice(json)
            .map_err(|_| Rejection::new(RejectionKind::MalformedToken))?;
    }
    let mut scopes: Vec<&str> = Vec::new();
    for text in texts {
        match text {
            ScopeText::List(list) => scopes.extend(list.split(' ')),
            ScopeText::Array(elements) => scopes.extend(elements.iter().map(AsRef::as_ref)),
        }
    }
    for place in source.nested() {
        let mut found = Some(&tree);
        for name in &place.path {
            found = match found {
                Some(serde_json::Value::Object(members)) => members.get(&**name),
                Some(_) => return Err(malformed_scopes()),
                None => None,
            };
        }
        let Some(found) = found else { continue };
        match (place.shape, found) {
            (Shape::Scopes, found) => add_scopes(found, &mut scopes)?,
            (Shape::Names, serde_json::Value::Object(members)) => {
                let grants = |value: &serde_json::Value| !value.is_null() && *value != false;
                let held = members.iter().filter(|(_, value)| grants(value));
                scopes.extend(held.map(|(name, _)| name.as_str()));
            }
            (Shape::Values, serde_json::Value::Object(members)) => {
                for value in members.values() {
                    add_scopes(value, &mut scopes)?;
                }
            }
            (Shape::Names | Shape::Values, _) => return Err(malformed_scopes()),
        }
    }
    Ok(scopes.into_iter().collect())
}

fn add_scopes<'v>(
    value: &'v serde_json::Value,
    scopes: &mut Vec<&'v str>,
) -> Result<(), Rejection> {
    match value {
        serde_json::Value::String(list) => scopes.extend(list.split(' ')),
        serde_json::Value::Array(elements) => {
            for element in elements {
                scopes.push(element.as_str().ok_or_else(malformed_scopes)?);
            }
        }
        _ => return Err(malformed_scopes()),
    }
    Ok(())
}

fn malformed_scopes() -> Rejection {
    Rejection::with(RejectionKind::MalformedClaim, Detail::Claim(SCOPES))
}

const SHAPE: &str = "neither a string nor strings";

/// Reads a claim at the top level.
pub(crate) struct ScopesSeed<'b>(pub(crate) &'b Budget);

impl<'de> DeserializeSeed<'de> for ScopesSeed<'_> {
    type Value = ScopeText<'de>;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<ScopeText<'de>, D::Error> {
        match Any::keep(self.0).deserialize(deserializer)? {
            Value::Text(list) => Ok(ScopeText::List(list)),
            Value::Array(Some(elements)) => Ok(ScopeText::Array(elements)),
            Value::Array(None) | Value::Bool(_) | Value::Null | Value::Other => {
                Err(D::Error::custom(SHAPE))
            }
        }
    }
}

/// Reads a claim at the top level that is kept too.
pub(crate) struct KeptScopes<'n, 'b>(pub(crate) KeptSeed<'n, 'b>);

impl<'de> DeserializeSeed<'de> for KeptScopes<'_, '_> {
    type Value = (&'de RawValue, ScopeText<'de>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let budget = self.0.1;
        let raw = self.0.deserialize(deserializer)?;
        let scopes = ScopesSeed(budget).deserialize(raw);
        Ok((raw, scopes.map_err(|_| D::Error::custom(SHAPE))?))
    }
}
