//! The input of one pass: packed sequences, their slots in the KV cache, and the requested results.

use crate::sampling::TokenSampling;
use std::ops::Range;

/// A run of consecutive tokens of one sequence in the packed rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its rows in the batch.
    pub rows: Range<usize>,
    /// Number of tokens of the sequence that precede these in the KV cache.
    pub past: usize,
    /// The sequence's slot in the KV cache; `None` in training and scoring.
    pub slot: Option<usize>,
}

/// The target of a row without a target; such a row has no loss.
pub const IGNORE: u32 = u32::MAX;

/// Packed sequences: no padding; segments mark the boundaries.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Token ids, all segments one after the other.
    pub tokens: Vec<u32>,
    /// Position of each token in its sequence.
    pub positions: Vec<u32>,
    /// The sequences, in the order of their rows.
    pub segments: Vec<Segment>,
    /// For each loss head: the target token of every row, or [`IGNORE`]. Head 0 is the next token, head 1 the MTP
    /// module's.
    pub targets: [Vec<u32>; 2],
    /// The weight of every row's loss (shared by both heads; rows of weight 0 are skipped).
    pub weights: Vec<f32>,
    /// Rows whose logits are requested, ascending (inference).
    pub logit_rows: Vec<usize>,
    /// Rows from whose logits the device chooses a token, ascending, if
    /// [`Backend::samples_rows`](crate::backend::Backend::samples_rows) (inference).
    pub sampled_rows: Vec<(usize, TokenSampling)>,
    /// The main network's hidden state of every row, for the MTP module (inference).
    pub hidden: Vec<f32>,
}

impl Batch {
    /// Empties the batch but keeps its memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.segments.clear();
        self.targets.iter_mut().for_each(Vec::clear);
        self.weights.clear();
        self.logit_rows.clear();
        self.sampled_rows.clear();
        self.hidden.clear();
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Returns true if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Appends tokens of a sequence that has `past` tokens in slot `slot` of the cache; returns their rows.
    pub fn push(&mut self, tokens: &[u32], past: usize, slot: Option<usize>) -> Range<usize> {
        let rows = self.len()..self.len() + tokens.len();
        self.tokens.extend_from_slice(tokens);
        self.positions.extend((past..past + tokens.len()).map(|p| p as u32));
        self.segments.push(Segment { rows: rows.clone(), past, slot });
        rows
    }

    /// Appends a whole training sequence. The targets of row i are token i + 1 (head 0) and token i + 2 (head 1);
    /// `weight(i + 1)` is the weight of predicting token i + 1. The last rows have no target.
    pub fn push_training(&mut self, tokens: &[u32], mut weight: impl FnMut(usize) -> f32) -> Range<usize> {
        let rows = self.push(tokens, 0, None);
        for (head, targets) in self.targets.iter_mut().enumerate() {
            targets.extend((0..tokens.len()).map(|i| tokens.get(i + 1 + head).copied().unwrap_or(IGNORE)));
        }
        self.weights.extend((0..tokens.len()).map(|i| if i + 1 < tokens.len() { weight(i + 1) } else { 0.0 }));
        rows
    }
}
