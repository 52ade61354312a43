//! One answer as its tokens come: decoded, split into thought and answer, watched for stop strings, its tool calls
//! read.

use crate::tools::{Format, Part, ToolParser};
use meno_engine::Tokenizer;
use meno_engine::reasoning::{Piece, Splitter};
use meno_engine::stop::{Seen, StopStrings};
use meno_engine::tokenizer::DecodeStream;
use std::sync::Arc;

/// More of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// More of the thought.
    Reasoning(String),
    /// More of the text.
    Content(String),
    /// A call of a tool, or more of its arguments.
    Tool(Part),
    /// The text so far was thought.
    Retract,
}

/// How an answer is read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Whether thoughts are split off, and whether the prompt opened one; `None` takes the text as it is.
    pub thought: Option<bool>,
    /// Whether text turns out to be thought when a closing tag comes after it that nothing opened.
    pub retract: bool,
    /// Strings that end the text. They do not end thoughts.
    pub stops: Vec<String>,
    /// Tools that may be called, by name, and how.
    pub tools: Option<(Format, Vec<String>)>,
    /// Stop strings count only after this many tokens.
    pub min_tokens: usize,
}

/// An answer being read.
pub struct Answer {
    decode: Option<DecodeStream<Arc<Tokenizer>>>,
    splitter: Option<Splitter>,
    stops: StopStrings,
    tools: Option<ToolParser>,
    /// White space at the end of the thought so far.
    space: String,
    /// Whether any of the thought was given out.
    thought: bool,
    retract: bool,
    /// Whether the text begins after a thought, and nothing but white space of it came.
    skip_space: bool,
    stopped: bool,
    calls: usize,
    min_tokens: usize,
    /// Tokens of the answer, and of them those of the thought.
    pub tokens: usize,
    /// Tokens of the thought.
    pub reasoning_tokens: usize,
}

impl Answer {
    /// An answer at its beginning.
    pub fn new(tokenizer: Arc<Tokenizer>, reading: &Reading) -> Answer {
        // Llama's calls begin with a control token, which then has to be seen.
        let see_special = matches!(reading.tools, Some((Format::Llama | Format::DeepSeek, _)));
        Answer {
            decode: Some(DecodeStream::new(tokenizer, !see_special)),
            splitter: reading.thought.map(Splitter::new),
            stops: StopStrings::new(&reading.stops),
            tools: reading.tools.clone().map(|(format, names)| ToolParser::new(format, names)),
            space: String::new(),
            thought: false,
            retract: reading.retract && reading.thought == Some(false),
            skip_space: reading.thought == Some(true),
            stopped: false,
            calls: 0,
            min_tokens: reading.min_tokens,
            tokens: 0,
            reasoning_tokens: 0,
        }
    }

    /// Whether a stop string was met.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// The stop string that was met.
    pub fn stop_string(&self) -> Option<&str> {
        self.stops.met()
    }

    /// How many calls there were.
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// Takes a token, and tells what it settles and whether it belongs to the thought. `silent` tokens end the answer
    /// and have no text.
    pub fn push(&mut self, token: u32, silent: bool) -> (Vec<Delta>, bool) {
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

    /// What was held back when no more tokens come.
    pub fn finish(&mut self) -> Vec<Delta> {
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
            Piece::Retract => {} // a stray tag within the answer
        }
    }

    /// Thoughts are told without the white space around them.
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

/// An answer put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// The thought.
    pub reasoning: String,
    /// The text.
    pub content: String,
    /// Calls: name and arguments.
    pub calls: Vec<(String, String)>,
}

impl Whole {
    /// Adds what came.
    pub fn add(&mut self, delta: Delta) {
        match delta {
            Delta::Reasoning(text) => self.reasoning.push_str(&text),
            Delta::Content(text) => self.content.push_str(&text),
            Delta::Tool(Part::Call { name, .. }) => self.calls.push((name, String::new())),
            Delta::Tool(Part::Arguments { text, .. }) => {
                if let Some(call) = self.calls.last_mut() {
                    call.1.push_str(&text);
                }
            }
            Delta::Tool(Part::Text(text)) => self.content.push_str(&text),
            Delta::Retract => {
                let content = std::mem::take(&mut self.content);
                self.reasoning.push_str(content.trim());
                self.calls.clear();
            }
        }
    }
}
