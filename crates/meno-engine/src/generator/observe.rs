//! What can be reported about a prompt: the log-probabilities of its tokens, or its hidden states as one vector.

/// What to report about a prompt. It is reported once, with the first sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Observe {
    /// Nothing.
    #[default]
    Nothing,
    /// The log-probability of every token after the first, and the most likely tokens at its position
    /// ([`Sampling::top_logprobs`](crate::Sampling::top_logprobs)):
    /// [`Event::PromptLogprobs`](super::Event::PromptLogprobs).
    Logprobs,
    /// The hidden states after the final norm, pooled into one vector: [`Event::Hidden`](super::Event::Hidden).
    /// Requires [`GeneratorConfig::hidden`](super::GeneratorConfig::hidden).
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
    pub(super) what: Observe,
    /// Number of positions observed.
    pub(super) seen: usize,
    /// The first of its rows of logits in this step.
    pub(super) row: Option<usize>,
    /// Log-probabilities that are not reported yet.
    pub(super) logprobs: Vec<TokenLogprob>,
    /// The sum of the hidden states, or the last one.
    pub(super) hidden: Vec<f64>,
}

impl Observing {
    pub(super) fn new(what: Observe) -> Option<Observing> {
        let new = Observing { what, seen: 0, row: None, logprobs: Vec::new(), hidden: Vec::new() };
        (what != Observe::Nothing).then_some(new)
    }
}
