//! Updates of answers as they are generated, and answers collected from them.

use crate::answer::{AnswerContent, Delta};
use crate::thinking::ThinkingStop;

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FinishReason {
    /// The model ended it, or a stop string.
    Stop,
    /// The token limit.
    Length,
    /// It ends with tool calls.
    ToolCalls,
}

impl FinishReason {
    /// OpenAI's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::ToolCalls => "tool_calls",
        }
    }
}

/// A token with its log-probability.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TokenInfo {
    /// The token id.
    pub token: u32,
    /// The log-probability (natural logarithm).
    pub logprob: f32,
    /// The most likely tokens at this position, with their log-probabilities.
    pub top: Vec<(u32, f32)>,
    /// True if it is part of the thinking.
    pub thought: bool,
}

/// The next part of one answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Update {
    /// Index of the answer: the answers to the first prompt come first, then those to the second, …
    pub index: usize,
    /// The tokens of the prompt, if their log-probabilities were requested. Sent once, in the first update. The first
    /// token has no log-probability.
    pub prompt: Option<Vec<TokenInfo>>,
    /// The new content.
    pub deltas: Vec<Delta>,
    /// The tokens of the new content, if log-probabilities were requested.
    pub tokens: Vec<TokenInfo>,
    /// In the last update of an answer: why it ended.
    pub finish: Option<FinishReason>,
    /// In the last update: why the server ended the thinking, if it did.
    pub thinking_stop: Option<ThinkingStop>,
    /// In the last update: the stop string that ended the answer.
    pub stop: Option<String>,
}

impl Update {
    /// An update that is not the last one.
    pub(crate) fn new(index: usize, deltas: Vec<Delta>, tokens: Vec<TokenInfo>) -> Update {
        Update { index, prompt: None, deltas, tokens, finish: None, thinking_stop: None, stop: None }
    }
}

/// A complete answer, collected from its updates.
#[derive(Debug, Default)]
pub(crate) struct CollectedAnswer {
    /// Thinking, text and tool calls.
    pub content: AnswerContent,
    /// The tokens, if log-probabilities were requested.
    pub tokens: Vec<TokenInfo>,
    /// Why it ended.
    pub finish: Option<FinishReason>,
    /// Why the server ended its thinking, if it did.
    pub thinking_stop: Option<ThinkingStop>,
    /// The stop string that ended it.
    pub stop: Option<String>,
    /// The tokens of the prompt, if their log-probabilities were requested.
    pub prompt: Vec<TokenInfo>,
}

impl CollectedAnswer {
    /// Adds an update.
    pub(crate) fn add(&mut self, update: Update) {
        self.prompt.extend(update.prompt.into_iter().flatten());
        self.stop = update.stop.or(self.stop.take());
        update.deltas.into_iter().for_each(|delta| self.content.add(delta));
        self.tokens.extend(update.tokens);
        self.finish = update.finish.or(self.finish);
        self.thinking_stop = update.thinking_stop.or(self.thinking_stop);
    }
}
