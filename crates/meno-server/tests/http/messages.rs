//! Tests of Anthropic's API.

use crate::support::{Client, Reply, Small, request};
use axum::http::HeaderValue;
use meno_server::ServerOptions;
use serde_json::{Value, json};

fn body(fields: Value) -> Value {
    let mut body = json!({
        "model": "small", "max_tokens": 40, "temperature": 0, "messages": [{"role": "user", "content": "2+2=?"}],
    });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

async fn ask(client: &Client, fields: Value) -> Value {
    let reply = client.post("/v1/messages", body(fields)).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert!(reply.headers["request-id"].to_str().unwrap().starts_with("req_"));
    reply.json()
}

/// Returns the events of a stream. Their names must equal their types.
fn events(reply: &Reply) -> Vec<Value> {
    let names: Vec<&str> = reply.text.lines().filter_map(|l| l.strip_prefix("event: ")).collect();
    let events = reply.events();
    assert_eq!(names, events.iter().map(|e| e["type"].as_str().unwrap()).collect::<Vec<_>>());
    events
}

/// Collects a streamed message as Anthropic's clients do.
fn collected(events: &[Value]) -> Value {
    let mut message = events[0]["message"].clone();
    for event in events {
        let index = event["index"].as_u64().unwrap_or(0) as usize;
        let content = message["content"].as_array_mut().unwrap();
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!(index, content.len());
                content.push(event["content_block"].clone());
            }
            "content_block_delta" => {
                assert_eq!(index + 1, content.len(), "only the last block is written");
                let (delta, block) = (&event["delta"], &mut content[index]);
                let field = match delta["type"].as_str().unwrap() {
                    "text_delta" => "text",
                    "thinking_delta" => "thinking",
                    "signature_delta" => "signature",
                    "input_json_delta" => "partial_json",
                    other => panic!("{other}"),
                };
                let so_far = block[field].as_str().unwrap_or_default().to_owned();
                block[field] = (so_far + delta[field].as_str().unwrap()).into();
            }
            "message_delta" => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                message["stop_sequence"] = event["delta"]["stop_sequence"].clone();
                message["usage"] = event["usage"].clone();
            }
            _ => {}
        }
    }
    for block in message["content"].as_array_mut().unwrap() {
        if let Some(json) = block["partial_json"].take().as_str() {
            block["input"] = serde_json::from_str(json).unwrap();
        }
        block.as_object_mut().unwrap().remove("partial_json");
    }
    message
}

