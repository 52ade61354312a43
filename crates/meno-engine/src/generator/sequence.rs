//! One answer in progress: its tokens, its slot in the cache, and how its next token is chosen.

use super::event::Finish;
use super::observe::{Observe, Observing};
use super::request::{Job, StreamKey};
use crate::constraint::{Choice, Constraint, TokenMask};
use crate::sampler::{Sampling, Scratch, adjust, logprob, sample, top_logprobs};
use meno_tensor::backend::Backend;
use meno_tensor::finite::all_finite;
use meno_tensor::sampling::{SampledToken, TokenSampling};
use meno_tensor::tape::Outputs;
use std::ops::Range;
use std::sync::Arc;

/// A newly chosen token.
pub(super) struct Chosen {
    pub(super) token: u32,
    pub(super) logprob: f32,
    pub(super) top: Vec<(u32, f32)>,
}

/// Where the results of a sequence's last row are in the outputs of a step; those of its draft follow.
#[derive(Clone, Copy, Debug)]
pub(super) enum ResultRow {
    /// The logits of a row: the host chooses the token.
    Logits(usize),
    /// The token that the device has chosen.
    Sampled(usize),
}

/// One answer, from the queue to its end.
pub(super) struct Sequence {
    pub(super) job: u64,
    /// The owner: see [`Job::salt`].
    pub(super) salt: u64,
    pub(super) sample: usize,
    pub(super) sampling: Arc<Sampling>,
    /// The key of the random numbers.
    key: StreamKey,
    constraint: Option<Box<dyn Constraint>>,
    /// What to report about its prompt.
    pub(super) observing: Option<Observing>,
    /// Its slot in the cache; `None` in the queue.
    pub(super) slot: Option<usize>,
    /// Prompt and answer.
    pub(super) tokens: Vec<u32>,
    /// Length of the prompt.
    pub(super) prompt: usize,
    /// Maximum length of prompt and answer.
    end: usize,
    /// Number of tokens whose keys and values are in the cache.
    pub(super) cached: usize,
    /// Number of prompt tokens that were found in the cache.
    pub(super) reused: usize,
    /// Tokens that run in this step.
    pub(super) fed: usize,
    /// Its rows in this step, and `past`: the position of the first.
    pub(super) rows: Range<usize>,
    pub(super) past: usize,
    /// Draft tokens that run in this step, to be verified.
    pub(super) draft: Vec<u32>,
    /// Length of the next draft.
    pub(super) guesses: usize,
    /// The results of this step, if a token is chosen after it.
    pub(super) row: Option<ResultRow>,
    /// The tokens chosen in this step.
    pub(super) chosen: Vec<Chosen>,
    pub(super) finish: Option<Finish>,
}

impl Sequence {
    /// Creates the samples of a job, for a context of `max_len` tokens.
    pub(super) fn of(job: Job, max_len: usize) -> impl Iterator<Item = Sequence> {
        let Job { id, salt, request, observe, constraints } = job;
        let (n, key) = (request.n, request.key);
        let sampling = Arc::new(request.sampling);
        let mut constraints = constraints.into_iter();
        (0..n).map(move |sample| Sequence {
            job: id,
            salt,
            sample,
            sampling: sampling.clone(),
            key: key.of_sample(n, sample),
            constraint: constraints.next(),
            observing: Observing::new(if sample == 0 { observe } else { Observe::Nothing }),
            slot: None,
            tokens: request.prompt.clone(),
            prompt: request.prompt.len(),
            end: request.prompt.len().saturating_add(sampling.max_tokens).min(max_len),
            cached: 0,
            reused: 0,
            fed: 0,
            rows: 0..0,
            past: 0,
            draft: Vec::new(),
            guesses: 2,
            row: None,
            chosen: Vec::new(),
            finish: None,
        })
    }

    /// Its slot in the cache. The sequence must not be in the queue.
    pub(super) fn at(&self) -> usize {
        self.slot.expect("invariant: an active sequence has a slot")
    }

    /// Number of tokens that have to run before the next can be chosen.
    pub(super) fn left(&self) -> usize {
        self.tokens.len() - self.cached
    }

    /// Number of tokens that may still be added.
    pub(super) fn room(&self) -> usize {
        self.end - self.tokens.len()
    }

