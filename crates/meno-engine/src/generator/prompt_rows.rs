//! Reads the reports about a prompt ([`Observe`]) from its rows.
//!
//! They are read while the rows of the prompt run, so those rows cannot come from the cache. A sequence that observes
//! its prompt shares no prefix with others until the whole prompt is done. Neither report changes a bit of the answer.

use super::event::{Event, Sink, Stop};
use super::observe::{Observe, Pooling, TokenLogprob};
use super::sequence::Sequence;
use crate::sampler::{Sampling, logprob, top_logprobs};
use meno_tensor::backend::Backend;
use meno_tensor::tape::Outputs;
use rayon::prelude::*;
use std::ops::ControlFlow;

/// Maximum number of prompt logits in one step: 16 MiB. A step has room for at least one row.
const MOST_LOGITS: usize = 1 << 22;

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
    pub(super) fn report_observed(&mut self, sink: Sink<'_>) -> ControlFlow<Stop> {
        let Some(o) = self.observing.as_mut() else { return ControlFlow::Continue(()) };
        let mut flow = ControlFlow::Continue(());
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
