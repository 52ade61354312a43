//! Fields of other servers: supported, ignored, or rejected by name if they would change the answer.

use crate::support::{CONTEXT, Client, Reply, Small, answer_of, chat_body};
use serde_json::{Value, json};

fn client() -> Client {
    Small::default().client()
}

fn id(client: &Client, token: &str) -> u32 {
    client.server.model.tokenizer.token_to_id(token).unwrap()
}

fn content(reply: &Value) -> &str {
    reply["choices"][0]["message"]["content"].as_str().unwrap_or_default()
}

/// Adds to `fields` that thinking is off.
fn plain(fields: Value) -> Value {
    let mut all = json!({"enable_thinking": false, "temperature": 1, "seed": 1, "max_tokens": 200});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    all
}

#[track_caller]
fn check_rejected(reply: &Reply, param: &str, code: &str, words: &str) {
    assert_eq!(reply.status, 400, "{}", reply.text);
    let error = &reply.json()["error"];
    assert_eq!((&error["param"], &error["code"]), (&json!(param), &json!(code)), "{error}");
    assert!(error["message"].as_str().unwrap().contains(words), "{error}: expected {words:?}");
}

#[tokio::test]
async fn structures_in_the_fields_of_every_server() {
    let client = client();
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer", "maximum": 9, "minimum": 0}},
                        "required": ["n"], "additionalProperties": false, "$comment": "x"});
    for fields in [
        json!({"guided_json": schema}),
        json!({"json_schema": schema.to_string()}),
        json!({"format": schema}),
        json!({"response_format": {"type": "json_object", "schema": schema}}),
        json!({"structured_outputs": {"json": schema}}),
    ] {
        let reply = client.chat(plain(fields.clone())).await;
        let value: Value = serde_json::from_str(content(&reply)).unwrap_or_else(|e| panic!("{fields}: {e}: {reply}"));
        assert!((0..10).contains(&value["n"].as_i64().unwrap()), "{value}");
    }
    for fields in [
        json!({"guided_choice": ["7", "8"]}),
        json!({"guided_regex": "[78]"}),
        json!({"regex": "[78]"}),
        json!({"grammar": "root ::= digit # of llama.cpp\ndigit ::= [7-8]"}),
        json!({"guided_grammar": "start: \"7\" | \"8\""}),
        json!({"ebnf": "root ::= \"7\" | \"8\""}),
    ] {
        let reply = client.chat(plain(fields.clone())).await;
        assert!(["7", "8"].contains(&content(&reply)), "{fields}: {reply}");
        let mut body = fields.clone();
        body["prompt"] = "x".into();
        let reply = client.post("/v1/completions", body).await.json();
        assert!(["7", "8"].contains(&reply["choices"][0]["text"].as_str().unwrap()), "{fields}: {reply}");
    }
}

#[tokio::test]
async fn limits_and_stop_fields_of_other_servers() {
    let client = client();
    let (eos, x) = (id(&client, "<eos>"), id(&client, "x"));
    let always = |token: u32| json!({ token.to_string(): 100 });
    let chat = async |fields: Value| client.chat(plain(fields)).await;
    let finish = |reply: &Value| reply["choices"][0]["finish_reason"].as_str().unwrap().to_owned();
    let tokens = |reply: &Value| reply["usage"]["completion_tokens"].as_u64().unwrap() as usize;

    let reply = chat(json!({"logit_bias": always(x), "max_tokens": -1})).await;
    let all = CONTEXT - reply["usage"]["prompt_tokens"].as_u64().unwrap() as usize;
    assert_eq!((finish(&reply), tokens(&reply)), ("length".into(), all));
    let reply = chat(json!({"logit_bias": always(x), "max_tokens": null, "n_predict": 5})).await;
    assert_eq!((finish(&reply).as_str(), content(&reply)), ("length", "xxxxx"));

    let reply = chat(json!({"logit_bias": always(eos)})).await;
    assert_eq!((finish(&reply).as_str(), content(&reply)), ("stop", ""));
    let reply = chat(json!({"logit_bias": always(eos), "min_tokens": 10})).await;
    assert_eq!((finish(&reply).as_str(), tokens(&reply)), ("stop", 11));
    let reply = chat(json!({"logit_bias": always(x), "stop": "x", "min_tokens": 4})).await;
    assert_eq!((finish(&reply).as_str(), content(&reply)), ("stop", "xxx"));
    let reply = chat(json!({"logit_bias": always(eos), "ignore_eos": true, "max_tokens": 12})).await;
    assert_eq!((finish(&reply).as_str(), content(&reply), tokens(&reply)), ("length", "", 12));
    let reply = chat(json!({"logit_bias": always(x), "stop_token_ids": [x]})).await;
    assert_eq!((finish(&reply).as_str(), content(&reply)), ("stop", ""));
    let reply = client
        .post(
            "/v1/completions",
            json!({"prompt": "a", "max_tokens": 6, "min_tokens": 6, "ignore_eos": true,
        "logit_bias": always(eos)}),
        )
        .await;
    assert_eq!(reply.json()["choices"][0]["finish_reason"], "length");

    for (fields, param) in [
        (json!({"min_tokens": 9, "max_tokens": 8}), "min_tokens"),
        (json!({"stop_token_ids": [1_000_000]}), "stop_token_ids"),
        (json!({"max_tokens": -5}), "max_tokens"),
        (json!({"think": "much"}), "think"),
        (json!({"reasoning_format": "xml"}), "reasoning_format"),
        (json!({"thinking_token_budget": "x"}), "thinking_token_budget"),
        (json!({"guided_regex": "a", "guided_choice": ["b"]}), "guided_choice"),
    ] {
        let reply = client.post("/v1/chat/completions", chat_body(fields)).await;
        check_rejected(&reply, param, "invalid_value", "");
    }
}

