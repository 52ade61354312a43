//! Tool calls: the formats of models, and streaming parsers for them.
//!
//! Every parser guarantees two things, tested at every chunk boundary: no part of a tag reaches the client as text,
//! and the name and arguments of a call are returned as soon as they are certain. Text that only looks like a call is
//! returned as text.

mod deepseek;
mod format;
mod hermes;
mod json;
mod llama;
mod output;
mod prompt;

pub use format::ToolFormat;
pub use output::Part;
pub use prompt::{ToolSupport, instructions, written_call};

use deepseek::DeepSeek;
use hermes::Hermes;
use llama::Llama;
use output::Output;

/// Extracts tool calls from an answer while it is generated.
#[derive(Debug)]
pub struct ToolParser {
    parser: Parser,
    output: Output,
}

#[derive(Debug)]
enum Parser {
    DeepSeek(DeepSeek),
    Hermes(Hermes),
    Llama(Llama),
}

impl ToolParser {
    /// Creates a parser for one answer; `tools` are the names of the available tools.
    pub fn new(format: ToolFormat, tools: Vec<String>) -> ToolParser {
        let parser = match format {
            ToolFormat::DeepSeek => Parser::DeepSeek(DeepSeek::default()),
            ToolFormat::Hermes => Parser::Hermes(Hermes::new(tools)),
            ToolFormat::Llama => Parser::Llama(Llama::new(tools)),
        };
        ToolParser { parser, output: Output::default() }
    }

    /// Adds text and returns the parts that are now certain.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        match &mut self.parser {
            Parser::DeepSeek(r) => r.push(text, &mut self.output),
            Parser::Hermes(r) => r.push(text, &mut self.output),
            Parser::Llama(r) => r.push(text, &mut self.output),
        }
        std::mem::take(&mut self.output.parts)
    }

    /// Ends the answer and returns what was held back.
    pub fn finish(mut self) -> Vec<Part> {
        match self.parser {
            Parser::DeepSeek(r) => r.finish(&mut self.output),
            Parser::Hermes(r) => r.finish(&mut self.output),
            Parser::Llama(r) => r.finish(&mut self.output),
        }
        self.output.finish()
    }

    /// The number of calls so far.
    pub fn calls(&self) -> usize {
        self.output.calls
    }
}

#[cfg(test)]
#[path = "tools/tests.rs"]
mod tests;
