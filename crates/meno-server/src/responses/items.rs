//! The response object and its output items.

use crate::answer::AnswerContent;
use crate::types::{Usage, custom_input, new_id, now};
use crate::update::FinishReason;
use serde_json::{Value, json};

pub(super) fn reasoning_item(id: &str, text: Option<&str>, status: &str) -> Value {
    let content: Vec<Value> = text.iter().map(|t| json!({ "type": "reasoning_text", "text": t })).collect();
    json!({ "id": id, "type": "reasoning", "summary": [], "content": content, "status": status })
}

pub(super) fn message_item(id: &str, text: Option<&str>, status: &str) -> Value {
    let content: Vec<Value> = text.iter().map(|t| text_part(t)).collect();
    json!({ "id": id, "type": "message", "role": "assistant", "status": status, "content": content })
}

pub(super) fn text_part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn call_item(id: &str, call_id: &str, name: &str, arguments: &str, status: &str) -> Value {
    json!({
        "id": id, "type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, "status": status,
    })
}

fn custom_item(id: &str, call_id: &str, name: &str, input: &str, status: &str) -> Value {
    json!({ "id": id, "type": "custom_tool_call", "call_id": call_id, "name": name, "input": input, "status": status })
}

/// The status of the last item of an answer.
pub(super) fn status_of(finish: Option<FinishReason>) -> &'static str {
    if finish == Some(FinishReason::Length) { "incomplete" } else { "completed" }
}

/// The response without its output.
pub(super) struct ResponseFrame {
    id: String,
    created: u64,
    /// The settings of the request, which the response repeats.
    fields: Value,
    /// Names of the custom tools, whose calls contain plain text.
    custom: Vec<String>,
    /// True if the thinking is shown.
    pub(super) thinking: bool,
}

impl ResponseFrame {
    pub(super) fn new(fields: Value, custom: Vec<String>, thinking: bool) -> ResponseFrame {
        ResponseFrame { id: new_id("resp_"), created: now(), fields, custom, thinking }
    }

    /// Returns the items of an answer. The last one is incomplete if the answer ended at the token limit.
    pub(super) fn output(&self, content: AnswerContent, finish: Option<FinishReason>) -> Vec<Value> {
        let mut items = Vec::new();
        if !content.reasoning.is_empty() && self.thinking {
            items.push(reasoning_item(&new_id("rs_"), Some(&content.reasoning), "completed"));
        }
        let cut_thought = finish == Some(FinishReason::Length) && !items.is_empty();
        if !content.text.is_empty() || content.calls.is_empty() && !cut_thought {
            items.push(message_item(&new_id("msg_"), Some(&content.text), "completed"));
        }
        for (name, arguments) in content.calls {
            items.push(self.call_item(&new_id("fc_"), &new_id("call_"), &name, &arguments, "completed"));
        }
        if let Some(last) = items.last_mut() {
            last["status"] = status_of(finish).into();
        }
        items
    }

    pub(super) fn call_item(&self, id: &str, call_id: &str, name: &str, arguments: &str, status: &str) -> Value {
        if self.is_custom(name) {
            let input = if arguments.is_empty() { String::new() } else { custom_input(arguments) };
            custom_item(id, call_id, name, &input, status)
        } else {
            call_item(id, call_id, name, arguments, status)
        }
    }

    pub(super) fn is_custom(&self, name: &str) -> bool {
        self.custom.iter().any(|custom| custom == name)
    }

    pub(super) fn response(&self, status: &str, output: Vec<Value>) -> Value {
        let mut response = json!({
            "id": self.id, "object": "response", "created_at": self.created, "status": status, "error": null,
            "incomplete_details": null, "output": output, "usage": null,
        });
        if let (Some(response), Some(fields)) = (response.as_object_mut(), self.fields.as_object()) {
            response.extend(fields.clone());
        }
        response
    }

    pub(super) fn complete(&self, output: Vec<Value>, finish: Option<FinishReason>, usage: Usage) -> Value {
        let cut_off = finish == Some(FinishReason::Length);
        let mut response = self.response(if cut_off { "incomplete" } else { "completed" }, output);
        if cut_off {
            response["incomplete_details"] = json!({ "reason": "max_output_tokens" });
        }
        response["usage"] = json!({
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": { "cached_tokens": usage.cached_tokens },
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": { "reasoning_tokens": usage.reasoning_tokens },
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        });
        response
    }
}