#[tokio::test]
async fn whole_and_streamed_answers_consist_of_blocks() {
    let client = Small::default().client();
    for (fields, kinds) in [
        (json!({}), &["text"][..]),
        (json!({"max_tokens": 400, "thinking": {"type": "enabled", "budget_tokens": 6}}), &["thinking", "text"]),
        (json!({"max_tokens": 400, "thinking": {"type": "adaptive"}, "output_config": {"effort": "minimal"}}), &[]),
    ] {
        let whole = ask(&client, fields.clone()).await;
        assert_eq!(
            (&whole["type"], &whole["role"], &whole["model"]),
            (&json!("message"), &json!("assistant"), &json!("small"))
        );
        let found: Vec<&str> =
            whole["content"].as_array().unwrap().iter().map(|b| b["type"].as_str().unwrap()).collect();
        assert!(kinds.is_empty() || found == kinds, "{whole}");
        assert!(kinds.is_empty() || whole["usage"]["output_tokens"].as_u64().unwrap() > 0);
        let mut streamed = fields.clone();
        streamed["stream"] = true.into();
        let reply = client.post("/v1/messages", body(streamed)).await;
        let events = events(&reply);
        assert_eq!(events[0]["type"], "message_start");
        assert_eq!(events.last().unwrap()["type"], "message_stop");
        assert!(events[0]["message"]["usage"]["input_tokens"].as_u64().unwrap() > 0);
        let gathered = collected(&events);
        for field in ["content", "stop_reason", "stop_sequence"] {
            assert_eq!(gathered[field], whole[field]);
        }
        if found.first() == Some(&"thinking") {
            assert!(!whole["content"][0]["signature"].as_str().unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn cached_tokens_are_counted_separately() {
    let client = Small::default().client();
    let first = ask(&client, json!({})).await["usage"].clone();
    let second = ask(&client, json!({})).await["usage"].clone();
    let all = first["input_tokens"].as_u64().unwrap();
    assert_eq!((&first["cache_read_input_tokens"], &first["cache_creation_input_tokens"]), (&json!(0), &json!(0)));
    let cached = second["cache_read_input_tokens"].as_u64().unwrap();
    assert!(cached > 0 && second["input_tokens"].as_u64().unwrap() + cached == all, "{first} {second}");
    let count = client.post("/v1/messages/count_tokens", json!({"messages": [{"role": "user", "content": "2+2=?"}]}));
    assert_eq!(count.await.json(), json!({"input_tokens": all}));
}

#[tokio::test]
async fn the_stop_sequence_is_returned() {
    let client = Small::default().client();
    let text = ask(&client, json!({})).await["content"][0]["text"].as_str().unwrap().to_owned();
    let stop: String = text.chars().skip(3).take(2).collect();
    let reply = ask(&client, json!({"stop_sequences": ["never there", stop]})).await;
    assert_eq!((&reply["stop_reason"], &reply["stop_sequence"]), (&json!("stop_sequence"), &json!(stop)));
    assert!(text.starts_with(reply["content"][0]["text"].as_str().unwrap()));
    let cut = ask(&client, json!({"max_tokens": 2})).await;
    assert_eq!((&cut["stop_reason"], &cut["stop_sequence"]), (&json!("max_tokens"), &Value::Null));
}

#[tokio::test]
async fn tools_are_called_and_their_results_read() {
    let client = Small::default().client();
    let tools = json!([{"name": "flip", "description": "Flips.", "input_schema": {"type": "object", "properties":
        {"on": {"type": "boolean"}}, "required": ["on"], "additionalProperties": false}}]);
    for choice in [
        json!({"type": "any", "disable_parallel_tool_use": true}),
        json!({"type": "tool", "name": "flip", "disable_parallel_tool_use": true}),
    ] {
        let fields = json!({"max_tokens": 300, "tools": tools, "tool_choice": choice});
        let reply = ask(&client, fields.clone()).await;
        let block = &reply["content"][0];
        assert_eq!(
            (&reply["stop_reason"], &block["type"], &block["name"]),
            (&json!("tool_use"), &json!("tool_use"), &json!("flip"))
        );
        assert!(block["input"]["on"].is_boolean() && block["id"].as_str().unwrap().starts_with("toolu_"), "{reply}");
        let mut streamed = fields;
        streamed["stream"] = true.into();
        let gathered = collected(&events(&client.post("/v1/messages", body(streamed)).await));
        assert_eq!((&gathered["content"][0]["input"], &gathered["stop_reason"]), (&block["input"], &json!("tool_use")));
    }
    // The prompt must equal that of the same conversation in OpenAI's API.
    let messages = json!([
        {"role": "user", "content": [{"type": "text", "text": "flip", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "redacted_thinking", "data": "y"},
            {"type": "text", "text": "so"}, {"type": "tool_use", "id": "t1", "name": "flip", "input": {"on": true}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "no"}], "is_error": true},
            {"type": "text", "text": "again"}]}]);
    let anthropic = json!({"system": [{"type": "text", "text": "be"}, {"type": "text", "text": "brief"}],
                           "messages": messages, "tools": tools});
    let openai = json!({"enable_thinking": false, "messages": [
        {"role": "system", "content": "be\nbrief"}, {"role": "user", "content": "flip"},
        {"role": "assistant", "content": "so", "reasoning_content": "hm", "tool_calls": [
            {"id": "t1", "type": "function", "function": {"name": "flip", "arguments": "{\"on\":true}"}}]},
        {"role": "tool", "tool_call_id": "t1", "content": "Error: no"}, {"role": "user", "content": "again"}],
        "tools": [{"type": "function", "function": {"name": "flip", "description": "Flips.",
                   "parameters": tools[0]["input_schema"]}}]});
    let template = client.post("/apply-template", openai).await.json()["prompt"].as_str().unwrap().to_owned();
    assert!(template.contains("Error: no") && template.contains("Flips."), "{template}");
    let tokens = client.server.model.tokenizer.encode(&template, false).unwrap().len();
    assert_eq!(client.post("/v1/messages/count_tokens", anthropic).await.json()["input_tokens"], tokens);
}

#[tokio::test]
async fn a_last_message_of_the_assistant_is_continued() {
    let client = Small::default().client();
    let begun = json!({"messages": [{"role": "user", "content": "2+2=?"}, {"role": "assistant", "content": "The"}]});
    let count = client.post("/v1/messages/count_tokens", begun.clone()).await.json()["input_tokens"].as_u64().unwrap();
    let prompt = json!({"messages": begun["messages"], "continue_final_message": true});
    let prompt = client.post("/apply-template", prompt).await.json()["prompt"].as_str().unwrap().to_owned();
    assert!(prompt.ends_with("The"), "{prompt}");
    assert_eq!(count as usize, client.server.model.tokenizer.encode(&prompt, false).unwrap().len());
    ask(&client, begun).await;
}

#[tokio::test]
async fn output_format_constrains_the_answer() {
    let client = Small::default().client();
    let schema = json!({"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"],
                        "additionalProperties": false});
    let reply = ask(
        &client,
        json!({"max_tokens": 300, "output_config": {"format": {"type": "json_schema", "schema": schema}}}),
    )
    .await;
    let text: Value = serde_json::from_str(reply["content"][0]["text"].as_str().unwrap()).unwrap();
    assert!(text["on"].is_boolean());
}

#[tokio::test]
async fn unsupported_fields_are_rejected_in_anthropics_format() {
    let client = Small::default().client();
    let image =
        json!([{"role": "user", "content": [{"type": "text", "text": "what?"}, {"type": "image", "source": {}}]}]);
    for (fields, words) in [
        (json!({"messages": image}), "messages.0.content.1: a block of type \"image\""),
        (json!({"messages": []}), "messages: at least one"),
        (json!({"messages": [{"role": "system", "content": "x"}]}), "messages.0.role"),
        (json!({"max_tokens": null}), "max_tokens: Field required"),
        (json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}), "\"web_search_20250305\""),
        (json!({"tools": [{"name": "x"}]}), "tools.0.input_schema"),
        (json!({"tool_choice": {"type": "tool"}}), "tool_choice"),
        (json!({"mcp_servers": [{"type": "url"}]}), "mcp_servers"),
        (json!({"context_management": {"edits": [{"type": "compact_20260112"}]}}), "context_management"),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 40}}), "greater than thinking.budget_tokens"),
        (json!({"thinking": {"type": "perhaps"}}), "thinking.type"),
        (json!({"temprature": 1}), "temprature"),
    ] {
        let reply = client.post("/v1/messages", body(fields)).await;
        let error = reply.json();
        assert_eq!((reply.status.as_u16(), &error["type"]), (400, &json!("error")), "{error}");
        assert_eq!(error["error"]["type"], "invalid_request_error");
        assert_eq!(reply.headers["request-id"], error["request_id"].as_str().unwrap());
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
    }
    let harmless = json!({"metadata": {"user_id": "x"}, "service_tier": "auto", "mcp_servers": [], "container": null,
                          "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}});
    ask(&client, harmless).await;
    let other = client.post("/v1/messages", body(json!({"model": "claude"}))).await;
    assert_eq!((other.status.as_u16(), &other.json()["error"]["type"]), (404, &json!("not_found_error")));
    assert_eq!(client.get("/v1/messages/batches").await.json()["error"]["type"], "not_found_error");
    assert_eq!(client.get("/v1/messages").await.json()["type"], "error");
    // Other paths use OpenAI's format.
    assert_eq!(client.get("/v1/nothing").await.json()["error"]["code"], "unknown_url");

    let versioned = |version: &'static str| {
        let mut request = request("POST", "/v1/messages", &body(json!({"max_tokens": 1})).to_string());
        request.headers_mut().insert("anthropic-version", HeaderValue::from_static(version));
        client.send(request)
    };
    for version in ["2023-06-01", "2026-10-21"] {
        assert_eq!(versioned(version).await.status, 200);
    }
    assert!(versioned("perhaps").await.text.contains("anthropic-version"));
    assert!(versioned("2022-01-01").await.text.contains("anthropic-version"));
}

#[tokio::test]
async fn keys_are_accepted_in_either_header() {
    let options = ServerOptions { api_keys: vec!["secret".into()], ..ServerOptions::default() };
    let client = Small { options, ..Small::default() }.client();
    let with = |header: &'static str, value: &'static str| {
        let mut request = request("POST", "/v1/messages", &body(json!({"max_tokens": 1})).to_string());
        request.headers_mut().insert(header, HeaderValue::from_static(value));
        client.send(request)
    };
    assert_eq!(with("x-api-key", "secret").await.status, 200);
    assert_eq!(with("authorization", "Bearer secret").await.status, 200);
    let refused = with("x-api-key", "other").await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["type"]), (401, &json!("authentication_error")));
}
