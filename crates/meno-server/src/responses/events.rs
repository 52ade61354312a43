//! A response as it comes, in the events of the Responses API.

use super::{Frame, custom_input, message_item, reasoning_item, status_of, text_part};
use crate::answer::Delta;
use crate::error::ApiError;
use crate::generation::Update;
use crate::stream::{Tell, event};
use crate::tools::Part;
use crate::types::{Usage, new_id};
use serde_json::{Value, json};

/// The item being written.
enum Open {
    Reasoning { id: String, text: String },
    Message { id: String, text: String },
    Call { id: String, call_id: String, name: String, arguments: String },
}

/// Tells a response.
pub(super) struct Events {
    frame: Frame,
    /// Items that are complete.
    output: Vec<Value>,
    open: Option<Open>,
    number: usize,
    finish: Option<&'static str>,
}

impl Events {
    pub(super) fn new(frame: Frame) -> Events {
        Events { frame, output: Vec::new(), open: None, number: 0, finish: None }
    }

    fn tell(&mut self, kind: &str, mut fields: Value) -> String {
        fields["type"] = kind.into();
        fields["sequence_number"] = self.number.into();
        self.number += 1;
        event(kind, &fields)
    }

    /// An event about a part of the open item.
    fn about(&mut self, kind: &str, id: &str, mut fields: Value) -> String {
        fields["item_id"] = id.into();
        fields["output_index"] = self.output.len().into();
        self.tell(kind, fields)
    }

    fn added(&mut self, item: Value) -> String {
        let index = self.output.len();
        self.tell("response.output_item.added", json!({ "output_index": index, "item": item }))
    }

    fn reasoning(&mut self, more: &str) -> String {
        let mut out = String::new();
        if !self.frame.thought {
            return out;
        }
        if !matches!(self.open, Some(Open::Reasoning { .. })) {
            out += &self.close("completed");
            let id = new_id("rs_");
            out += &self.added(reasoning_item(&id, None, "in_progress"));
            let part = json!({ "content_index": 0, "part": { "type": "reasoning_text", "text": "" } });
            out += &self.about("response.content_part.added", &id, part);
            self.open = Some(Open::Reasoning { id, text: String::new() });
        }
        let Some(Open::Reasoning { id, text }) = &mut self.open else { return out };
        text.push_str(more);
        let id = id.clone();
        out + &self.about("response.reasoning_text.delta", &id, json!({ "content_index": 0, "delta": more }))
    }

    fn content(&mut self, more: &str) -> String {
        let mut out = String::new();
        if !matches!(self.open, Some(Open::Message { .. })) {
            out += &self.close("completed");
            let id = new_id("msg_");
            out += &self.added(message_item(&id, None, "in_progress"));
            let part = json!({ "content_index": 0, "part": text_part("") });
            out += &self.about("response.content_part.added", &id, part);
            self.open = Some(Open::Message { id, text: String::new() });
        }
        let Some(Open::Message { id, text }) = &mut self.open else { return out };
        text.push_str(more);
        let id = id.clone();
        let fields = json!({ "content_index": 0, "delta": more, "logprobs": [] });
        out + &self.about("response.output_text.delta", &id, fields)
    }

    fn call(&mut self, name: String) -> String {
        let out = self.close("completed");
        let (id, call_id) = (new_id("fc_"), new_id("call_"));
        let item = self.frame.call_item(&id, &call_id, &name, "", "in_progress");
        let added = self.added(item);
        self.open = Some(Open::Call { id, call_id, name, arguments: String::new() });
        out + &added
    }

    fn arguments(&mut self, more: &str) -> String {
        let Some(Open::Call { id, name, arguments, .. }) = &mut self.open else { return String::new() };
        arguments.push_str(more);
        if self.frame.is_custom(name) {
            return String::new(); // its text can be told when it is complete
        }
        let id = id.clone();
        self.about("response.function_call_arguments.delta", &id, json!({ "delta": more }))
    }

    /// Ends the open item: completed, or cut by the limit of tokens.
    fn close(&mut self, status: &str) -> String {
        let Some(open) = self.open.take() else { return String::new() };
        let (out, item) = match open {
            Open::Reasoning { id, text } => {
                let done = json!({ "content_index": 0, "text": text });
                let mut out = self.about("response.reasoning_text.done", &id, done);
                let part = json!({ "content_index": 0, "part": { "type": "reasoning_text", "text": text } });
                out += &self.about("response.content_part.done", &id, part);
                (out, reasoning_item(&id, Some(&text), status))
            }
            Open::Message { id, text } => {
                let done = json!({ "content_index": 0, "text": text, "logprobs": [] });
                let mut out = self.about("response.output_text.done", &id, done);
                let part = json!({ "content_index": 0, "part": text_part(&text) });
                out += &self.about("response.content_part.done", &id, part);
                (out, message_item(&id, Some(&text), status))
            }
            Open::Call { id, call_id, name, arguments } if self.frame.is_custom(&name) => {
                let input = custom_input(&arguments);
                let mut out = self.about("response.custom_tool_call_input.delta", &id, json!({ "delta": input }));
                out += &self.about("response.custom_tool_call_input.done", &id, json!({ "input": input }));
                (out, self.frame.call_item(&id, &call_id, &name, &arguments, status))
            }
            Open::Call { id, call_id, name, arguments } => {
                let done = json!({ "name": name, "arguments": arguments });
                let out = self.about("response.function_call_arguments.done", &id, done);
                (out, self.frame.call_item(&id, &call_id, &name, &arguments, status))
            }
        };
        let index = self.output.len();
        let done = self.tell("response.output_item.done", json!({ "output_index": index, "item": item }));
        self.output.push(item);
        out + &done
    }
}

impl Tell for Events {
    fn begin(&mut self) -> String {
        let response = self.frame.response("in_progress", Vec::new());
        let created = self.tell("response.created", json!({ "response": response }));
        created + &self.tell("response.in_progress", json!({ "response": response }))
    }

    fn update(&mut self, update: Update) -> String {
        self.finish = update.finish.map(|f| f.name()).or(self.finish);
        let mut out = String::new();
        for delta in update.deltas {
            out += &match delta {
                Delta::Reasoning(text) => self.reasoning(&text),
                Delta::Content(text) | Delta::Tool(Part::Text(text)) => self.content(&text),
                Delta::Tool(Part::Call { name, .. }) => self.call(name),
                Delta::Tool(Part::Arguments { text, .. }) => self.arguments(&text),
                Delta::Retract => String::new(), // what was sent cannot be taken back
            };
        }
        out
    }

    fn end(&mut self, usage: Usage) -> String {
        let status = status_of(self.finish);
        let mut out = self.close(status);
        if self.output.is_empty() {
            out += &self.content("");
            out += &self.close(status);
        }
        let response = self.frame.complete(self.output.clone(), self.finish, usage);
        let kind = if self.finish == Some("length") { "response.incomplete" } else { "response.completed" };
        out + &self.tell(kind, json!({ "response": response }))
    }

    fn fail(&mut self, error: &ApiError) -> String {
        let mut response = self.frame.response("failed", self.output.clone());
        response["error"] = json!({ "code": error.code, "message": error.message });
        self.tell("response.failed", json!({ "response": response }))
    }
}
