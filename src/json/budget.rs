//! The bound on how many members and elements one text may have.

use std::cell::Cell;

use serde::de;

/// How many members and elements a text may have in all.
const MAX_ITEMS: u32 = 4_096;

/// What is left of the bounds while a text is read.
#[derive(Debug)]
pub(crate) struct Budget {
    items: Cell<u32>,
}

impl Budget {
    pub(crate) const fn new() -> Self {
        Self { items: Cell::new(MAX_ITEMS) }
    }

    pub(crate) fn spend<E: de::Error>(&self) -> Result<(), E> {
        let left = self.items.get().checked_sub(1).ok_or_else(|| E::custom("too many items"))?;
        self.items.set(left);
        Ok(())
    }
}
