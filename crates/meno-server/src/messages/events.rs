//! A message as it comes, in Anthropic's events: every block is begun, told in deltas, and ended before the next.

use super::{Frame, errors, signature, stop_reason, usage};
use crate::answer::Delta;
use crate::error::ApiError;
use crate::generation::Update;
use crate::stream::{Tell, event};
use crate::tools::Part;
use crate::types::{Usage, new_id};
use serde_json::{Value, json};

/// The block being written.
enum Open {
    Thinking(String),
    Text,
    Call,
}

/// Tells a message.
pub(super) struct Events {
    frame: Frame,
    /// What is known of the tokens at the beginning.
    before: Usage,
    /// Blocks that are complete.
    blocks: usize,
    open: Option<Open>,
    /// Whether there was text, or a call.
    answered: bool,
    finish: Option<&'static str>,
    stop: Option<String>,
}

fn tell(kind: &str, mut fields: Value) -> String {
    let mut body = json!({ "type": kind });
    if let (Some(body), Some(fields)) = (body.as_object_mut(), fields.as_object_mut()) {
        body.append(fields);
    }
    event(kind, &body)
}

impl Events {
    pub(super) fn new(frame: Frame, before: Usage) -> Events {
        Events { frame, before, blocks: 0, open: None, answered: false, finish: None, stop: None }
    }

    fn start(&mut self, open: Open, block: Value) -> String {
        let out = self.close();
        self.answered |= !matches!(open, Open::Thinking(_));
        self.open = Some(open);
        out + &tell("content_block_start", json!({ "index": self.blocks, "content_block": block }))
    }

    fn delta(&self, delta: Value) -> String {
        tell("content_block_delta", json!({ "index": self.blocks, "delta": delta }))
    }

    fn thinking(&mut self, more: &str) -> String {
        let mut out = String::new();
        if !matches!(self.open, Some(Open::Thinking(_))) {
            let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
            out = self.start(Open::Thinking(String::new()), block);
        }
        if let Some(Open::Thinking(text)) = &mut self.open {
            text.push_str(more);
        }
        out + &self.delta(json!({ "type": "thinking_delta", "thinking": more }))
    }

    fn text(&mut self, more: &str) -> String {
        let mut out = String::new();
        if !matches!(self.open, Some(Open::Text)) {
            out = self.start(Open::Text, json!({ "type": "text", "text": "" }));
        }
        out + &self.delta(json!({ "type": "text_delta", "text": more }))
    }

    fn call(&mut self, name: &str) -> String {
        let block = json!({ "type": "tool_use", "id": new_id("toolu_"), "name": name, "input": {} });
        self.start(Open::Call, block)
    }

    /// Ends the open block.
    fn close(&mut self) -> String {
        let Some(open) = self.open.take() else { return String::new() };
        let mut out = String::new();
        if let Open::Thinking(text) = open {
            out = self.delta(json!({ "type": "signature_delta", "signature": signature(&text) }));
        }
        out += &tell("content_block_stop", json!({ "index": self.blocks }));
        self.blocks += 1;
        out
    }
}

impl Tell for Events {
    fn begin(&mut self) -> String {
        let message = self.frame.message(Vec::new(), None, None, usage(self.before));
        tell("message_start", json!({ "message": message })) + &tell("ping", json!({}))
    }

    fn update(&mut self, update: Update) -> String {
        self.finish = update.finish.map(|f| f.name()).or(self.finish);
        self.stop = update.stop.or(self.stop.take());
        let mut out = String::new();
        for delta in update.deltas {
            out += &match delta {
                Delta::Reasoning(text) => self.thinking(&text),
                Delta::Content(text) | Delta::Tool(Part::Text(text)) => self.text(&text),
                Delta::Tool(Part::Call { name, .. }) => self.call(&name),
                Delta::Tool(Part::Arguments { text, .. }) => {
                    self.delta(json!({ "type": "input_json_delta", "partial_json": text }))
                }
                Delta::Retract => String::new(), // what was sent cannot be taken back
            };
        }
        out
    }

    fn end(&mut self, total: Usage) -> String {
        let mut out = self.close();
        if !self.answered {
            out += &self.start(Open::Text, json!({ "type": "text", "text": "" }));
            out += &self.close();
        }
        let (reason, sequence) = stop_reason(self.finish, self.stop.take());
        let delta = json!({ "stop_reason": reason, "stop_sequence": sequence });
        out + &tell("message_delta", json!({ "delta": delta, "usage": usage(total) }))
            + &tell("message_stop", json!({}))
    }

    fn fail(&mut self, error: &ApiError) -> String {
        event("error", &errors::body(error))
    }
}
