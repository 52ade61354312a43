//! Speculative decoding: drafts of the next tokens, which the network verifies in one pass.
//!
//! A draft never changes the answer. Every token is sampled from the network's own logits at its position, with the
//! random number of that position. The draft only decides whether the logits of the next row, computed in the same
//! pass, can be used. So greedy and sampled answers are the same token for token, and not only in distribution (which
//! is what rejection sampling gives; Leviathan et al., arXiv 2211.17192).

use super::scheduler::Scheduler;
use super::sequence::Sequence;
use crate::error::Error;
use meno_model::{InferOptions, Model};
use meno_tensor::backend::{Backend, Executor, Pass, Weights};
use meno_tensor::kv_cache::KvCache;
use meno_tensor::precision::Precision;
use meno_tensor::sampling::{Scratch, TokenSampling};
use meno_tensor::tape::Batch;

/// Lengths of the n-grams that are looked up; the longest first.
const GRAMS: std::ops::RangeInclusive<usize> = 2..=4;
/// Maximum draft length of look-up. The length adapts to the acceptance: see [`Sequence::learn`].
const MOST: usize = 8;

/// Drafts the tokens, at most `most`, that followed an earlier occurrence of the last few tokens.
pub(super) fn look_up(tokens: &[u32], most: usize, draft: &mut Vec<u32>) {
    draft.clear();
    let history = &tokens[..tokens.len() - 1];
    for n in GRAMS.rev().filter(|&n| n < tokens.len()) {
        let last = &tokens[tokens.len() - n..];
        if let Some(at) = history.windows(n).rposition(|w| w == last) {
            draft.extend(tokens[at + n..].iter().take(most));
            return;
        }
    }
}

impl Sequence {
    /// Drafts by look-up.
    pub(super) fn guess(&mut self) {
        let mut draft = std::mem::take(&mut self.draft);
        look_up(&self.tokens, self.guesses, &mut draft);
        self.draft = draft;
    }

    /// Adapts the draft length: doubled if all draft tokens were accepted, otherwise the number that was accepted (at
    /// least 1).
    pub(super) fn learn(&mut self, right: usize) {
        if !self.draft.is_empty() {
            self.guesses = if right == self.draft.len() { (2 * self.guesses).min(MOST) } else { right.max(1) };
        }
    }
}

/// The MTP module as draft model.
pub(super) struct Mtp {
    executor: Box<dyn Executor>,
    batch: Batch,
    /// The active sequences that want a draft and how to choose it, in the order of their rows in the results.
    wanted: Vec<(usize, TokenSampling)>,
    scratch: Scratch,
}

impl Mtp {
    /// Creates the module for steps of up to `rows` rows, including those of samples that join a prompt.
    pub(super) fn new(model: &Model, rows: usize, o: InferOptions) -> Result<Mtp, Error> {
        let executor = model.draft_executor(rows, o)?.ok_or(Error::NoMtpModule)?;
        Ok(Mtp { executor, batch: Batch::default(), wanted: Vec::new(), scratch: Scratch::default() })
    }

    pub(super) fn bytes(&self) -> usize {
        self.executor.bytes()
    }

    /// Runs the module for the positions that the main network has just run and whose next token is known, and drafts
    /// the token after the last one of every decoding sequence. `hidden` are the main network's hidden states.
    pub(super) fn draft(
        &mut self,
        backend: &dyn Backend,
        weights: &mut dyn Weights,
        precision: Precision,
        scheduler: &mut Scheduler,
        cache: &mut KvCache,
        (hidden, width): (&[f32], usize),
    ) -> Result<(), Error> {
        self.batch.clear();
        self.wanted.clear();
        for (i, s) in scheduler.active.iter_mut().enumerate() {
            s.draft.clear();
            let known = s.rows.len().min(s.tokens.len() - 1 - s.past);
            let positions = s.past..s.past + known;
            // Without free pages there is no draft. Missing or wrong cache entries of the module can only make drafts
            // worse.
            if known == 0 || cache.table().pages_needed(s.at(), positions.clone()) > cache.table().free_pages() {
                continue;
            }
            cache.table_mut().reserve(s.at(), positions.clone());
            let rows = self.batch.push(&s.tokens[positions.start + 1..=positions.end], positions.start, s.slot);
            self.batch.hidden.extend_from_slice(&hidden[s.rows.start * width..][..known * width]);
            if s.left() == 1 && s.tokens.len() > s.prompt && s.room() > 1 {
                // Use the random number that the network will use at this position, so that similar distributions
                // choose the same token.
                let sampling = s.sampling_at(s.tokens.len());
                match backend.samples_rows() {
                    true => self.batch.sampled_rows.push((rows.end - 1, sampling)),
                    false => self.batch.logit_rows.push(rows.end - 1),
                }
                self.wanted.push((i, sampling));
            }
        }
        if self.batch.is_empty() {
            return Ok(());
        }
        let out = self.executor.forward(weights, Pass::new(precision, &self.batch), Some(cache))?;
        let vocab = out.logits.len() / self.wanted.len().max(1);
        for (k, &(i, sampling)) in self.wanted.iter().enumerate() {
            let token = match out.sampled.get(k) {
                Some(sampled) => *sampled,
                None => {
                    let logits = &out.logits[k * vocab..][..vocab];
                    Some(backend.sample(logits, &sampling, &mut self.scratch))
                }
            };
            scheduler.active[i].draft.extend(token.map(|t| t.token));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_up_what_followed_the_longest_match_last() {
        let mut draft = vec![9];
        let mut look = |tokens: &[u32], most| {
            look_up(tokens, most, &mut draft);
            draft.clone()
        };
        assert_eq!(look(&[1, 2, 3, 4, 5, 1, 2, 6, 7, 1, 2], 3), [6, 7, 1]); // the later of two matches
        assert_eq!(look(&[8, 1, 2, 3, 4, 5, 1, 2, 6, 7, 8, 1, 2], 2), [3, 4]); // the longer of two matches
        assert_eq!(look(&[5, 5, 5, 5], 4), [5]);
        assert_eq!(look(&[1, 2, 3, 4], 4), [0; 0]);
        assert_eq!(look(&[1], 4), [0; 0]);
    }
}
