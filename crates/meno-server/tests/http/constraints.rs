//! Thinking limits, structured output and tool calls.

use crate::support::{Client, Small, answer_of};
use serde_json::{Value, json};

fn client() -> Client {
    Small::default().client()
}

fn content(reply: &Value) -> &str {
    reply["choices"][0]["message"]["content"].as_str().unwrap()
}

fn reasoning(reply: &Value) -> &str {
    reply["choices"][0]["message"]["reasoning"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn the_answer_follows_when_the_budget_is_used_up() {
    let client = client();
    for seed in 0..6 {
        let reply = client.chat(json!({"thinking_budget": 5, "max_tokens": 100, "temperature": 1, "seed": seed})).await;
        let ended = &reply["choices"][0]["reasoning_ended_by"];
        if ended.is_null() {
            continue; // the model ended the thinking before
        }
        assert_eq!(ended, "budget");
        let (thought, sentence) =
            reasoning(&reply).split_at(reasoning(&reply).len() - "I have thought long enough; now the answer.".len());
        assert_eq!(sentence, "I have thought long enough; now the answer.");
        assert!(thought.trim_end().chars().count() <= 5, "{thought:?}");
        assert!(!content(&reply).is_empty() && !content(&reply).contains("think>"));
        let events =
            client.stream(json!({"thinking_budget": 5, "max_tokens": 100, "temperature": 1, "seed": seed})).await;
        let last = events.iter().rev().find(|e| !e["choices"][0]["finish_reason"].is_null()).unwrap();
        assert_eq!(last["choices"][0]["reasoning_ended_by"], "budget");
        return;
    }
    panic!("none of six thoughts was longer than five tokens");
}

#[tokio::test]
async fn thinking_that_repeats_itself_is_ended_and_reported() {
    let client = client();
    let x = client.server.model.tokenizer.token_to_id("x").unwrap().to_string();
    let reply = client.chat(json!({"max_tokens": 300, "logit_bias": {&x: 100}})).await;
    assert_eq!(reply["choices"][0]["reasoning_ended_by"], "loop");
    assert!(reasoning(&reply).ends_with("xxx\n\nI am repeating myself; now the answer."), "{reply}");
    assert!(content(&reply).starts_with("xxx"), "{reply}");
    let reply = client.chat(json!({"max_tokens": 300, "logit_bias": {&x: 100}, "loop_breaker": false})).await;
    assert!(reply["choices"][0].get("reasoning_ended_by").is_none() && content(&reply).is_empty(), "{reply}");
}

#[tokio::test]
async fn thinking_can_be_disabled_in_every_field() {
    for fields in [
        json!({"enable_thinking": false}),
        json!({"thinking": false}),
        json!({"thinking": {"type": "disabled"}}),
        json!({"reasoning_effort": "none"}),
        json!({"reasoning": {"effort": "none"}}),
        json!({"thinking_budget": 0}),
        json!({"chat_template_kwargs": {"enable_thinking": false}}),
    ] {
        let reply = client().chat(fields.clone()).await;
        assert_eq!(reasoning(&reply), "", "{fields}");
        assert_eq!(content(&reply).chars().count(), 40, "{fields}");
    }
}

#[tokio::test]
async fn the_answer_after_the_thinking_has_the_requested_structure() {
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["ok", "n"],
        "properties": { "ok": { "type": "boolean" }, "n": { "$ref": "#/$defs/small" } },
        "$defs": { "small": { "type": "integer", "minimum": 0, "maximum": 99 } },
    });
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": true}});
    let client = client();
    for fields in [
        json!({"response_format": format, "enable_thinking": false}),
        json!({"response_format": format, "thinking_budget": 8}),
        json!({"response_format": format, "thinking_budget": 8, "temperature": 1.5, "seed": 3}),
        json!({"structured_outputs": {"json": schema}, "thinking_budget": 8, "n": 2, "temperature": 1}),
    ] {
        let mut fields = fields;
        fields["max_tokens"] = 300.into();
        let reply = client.chat(fields.clone()).await;
        for choice in reply["choices"].as_array().unwrap() {
            let text = choice["message"]["content"].as_str().unwrap();
            let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {reply}"));
            assert!(value["ok"].is_boolean() && (0..100).contains(&value["n"].as_i64().unwrap()), "{value}");
            assert_eq!(choice["finish_reason"], "stop");
        }
        if fields["enable_thinking"] != false {
            assert_ne!(reasoning(&reply), "");
        }
    }
}

