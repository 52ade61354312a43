//! The reply of chat completions, as one object and in chunks.

use crate::answer::{AnswerContent, Delta};
use crate::error::ApiError;
use crate::logprobs;
use crate::reasoning_display::{ReasoningDisplay, StreamedTags};
use crate::request::Reply;
use crate::sse::{EventWriter, data, done};
use crate::state::Server;
use crate::thinking::ThinkingStop;
use crate::tools::Part;
use crate::types::{FINGERPRINT, Usage, custom_input, new_id, now};
use crate::update::{CollectedAnswer, FinishReason, TokenInfo, Update};
use axum::response::sse::Event;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// How to reply to a chat request.
pub(super) struct ChatReply {
    frame: ChatFrame,
    /// True if a streamed reply ends with the usage.
    include_usage: bool,
    /// The state of each streamed answer.
    streamed: Vec<StreamedAnswer>,
}

/// The options of a reply that come from the request.
pub(super) struct ChatReplyOptions {
    pub(super) n: usize,
    pub(super) logprobs: bool,
    pub(super) include_usage: bool,
    /// Where the thinking is shown.
    pub(super) display: ReasoningDisplay,
    /// Names of the custom tools, whose calls contain plain text.
    pub(super) custom: Vec<String>,
}

/// What all parts of a reply share.
struct ChatFrame {
    server: Arc<Server>,
    id: String,
    created: u64,
    logprobs: bool,
    display: ReasoningDisplay,
    custom: Vec<String>,
}

/// The state of an answer that is being streamed.
#[derive(Clone, Debug, Default)]
struct StreamedAnswer {
    tags: StreamedTags,
    /// The current call of a custom tool and its arguments so far. Its text is sent when the call is complete.
    custom: Option<(usize, String)>,
}

impl ChatFrame {
    fn object(&self, object: &str, choices: Value) -> Value {
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.server.model.name,
            "system_fingerprint": FINGERPRINT, "choices": choices,
        })
    }

    fn logprobs(&self, tokens: &[TokenInfo]) -> Value {
        if self.logprobs { logprobs::chat(&self.server.model, tokens) } else { Value::Null }
    }

    fn message(&self, content: AnswerContent) -> Value {
        let mut message = Map::new();
        message.insert("role".into(), "assistant".into());
        let text = self.display.content(&content.reasoning, content.text);
        let no_text = text.is_empty() && !content.calls.is_empty();
        message.insert("content".into(), if no_text { Value::Null } else { text.into() });
        message.insert("refusal".into(), Value::Null);
        if !content.reasoning.is_empty() && self.display.separate() {
            message.insert("reasoning_content".into(), content.reasoning.clone().into());
            message.insert("reasoning".into(), content.reasoning.into());
        }
        if !content.calls.is_empty() {
            let call = |(name, arguments): (String, String)| self.call(&name, &arguments);
            message.insert("tool_calls".into(), content.calls.into_iter().map(call).collect());
        }
        message.into()
    }

    /// A call in the form that the client receives.
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

impl ChatReply {
    pub(super) fn new(server: &Arc<Server>, options: ChatReplyOptions) -> ChatReply {
        let ChatReplyOptions { n, logprobs, include_usage, display, custom } = options;
        let frame =
            ChatFrame { server: server.clone(), id: new_id("chatcmpl-"), created: now(), logprobs, display, custom };
        ChatReply { frame, include_usage, streamed: vec![StreamedAnswer::default(); n] }
    }

