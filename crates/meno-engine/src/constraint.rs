//! Constraints on the next token that come from outside of the model: a grammar, a thinking budget, a loop breaker.

/// The set of allowed next tokens, one bit per token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenMask {
    words: Vec<u32>,
    len: usize,
}

impl TokenMask {
    /// Creates a mask for a vocabulary of `len` tokens, all allowed.
    pub fn all(len: usize) -> TokenMask {
        let mut mask = TokenMask { words: vec![0; len.div_ceil(32)], len };
        mask.allow_all();
        mask
    }

    /// Returns the number of tokens in the vocabulary.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if the vocabulary is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Allows every token.
    pub fn allow_all(&mut self) {
        self.words.fill(u32::MAX);
        if !self.len.is_multiple_of(32)
            && let Some(last) = self.words.last_mut()
        {
            *last = (1 << (self.len % 32)) - 1;
        }
    }

    /// Allows no token.
    pub fn forbid_all(&mut self) {
        self.words.fill(0);
    }

    /// Allows a token. A token outside the vocabulary has no effect.
    pub fn allow(&mut self, token: u32) {
        if (token as usize) < self.len {
            self.words[token as usize / 32] |= 1 << (token % 32);
        }
    }

    /// Forbids a token.
    pub fn forbid(&mut self, token: u32) {
        if (token as usize) < self.len {
            self.words[token as usize / 32] &= !(1 << (token % 32));
        }
    }

    /// Returns true if the token is allowed.
    pub fn allows(&self, token: u32) -> bool {
        (token as usize) < self.len && self.words[token as usize / 32] >> (token % 32) & 1 == 1
    }

    /// Allows exactly the tokens whose bits are set: bit t % 32 of word t / 32. Missing words count as 0, and bits
    /// outside the vocabulary are ignored.
    pub fn copy_from(&mut self, words: &[u32]) {
        let valid = self.words.len().min(words.len());
        self.words[..valid].copy_from_slice(&words[..valid]);
        self.words[valid..].fill(0);
        if !self.len.is_multiple_of(32)
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << (self.len % 32)) - 1;
        }
    }

    /// Returns true if no token is allowed.
    pub fn forbids_all(&self) -> bool {
        self.words.iter().all(|&w| w == 0)
    }

    /// Sets the logit of every forbidden token to −∞.
    pub fn apply(&self, logits: &mut [f32]) {
        for (word, logits) in self.words.iter().zip(logits.chunks_mut(32)) {
            if *word != u32::MAX {
                for (bit, logit) in logits.iter_mut().enumerate() {
                    if word >> bit & 1 == 0 {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
}

/// A [`Constraint`]'s decision about the next token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Any token.
    Any,
    /// Any token that the mask allows.
    Masked,
    /// This token, whatever the logits are.
    Token(u32),
    /// No token: the answer is complete.
    End,
}

/// Restricts the tokens of one answer. It is called on the engine's threads, once per token, so slow work here delays
/// the next token of all sequences.
pub trait Constraint: Send {
    /// Decides about the next token. `mask` starts with every token allowed; it is used only with [`Choice::Masked`].
    fn choose(&mut self, mask: &mut TokenMask) -> Choice;
    /// Receives the chosen token, including a forced one.
    fn accept(&mut self, token: u32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_by_hand() {
        let mut mask = TokenMask::all(35);
        assert!(mask.allows(34) && !mask.allows(35) && !mask.forbids_all());
        mask.copy_from(&[0b101]);
        assert_eq!((0..35).filter(|&t| mask.allows(t)).collect::<Vec<_>>(), [0, 2]);
        mask.allow(33);
        mask.forbid(0);
        mask.allow(99);
        let mut logits = vec![1.0; 35];
        mask.apply(&mut logits);
        assert_eq!((0..35).filter(|&t| logits[t] == 1.0).collect::<Vec<_>>(), [2, 33]);
        assert_eq!(logits[0], f32::NEG_INFINITY);
        mask.copy_from(&[0, u32::MAX, u32::MAX]);
        assert!(mask.allows(34) && !mask.allows(35));
        mask.forbid_all();
        assert!(mask.forbids_all());
    }
}
