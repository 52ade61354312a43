//! Parses one answer token by token: decodes it, separates thinking from text, looks for stop strings and extracts tool
//! calls.

use crate::tools::{Part, ToolFormat, ToolParser};
use meno_engine::Tokenizer;
use meno_engine::reasoning::{Piece, Splitter};
use meno_engine::stop::{Seen, StopStrings};
use meno_engine::tokenizer::DecodeStream;
use std::sync::Arc;

/// A new part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delta {
    /// Thinking.
    Reasoning(String),
    /// Text.
    Content(String),
    /// The start of a tool call, or a part of its arguments.
    Tool(Part),
    /// The text so far was thinking.
    Retract,
}

/// How an answer is parsed.
#[derive(Clone, Debug)]
pub(crate) struct AnswerFormat {
    /// `Some(true)` if the prompt opened the thinking; `None`: thinking is not separated from the text.
    pub thought: Option<bool>,
    /// True if text before an unmatched closing tag becomes thinking.
    pub retract: bool,
    /// Strings that end the text. They do not end the thinking.
    pub stops: Vec<String>,
    /// The format of tool calls and the names of the tools; `None`: no calls.
    pub tools: Option<(ToolFormat, Vec<String>)>,
    /// Stop strings are ignored before this many tokens.
    pub min_tokens: usize,
}

/// Parses one answer.
pub(crate) struct AnswerParser {
    decode: Option<DecodeStream<Arc<Tokenizer>>>,
    splitter: Option<Splitter>,
    stops: StopStrings,
    tools: Option<ToolParser>,
    /// White space at the end of the thinking so far.
    space: String,
    /// True if any thinking was returned.
    thought: bool,
    retract: bool,
    /// True while white space is skipped: the text after the thinking has not started.
    skip_space: bool,
    stopped: bool,
    calls: usize,
    min_tokens: usize,
    /// Number of tokens of the answer, thinking included.
    pub tokens: usize,
    /// Number of tokens of the thinking.
    pub reasoning_tokens: usize,
}

impl AnswerParser {
    /// Creates a parser for one answer.
    pub(crate) fn new(tokenizer: Arc<Tokenizer>, format: &AnswerFormat) -> AnswerParser {
        // Calls of these formats begin with a control token, which must be part of the decoded text.
        let see_special = matches!(format.tools, Some((ToolFormat::Llama | ToolFormat::DeepSeek, _)));
        AnswerParser {
            decode: Some(DecodeStream::new(tokenizer, !see_special)),
            splitter: format.thought.map(Splitter::new),
            stops: StopStrings::new(&format.stops),
            tools: format.tools.clone().map(|(format, names)| ToolParser::new(format, names)),
            space: String::new(),
            thought: false,
            retract: format.retract && format.thought == Some(false),
            skip_space: format.thought == Some(true),
            stopped: false,
            calls: 0,
            min_tokens: format.min_tokens,
            tokens: 0,
            reasoning_tokens: 0,
        }
    }

    /// Returns true if a stop string was found.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// The stop string that was found.
    pub(crate) fn stop_string(&self) -> Option<&str> {
        self.stops.met()
    }

    /// The number of tool calls so far.
    pub(crate) fn calls(&self) -> usize {
        self.calls
    }

    /// Adds a token. Returns the parts that are now certain, and whether the token belongs to the thinking. `silent`
    /// tokens end the answer and have no text.
    pub(crate) fn push(&mut self, token: u32, silent: bool) -> (Vec<Delta>, bool) {
        self.tokens += 1;
        let before = self.thinking();
        let mut deltas = Vec::new();
        if !silent && let Some(decode) = &mut self.decode {
            let text = decode.push(token);
            self.text(&text, &mut deltas);
        }
        let thought = before || self.thinking();
        self.reasoning_tokens += usize::from(thought);
        (deltas, thought)
    }