#[tokio::test]
async fn expressions_choices_and_grammars() {
    let client = client();
    let answer = async |fields: Value| {
        let mut all = json!({"enable_thinking": false, "temperature": 1, "seed": 1, "max_tokens": 200});
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let reply = client.chat(all).await;
        assert_eq!(reply["choices"][0]["finish_reason"], "stop", "{reply}");
        content(&reply).to_owned()
    };
    let date = answer(json!({"response_format": {"type": "regex", "regex": "20[0-9]{2}-[01][0-9]"}})).await;
    assert!(date.len() == 7 && date.starts_with("20") && &date[4..5] == "-", "{date}");
    let word = answer(json!({"structured_outputs": {"choice": ["ja", "nein \"\n"]}})).await;
    assert!(["ja", "nein \"\n"].contains(&word.as_str()), "{word}");
    let lark = "start: \"[\" NUMBER (\",\" NUMBER)? \"]\"\nNUMBER: /[0-9]{1,3}/";
    let list = answer(json!({"response_format": {"type": "grammar", "grammar": lark}})).await;
    assert!(list.starts_with('[') && list.ends_with(']'), "{list}");
    let object = json!({"type": "json_object"});
    let reply = client.chat(json!({"response_format": object, "enable_thinking": false, "max_tokens": 3})).await;
    assert!(content(&reply).trim_start().starts_with('{'), "{reply}");
}

fn tools() -> Value {
    json!([
        {"type": "function", "function": {"name": "weather", "parameters": {
            "type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"],
            "additionalProperties": false}}},
        {"type": "function", "function": {"name": "flip", "parameters": {
            "type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"],
            "additionalProperties": false}}},
    ])
}

#[tokio::test]
async fn required_calls_are_generated_and_parsed() {
    let client = client();
    let named = json!({"type": "function", "function": {"name": "flip"}});
    for (choice, thinking) in [(json!("required"), false), (json!("required"), true), (named, true)] {
        let fields = json!({
            "tools": tools(), "tool_choice": choice, "max_tokens": 400, "temperature": 1, "seed": 5,
            "parallel_tool_calls": false, "thinking_budget": if thinking { 6 } else { 0 },
        });
        let reply = client.chat(fields.clone()).await;
        let (message, finish) = (&reply["choices"][0]["message"], &reply["choices"][0]["finish_reason"]);
        assert_eq!(finish, "tool_calls", "{reply}");
        assert!(message["content"].is_null());
        let call = &message["tool_calls"][0];
        assert!(call["id"].as_str().unwrap().starts_with("call_") && call["type"] == "function");
        let arguments = call["function"]["arguments"].as_str().unwrap();
        let parsed: Value = serde_json::from_str(arguments).unwrap();
        match call["function"]["name"].as_str().unwrap() {
            "weather" => assert!(choice == "required" && ["Rome", "Oslo"].contains(&parsed["city"].as_str().unwrap())),
            "flip" => assert!(parsed["on"].is_boolean()),
            other => panic!("{other}"),
        }
        let events = client.stream(fields).await;
        let (mut name, mut text) = (String::new(), String::new());
        for call in
            events.iter().flat_map(|e| e["choices"][0]["delta"]["tool_calls"].as_array().cloned().unwrap_or_default())
        {
            assert_eq!(call["index"], 0);
            name += call["function"]["name"].as_str().unwrap_or_default();
            text += call["function"]["arguments"].as_str().unwrap_or_default();
        }
        assert_eq!((name.as_str(), text.as_str()), (call["function"]["name"].as_str().unwrap(), arguments));
        let (_, content, finish) = answer_of(&events, 0);
        assert_eq!((content.as_str(), finish), ("", json!("tool_calls")));
    }
}

#[tokio::test]
async fn tools_that_are_not_allowed_are_not_shown() {
    let tokens = async |choice: &str| {
        let fields = json!({"tools": tools(), "tool_choice": choice, "max_tokens": 1});
        client().chat(fields).await["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    assert!(tokens("auto").await > 200);
    assert_eq!(tokens("none").await, 11);
}
