//! A chat's reply, whole and in chunks.

use super::Gathered;
use crate::answer::{Delta, Whole};
use crate::app::Server;
use crate::error::ApiError;
use crate::generation::{TokenInfo, Update};
use crate::logprobs;
use crate::shown_thought::{OpenThought, ShownThought};
use crate::stream::{DONE, Tell, data};
use crate::thinking::Cut;
use crate::tools::Part;
use crate::types::{Usage, custom_input, new_id, now};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What all parts of a reply share.
pub(super) struct Reply {
    pub(super) server: Arc<Server>,
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) logprobs: bool,
    /// Where the thought is shown.
    pub(super) thought: ShownThought,
    /// Tools whose calls carry a text.
    pub(super) custom: Vec<String>,
}

impl Reply {
    pub(super) fn new(server: &Arc<Server>, logprobs: bool) -> Reply {
        let (id, thought) = (new_id("chatcmpl-"), ShownThought::default());
        Reply { server: server.clone(), id, created: now(), logprobs, thought, custom: Vec::new() }
    }

    fn frame(&self, object: &str, choices: Value) -> Value {
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.server.model.name,
            "system_fingerprint": crate::FINGERPRINT, "choices": choices,
        })
    }

    fn logprobs(&self, tokens: &[TokenInfo]) -> Value {
        if self.logprobs { logprobs::chat(&self.server.model, tokens) } else { Value::Null }
    }

    pub(super) fn whole(&self, answers: Vec<Gathered>, usage: Usage) -> Value {
        let choices = answers.into_iter().enumerate().map(|(index, answer)| {
            let mut choice = json!({
                "index": index, "message": self.message(answer.whole), "logprobs": self.logprobs(&answer.tokens),
                "finish_reason": answer.finish,
            });
            if let Some(cut) = answer.cut {
                choice["reasoning_ended_by"] = cut.name().into();
            }
            choice
        });
        let mut reply = self.frame("chat.completion", choices.collect());
        reply["usage"] = usage.json();
        reply
    }

    fn message(&self, whole: Whole) -> Value {
        let mut message = Map::new();
        message.insert("role".into(), "assistant".into());
        let content = self.thought.content(&whole.reasoning, whole.content);
        let no_text = content.is_empty() && !whole.calls.is_empty();
        message.insert("content".into(), if no_text { Value::Null } else { content.into() });
        message.insert("refusal".into(), Value::Null);
        if !whole.reasoning.is_empty() && self.thought.beside() {
            message.insert("reasoning_content".into(), whole.reasoning.clone().into());
            message.insert("reasoning".into(), whole.reasoning.into());
        }
        if !whole.calls.is_empty() {
            let call = |(name, arguments): (String, String)| self.call(&name, &arguments);
            message.insert("tool_calls".into(), whole.calls.into_iter().map(call).collect());
        }
        message.into()
    }

    /// A call as the client gets it.
    fn call(&self, name: &str, arguments: &str) -> Value {
        let id = new_id("call_");
        if self.is_custom(name) {
            let custom = json!({ "name": name, "input": custom_input(arguments) });
            json!({ "id": id, "type": "custom", "custom": custom })
        } else {
            json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
        }
    }

    fn is_custom(&self, name: &str) -> bool {
        self.custom.iter().any(|custom| custom == name)
    }
}

/// A reply in chunks.
pub(super) struct Chunks {
    reply: Reply,
    n: usize,
    include_usage: bool,
    /// By answer.
    open: Vec<Streamed>,
}

/// What an answer that is being streamed has open.
#[derive(Clone, Debug, Default)]
struct Streamed {
    thought: OpenThought,
    /// A call of a custom tool and its arguments so far: its text can be told when it is complete.
    custom: Option<(usize, String)>,
}

impl Chunks {
    pub(super) fn new(reply: Reply, n: usize, include_usage: bool) -> Chunks {
        Chunks { reply, n, include_usage, open: vec![Streamed::default(); n] }
    }