#[tokio::test]
async fn unsupported_fields_are_rejected_and_harmless_ones_ignored() {
    let client = client();
    for (path, fields, param) in [
        ("/v1/chat/completions", json!({"mirostat": 2}), "mirostat"),
        ("/v1/chat/completions", json!({"use_beam_search": true}), "use_beam_search"),
        ("/v1/chat/completions", json!({"chat_template": "{{ x }}"}), "chat_template"),
        ("/v1/chat/completions", json!({"prompt_logprobs": 1}), "prompt_logprobs"),
        ("/v1/chat/completions", json!({"modalities": ["text", "audio"]}), "modalities"),
        ("/v1/chat/completions", json!({"documents": [{"text": "x"}]}), "documents"),
        ("/v1/completions", json!({"prompt": "x", "allowed_token_ids": [1]}), "allowed_token_ids"),
        ("/v1/responses", json!({"input": "x", "truncation": "auto"}), "truncation"),
    ] {
        let body = if path == "/v1/chat/completions" { chat_body(fields) } else { fields };
        check_rejected(&client.post(path, body).await, param, "unsupported_value", param);
    }
    let misspelt = client.post("/v1/chat/completions", chat_body(json!({"max_token": 5}))).await;
    check_rejected(&misspelt, "max_token", "unknown_parameter", "did you mean \"max_tokens\"");
    let taken = json!({"user": "u", "store": true, "mirostat": 0, "modalities": ["text"], "typical_p": 1.0,
                       "cache_prompt": true, "keep_alive": "5m", "my_app": {"x": 1}, "bad_words": [], "top_k": -1});
    client.chat(taken).await;
    let reply = client
        .post(
            "/v1/responses",
            json!({"input": "x", "max_output_tokens": 4, "store": true,
        "truncation": "disabled", "include": ["reasoning.encrypted_content"], "top_k": 3}),
        )
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text);
}

#[tokio::test]
async fn the_thinking_is_shown_where_requested() {
    let client = client();
    let x = id(&client, "x").to_string();
    let ask = |fields: Value| {
        let mut all = json!({"thinking_token_budget": 5, "max_tokens": 120, "logit_bias": {&x: 100}});
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        all
    };
    let message = async |fields: Value| {
        let reply = client.chat(ask(fields.clone())).await;
        let events = client.stream(ask(fields)).await;
        let (reasoning, content, _) = answer_of(&events, 0);
        let message = reply["choices"][0]["message"].clone();
        assert_eq!(message["content"].as_str().unwrap_or_default(), content);
        assert_eq!(message["reasoning_content"].as_str().unwrap_or_default(), reasoning);
        (reasoning, content)
    };
    let (thought, answer) = message(json!({})).await;
    assert!(thought.starts_with("xxxxx") && answer.starts_with("xxx"), "{thought:?} {answer:?}");
    for off in [
        json!({"include_reasoning": false}),
        json!({"reasoning_format": "hidden"}),
        json!({"reasoning": {"exclude": true}}),
    ] {
        assert_eq!(message(off).await, (String::new(), answer.clone()));
    }
    let within = format!("<think>\n{thought}\n</think>\n\n{answer}");
    for raw in [json!({"reasoning_format": "none"}), json!({"separate_reasoning": false})] {
        assert_eq!(message(raw).await, (String::new(), within.clone()));
    }
    assert_eq!(message(json!({"reasoning_format": "deepseek-legacy"})).await, (thought, within));
    let reply = client.chat(json!({"think": false, "max_tokens": 5})).await;
    assert!(reply["choices"][0]["message"].get("reasoning").is_none());
}

