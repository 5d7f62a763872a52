//! Reads an object's member names, and refuses reserved and duplicate ones.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::de::{self, MapAccess};
use smallvec::SmallVec;

use crate::json::budget::Budget;
use crate::json::text::Text;
use crate::kinds::Kinds;

/// Names by which `serde_json` passes values to itself: an object whose first member has one is read
/// by `serde_json::Value` as what the member's text says. No other producer has a use for them.
const RESERVED: &str = "$serde_json::private::";

/// The member names read so far from one object.
#[derive(Debug)]
pub(crate) struct Names<'de> {
    few: SmallVec<[&'de str; FEW]>,
    more: Option<HashSet<Cow<'de, str>>>,
    kinds: Kinds,
}

/// Objects with up to this many members need no allocation.
const FEW: usize = 24;

impl<'de> Names<'de> {
    pub(crate) fn new() -> Self {
        Self { few: SmallVec::new(), more: None, kinds: Kinds::default() }
    }

    /// Reads the next name; `None` at the end of the object.
    ///
    /// # Errors
    ///
    /// If the name occurred before or is reserved, or the budget is spent.
    #[inline]
    pub(crate) fn next<A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        budget: &Budget,
    ) -> Result<Option<Cow<'de, str>>, A::Error> {
        let name = next_name(map, budget)?;
        name.clone().map_or(Ok(()), |name| self.add(name))?;
        Ok(name)
    }

    /// Adds a name.
    ///
    /// # Errors
    ///
    /// If it occurred before.
    pub(crate) fn add<E: de::Error>(&mut self, name: Cow<'de, str>) -> Result<(), E> {
        if self.kinds.add(name.as_bytes()) && self.has(&name) {
            return Err(duplicate());
        }
        match name {
            Cow::Borrowed(name) if self.few.len() < FEW => self.few.push(name),
            name => {
                self.more.get_or_insert_default().insert(name);
            }
        }
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.few.contains(&name) || self.more.as_ref().is_some_and(|more| more.contains(name))
    }
}

/// Reads the next name of an object, whether it occurred before or not; `None` at its end.
///
/// # Errors
///
/// If the name is reserved, or the budget is spent.
#[inline]
pub(crate) fn next_name<'de, A: MapAccess<'de>>(
    map: &mut A,
    budget: &Budget,
) -> Result<Option<Cow<'de, str>>, A::Error> {
    let name = map.next_key_seed(Text)?;
    if let Some(name) = &name {
        check_name(name, budget)?;
    }
    Ok(name)
}

/// Spends what a name costs, and refuses reserved ones.
#[inline]
pub(crate) fn check_name<E: de::Error>(name: &str, budget: &Budget) -> Result<(), E> {
    if name.starts_with(RESERVED) {
        return Err(E::custom("reserved member name"));
    }
    budget.spend()
}

/// The error for a name that occurred before (RFC 7515 §4, RFC 7519 §4).
pub(crate) fn duplicate<E: de::Error>() -> E {
    E::custom("duplicate member name")
}
