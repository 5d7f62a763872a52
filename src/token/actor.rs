//! The chain of parties that act for a token's subject (`act`).

use std::fmt;
use std::iter::successors;

use serde::Deserialize;

use crate::json;

/// The most actors in a chain.
const MAX_DEPTH: usize = 8;

/// A party that acts for a token's subject (`act`, RFC 8693 §4.1), such as a service that has exchanged a
/// user's token.
///
/// Only the current actor, which [`Claims::actor`](crate::token::Claims::actor) returns, may decide about
/// access; those before it are a record of how the token was obtained. `Debug` shows none of them.
#[derive(Clone, Deserialize)]
pub struct Actor {
    sub: Option<Box<str>>,
    iss: Option<Box<str>>,
    client_id: Option<Box<str>>,
    act: Option<Box<Self>>,
}

impl Actor {
    /// Reads a claim; `None` if it isn't a chain of at most eight objects, or one of the names isn't a string.
    pub(crate) fn read(json: &str) -> Option<Box<Self>> {
        let actor: Box<Self> = json::parse(json.as_bytes()).ok()?;
        let is_short = actor.chain().nth(MAX_DEPTH).is_none();
        is_short.then_some(actor)
    }

    /// Returns `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.sub.as_deref()
    }

    /// Returns `iss`, which qualifies the subject if it is present.
    pub fn issuer(&self) -> Option<&str> {
        self.iss.as_deref()
    }

    /// Returns `client_id`.
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// Returns the actor before this one.
    pub fn prior(&self) -> Option<&Self> {
        self.act.as_deref()
    }

    /// Returns this actor and those before it, the newest first.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        successors(Some(self), |actor| actor.prior())
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // TX8: the example of RFC 8693 §4.1.
    #[test]
    fn tx8_the_chain_is_read_from_the_newest_on() {
        let json = r#"{"sub":"https://service16.example.com","iss":"https://i.example","client_id":"c",
            "act":{"sub":"https://service77.example.com"},"other":[1]}"#;
        let actor = Actor::read(json).unwrap();
        assert_eq!(actor.subject(), Some("https://service16.example.com"));
        assert_eq!((actor.issuer(), actor.client_id()), (Some("https://i.example"), Some("c")));
        let prior = actor.prior().unwrap();
        assert_eq!(prior.subject(), Some("https://service77.example.com"));
        assert!(prior.issuer().is_none() && prior.prior().is_none());
        assert_eq!(actor.chain().count(), 2);
        assert!(!format!("{actor:?}").contains("service"));
    }

    #[test]
    fn tx8_a_chain_has_at_most_eight() {
        let nested = |depth: usize| r#"{"act":"#.repeat(depth - 1) + "{}" + &"}".repeat(depth - 1);
        assert_eq!(Actor::read(&nested(8)).unwrap().chain().count(), 8);
        for depth in [9, 20, 100] {
            assert!(Actor::read(&nested(depth)).is_none(), "{depth}");
        }
    }

    #[test]
    fn tx8_what_is_no_actor_is_none() {
        for bad in [
            "1",
            "\"a\"",
            "[]",
            "null",
            r#"{"sub":1}"#,
            r#"{"act":"a"}"#,
            r#"{"sub":"a","sub":"b"}"#,
        ] {
            assert!(Actor::read(bad).is_none(), "{bad}");
        }
        assert!(Actor::read("{}").is_some());
    }
}
