//! The constraints on the tokens of an answer: limits on its thinking, then its grammar, and a minimum length.

use crate::structured::{Grammar, GrammarFlag};
use crate::thinking::{AnswerPhase, ThinkingLimiter, ThinkingStopFlag};
use meno_engine::constraint::{Choice, Constraint, TokenMask};

/// Limits the thinking of an answer and applies a grammar to the text after it.
#[derive(Debug)]
pub(crate) struct DecodingConstraints {
    limiter: Option<ThinkingLimiter>,
    grammar: Option<Grammar>,
    /// The token that may open the thinking before the grammar starts.
    open: Option<u32>,
    /// How many more tokens are required before one of `stop_tokens` is allowed.
    remaining_min: usize,
    stop_tokens: Vec<u32>,
}

/// What the constraints did; the response reads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConstraintReport {
    /// Why the thinking was ended.
    pub thinking_stop: ThinkingStopFlag,
    /// Why the grammar failed.
    pub grammar: GrammarFlag,
}

impl DecodingConstraints {
    /// Creates the constraints of one answer; `open` is the token that opens the thinking.
    pub(crate) fn new(
        limiter: Option<ThinkingLimiter>,
        grammar: Option<Grammar>,
        open: Option<u32>,
    ) -> DecodingConstraints {
        DecodingConstraints { limiter, grammar, open, remaining_min: 0, stop_tokens: Vec::new() }
    }

    /// Forbids `stop_tokens` before the answer has `min_tokens` tokens. An answer whose grammar is complete still ends
    /// earlier.
    #[must_use]
    pub(crate) fn with_min_tokens(self, min_tokens: usize, stop_tokens: Vec<u32>) -> DecodingConstraints {
        DecodingConstraints { remaining_min: min_tokens, stop_tokens, ..self }
    }

    /// Returns true if there are no constraints.
    pub(crate) fn is_idle(&self) -> bool {
        self.limiter.is_none() && self.grammar.is_none() && self.remaining_min == 0
    }

    /// Returns the report for the response.
    pub(crate) fn report(&self) -> ConstraintReport {
        ConstraintReport {
            thinking_stop: self.limiter.as_ref().map(ThinkingLimiter::stop_flag).unwrap_or_default(),
            grammar: self.grammar.as_ref().map(Grammar::flag).unwrap_or_default(),
        }
    }

    fn phase(&self) -> AnswerPhase {
        self.limiter.as_ref().map_or(AnswerPhase::Answer, ThinkingLimiter::phase)
    }
}

impl Constraint for DecodingConstraints {
    fn choose(&mut self, mask: &mut TokenMask) -> Choice {
        let choice = self.allowed(mask);
        if self.remaining_min == 0 || !matches!(choice, Choice::Any | Choice::Masked) {
            return choice;
        }
        if choice == Choice::Any {
            mask.allow_all();
        }
        self.stop_tokens.iter().for_each(|&end| mask.forbid(end));
        if mask.forbids_all() { Choice::End } else { Choice::Masked }
    }

    fn accept(&mut self, token: u32) {
        self.remaining_min = self.remaining_min.saturating_sub(1);
        let before = self.phase();
        let forced = self.limiter.as_ref().and_then(ThinkingLimiter::forced).is_some();
        if let Some(limiter) = &mut self.limiter {
            limiter.accept(token);
        }
        let is_text = before != AnswerPhase::Thinking && self.phase() != AnswerPhase::Thinking && !forced;
        if let Some(grammar) = self.grammar.as_mut().filter(|_| is_text) {
            grammar.accept(token);
        }
    }
}

impl DecodingConstraints {
    /// What the thinking limits and the grammar allow next.
    fn allowed(&mut self, mask: &mut TokenMask) -> Choice {
        if let Some(token) = self.limiter.as_ref().and_then(ThinkingLimiter::forced) {
            return Choice::Token(token);
        }
        let phase = self.phase();
        let Some(grammar) = &mut self.grammar else { return Choice::Any };
        if phase == AnswerPhase::Thinking {
            return grammar.mask_before_start(mask);
        }
        let choice = grammar.choose(mask);
        if let (AnswerPhase::Start, Choice::Masked, Some(open)) = (phase, choice, self.open) {
            mask.allow(open);
        }
        choice
    }
}

#[cfg(test)]
#[path = "decoding_constraints/tests.rs"]
mod tests;
