//! Repetition penalty (arXiv 2502.03373 §5): penalizes the fraction of repeated n-grams.

use super::{Input, Reward};
use std::collections::HashSet;

/// `max_penalty` · (1 − distinct n-grams / n-grams), over words (a Han character is a word).
#[derive(Clone, Copy, Debug)]
pub struct RepetitionPenalty {
    /// Words in an n-gram.
    pub ngram_size: usize,
    /// The (negative) penalty of a text that only repeats itself.
    pub max_penalty: f32,
}

impl Default for RepetitionPenalty {
    fn default() -> Self {
        RepetitionPenalty { ngram_size: 3, max_penalty: -1.0 }
    }
}

/// Returns the fraction of n-grams that occurred before; 0 for a text without n-grams.
pub fn repeated_share(text: &str, n: usize) -> f32 {
    let words: Vec<&str> = words(text);
    if n == 0 || words.len() < n {
        return 0.0;
    }
    let distinct: HashSet<&[&str]> = words.windows(n).collect();
    1.0 - distinct.len() as f32 / (words.len() + 1 - n) as f32
}

fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for part in text.split_whitespace() {
        let mut start = 0;
        for (at, c) in part.char_indices() {
            if ('\u{3000}'..='\u{9fff}').contains(&c) {
                if start < at {
                    words.push(&part[start..at]);
                }
                start = at + c.len_utf8();
                words.push(&part[at..start]);
            }
        }
        if start < part.len() {
            words.push(&part[start..]);
        }
    }
    words
}

impl Reward for RepetitionPenalty {
    fn name(&self) -> &str {
        "repetition_penalty"
    }
    fn score(&self, input: &Input) -> f32 {
        self.max_penalty * repeated_share(input.text, self.ngram_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_repeated_ngrams() {
        assert_eq!(repeated_share("a b c d e", 3), 0.0);
        // Trigrams of a b a b a b: aba bab aba bab, two of four distinct.
        assert_eq!(repeated_share("a b a b a b", 3), 0.5);
        assert_eq!(repeated_share("a b", 3), 0.0);
        assert_eq!(words("x=1 得到so对"), ["x=1", "得", "到", "so", "对"]);
    }
}
