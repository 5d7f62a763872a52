//! A quick test whether a member name may have occurred before: one bit for each kind of text.

/// The kinds of the texts that were added: one bit for each of 64.
///
/// Most texts of a short list are the only ones of their kind, and needn't be compared with the others.
#[derive(Debug, Default)]
pub(crate) struct Kinds(u64);

impl Kinds {
    /// Adds a text's kind. Returns `true` if it was there before; if not, the text is new as well.
    pub(crate) fn add(&mut self, text: &[u8]) -> bool {
        let ends = [text.first(), text.last()];
        let sum = ends
            .into_iter()
            .flatten()
            .fold(text.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        let bit = 1 << (sum % 64);
        let there = self.0 & bit != 0;
        self.0 |= bit;
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_never_said_to_be_new_and_most_of_what_wasnt_is() {
        let claims = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "client_id", ""];
        let mut kinds = Kinds::default();
        let alike = claims.iter().filter(|claim| kinds.add(claim.as_bytes())).count();
        assert!(alike < 5, "{alike}");
        assert!(claims.iter().all(|claim| kinds.add(claim.as_bytes())));
    }
}