    /// Ends the answer and returns what was held back.
    pub(crate) fn finish(&mut self) -> Vec<Delta> {
        let mut deltas = Vec::new();
        if let Some(decode) = self.decode.take() {
            self.text(&decode.finish(), &mut deltas);
        }
        if let Some(splitter) = self.splitter.take() {
            for piece in splitter.finish().0 {
                self.piece(piece, &mut deltas);
            }
        }
        if !self.stopped {
            let rest = self.stops.finish();
            self.content(&rest, &mut deltas);
        }
        if let Some(tools) = self.tools.take() {
            self.calls = tools.calls();
            tools.finish().into_iter().for_each(|part| push_part(part, &mut deltas));
        }
        deltas
    }

    fn thinking(&self) -> bool {
        self.splitter.as_ref().is_some_and(Splitter::thinking)
    }

    fn text(&mut self, text: &str, deltas: &mut Vec<Delta>) {
        match &mut self.splitter {
            None => self.answer(text, deltas),
            Some(splitter) => {
                for piece in splitter.push(text) {
                    self.piece(piece, deltas);
                }
            }
        }
    }

    fn piece(&mut self, piece: Piece, deltas: &mut Vec<Delta>) {
        match piece {
            Piece::Thought(text) => self.reasoning(&text, deltas),
            Piece::Answer(text) => self.answer(&text, deltas),
            Piece::Retract if self.retract && !self.thought => {
                self.skip_space = true;
                deltas.push(Delta::Retract);
            }
            Piece::Retract => {} // a stray tag in the text
        }
    }

    /// Adds thinking, without the white space around it.
    fn reasoning(&mut self, text: &str, deltas: &mut Vec<Delta>) {
        self.skip_space = true;
        let text = if self.thought { text } else { text.trim_start() };
        let solid = text.trim_end();
        if !solid.is_empty() {
            self.thought = true;
            let space = std::mem::take(&mut self.space);
            deltas.push(Delta::Reasoning(space + solid));
        }
        if self.thought {
            self.space.push_str(&text[solid.len()..]);
        }
    }

    fn answer(&mut self, text: &str, deltas: &mut Vec<Delta>) {
        if self.stopped {
            return;
        }
        if self.tokens < self.min_tokens {
            return self.content(text, deltas);
        }
        match self.stops.push(text) {
            Seen::Text(text) => self.content(&text, deltas),
            Seen::Stop(text) => {
                self.content(&text, deltas);
                self.stopped = true;
            }
        }
    }

    fn content(&mut self, text: &str, deltas: &mut Vec<Delta>) {
        let text = if self.skip_space { text.trim_start() } else { text };
        if text.is_empty() {
            return;
        }
        self.skip_space = false;
        match &mut self.tools {
            None => deltas.push(Delta::Content(text.to_owned())),
            Some(tools) => {
                tools.push(text).into_iter().for_each(|part| push_part(part, deltas));
                self.calls = tools.calls();
            }
        }
    }
}

fn push_part(part: Part, deltas: &mut Vec<Delta>) {
    deltas.push(match part {
        Part::Text(text) => Delta::Content(text),
        part => Delta::Tool(part),
    });
}

/// The complete content of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AnswerContent {
    /// The thinking.
    pub reasoning: String,
    /// The text.
    pub text: String,
    /// The tool calls: names and arguments (JSON).
    pub calls: Vec<(String, String)>,
}

impl AnswerContent {
    /// Adds a part.
    pub(crate) fn add(&mut self, delta: Delta) {
        match delta {
            Delta::Reasoning(text) => self.reasoning.push_str(&text),
            Delta::Content(text) => self.text.push_str(&text),
            Delta::Tool(Part::Call { name, .. }) => self.calls.push((name, String::new())),
            Delta::Tool(Part::Arguments { text, .. }) => {
                if let Some(call) = self.calls.last_mut() {
                    call.1.push_str(&text);
                }
            }
            Delta::Tool(Part::Text(text)) => self.text.push_str(&text),
            Delta::Retract => {
                let text = std::mem::take(&mut self.text);
                self.reasoning.push_str(text.trim());
                self.calls.clear();
            }
        }
    }
}
