//! The message object of a reply.

use crate::answer::AnswerContent;
use crate::base64::base64;
use crate::types::{Usage, new_id};
use crate::update::FinishReason;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

/// The message without its content.
pub(super) struct MessageFrame {
    id: String,
    model: String,
}

impl MessageFrame {
    pub(super) fn new(model: String) -> MessageFrame {
        MessageFrame { id: new_id("msg_"), model }
    }

    pub(super) fn message(
        &self,
        content: Vec<Value>,
        reason: Option<&str>,
        sequence: Option<String>,
        usage: Value,
    ) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": content,
            "stop_reason": reason, "stop_sequence": sequence, "usage": usage,
        })
    }
}

/// Returns Anthropic's stop reason, and the stop sequence that ended the answer.
pub(super) fn stop_reason(
    finish: Option<FinishReason>,
    stop: Option<String>,
) -> (Option<&'static str>, Option<String>) {
    match finish {
        Some(FinishReason::Length) => (Some("max_tokens"), None),
        Some(FinishReason::ToolCalls) => (Some("tool_use"), None),
        _ if stop.is_some() => (Some("stop_sequence"), stop),
        _ => (Some("end_turn"), None),
    }
}

/// Returns the token counts. Tokens that were found in the cache are counted separately.
pub(super) fn usage(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.prompt_tokens.saturating_sub(usage.cached_tokens),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    })
}

/// Returns the blocks of an answer, at least one.
pub(super) fn blocks(content: AnswerContent) -> Vec<Value> {
    let mut blocks = Vec::new();
    if !content.reasoning.is_empty() {
        let signature = signature(&content.reasoning);
        blocks.push(json!({ "type": "thinking", "thinking": content.reasoning, "signature": signature }));
    }
    if !content.text.is_empty() || content.calls.is_empty() {
        blocks.push(json!({ "type": "text", "text": content.text }));
    }
    for (name, arguments) in content.calls {
        // Arguments that were cut off are not valid JSON. Return them as text, so that they are not lost.
        let input = serde_json::from_str(if arguments.trim().is_empty() { "{}" } else { &arguments });
        let input = input.ok().filter(Value::is_object).unwrap_or_else(|| json!({ "INVALID_JSON": arguments }));
        blocks.push(json!({ "type": "tool_use", "id": new_id("toolu_"), "name": name, "input": input }));
    }
    blocks
}

/// Returns a digest of the thinking as its signature. Clients require a signature and send it back; this server signs
/// and checks nothing.
pub(super) fn signature(thinking: &str) -> String {
    base64(digest(&SHA256, thinking.as_bytes()).as_ref())
}
