use crate::support::{Client, Small, answer_of};
use serde_json::{Value, json};

fn client() -> Client {
    Small::default().client()
}

#[tokio::test]
async fn the_reply_has_openais_format() {
    let reply = client().chat(json!({})).await;
    assert!(reply["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!((&reply["object"], &reply["model"]), (&json!("chat.completion"), &json!("small")));
    let choice = &reply["choices"][0];
    assert_eq!((&choice["index"], &choice["message"]["role"]), (&json!(0), &json!("assistant")));
    assert!(choice["message"]["content"].is_string() && choice["logprobs"].is_null());
    assert_eq!(choice["message"]["reasoning_content"], choice["message"]["reasoning"]);
    let usage = &reply["usage"];
    // The template renders "u:2+2=?;a:<think>": eleven characters and a tag.
    assert_eq!(usage["prompt_tokens"], 11);
    assert_eq!(usage["completion_tokens"], 40);
    assert_eq!(usage["total_tokens"], 51);
    assert_eq!(choice["finish_reason"], "length");
    assert!(usage["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap() <= 40);
}

#[tokio::test]
async fn streamed_and_whole_answers_are_equal() {
    let client = client();
    for fields in [
        json!({}),
        json!({"temperature": 1, "seed": 7}),
        json!({"temperature": 1, "seed": 8, "thinking_budget": 9}),
        json!({"enable_thinking": false, "temperature": 1, "seed": 9}),
        json!({"temperature": 1.5, "seed": 10, "n": 3}),
    ] {
        let whole = client.chat(fields.clone()).await;
        let events = client.stream(fields.clone()).await;
        for (i, choice) in whole["choices"].as_array().unwrap().iter().enumerate() {
            let (reasoning, content, finish) = answer_of(&events, i);
            let message = &choice["message"];
            assert_eq!(message["content"].as_str().unwrap(), content, "{fields}");
            assert_eq!(message["reasoning"].as_str().unwrap_or_default(), reasoning, "{fields}");
            assert_eq!(choice["finish_reason"], finish);
        }
    }
}

#[tokio::test]
async fn the_usage_comes_last_if_requested() {
    let events = client().stream(json!({"stream_options": {"include_usage": true}})).await;
    let (last, others) = events.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 40);
    assert!(others.iter().all(|e| e["usage"].is_null() && e["choices"].as_array().unwrap().len() == 1));
    assert_eq!(others[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert!(client().stream(json!({})).await.iter().all(|e| e.get("usage").is_none()));
}

#[tokio::test]
async fn seeds_are_honoured() {
    let client = client();
    let text = async |seed: i64| {
        let reply = client.chat(json!({"seed": seed, "temperature": 1})).await;
        reply["choices"][0]["message"].clone()
    };
    assert_eq!(text(1).await, text(1).await);
    assert_ne!(text(1).await, text(2).await);
}

#[tokio::test]
async fn log_probabilities_match_the_text() {
    let fields = json!({"enable_thinking": false, "logprobs": true, "top_logprobs": 3, "max_tokens": 6});
    let reply = client().chat(fields.clone()).await;
    let choice = &reply["choices"][0];
    let content = choice["logprobs"]["content"].as_array().unwrap();
    let text: String = content.iter().map(|t| t["token"].as_str().unwrap()).collect();
    assert_eq!(text, choice["message"]["content"].as_str().unwrap());
    for token in content {
        // With temperature 0 the chosen token is the first alternative.
        assert_eq!(token["token"], token["top_logprobs"][0]["token"]);
        assert_eq!(token["logprob"], token["top_logprobs"][0]["logprob"]);
        assert_eq!(token["top_logprobs"].as_array().unwrap().len(), 3);
        assert!(token["logprob"].as_f64().unwrap() < 0.0);
        assert_eq!(token["bytes"].as_array().unwrap().len(), token["token"].as_str().unwrap().len());
    }
    let events = client().stream(fields).await;
    let streamed: Vec<Value> = events
        .iter()
        .flat_map(|e| e["choices"][0]["logprobs"]["content"].as_array().cloned().unwrap_or_default())
        .collect();
    assert_eq!(&streamed, content);
}

#[tokio::test]
async fn biases_stops_and_penalties_work() {
    let client = client();
    let x = client.server.model.tokenizer.token_to_id("x").unwrap().to_string();
    let y = client.server.model.tokenizer.token_to_id("y").unwrap().to_string();
    let content = async |fields: Value| {
        let mut all = json!({"enable_thinking": false, "max_tokens": 8});
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let reply = client.chat(all).await;
        let choice = reply["choices"][0].clone();
        (
            choice["message"]["content"].as_str().unwrap().to_owned(),
            choice["finish_reason"].as_str().unwrap().to_owned(),
        )
    };
    let length = |text: &str| (text.to_owned(), "length".to_owned());
    assert_eq!(content(json!({"logit_bias": {&x: 100}})).await, length("xxxxxxxx"));
    // x has a bias of 100, y of 98, and each occurrence costs 2: after a first x both occur about equally often.
    let fields = json!({"logit_bias": {&x: 100, &y: 98}, "frequency_penalty": 2, "max_tokens": 60});
    let (text, _) = content(fields).await;
    let count = |c: char| text.chars().filter(|&d| d == c).count();
    assert!(count('x') + count('y') == 60 && count('x').abs_diff(count('y')) < 20, "{text}");
    let (text, finish) = content(json!({"logit_bias": {&x: 100}, "stop": "xxx"})).await;
    assert_eq!((text.as_str(), finish.as_str()), ("", "stop"));
    let (text, finish) = content(json!({"logit_bias": {&x: 100}, "stop": ["yy", "xy"]})).await;
    assert_eq!((text.as_str(), finish.as_str()), ("xxxxxxxx", "length"));
}

#[tokio::test]
async fn a_second_turn_costs_only_its_new_tokens() {
    let client = client();
    let text = "a long beginning ".repeat(12);
    let first = json!({"messages": [{"role": "user", "content": text}], "max_tokens": 2});
    assert_eq!(client.chat(first.clone()).await["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    let again = client.chat(first).await;
    assert!(again["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap() > 150, "{again}");
}

#[tokio::test]
async fn history_may_contain_thinking_calls_and_results() {
    let messages = json!([
        {"role": "developer", "content": [{"type": "text", "text": "be"}, {"type": "text", "text": "brief"}]},
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
            {"id": "call_1", "type": "function",
             "function": {"name": "weather", "arguments": "{\"city\": \"Rome\"}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        {"role": "assistant", "reasoning": "so", "content": "It is sunny."},
        {"role": "user", "content": "thanks"},
    ]);
    let reply = client().post("/tokenize", json!({"messages": messages, "return_token_strs": true})).await.json();
    let text: String = reply["token_strs"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    let expected = "s:be\nbrief;u:weather?;a:<tool_call>{\"city\": \"Rome\"}</tool_call>;t:sunny;a:It is sunny.;\
                    u:thanks;a:<think>";
    assert_eq!(text, expected);
}