#[tokio::test]
async fn the_answer_continues_the_last_message() {
    let client = client();
    let messages = json!([{"role": "user", "content": "2+2=?"}, {"role": "assistant", "content": "ab "}]);
    let mut prefixed = messages.clone();
    prefixed[1]["prefix"] = true.into();
    let prompt = async |fields: Value| {
        let mut all = json!({"max_tokens": 1});
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        client.chat(all).await["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    let expected = "u:2+2=?;a:ab ".len() as u64;
    assert_eq!(prompt(json!({"messages": messages, "continue_final_message": true})).await, expected);
    assert_eq!(prompt(json!({"messages": prefixed})).await, expected);
    assert_eq!(prompt(json!({"messages": messages, "continue_final_message": true, "think": false})).await, expected);
    let kwargs = json!({"continue_final_message": true, "add_generation_prompt": false});
    assert_eq!(prompt(json!({"messages": messages, "chat_template_kwargs": kwargs})).await, expected);
    assert_eq!(prompt(json!({"add_generation_prompt": false})).await, "u:2+2=?;".len() as u64);
    let both = json!({"messages": messages, "continue_final_message": true, "add_generation_prompt": true});
    let reply = client.post("/v1/chat/completions", chat_body(both)).await;
    check_rejected(&reply, "continue_final_message", "invalid_value", "cannot both");
}

#[tokio::test]
async fn prompts_of_any_length_are_counted() {
    let client = client();
    let messages = json!([{"role": "user", "content": "x".repeat(2 * CONTEXT)}]);
    let reply = client.post("/tokenize", json!({"messages": messages})).await.json();
    assert_eq!(reply["count"], 2 * CONTEXT + "u:;a:".len() + 1, "{reply}");
    assert_eq!(client.post("/tokenize", json!({"prompt": "x".repeat(5000)})).await.json()["count"], 5000);
}

fn tools() -> Value {
    let flip = json!({"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"],
                      "additionalProperties": false});
    json!([
        {"type": "function", "function": {"name": "flip", "parameters": flip}},
        {"type": "function", "function": {"name": "bad", "parameters": {"properties": {"a": {"type": "strange"}}}}},
        {"type": "function", "function": {"name": "odd", "parameters": {"properties": {"a": {"pattern": "(?=x)"}}}}},
    ])
}

#[tokio::test]
async fn one_bad_tool_does_not_break_the_others() {
    let client = client();
    let fields = json!({"tools": tools(), "tool_choice": "required", "max_tokens": 400, "parallel_tool_calls": false});
    for seed in 0..3 {
        let mut fields = plain(fields.clone());
        fields["seed"] = seed.into();
        let reply = client.post("/v1/chat/completions", chat_body(fields)).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    let named = |name: &str| json!({"type": "function", "function": {"name": name}});
    let mut fields = plain(fields);
    fields["tool_choice"] = named("bad");
    let reply = client.post("/v1/chat/completions", chat_body(fields.clone())).await;
    check_rejected(
        &reply,
        "tools[1].function.parameters",
        "invalid_value",
        "at #/properties/a/type: \"strange\" is not a type",
    );
    fields["tool_choice"] = named("odd");
    let reply = client.post("/v1/chat/completions", chat_body(fields.clone())).await;
    check_rejected(&reply, "tools[2].function.parameters", "invalid_value", "at #/properties/a/pattern: ");
    fields["tool_choice"] = "required".into();
    fields["tools"][1]["function"]["strict"] = true.into();
    let reply = client.post("/v1/chat/completions", chat_body(fields)).await;
    check_rejected(&reply, "tools[1].function.parameters", "invalid_value", "strange");
}

#[tokio::test]
async fn only_allowed_tools_are_called() {
    let client = client();
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required",
        "tools": [{"type": "function", "function": {"name": "flip"}}]}});
    for seed in 0..4 {
        let fields = json!({"tools": tools(), "tool_choice": allowed, "max_tokens": 400, "seed": seed});
        let reply = client.chat(plain(fields)).await;
        for call in reply["choices"][0]["message"]["tool_calls"].as_array().unwrap() {
            assert_eq!(call["function"]["name"], "flip", "{reply}");
        }
    }
}