    fn chunk(&self, index: usize, delta: Value, tokens: &[TokenInfo], finish: Option<(&str, Option<Cut>)>) -> String {
        let logprobs = if tokens.is_empty() { Value::Null } else { self.reply.logprobs(tokens) };
        let reason = finish.map(|f| f.0);
        let mut choice = json!({ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason });
        if let Some((_, Some(cut))) = finish {
            choice["reasoning_ended_by"] = cut.name().into();
        }
        self.frame(json!([choice]), Value::Null)
    }

    fn frame(&self, choices: Value, usage: Value) -> String {
        let mut chunk = self.reply.frame("chat.completion.chunk", choices);
        if self.include_usage {
            chunk["usage"] = usage;
        }
        data(&chunk)
    }

    /// What the client gets of a part of the answer `index`.
    fn deltas(&mut self, index: usize, delta: Delta) -> Vec<Value> {
        let shown = self.reply.thought;
        let Some(open) = self.open.get_mut(index) else { return Vec::new() };
        let mut out = Vec::new();
        if let Delta::Reasoning(text) = delta {
            let mut fields = Map::new();
            if shown.beside() {
                fields.insert("reasoning_content".into(), text.clone().into());
                fields.insert("reasoning".into(), text.clone().into());
            }
            if shown.within() {
                fields.insert("content".into(), open.thought.thought(&text).into());
            }
            out.extend((!fields.is_empty()).then_some(Value::Object(fields)));
            return out;
        }
        let before = open.thought.close();
        if !before.is_empty() {
            out.push(json!({ "content": before }));
        }
        match delta {
            Delta::Content(text) | Delta::Tool(Part::Text(text)) => out.push(json!({ "content": text })),
            Delta::Tool(Part::Call { index: call, name }) => {
                out.extend(open.input());
                let custom = self.reply.is_custom(&name);
                if custom {
                    self.open[index].custom = Some((call, String::new()));
                }
                let mut first = self.reply.call(&name, if custom { "{\"input\": \"\"}" } else { "" });
                first["index"] = call.into();
                out.push(json!({ "tool_calls": [first] }));
            }
            Delta::Tool(Part::Arguments { index: call, text }) => match &mut open.custom {
                Some((custom, arguments)) if *custom == call => arguments.push_str(&text),
                _ => out.push(json!({ "tool_calls": [{ "index": call, "function": { "arguments": text } }] })),
            },
            Delta::Reasoning(_) | Delta::Retract => {} // what was sent cannot be taken back
        }
        out
    }
}

impl Streamed {
    /// The text of the custom tool's call that is complete now.
    fn input(&mut self) -> Option<Value> {
        let (call, arguments) = self.custom.take()?;
        let custom = json!({ "input": custom_input(&arguments) });
        Some(json!({ "tool_calls": [{ "index": call, "custom": custom }] }))
    }
}

impl Tell for Chunks {
    fn begin(&mut self) -> String {
        (0..self.n).map(|i| self.chunk(i, json!({ "role": "assistant", "content": "" }), &[], None)).collect()
    }

    fn update(&mut self, update: Update) -> String {
        let (index, mut tokens, mut text) = (update.index, update.tokens, String::new());
        for delta in update.deltas {
            for delta in self.deltas(index, delta) {
                text += &self.chunk(index, delta, &std::mem::take(&mut tokens), None);
            }
        }
        if let Some(finish) = update.finish {
            if let Some(input) = self.open.get_mut(index).and_then(Streamed::input) {
                text += &self.chunk(index, input, &std::mem::take(&mut tokens), None);
            }
            text += &self.chunk(index, json!({}), &tokens, Some((finish.name(), update.cut)));
        }
        text
    }

    fn end(&mut self, usage: Usage) -> String {
        let usage = if self.include_usage { self.frame(json!([]), usage.json()) } else { String::new() };
        usage + DONE
    }

    fn fail(&mut self, error: &ApiError) -> String {
        data(&error.body()) + DONE
    }
}
