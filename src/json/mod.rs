//! JSON read strictly: no duplicate member names, no reserved names, bounded depth, bounded size.
//!
//! `serde_json` reads the text; these seeds add what it doesn't refuse by itself. They never build
//! a tree, and borrow from the input wherever it has no escapes. `document` reads an object, `names` its member
//! names, `text` and `value` their values, all within one `budget`.
//!
//! Everything that was written by another party is read here first, so that whatever reads it again
//! (`serde_json::Value`, the application's claims) sees the same members that were checked.

mod budget;
mod document;
mod names;
mod text;
mod value;

pub(crate) use self::budget::Budget;
pub(crate) use self::document::{check, elements, parse, read_document, read_object};
pub(crate) use self::names::{Names, duplicate, next_name};
pub(crate) use self::text::Text;
pub(crate) use self::value::{Any, Texts, Value};