#[tokio::test]
async fn calls_of_custom_tools_contain_text() {
    let client = client();
    let choice = json!({"type": "custom", "custom": {"name": "say"}});
    let say = json!({"type": "custom", "custom": {"name": "say", "format": {"type": "grammar", "grammar":
        {"syntax": "regex", "definition": "[ab]{2}\"?"}}}});
    let fields = plain(json!({"tools": [say], "tool_choice": choice}));
    let reply = client.chat(fields.clone()).await;
    let call = &reply["choices"][0]["message"]["tool_calls"][0];
    assert_eq!((&call["type"], &call["custom"]["name"]), (&json!("custom"), &json!("say")), "{reply}");
    let input = call["custom"]["input"].as_str().unwrap();
    let right = |text: &str| {
        let letters = text.strip_suffix('"').unwrap_or(text);
        letters.len() == 2 && letters.chars().all(|c| "ab".contains(c))
    };
    assert!(right(input), "{reply}");
    let (mut name, mut text) = (String::new(), String::new());
    for event in client.stream(fields).await {
        for call in event["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
            assert!(call.get("function").is_none(), "{call}");
            name += call["custom"]["name"].as_str().unwrap_or_default();
            text += call["custom"]["input"].as_str().unwrap_or_default();
        }
    }
    assert_eq!((name.as_str(), text.as_str()), ("say", input));

    let tool = json!({"type": "custom", "name": "say",
                      "format": {"type": "grammar", "syntax": "regex", "definition": "[ab]{2}"}});
    let history = json!([{"role": "user", "content": "x"},
        {"type": "custom_tool_call", "call_id": "c1", "name": "say", "input": "ab"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "said"}]);
    let mut body = json!({"input": history, "tools": [tool], "tool_choice": "required", "parallel_tool_calls": false,
                          "enable_thinking": false, "temperature": 1, "seed": 1});
    let reply = client.post("/v1/responses", body.clone()).await.json();
    let item = &reply["output"][0];
    assert_eq!((&item["type"], &item["name"]), (&json!("custom_tool_call"), &json!("say")), "{reply}");
    assert!(right(item["input"].as_str().unwrap()), "{reply}");
    body["stream"] = true.into();
    let events = client.post("/v1/responses", body).await.events();
    let done = events.iter().find(|e| e["type"] == "response.custom_tool_call_input.done").unwrap();
    assert_eq!(done["input"], item["input"]);
}

#[tokio::test]
async fn the_last_item_of_a_truncated_response_is_incomplete() {
    let client = client();
    let x = id(&client, "x").to_string();
    let mut body = json!({"input": "x", "max_output_tokens": 30, "logit_bias": {x: 100}, "enable_thinking": false});
    let reply = client.post("/v1/responses", body.clone()).await.json();
    assert_eq!(
        (&reply["status"], &reply["output"][0]["status"]),
        (&json!("incomplete"), &json!("incomplete")),
        "{reply}"
    );
    body["stream"] = true.into();
    let events = client.post("/v1/responses", body.clone()).await.events();
    let item = events.iter().find(|e| e["type"] == "response.output_item.done").unwrap();
    assert_eq!(item["item"]["status"], "incomplete");
    assert_eq!(events.last().unwrap()["response"]["output"][0]["status"], "incomplete");
    body["stream"] = false.into();
    body["enable_thinking"] = true.into();
    let reply = client.post("/v1/responses", body).await.json();
    let item = &reply["output"][0];
    assert_eq!((&item["type"], &item["status"]), (&json!("reasoning"), &json!("incomplete")), "{reply}");
}

#[tokio::test]
async fn white_space_between_tokens_is_bounded() {
    let client = client();
    let schema = json!({"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"],
                        "additionalProperties": false});
    let bias = json!({ id(&client, " ").to_string(): 100, id(&client, "\n").to_string(): 100 });
    let reply = client.chat(plain(json!({"guided_json": schema, "logit_bias": bias, "max_tokens": 300}))).await;
    assert_eq!(reply["choices"][0]["finish_reason"], "stop", "{reply}");
    let longest = content(&reply).split(|c: char| !c.is_whitespace()).map(str::len).max().unwrap();
    assert!((1..=16).contains(&longest), "{longest}: {reply}");
}

#[tokio::test]
async fn one_of_and_annotations_in_schemas() {
    let client = client();
    let schema = json!({"oneOf": [{"type": "integer", "minimum": 1, "maximum": 5},
                                  {"type": "integer", "minimum": 4, "maximum": 9}]});
    let reply = client.chat(plain(json!({"guided_json": schema}))).await;
    assert!((1..10).contains(&content(&reply).trim().parse::<i64>().unwrap()), "{reply}");
    let named = json!({"type": "object", "propertyNames": {"pattern": "^[xy]$"}, "minProperties": 1, "maxProperties": 1,
                       "additionalProperties": {"type": "null"}, "deprecated": true});
    let reply = client.chat(plain(json!({"guided_json": named}))).await;
    let value: Value = serde_json::from_str(content(&reply)).unwrap_or_else(|e| panic!("{e}: {reply}"));
    assert!(value.get("x").or(value.get("y")).is_some_and(Value::is_null), "{value}");
    let format =
        json!({"type": "json_schema", "json_schema": {"schema": {"items": {"pattern": "(?=x)", "type": "string"}}}});
    let reply = client.post("/v1/chat/completions", chat_body(json!({"response_format": format}))).await;
    check_rejected(&reply, "response_format", "invalid_value", "at #/items/pattern: ");
}
