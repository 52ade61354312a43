//! `POST /v1/responses`: text, reasoning and function calls. Nothing is stored, so a conversation comes whole with
//! every request.

mod events;
mod input;

use crate::answer::Whole;
use crate::app::Server;
use crate::body::{self, Posted};
use crate::chat_completions::{ChatRequest, Gathered};
use crate::clients::Work;
use crate::conversation::{ChatMessage, Content};
use crate::error::{ApiError, shown};
use crate::stream;
use crate::types::{Function, TemplateKwargs, Tool, Usage, new_id, now};
use axum::extract::State;
use axum::response::Response;
use events::Events;
use input::Input;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// A request, in OpenAI's fields. What is not listed is ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // OpenAI's reference documents them
pub struct ResponseRequest {
    pub model: Option<String>,
    pub input: Option<Input>,
    pub instructions: Option<String>,
    pub max_output_tokens: Option<usize>,
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub stream: Option<bool>,
    pub tools: Option<Vec<Value>>,
    pub tool_choice: Option<Value>,
    pub parallel_tool_calls: Option<bool>,
    pub text: Option<Value>,
    pub reasoning: Option<Value>,
    pub previous_response_id: Option<String>,
    pub conversation: Option<Value>,
    pub background: Option<bool>,
    pub metadata: Option<Value>,
    pub seed: Option<i64>,
    pub chat_template_kwargs: Option<TemplateKwargs>,
}

/// Answers a request.
pub async fn answer(State(server): State<Arc<Server>>, posted: Posted) -> Result<Response, ApiError> {
    let started = posted.run(&server, Work::Answer, |request: ResponseRequest, server, client| {
        let stream = request.stream == Some(true);
        let frame = Frame::new(server, &request);
        Ok((request.into_chat()?.start(server, client)?, frame, stream))
    });
    let (mut generation, frame, stream) = started.await?;
    if stream {
        return Ok(stream::respond(generation, Events::new(frame)));
    }
    let mut answers: Vec<Gathered> = generation.collect(1, Gathered::add).await?;
    let answer = answers.pop().unwrap_or_default();
    Ok(body::json(&frame.complete(output(answer.whole), answer.finish, generation.usage())))
}

impl ResponseRequest {
    /// The same as a chat.
    pub fn into_chat(self) -> Result<ChatRequest, ApiError> {
        for (param, given) in [
            ("previous_response_id", self.previous_response_id.is_some()),
            ("conversation", self.conversation.as_ref().is_some_and(|c| !c.is_null())),
            ("background", self.background == Some(true)),
        ] {
            if given {
                let message = format!("{param}: this server stores no responses; send the whole conversation as input");
                return Err(ApiError::unsupported(param, message));
            }
        }
        let mut messages = Vec::new();
        if let Some(text) = self.instructions {
            messages.push(input::message("system", text));
        }
        let input = self.input.ok_or_else(|| ApiError::invalid("input", "input is missing"))?;
        messages.extend(input.into_messages()?);
        Ok(ChatRequest {
            model: self.model,
            messages,
            max_completion_tokens: self.max_output_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            seed: self.seed,
            tools: Some(self.tools.unwrap_or_default().into_iter().map(tool).collect::<Result<_, _>>()?),
            tool_choice: self.tool_choice,
            parallel_tool_calls: self.parallel_tool_calls,
            response_format: self.text.as_ref().and_then(|t| t.get("format")).cloned(),
            reasoning: self.reasoning,
            chat_template_kwargs: self.chat_template_kwargs,
            ..Default::default()
        })
    }
}

/// A tool as this API has it: the function's fields beside the type.
fn tool(value: Value) -> Result<Tool, ApiError> {
    let kind = value["type"].as_str().unwrap_or_default().to_owned();
    if kind != "function" {
        let message = format!("tools: a tool of type {:?}; this server knows \"function\"", shown(&kind));
        return Err(ApiError::unsupported("tools", message));
    }
    let function = value.get("function").cloned().unwrap_or(value);
    let function: Function =
        serde_json::from_value(function).map_err(|e| ApiError::invalid("tools", format!("tools: {e}")))?;
    Ok(Tool { kind, function })
}

/// The items of an answer.
fn output(whole: Whole) -> Vec<Value> {
    let mut items = Vec::new();
    if !whole.reasoning.is_empty() {
        items.push(reasoning_item(&new_id("rs_"), Some(&whole.reasoning), "completed"));
    }
    if !whole.content.is_empty() || whole.calls.is_empty() {
        items.push(message_item(&new_id("msg_"), Some(&whole.content), "completed"));
    }
    for (name, arguments) in whole.calls {
        items.push(call_item(&new_id("fc_"), &new_id("call_"), &name, &arguments, "completed"));
    }
    items
}

fn reasoning_item(id: &str, text: Option<&str>, status: &str) -> Value {
    let content: Vec<Value> = text.iter().map(|t| json!({ "type": "reasoning_text", "text": t })).collect();
    json!({ "id": id, "type": "reasoning", "summary": [], "content": content, "status": status })
}

fn message_item(id: &str, text: Option<&str>, status: &str) -> Value {
    let content: Vec<Value> = text.iter().map(|t| text_part(t)).collect();
    json!({ "id": id, "type": "message", "role": "assistant", "status": status, "content": content })
}

fn text_part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn call_item(id: &str, call_id: &str, name: &str, arguments: &str, status: &str) -> Value {
    json!({ "id": id, "type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, "status": status })
}

/// The response around its output.
struct Frame {
    id: String,
    created: u64,
    fields: Value,
}

impl Frame {
    fn new(server: &Arc<Server>, request: &ResponseRequest) -> Frame {
        let fields = json!({
            "model": server.model.name,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata.clone().unwrap_or_else(|| json!({})),
            "parallel_tool_calls": request.parallel_tool_calls.unwrap_or(true),
            "previous_response_id": null,
            "reasoning": request.reasoning.clone().unwrap_or_else(|| json!({ "effort": null, "summary": null })),
            "store": false,
            "temperature": request.temperature.or(server.model.defaults.temperature),
            "text": request.text.clone().unwrap_or_else(|| json!({ "format": { "type": "text" } })),
            "tool_choice": request.tool_choice.clone().unwrap_or_else(|| "auto".into()),
            "tools": request.tools.clone().unwrap_or_default(),
            "top_p": request.top_p.or(server.model.defaults.top_p),
            "truncation": "disabled",
        });
        Frame { id: new_id("resp_"), created: now(), fields }
    }

    fn response(&self, status: &str, output: Vec<Value>) -> Value {
        let mut response = json!({
            "id": self.id, "object": "response", "created_at": self.created, "status": status, "error": null,
            "incomplete_details": null, "output": output, "usage": null,
        });
        if let (Some(response), Some(fields)) = (response.as_object_mut(), self.fields.as_object()) {
            response.extend(fields.clone());
        }
        response
    }

    fn complete(&self, output: Vec<Value>, finish: Option<&str>, usage: Usage) -> Value {
        let cut_off = finish == Some("length");
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
