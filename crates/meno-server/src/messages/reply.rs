//! The reply of messages, as one object and as Anthropic's events. Every block is started, sent in deltas and stopped
//! before the next one starts.

use super::errors;
use super::frame::{MessageFrame, blocks, signature, stop_reason, usage};
use crate::answer::Delta;
use crate::error::ApiError;
use crate::request::Reply;
use crate::sse::{EventWriter, named};
use crate::tools::Part;
use crate::types::{Usage, new_id};
use crate::update::{CollectedAnswer, FinishReason, Update};
use axum::response::sse::Event;
use serde_json::{Value, json};

/// The block that is being streamed.
enum OpenBlock {
    Thinking(String),
    Text,
    Call,
}

/// The reply to a request. Events collect in `events` until [`take_events`](Self::take_events).
pub(super) struct MessageReply {
    frame: MessageFrame,
    /// The token counts before the first token.
    initial_usage: Usage,
    /// Number of complete blocks.
    blocks: usize,
    open: Option<OpenBlock>,
    /// True if there was a block of text or a call.
    answered: bool,
    finish: Option<FinishReason>,
    stop: Option<String>,
    events: Vec<Event>,
}

impl MessageReply {
    pub(super) fn new(frame: MessageFrame, initial_usage: Usage) -> MessageReply {
        MessageReply {
            frame,
            initial_usage,
            blocks: 0,
            open: None,
            answered: false,
            finish: None,
            stop: None,
            events: Vec::new(),
        }
    }

    fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Adds an event.
    fn emit(&mut self, kind: &str, mut fields: Value) {
        let mut body = json!({ "type": kind });
        if let (Some(body), Some(fields)) = (body.as_object_mut(), fields.as_object_mut()) {
            body.append(fields);
        }
        self.events.push(named(kind, &body));
    }

    /// Ends the open block and starts another one.
    fn start(&mut self, open: OpenBlock, block: Value) {
        self.close();
        self.answered |= !matches!(open, OpenBlock::Thinking(_));
        self.open = Some(open);
        self.emit("content_block_start", json!({ "index": self.blocks, "content_block": block }));
    }

    fn start_text(&mut self) {
        self.start(OpenBlock::Text, json!({ "type": "text", "text": "" }));
    }

    fn delta(&mut self, delta: Value) {
        self.emit("content_block_delta", json!({ "index": self.blocks, "delta": delta }));
    }

    fn thinking(&mut self, more: &str) {
        if !matches!(self.open, Some(OpenBlock::Thinking(_))) {
            let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
            self.start(OpenBlock::Thinking(String::new()), block);
        }
        if let Some(OpenBlock::Thinking(text)) = &mut self.open {
            text.push_str(more);
        }
        self.delta(json!({ "type": "thinking_delta", "thinking": more }));
    }

    fn text(&mut self, more: &str) {
        if !matches!(self.open, Some(OpenBlock::Text)) {
            self.start_text();
        }
        self.delta(json!({ "type": "text_delta", "text": more }));
    }

    fn call(&mut self, name: &str) {
        let block = json!({ "type": "tool_use", "id": new_id("toolu_"), "name": name, "input": {} });
        self.start(OpenBlock::Call, block);
    }

    /// Ends the open block, if there is one.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if let OpenBlock::Thinking(text) = open {
            self.delta(json!({ "type": "signature_delta", "signature": signature(&text) }));
        }
        self.emit("content_block_stop", json!({ "index": self.blocks }));
        self.blocks += 1;
    }
}

impl Reply for MessageReply {
    fn answers(&self) -> usize {
        1
    }

    fn whole(self, mut answers: Vec<CollectedAnswer>, total: Usage) -> Value {
        let answer = answers.pop().unwrap_or_default();
        let (reason, sequence) = stop_reason(answer.finish, answer.stop);
        self.frame.message(blocks(answer.content), reason, sequence, usage(total))
    }
}

impl EventWriter for MessageReply {
    fn begin(&mut self) -> Vec<Event> {
        let message = self.frame.message(Vec::new(), None, None, usage(self.initial_usage));
        self.emit("message_start", json!({ "message": message }));
        self.emit("ping", json!({}));
        self.take_events()
    }

    fn update(&mut self, update: Update) -> Vec<Event> {
        self.finish = update.finish.or(self.finish);
        self.stop = update.stop.or(self.stop.take());
        for delta in update.deltas {
            match delta {
                Delta::Reasoning(text) => self.thinking(&text),
                Delta::Content(text) | Delta::Tool(Part::Text(text)) => self.text(&text),
                Delta::Tool(Part::Call { name, .. }) => self.call(&name),
                Delta::Tool(Part::Arguments { text, .. }) => {
                    self.delta(json!({ "type": "input_json_delta", "partial_json": text }));
                }
                Delta::Retract => {} // events that were sent cannot be taken back
            }
        }
        self.take_events()
    }

    fn end(&mut self, total: Usage) -> Vec<Event> {
        self.close();
        if !self.answered {
            self.start_text();
            self.close();
        }
        let (reason, sequence) = stop_reason(self.finish, self.stop.take());
        let delta = json!({ "stop_reason": reason, "stop_sequence": sequence });
        self.emit("message_delta", json!({ "delta": delta, "usage": usage(total) }));
        self.emit("message_stop", json!({}));
        self.take_events()
    }

    fn fail(&mut self, error: &ApiError) -> Vec<Event> {
        vec![named("error", &errors::body(error))]
    }
}
