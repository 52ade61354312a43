//! Reports about a prompt: the log-probabilities of its tokens, or its hidden states as one vector.
//!
//! Both are read from the rows of the prompt as they run, so those rows cannot come from the cache. A sequence that
//! observes its prompt shares no prefix with others until the whole prompt is done. Neither report changes a bit of the
//! answer.

use super::Flow;
use super::sequence::Sequence;
use super::{Event, Sink};
use crate::sampler::{Sampling, logprob, top_logprobs};
use meno_tensor::backend::Backend;
use meno_tensor::tape::Outputs;
use rayon::prelude::*;

/// Maximum number of prompt logits in one step: 16 MiB. A step has room for at least one row.
const MOST_LOGITS: usize = 1 << 22;

/// What to report about a prompt. It is reported once, with the first sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Observe {
    /// Nothing.
    #[default]
    Nothing,
    /// The log-probability of every token after the first, and the most likely tokens at its position
    /// ([`Sampling::top_logprobs`]): [`Event::PromptLogprobs`].
    Logprobs,
    /// The hidden states after the final norm, pooled into one vector: [`Event::Hidden`]. Requires
    /// [`super::Options::hidden`].
    Hidden(Pooling),
}

/// How to pool the hidden states of a prompt into one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The state of the last token, which attends to all others.
    Last,
    /// The mean over all tokens.
    Mean,
}

/// A token of a prompt with its log-probability given the tokens before it.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub token: u32,
    /// Its log-probability.
    pub logprob: f32,
    /// The most likely tokens at this position.
    pub top: Vec<(u32, f32)>,
}

/// What a sequence has observed of its prompt so far.
pub(super) struct Observing {
    what: Observe,
    /// Number of positions observed.
    seen: usize,
    /// The first of its rows of logits in this step.
    pub(super) row: Option<usize>,
    /// Log-probabilities that are not reported yet.
    logprobs: Vec<TokenLogprob>,
    /// The sum of the hidden states, or the last one.
    hidden: Vec<f64>,
}

impl Observing {
    pub(super) fn new(what: Observe) -> Option<Observing> {
        let new = Observing { what, seen: 0, row: None, logprobs: Vec::new(), hidden: Vec::new() };
        (what != Observe::Nothing).then_some(new)
    }
}

/// Maximum rows of logits for all prompts of a step together.
pub(super) fn most_logit_rows(vocab: usize) -> usize {
    (MOST_LOGITS / vocab.max(1)).max(1)
}

impl Sequence {
    /// Returns true if every row of the prompt has to run, because some were not observed.
    pub(super) fn needs_all_rows(&self) -> bool {
        self.observing.as_ref().is_some_and(|o| o.seen < self.prompt && o.what != Observe::Hidden(Pooling::Last))
    }

    /// Returns true if all rows of the prompt need logits.
    pub(super) fn needs_all_logits(&self) -> bool {
        self.observing.as_ref().is_some_and(|o| o.seen < self.prompt && o.what == Observe::Logprobs)
    }

    /// Reads what the step computed for its rows.
    pub(super) fn observe(&mut self, backend: &dyn Backend, out: &Outputs, vocab: usize, rows: usize) {
        let Sequence { observing, tokens, prompt, sampling, past, rows: own, .. } = self;
        let Some(o) = observing.as_mut().filter(|o| o.seen < *prompt && own.start < own.end) else { return };
        let (from, to) = (o.seen.max(*past), (*past + own.len()).min(*prompt));
        match o.what {
            Observe::Nothing => {}
            Observe::Logprobs => {
                let Some(first) = o.row.take() else { return };
                let next = |position: usize| {
                    let logits = &out.logits[(first + position - *past) * vocab..][..vocab];
                    token_logprob(backend, logits, sampling, tokens[position + 1])
                };
                let mut more = Vec::new();
                (from..to.min(*prompt - 1)).into_par_iter().map(next).collect_into_vec(&mut more);
                o.logprobs.append(&mut more);
            }
            Observe::Hidden(pooling) => {
                let width = out.hidden.len() / rows.max(1);
                o.hidden.resize(width, 0.0);
                for position in from..to {
                    if pooling == Pooling::Last && position + 1 < *prompt {
                        continue;
                    }
                    let row = &out.hidden[(own.start + position - *past) * width..][..width];
                    o.hidden.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x as f64);
                }
            }
        }
        o.seen = o.seen.max(to);
    }

    /// Reports what was observed since the last call.
    pub(super) fn tell_observed(&mut self, sink: Sink<'_>) -> Flow {
        let Some(o) = self.observing.as_mut() else { return Flow::Continue };
        let mut flow = Flow::Continue;
        if !o.logprobs.is_empty() {
            let logprobs = std::mem::take(&mut o.logprobs);
            flow = sink(self.job, Event::PromptLogprobs { sample: self.sample, logprobs });
        }
        if o.seen == self.prompt && !o.hidden.is_empty() {
            let count = if o.what == Observe::Hidden(Pooling::Mean) { self.prompt as f64 } else { 1.0 };
            let vector = std::mem::take(&mut o.hidden).into_iter().map(|x| (x / count) as f32).collect();
            flow = sink(self.job, Event::Hidden { sample: self.sample, vector });
        }
        flow
    }
}

fn token_logprob(backend: &dyn Backend, logits: &[f32], sampling: &Sampling, token: u32) -> TokenLogprob {
    let top = sampling.top_logprobs.map_or(Vec::new(), |k| top_logprobs(backend, logits, sampling.vocab_size, k));
    TokenLogprob { token, logprob: logprob(backend, logits, sampling, token), top }
}