    fn chunk(&self, index: usize, delta: Value, tokens: &[TokenInfo]) -> Event {
        let logprobs = if tokens.is_empty() { Value::Null } else { self.frame.logprobs(tokens) };
        let choice = json!({ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": null });
        self.event(json!([choice]), Value::Null)
    }

    /// The last chunk of an answer.
    fn last_chunk(
        &self,
        index: usize,
        tokens: &[TokenInfo],
        finish: FinishReason,
        thinking_stop: Option<ThinkingStop>,
    ) -> Event {
        let logprobs = if tokens.is_empty() { Value::Null } else { self.frame.logprobs(tokens) };
        let mut choice = json!({ "index": index, "delta": {}, "logprobs": logprobs, "finish_reason": finish.name() });
        if let Some(stop) = thinking_stop {
            choice["reasoning_ended_by"] = stop.name().into();
        }
        self.event(json!([choice]), Value::Null)
    }

    fn event(&self, choices: Value, usage: Value) -> Event {
        let mut chunk = self.frame.object("chat.completion.chunk", choices);
        if self.include_usage {
            chunk["usage"] = usage;
        }
        data(&chunk)
    }

    /// Converts a part of answer `index` to the `delta` objects of chunks.
    fn deltas(&mut self, index: usize, delta: Delta) -> Vec<Value> {
        let display = self.frame.display;
        let Some(streamed) = self.streamed.get_mut(index) else { return Vec::new() };
        let mut out = Vec::new();
        if let Delta::Reasoning(text) = delta {
            let mut fields = Map::new();
            if display.separate() {
                fields.insert("reasoning_content".into(), text.clone().into());
                fields.insert("reasoning".into(), text.clone().into());
            }
            if display.inline() {
                fields.insert("content".into(), streamed.tags.thinking(&text).into());
            }
            out.extend((!fields.is_empty()).then_some(Value::Object(fields)));
            return out;
        }
        let before = streamed.tags.close();
        if !before.is_empty() {
            out.push(json!({ "content": before }));
        }
        match delta {
            Delta::Content(text) | Delta::Tool(Part::Text(text)) => out.push(json!({ "content": text })),
            Delta::Tool(Part::Call { index: call, name }) => {
                out.extend(streamed.custom_input());
                let custom = self.frame.is_custom(&name);
                if custom {
                    streamed.custom = Some((call, String::new()));
                }
                let mut first = self.frame.call(&name, if custom { "{\"input\": \"\"}" } else { "" });
                first["index"] = call.into();
                out.push(json!({ "tool_calls": [first] }));
            }
            Delta::Tool(Part::Arguments { index: call, text }) => match &mut streamed.custom {
                Some((custom, arguments)) if *custom == call => arguments.push_str(&text),
                _ => out.push(json!({ "tool_calls": [{ "index": call, "function": { "arguments": text } }] })),
            },
            Delta::Reasoning(_) | Delta::Retract => {} // events that were sent cannot be taken back
        }
        out
    }
}

impl StreamedAnswer {
    /// Ends the current call of a custom tool and returns its text, if there is one.
    fn custom_input(&mut self) -> Option<Value> {
        let (call, arguments) = self.custom.take()?;
        let custom = json!({ "input": custom_input(&arguments) });
        Some(json!({ "tool_calls": [{ "index": call, "custom": custom }] }))
    }
}

impl Reply for ChatReply {
    fn answers(&self) -> usize {
        self.streamed.len()
    }

    fn whole(self, answers: Vec<CollectedAnswer>, usage: Usage) -> Value {
        let choices = answers.into_iter().enumerate().map(|(index, answer)| {
            let mut choice = json!({
                "index": index, "message": self.frame.message(answer.content),
                "logprobs": self.frame.logprobs(&answer.tokens), "finish_reason": answer.finish.map(FinishReason::name),
            });
            if let Some(stop) = answer.thinking_stop {
                choice["reasoning_ended_by"] = stop.name().into();
            }
            choice
        });
        let mut reply = self.frame.object("chat.completion", choices.collect());
        reply["usage"] = usage.json();
        reply
    }
}

impl EventWriter for ChatReply {
    fn begin(&mut self) -> Vec<Event> {
        let first = json!({ "role": "assistant", "content": "" });
        (0..self.streamed.len()).map(|i| self.chunk(i, first.clone(), &[])).collect()
    }

    fn update(&mut self, update: Update) -> Vec<Event> {
        let (index, mut tokens, mut events) = (update.index, update.tokens, Vec::new());
        for delta in update.deltas {
            for delta in self.deltas(index, delta) {
                events.push(self.chunk(index, delta, &std::mem::take(&mut tokens)));
            }
        }
        if let Some(finish) = update.finish {
            if let Some(input) = self.streamed.get_mut(index).and_then(StreamedAnswer::custom_input) {
                events.push(self.chunk(index, input, &std::mem::take(&mut tokens)));
            }
            events.push(self.last_chunk(index, &tokens, finish, update.thinking_stop));
        }
        events
    }

    fn end(&mut self, usage: Usage) -> Vec<Event> {
        let usage = self.include_usage.then(|| self.event(json!([]), usage.json()));
        usage.into_iter().chain([done()]).collect()
    }

    fn fail(&mut self, error: &ApiError) -> Vec<Event> {
        vec![data(&error.body()), done()]
    }
}
