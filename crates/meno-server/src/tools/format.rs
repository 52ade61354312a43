//! The formats in which models write tool calls.

use super::{deepseek, hermes};
use crate::structure::quoted;
use meno_engine::{ChatTemplate, Tokenizer};
use serde_json::Value;

/// The format in which a family of models writes tool calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolFormat {
    /// DeepSeek V3, R1, V3.1: `<｜tool▁calls▁begin｜>…`.
    DeepSeek,
    /// Qwen, Hermes: `<tool_call>{…}</tool_call>`. At the beginning of an answer the tags may be missing.
    Hermes,
    /// Llama 3: bare JSON, perhaps after `<|python_tag|>`.
    Llama,
}

impl ToolFormat {
    /// Detects the format from the chat template or the vocabulary. Falls back to Hermes, whose format is then
    /// explained in the prompt.
    pub fn of(template: Option<&ChatTemplate>, tokenizer: &Tokenizer) -> ToolFormat {
        let source = template.map(ChatTemplate::source).unwrap_or_default();
        if source.contains("tool▁calls▁begin") || tokenizer.token_to_id(deepseek::CALLS_BEGIN).is_some() {
            ToolFormat::DeepSeek
        } else if source.contains(hermes::OPEN) {
            ToolFormat::Hermes
        } else if source.contains("<|python_tag|>") || source.contains("ipython") {
            ToolFormat::Llama
        } else {
            ToolFormat::Hermes
        }
    }

    /// Returns the Lark rule `calls` and the rules it needs. It matches a call of one of `tools` (names and JSON
    /// schemas of the arguments), or several calls if `parallel` is true.
    pub fn grammar(self, tools: &[(String, Value)], parallel: bool, tokenizer: &Tokenizer) -> String {
        let tag = |tag: &str| match tokenizer.token_to_id(tag) {
            Some(id) if tokenizer.decode(&[id], true).is_empty() => format!("<[{id}]>"), // a control token
            _ => quoted(tag),
        };
        let mut rules = String::new();
        for (i, (name, schema)) in tools.iter().enumerate() {
            let (before, after) = match self {
                ToolFormat::Hermes => (format!("{{\"name\": {}, \"arguments\": ", quoted(name)), "}"),
                ToolFormat::Llama => (format!("{{\"name\": {}, \"parameters\": ", quoted(name)), "}"),
                ToolFormat::DeepSeek => (format!("{name}\n```json\n"), "\n```"),
            };
            rules += &format!("tool{i}: {} args{i} {}\nargs{i}: %json {schema}\n", quoted(&before), quoted(after));
        }
        let any = (0..tools.len()).map(|i| format!("tool{i}")).collect::<Vec<_>>().join(" | ");
        let (call, between) = match self {
            ToolFormat::Hermes => {
                let (open, close) = (tag(hermes::OPEN), tag(hermes::CLOSE));
                (format!("{open} \"\\n\" ({any}) \"\\n\" {close}"), "\"\\n\"")
            }
            ToolFormat::Llama => (any, "\"; \""),
            ToolFormat::DeepSeek => {
                let [open, sep, close] = [deepseek::CALL_BEGIN, deepseek::SEP, deepseek::CALL_END].map(tag);
                (format!("{open} \"function\" {sep} ({any}) {close}"), "\"\\n\"")
            }
        };
        let more = if parallel { format!(" ({between} call)*") } else { String::new() };
        let calls = match self {
            ToolFormat::DeepSeek => format!("{} call{more} {}", tag(deepseek::CALLS_BEGIN), tag(deepseek::CALLS_END)),
            _ => format!("call{more}"),
        };
        format!("calls: {calls}\ncall: {call}\n{rules}")
    }
}
