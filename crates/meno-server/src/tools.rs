//! Tool calls: which format a model writes, and reading it as it streams.
//!
//! Every reader keeps two promises, tested at every boundary of a chunk: no part of a tag ever reaches the client as
//! text, and a call's name and arguments go out as soon as they are certain. What looks like a call and is none goes
//! out as the text it is.

mod deepseek;
mod hermes;
mod json;
mod llama;
mod prompt;

pub use prompt::{ToolSupport, instructions, written_call};

use crate::structured::quoted;
use deepseek::DeepSeek;
use hermes::Hermes;
use llama::Llama;
use meno_engine::stop::overlap;
use meno_engine::{ChatTemplate, Tokenizer};
use serde_json::Value;

/// How a family of models writes its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// DeepSeek V3, R1, V3.1: `<｜tool▁calls▁begin｜>…`.
    DeepSeek,
    /// Qwen, Hermes: `<tool_call>{…}</tool_call>`; the tags may be missing at the beginning.
    Hermes,
    /// Llama 3: bare JSON, perhaps after `<|python_tag|>`.
    Llama,
}

impl Format {
    /// The format of a model, from what its template and its vocabulary know. Hermes' where neither tells: it is
    /// described in the prompt then.
    pub fn of(template: Option<&ChatTemplate>, tokenizer: &Tokenizer) -> Format {
        let source = template.map(ChatTemplate::source).unwrap_or_default();
        if source.contains("tool▁calls▁begin") || tokenizer.token_to_id(deepseek::CALLS_BEGIN).is_some() {
            Format::DeepSeek
        } else if source.contains(hermes::OPEN) {
            Format::Hermes
        } else if source.contains("<|python_tag|>") || source.contains("ipython") {
            Format::Llama
        } else {
            Format::Hermes
        }
    }

    /// Lark rules, `calls` and those it needs, for one call, or with `parallel` several, of one of `tools`: each a name
    /// and the JSON schema of its arguments.
    pub fn grammar(self, tools: &[(String, Value)], parallel: bool, tokenizer: &Tokenizer) -> String {
        let tag = |tag: &str| match tokenizer.token_to_id(tag) {
            Some(id) if tokenizer.decode(&[id], true).is_empty() => format!("<[{id}]>"), // a control token
            _ => quoted(tag),
        };
        let mut rules = String::new();
        for (i, (name, schema)) in tools.iter().enumerate() {
            let (before, after) = match self {
                Format::Hermes => (format!("{{\"name\": {}, \"arguments\": ", quoted(name)), "}"),
                Format::Llama => (format!("{{\"name\": {}, \"parameters\": ", quoted(name)), "}"),
                Format::DeepSeek => (format!("{name}\n```json\n"), "\n```"),
            };
            rules += &format!("tool{i}: {} args{i} {}\nargs{i}: %json {schema}\n", quoted(&before), quoted(after));
        }
        let any = (0..tools.len()).map(|i| format!("tool{i}")).collect::<Vec<_>>().join(" | ");
        let (call, between) = match self {
            Format::Hermes => {
                let (open, close) = (tag(hermes::OPEN), tag(hermes::CLOSE));
                (format!("{open} \"\\n\" ({any}) \"\\n\" {close}"), "\"\\n\"")
            }
            Format::Llama => (any, "\"; \""),
            Format::DeepSeek => {
                let [open, sep, close] = [deepseek::CALL_BEGIN, deepseek::SEP, deepseek::CALL_END].map(tag);
                (format!("{open} \"function\" {sep} ({any}) {close}"), "\"\\n\"")
            }
        };
        let more = if parallel { format!(" ({between} call)*") } else { String::new() };
        let calls = match self {
            Format::DeepSeek => format!("{} call{more} {}", tag(deepseek::CALLS_BEGIN), tag(deepseek::CALLS_END)),
            _ => format!("call{more}"),
        };
        format!("calls: {calls}\ncall: {call}\n{rules}")
    }
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// More of its text.
    Text(String),
    /// A call begins.
    Call {
        /// Its index in the answer.
        index: usize,
        /// The function's name.
        name: String,
    },
    /// More of a call's arguments, as JSON text.
    Arguments {
        /// Its index in the answer.
        index: usize,
        /// The text.
        text: String,
    },
}

/// Reads the calls out of an answer as it comes.
#[derive(Debug)]
pub struct ToolParser {
    reader: Reader,
    out: Out,
}

#[derive(Debug)]
enum Reader {
    DeepSeek(DeepSeek),
    Hermes(Hermes),
    Llama(Llama),
}

impl ToolParser {
    /// For an answer in `format` by a model that knows `tools` by name.
    pub fn new(format: Format, tools: Vec<String>) -> ToolParser {
        let reader = match format {
            Format::DeepSeek => Reader::DeepSeek(DeepSeek::default()),
            Format::Hermes => Reader::Hermes(Hermes::new(tools)),
            Format::Llama => Reader::Llama(Llama::new(tools)),
        };
        ToolParser { reader, out: Out::default() }
    }

    /// Takes the next text and hands out what it settles.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        match &mut self.reader {
            Reader::DeepSeek(r) => r.push(text, &mut self.out),
            Reader::Hermes(r) => r.push(text, &mut self.out),
            Reader::Llama(r) => r.push(text, &mut self.out),
        }
        std::mem::take(&mut self.out.parts)
    }

    /// What was held back when no more text comes.
    pub fn finish(mut self) -> Vec<Part> {
        match self.reader {
            Reader::DeepSeek(r) => r.finish(&mut self.out),
            Reader::Hermes(r) => r.finish(&mut self.out),
            Reader::Llama(r) => r.finish(&mut self.out),
        }
        if self.out.calls == 0 {
            let space = std::mem::take(&mut self.out.space);
            self.out.push_text(&space);
        }
        self.out.parts
    }

    /// How many calls there were.
    pub fn calls(&self) -> usize {
        self.out.calls
    }
}

/// Collects parts; white space before a call is nobody's text.
#[derive(Debug, Default)]
struct Out {
    parts: Vec<Part>,
    space: String,
    calls: usize,
}

impl Out {
    fn text(&mut self, text: &str) {
        let solid = text.trim_end();
        if !solid.is_empty() {
            let space = std::mem::take(&mut self.space);
            self.push_text(&space);
            self.push_text(solid);
        }
        self.space.push_str(&text[solid.len()..]);
    }

    fn push_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    fn call(&mut self, name: &str) {
        self.space.clear();
        self.parts.push(Part::Call { index: self.calls, name: name.to_owned() });
        self.calls += 1;
    }

    fn arguments(&mut self, text: &str) {
        let call = self.calls.saturating_sub(1);
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Arguments { text: last, .. }) => last.push_str(text),
            _ => self.parts.push(Part::Arguments { index: call, text: text.to_owned() }),
        }
    }
}

/// Takes from `held` all that cannot be the beginning of one of `tags`.
fn held_back(held: &mut String, tags: &[&str]) -> String {
    let keep = tags.iter().map(|tag| overlap(held, tag)).max().unwrap_or(0);
    let rest = held.split_off(held.len() - keep);
    std::mem::replace(held, rest)
}

#[cfg(test)]
#[path = "tools/tests.rs"]
mod tests;
