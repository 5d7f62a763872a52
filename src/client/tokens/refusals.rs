//! How often a refusal by a resource server causes a new token, as a pure function of earlier refusals.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::tokens::token::Token;

/// One server's refusals cause at most one new token in this time: if the new one is refused as well, the
/// token isn't the cause.
pub(crate) const COOLDOWN: Duration = Duration::from_secs(30);

/// For how many servers refusals are tracked; those of further servers are ignored.
const MOST_ORIGINS: usize = 1_024;

/// The servers that recently refused tokens.
#[derive(Default)]
pub(crate) struct Refusals {
    recent: Vec<Refusal>,
    /// The token that was refused, until there is another.
    suspect: Option<Token>,
}

struct Refusal {
    origin: Box<str>,
    /// When it caused a new token; `None` if there is none yet.
    replaced: Option<Instant>,
}

/// Whether a server's refusal is a reason for another token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Invalidation {
    /// Another token can be fetched, or was fetched already.
    AskAgain,
    /// The token was replaced a moment ago, and that didn't help.
    Pointless,
}

impl Refusals {
    /// Returns `true` if a server has refused this token, and there is no other yet.
    pub(crate) fn suspects(&self, token: &Token) -> bool {
        self.suspect.as_ref().is_some_and(|suspect| suspect.is_same(token))
    }

    /// Records that `origin` has refused the held token, unless it has caused a new one recently.
    pub(crate) fn note(&mut self, token: &Token, origin: &str, now: Instant) -> Invalidation {
        self.recent.retain(|refusal| !refusal.is_over(now));
        let known = self.recent.iter().find(|refusal| *refusal.origin == *origin);
        if self.suspects(token) {
            // It is being replaced already, or will be: another refusal adds no fetch.
            if known.is_none() && self.recent.len() < MOST_ORIGINS {
                self.recent.push(Refusal { origin: origin.into(), replaced: None });
            }
            return Invalidation::AskAgain;
        }
        if known.is_some() || self.recent.len() >= MOST_ORIGINS {
            return Invalidation::Pointless;
        }
        self.recent.push(Refusal { origin: origin.into(), replaced: None });
        self.suspect = Some(token.clone());
        Invalidation::AskAgain
    }

    /// Records that there is a new token.
    pub(crate) fn replaced(&mut self, now: Instant) {
        self.suspect = None;
        for refusal in &mut self.recent {
            refusal.replaced.get_or_insert(now);
        }
    }
}

impl Refusal {
    fn is_over(&self, now: Instant) -> bool {
        self.replaced.is_some_and(|at| now.saturating_duration_since(at) >= COOLDOWN)
    }
}

#[cfg(test)]
mod tests {
    use crate::clock::monotonic;

    use super::Invalidation::{AskAgain, Pointless};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn token(text: &str) -> Token {
        Token::new(text.as_bytes(), None, monotonic(), monotonic(), None).unwrap()
    }

    #[test]
    fn fc2_each_origin_has_a_budget_of_its_own() {
        let (mut refusals, now) = (Refusals::default(), monotonic());
        assert_eq!(refusals.note(&token("t1"), "a", now), AskAgain);
        refusals.replaced(now);
        assert_eq!(refusals.note(&token("t2"), "a", now + 29 * SECOND), Pointless);
        assert_eq!(refusals.note(&token("t2"), "b", now + 29 * SECOND), AskAgain);
        // It is being replaced anyway.
        assert_eq!(refusals.note(&token("t2"), "a", now + 29 * SECOND), AskAgain);
        refusals.replaced(now + 29 * SECOND);
        assert_eq!(refusals.note(&token("t3"), "b", now + 58 * SECOND), Pointless);
        assert_eq!(refusals.note(&token("t3"), "b", now + 59 * SECOND), AskAgain);
    }

    #[test]
    fn fc2_the_budget_is_spent_by_a_new_token_and_not_by_asking_for_it() {
        let (mut refusals, now) = (Refusals::default(), monotonic());
        assert_eq!(refusals.note(&token("t1"), "a", now), AskAgain);
        assert_eq!(refusals.note(&token("t1"), "a", now + 100 * SECOND), AskAgain);
        refusals.replaced(now + 100 * SECOND);
        assert_eq!(refusals.note(&token("t2"), "a", now + 129 * SECOND), Pointless);
    }

    #[test]
    fn fc2_who_refused_the_same_token_has_had_the_same_renewal() {
        let (mut refusals, now) = (Refusals::default(), monotonic());
        assert_eq!(refusals.note(&token("t1"), "a", now), AskAgain);
        assert_eq!(refusals.note(&token("t1"), "b", now), AskAgain);
        refusals.replaced(now);
        assert_eq!(refusals.note(&token("t2"), "b", now), Pointless);
        assert_eq!(refusals.note(&token("t2"), "c", now), AskAgain);
    }

    #[test]
    fn fc2_what_is_remembered_is_bounded() {
        let (mut refusals, now) = (Refusals::default(), monotonic());
        for n in 0..2 * MOST_ORIGINS {
            let verdict = refusals.note(&token(&n.to_string()), &n.to_string(), now);
            assert_eq!(verdict == AskAgain, n < MOST_ORIGINS);
            refusals.replaced(now);
        }
        assert_eq!(refusals.recent.len(), MOST_ORIGINS);
        assert_eq!(refusals.note(&token("t"), "new", now + COOLDOWN), AskAgain);
        assert_eq!(refusals.recent.len(), 1);
    }
}