    /// Allocates memory for all tokens, so that a step allocates nothing.
    pub(super) fn reserve(&mut self) {
        self.tokens.reserve_exact(self.room().min(1 << 16));
        self.chosen.reserve(1);
    }

    /// Chooses the next token from the results of its row. With a draft, it continues as long as the chosen tokens
    /// match it. The choice does not depend on the draft: every token is sampled from its own logits with the random
    /// number of its own position. The draft only decides whether the next row can be used.
    pub(super) fn choose(&mut self, backend: &dyn Backend, out: &Outputs, vocab: usize, scratch: &mut Scratch) {
        let Some(first) = self.row else { return };
        for i in 0..=self.draft.len() {
            let (logits, sampled) = match first {
                ResultRow::Logits(first) => (&out.logits[(first + i) * vocab..][..vocab], None),
                ResultRow::Sampled(first) => (&[][..], out.sampled[first + i]),
            };
            if sampled.is_none() && (logits.is_empty() || !all_finite(logits)) {
                self.finish = Some(Finish::NotFinite);
                break;
            }
            if self.room() == 0 {
                self.finish = Some(Finish::Length); // only its prompt was requested
                break;
            }
            let chosen = match sampled {
                Some(SampledToken { token, logprob }) => Some(Chosen { token, logprob, top: Vec::new() }),
                None => self.next(backend, logits, scratch),
            };
            match chosen {
                None => self.finish = Some(Finish::Stop),
                Some(chosen) => self.take(chosen),
            }
            let guessed = self.draft.get(i).is_some_and(|&d| self.tokens.last() == Some(&d));
            if self.finish.is_some() || !guessed {
                break;
            }
        }
    }

    /// Chooses the next token; `None` if the constraint ends the answer.
    fn next(&mut self, backend: &dyn Backend, logits: &[f32], scratch: &mut Scratch) -> Option<Chosen> {
        let Sequence { sampling, tokens, prompt, key, constraint, .. } = self;
        let choice = match constraint {
            None => Choice::Any,
            Some(constraint) => {
                if scratch.mask.len() != logits.len() {
                    scratch.mask = TokenMask::all(logits.len());
                }
                scratch.mask.allow_all();
                constraint.choose(&mut scratch.mask)
            }
        };
        let u = || key.rng(tokens.len()).uniform_f64();
        let (token, logprob) = match choice {
            Choice::End => return None,
            Choice::Token(token) if token as usize >= logits.len() => return None,
            Choice::Token(token) => (token, logprob(backend, logits, sampling, token)),
            Choice::Masked if scratch.mask.forbids_all() => return None,
            Choice::Any if !sampling.adjusts() => sample(backend, logits, sampling, u(), scratch),
            _ => {
                let mut adjusted = std::mem::take(&mut scratch.adjusted);
                adjusted.clear();
                adjusted.extend_from_slice(logits);
                let (prompt, answer) = tokens.split_at(*prompt);
                adjust(&mut adjusted, sampling, prompt, answer, &mut scratch.seen);
                if choice == Choice::Masked {
                    scratch.mask.apply(&mut adjusted);
                }
                let (token, _) = sample(backend, &adjusted, sampling, u(), scratch);
                scratch.adjusted = adjusted;
                (token, logprob(backend, logits, sampling, token))
            }
        };
        let top = sampling.top_logprobs.map_or(Vec::new(), |k| top_logprobs(backend, logits, sampling.vocab_size, k));
        Some(Chosen { token, logprob, top })
    }

    /// Returns true if the device can choose the next token: it follows from its logits alone.
    pub(super) fn needs_no_logits(&self) -> bool {
        self.constraint.is_none() && self.sampling.needs_no_logits()
    }

    /// Returns how the token at `position` is sampled from its logits, without any constraint.
    pub(super) fn sampling_at(&self, position: usize) -> TokenSampling {
        self.sampling.of_token(self.key.rng(position).uniform_f64())
    }

    fn take(&mut self, chosen: Chosen) {
        let token = chosen.token;
        self.tokens.push(token);
        self.chosen.push(chosen);
        if let Some(constraint) = &mut self.constraint {
            constraint.accept(token);
        }
        if self.sampling.stop_tokens.contains(&token) {
            self.finish = Some(Finish::Stop);
        } else if self.tokens.len() >= self.end {
            self.finish = Some(Finish::Length);
        }
    }
}
