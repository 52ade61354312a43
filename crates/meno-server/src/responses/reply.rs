//! The reply of responses, as one object and as the events of the Responses API.

use super::items::{ResponseFrame, message_item, reasoning_item, status_of, text_part};
use crate::answer::Delta;
use crate::error::ApiError;
use crate::request::Reply;
use crate::sse::{EventWriter, named};
use crate::tools::Part;
use crate::types::{Usage, custom_input, new_id};
use crate::update::{CollectedAnswer, FinishReason, Update};
use axum::response::sse::Event;
use serde_json::{Value, json};

/// The item that is being streamed.
enum OpenItem {
    Reasoning { id: String, text: String },
    Message { id: String, text: String },
    Call { id: String, call_id: String, name: String, arguments: String },
}

/// The reply to a request. Events collect in `events` until [`take_events`](Self::take_events).
pub(super) struct ResponseReply {
    frame: ResponseFrame,
    /// The complete items.
    output: Vec<Value>,
    open: Option<OpenItem>,
    sequence_number: usize,
    finish: Option<FinishReason>,
    events: Vec<Event>,
}

impl ResponseReply {
    pub(super) fn new(frame: ResponseFrame) -> ResponseReply {
        ResponseReply { frame, output: Vec::new(), open: None, sequence_number: 0, finish: None, events: Vec::new() }
    }

    fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Adds an event.
    fn emit(&mut self, kind: &str, mut fields: Value) {
        fields["type"] = kind.into();
        fields["sequence_number"] = self.sequence_number.into();
        self.sequence_number += 1;
        self.events.push(named(kind, &fields));
    }

    /// Adds an event about the open item.
    fn emit_item(&mut self, kind: &str, id: &str, mut fields: Value) {
        fields["item_id"] = id.into();
        fields["output_index"] = self.output.len().into();
        self.emit(kind, fields);
    }

    /// Adds the event that starts an item.
    fn emit_added(&mut self, item: Value) {
        let index = self.output.len();
        self.emit("response.output_item.added", json!({ "output_index": index, "item": item }));
    }

    fn reasoning(&mut self, more: &str) {
        if !self.frame.thinking {
            return;
        }
        if !matches!(self.open, Some(OpenItem::Reasoning { .. })) {
            self.close("completed");
            let id = new_id("rs_");
            self.emit_added(reasoning_item(&id, None, "in_progress"));
            let part = json!({ "content_index": 0, "part": { "type": "reasoning_text", "text": "" } });
            self.emit_item("response.content_part.added", &id, part);
            self.open = Some(OpenItem::Reasoning { id, text: String::new() });
        }
        let Some(OpenItem::Reasoning { id, text }) = &mut self.open else { return };
        text.push_str(more);
        let id = id.clone();
        self.emit_item("response.reasoning_text.delta", &id, json!({ "content_index": 0, "delta": more }));
    }

    fn content(&mut self, more: &str) {
        if !matches!(self.open, Some(OpenItem::Message { .. })) {
            self.close("completed");
            let id = new_id("msg_");
            self.emit_added(message_item(&id, None, "in_progress"));
            let part = json!({ "content_index": 0, "part": text_part("") });
            self.emit_item("response.content_part.added", &id, part);
            self.open = Some(OpenItem::Message { id, text: String::new() });
        }
        let Some(OpenItem::Message { id, text }) = &mut self.open else { return };
        text.push_str(more);
        let id = id.clone();
        let fields = json!({ "content_index": 0, "delta": more, "logprobs": [] });
        self.emit_item("response.output_text.delta", &id, fields);
    }

    fn call(&mut self, name: String) {
        self.close("completed");
        let (id, call_id) = (new_id("fc_"), new_id("call_"));
        let item = self.frame.call_item(&id, &call_id, &name, "", "in_progress");
        self.emit_added(item);
        self.open = Some(OpenItem::Call { id, call_id, name, arguments: String::new() });
    }

