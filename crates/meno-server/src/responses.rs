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
use crate::error::ApiError;
use crate::fields::{self, Endpoint};
use crate::stream;
use crate::types::{Usage, custom_input, custom_names, decimal, limit, new_id, now};
use axum::extract::State;
use axum::response::Response;
use events::Events;
use input::Input;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A request, in the fields that only this endpoint has or has otherwise; the others are those of chat.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // OpenAI's reference documents them
pub struct ResponseRequest {
    pub input: Option<Input>,
    pub instructions: Option<String>,
    #[serde(deserialize_with = "limit")]
    pub max_output_tokens: Option<usize>,
    pub stream: Option<bool>,
    pub tools: Option<Vec<Value>>,
    pub tool_choice: Option<Value>,
    pub parallel_tool_calls: Option<bool>,
    pub text: Option<Value>,
    pub previous_response_id: Option<String>,
    pub conversation: Option<Value>,
    pub background: Option<bool>,
    pub metadata: Option<Value>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Answers a request.
pub async fn answer(State(server): State<Arc<Server>>, posted: Posted) -> Result<Response, ApiError> {
    let started = posted.run(&server, Work::Answer, |request: Value, server, client| {
        let request: ResponseRequest = fields::read(Endpoint::Responses, request)?;
        let stream = request.stream == Some(true);
        let mut frame = Frame::new(server, &request);
        let chat = request.into_chat()?;
        frame.custom = custom_names(chat.tools.as_deref().unwrap_or_default());
        frame.thought = chat.shown_thought()?.beside();
        let generation = chat.start(server, client).map_err(|e| e.renamed("response_format", "text.format"))?;
        Ok((generation, frame, stream))
    });
    let (mut generation, frame, stream) = started.await?;
    if stream {
        return Ok(stream::respond(generation, Events::new(frame)));
    }
    let mut answers: Vec<Gathered> = generation.collect(1, Gathered::add).await?;
    let answer = answers.pop().unwrap_or_default();
    let output = frame.output(answer.whole, answer.finish);
    Ok(body::json(&frame.complete(output, answer.finish, generation.usage())))
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
        let tools = fields::read_value(Value::from(self.tools.unwrap_or_default())).map_err(|e| {
            let place = e.param.clone().unwrap_or_default();
            ApiError { message: format!("tools{}", e.message), ..e }.about(&format!("tools{place}"))
        })?;
        let rest: ChatRequest = fields::read_value(self.rest.into())?;
        Ok(ChatRequest {
            messages,
            max_completion_tokens: self.max_output_tokens.or(rest.max_completion_tokens),
            tools: Some(tools),
            tool_choice: self.tool_choice,
            parallel_tool_calls: self.parallel_tool_calls,
            response_format: self.text.as_ref().and_then(|t| t.get("format")).cloned().or(rest.response_format),
            ..rest
        })
    }
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

fn custom_item(id: &str, call_id: &str, name: &str, input: &str, status: &str) -> Value {
    json!({ "id": id, "type": "custom_tool_call", "call_id": call_id, "name": name, "input": input, "status": status })
}

/// Whether an item that ends the answer is complete.
fn status_of(finish: Option<&str>) -> &'static str {
    if finish == Some("length") { "incomplete" } else { "completed" }
}

/// The response around its output.
struct Frame {
    id: String,
    created: u64,
    fields: Value,
    /// Tools whose calls carry a text.
    custom: Vec<String>,
    /// Show the thought.
    thought: bool,
}

impl Frame {
    fn new(server: &Arc<Server>, request: &ResponseRequest) -> Frame {
        let number = |name: &str| request.rest.get(name).cloned().filter(Value::is_number);
        let defaults = &server.model.defaults;
        let fields = json!({
            "model": server.model.name,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens.filter(|&n| n != usize::MAX),
            "metadata": request.metadata.clone().unwrap_or_else(|| json!({})),
            "parallel_tool_calls": request.parallel_tool_calls.unwrap_or(true),
            "previous_response_id": null,
            "reasoning": request.rest.get("reasoning").cloned().unwrap_or_else(|| json!({ "effort": null, "summary": null })),
            "store": false,
            "temperature": number("temperature").or(defaults.temperature.map(|t| decimal(Some(t)))),
            "text": request.text.clone().unwrap_or_else(|| json!({ "format": { "type": "text" } })),
            "tool_choice": request.tool_choice.clone().unwrap_or_else(|| "auto".into()),
            "tools": request.tools.clone().unwrap_or_default(),
            "top_p": number("top_p").or(defaults.top_p.map(|p| decimal(Some(p)))),
            "truncation": "disabled",
        });
        Frame { id: new_id("resp_"), created: now(), fields, custom: Vec::new(), thought: true }
    }

    /// The items of an answer. The last one is incomplete where the limit of tokens cut it.
    fn output(&self, whole: Whole, finish: Option<&str>) -> Vec<Value> {
        let mut items = Vec::new();
        if !whole.reasoning.is_empty() && self.thought {
            items.push(reasoning_item(&new_id("rs_"), Some(&whole.reasoning), "completed"));
        }
        let cut_thought = finish == Some("length") && !items.is_empty();
        if !whole.content.is_empty() || whole.calls.is_empty() && !cut_thought {
            items.push(message_item(&new_id("msg_"), Some(&whole.content), "completed"));
        }
        for (name, arguments) in whole.calls {
            items.push(self.call_item(&new_id("fc_"), &new_id("call_"), &name, &arguments, "completed"));
        }
        if let Some(last) = items.last_mut() {
            last["status"] = status_of(finish).into();
        }
        items
    }

    fn call_item(&self, id: &str, call_id: &str, name: &str, arguments: &str, status: &str) -> Value {
        if self.is_custom(name) {
            let input = if arguments.is_empty() { String::new() } else { custom_input(arguments) };
            custom_item(id, call_id, name, &input, status)
        } else {
            call_item(id, call_id, name, arguments, status)
        }
    }

    fn is_custom(&self, name: &str) -> bool {
        self.custom.iter().any(|custom| custom == name)
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