    fn arguments(&mut self, more: &str) {
        let Some(OpenItem::Call { id, name, arguments, .. }) = &mut self.open else { return };
        arguments.push_str(more);
        if self.frame.is_custom(name) {
            return; // the text is sent when the call is complete
        }
        let id = id.clone();
        self.emit_item("response.function_call_arguments.delta", &id, json!({ "delta": more }));
    }

    /// Ends the open item, if there is one, with a status.
    fn close(&mut self, status: &str) {
        let Some(open) = self.open.take() else { return };
        let item = match open {
            OpenItem::Reasoning { id, text } => {
                let done = json!({ "content_index": 0, "text": text });
                self.emit_item("response.reasoning_text.done", &id, done);
                let part = json!({ "content_index": 0, "part": { "type": "reasoning_text", "text": text } });
                self.emit_item("response.content_part.done", &id, part);
                reasoning_item(&id, Some(&text), status)
            }
            OpenItem::Message { id, text } => {
                let done = json!({ "content_index": 0, "text": text, "logprobs": [] });
                self.emit_item("response.output_text.done", &id, done);
                let part = json!({ "content_index": 0, "part": text_part(&text) });
                self.emit_item("response.content_part.done", &id, part);
                message_item(&id, Some(&text), status)
            }
            OpenItem::Call { id, call_id, name, arguments } => {
                if self.frame.is_custom(&name) {
                    let input = custom_input(&arguments);
                    self.emit_item("response.custom_tool_call_input.delta", &id, json!({ "delta": input }));
                    self.emit_item("response.custom_tool_call_input.done", &id, json!({ "input": input }));
                } else {
                    let done = json!({ "name": name, "arguments": arguments });
                    self.emit_item("response.function_call_arguments.done", &id, done);
                }
                self.frame.call_item(&id, &call_id, &name, &arguments, status)
            }
        };
        let index = self.output.len();
        self.emit("response.output_item.done", json!({ "output_index": index, "item": item }));
        self.output.push(item);
    }
}

impl Reply for ResponseReply {
    fn answers(&self) -> usize {
        1
    }

    fn whole(self, mut answers: Vec<CollectedAnswer>, usage: Usage) -> Value {
        let answer = answers.pop().unwrap_or_default();
        let output = self.frame.output(answer.content, answer.finish);
        self.frame.complete(output, answer.finish, usage)
    }
}

impl EventWriter for ResponseReply {
    fn begin(&mut self) -> Vec<Event> {
        let response = self.frame.response("in_progress", Vec::new());
        self.emit("response.created", json!({ "response": response }));
        self.emit("response.in_progress", json!({ "response": response }));
        self.take_events()
    }

    fn update(&mut self, update: Update) -> Vec<Event> {
        self.finish = update.finish.or(self.finish);
        for delta in update.deltas {
            match delta {
                Delta::Reasoning(text) => self.reasoning(&text),
                Delta::Content(text) | Delta::Tool(Part::Text(text)) => self.content(&text),
                Delta::Tool(Part::Call { name, .. }) => self.call(name),
                Delta::Tool(Part::Arguments { text, .. }) => self.arguments(&text),
                Delta::Retract => {} // events that were sent cannot be taken back
            }
        }
        self.take_events()
    }

    fn end(&mut self, usage: Usage) -> Vec<Event> {
        let status = status_of(self.finish);
        self.close(status);
        if self.output.is_empty() {
            self.content("");
            self.close(status);
        }
        let response = self.frame.complete(self.output.clone(), self.finish, usage);
        let length = self.finish == Some(FinishReason::Length);
        let kind = if length { "response.incomplete" } else { "response.completed" };
        self.emit(kind, json!({ "response": response }));
        self.take_events()
    }

    fn fail(&mut self, error: &ApiError) -> Vec<Event> {
        let mut response = self.frame.response("failed", self.output.clone());
        response["error"] = json!({ "code": error.code, "message": error.message });
        self.emit("response.failed", json!({ "response": response }));
        self.take_events()
    }
}
