use crate::support::{Client, Small};
use serde_json::{Value, json};

fn client() -> Client {
    Small::default().client()
}

#[tokio::test]
async fn the_model_is_listed() {
    let list = client().get("/v1/models").await.json();
    assert_eq!(list["data"][0]["id"], "small");
    assert_eq!(list["data"][0]["max_model_len"], 600);
    assert_eq!(client().get("/v1/models/small").await.json(), list["data"][0]);
    assert_eq!(client().get("/health").await.json(), json!({"status": "ok", "model": "small"}));
}

#[tokio::test]
async fn tokenize_and_detokenize() {
    let client = client();
    let reply = client.post("/tokenize", json!({"prompt": "a<think>b"})).await.json();
    assert_eq!((&reply["count"], &reply["max_model_len"]), (&json!(3), &json!(600)));
    let back = client.post("/detokenize", json!({"tokens": reply["tokens"]})).await.json();
    assert_eq!(back["prompt"], "a<think>b");
    assert_eq!(client.post("/tokenize", json!({"content": "ab"})).await.json()["count"], 2);
    assert_eq!(client.post("/tokenize", json!({})).await.status, 400);
}

#[tokio::test]
async fn completions_continue_a_text() {
    let client = client();
    let post = async |fields: Value| {
        let mut body = json!({"model": "small", "prompt": "1+1=", "temperature": 0, "max_tokens": 5});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let reply = client.post("/v1/completions", body).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply
    };
    let reply = post(json!({})).await.json();
    assert_eq!((&reply["object"], &reply["usage"]["prompt_tokens"]), (&json!("text_completion"), &json!(4)));
    let text = reply["choices"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!((text.chars().count(), &reply["choices"][0]["finish_reason"]), (5, &json!("length")));

    let events = post(json!({"stream": true, "stream_options": {"include_usage": true}})).await.events();
    let (last, events) = events.split_last().unwrap();
    assert_eq!(last["usage"]["completion_tokens"], 5);
    let streamed: String = events.iter().map(|e| e["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(streamed, text);

    let echo = post(json!({"echo": true})).await.json();
    assert_eq!(echo["choices"][0]["text"].as_str().unwrap(), format!("1+1={text}"));

    let tokens: Vec<u32> = client.server.model.tokenizer.encode("1+1=", false).unwrap();
    let both = post(json!({"prompt": [tokens, tokens]})).await.json();
    assert_eq!(both["choices"].as_array().unwrap().len(), 2);
    assert!(both["choices"].as_array().unwrap().iter().all(|c| c["text"] == text.as_str()));
    let texts = post(json!({"prompt": ["1+1=", "x"], "n": 2})).await.json();
    assert_eq!(texts["choices"].as_array().unwrap().len(), 4);
    assert_eq!(texts["choices"][1]["text"], text.as_str());

    let with = post(json!({"logprobs": 2})).await.json();
    let logprobs = &with["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"].as_array().unwrap().len(), 5);
    assert_eq!(logprobs["text_offset"], json!([0, 1, 2, 3, 4]));
    assert_eq!(logprobs["top_logprobs"][0].as_object().unwrap().len(), 2);
    let said: String = logprobs["tokens"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    assert_eq!(said, text);

    for (fields, param) in [
        (json!({"prompt": null}), "prompt"),
        (json!({"prompt": [[999_999]]}), "prompt"),
        (json!({"prompt": "x", "suffix": "y"}), "suffix"),
        (json!({"prompt": "x", "best_of": 3}), "best_of"),
        (json!({"prompt": vec!["x"; 200]}), "n"),
    ] {
        let reply = client.post("/v1/completions", fields).await;
        assert_eq!(reply.status, 400, "{}", reply.text);
        assert_eq!(reply.json()["error"]["param"], param);
    }
}

#[tokio::test]
async fn responses_contain_reasoning_text_and_calls() {
    let client = client();
    let body = |stream: bool| {
        json!({"model": "small", "input": "2+2=?", "temperature": 0, "max_output_tokens": 400,
               "reasoning": {"max_tokens": 6}, "stream": stream})
    };
    let reply = client.post("/v1/responses", body(false)).await.json();
    assert_eq!(reply["object"], "response");
    let status = reply["status"].as_str().unwrap();
    assert_eq!(status == "incomplete", reply["usage"]["output_tokens"] == 400, "{reply}");
    let kinds: Vec<&str> = reply["output"].as_array().unwrap().iter().map(|i| i["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["reasoning", "message"]);
    let text = reply["output"][1]["content"][0]["text"].as_str().unwrap();
    let reasoning = reply["output"][0]["content"][0]["text"].as_str().unwrap();
    assert!(!text.is_empty() && !reasoning.is_empty());

    let streamed = client.post("/v1/responses", body(true)).await;
    let events = streamed.events();
    let numbers: Vec<u64> = events.iter().map(|e| e["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    let mut kinds: Vec<&str> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.reasoning_text.delta",
            "response.reasoning_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            &format!("response.{status}"),
        ]
    );
    let told = |kind: &str| -> String {
        events.iter().filter(|e| e["type"] == kind).map(|e| e["delta"].as_str().unwrap()).collect()
    };
    assert_eq!(
        (told("response.output_text.delta").as_str(), told("response.reasoning_text.delta").as_str()),
        (text, reasoning)
    );
    assert_eq!(events.last().unwrap()["response"]["output"][1]["content"][0]["text"], text);

    let call = json!({
        "model": "small", "input": [{"role": "user", "content": [{"type": "input_text", "text": "flip"}]}],
        "tools": [{"type": "function", "name": "flip", "parameters": {"type": "object", "properties":
            {"on": {"type": "boolean"}}, "required": ["on"], "additionalProperties": false}}],
        "tool_choice": "required", "parallel_tool_calls": false, "reasoning": {"effort": "none"}, "temperature": 0,
    });
    let reply = client.post("/v1/responses", call).await.json();
    assert_eq!(
        (&reply["status"], &reply["output"][0]["type"]),
        (&json!("completed"), &json!("function_call")),
        "{reply}"
    );
    let arguments: Value = serde_json::from_str(reply["output"][0]["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["on"].is_boolean());

    let next = json!({"input": [
        {"role": "user", "content": "flip"},
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}], "summary": []},
        {"type": "function_call", "call_id": "c1", "name": "flip", "arguments": "{\"on\": true}"},
        {"type": "function_call_output", "call_id": "c1", "output": "done"}], "max_output_tokens": 3});
    assert_eq!(client.post("/v1/responses", next).await.status, 200);
    let stored = json!({"input": "x", "previous_response_id": "resp_1"});
    assert_eq!(client.post("/v1/responses", stored).await.json()["error"]["param"], "previous_response_id");
}

#[tokio::test]
async fn metrics_count_requests_and_tokens() {
    let client = client();
    client.chat(json!({"max_tokens": 7})).await;
    client.stream(json!({"max_tokens": 5})).await;
    let text = client.get("/metrics").await.text;
    let value = |name: &str| -> f64 {
        let line =
            text.lines().find(|l| l.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}: {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("meno_generated_tokens_total"), 12.0);
    assert_eq!(value("meno_prompt_tokens_total"), 22.0);
    assert_eq!(value("meno_requests_total{outcome=\"length\"}"), 2.0);
    assert_eq!(value("meno_time_to_first_token_seconds_count"), 2.0);
    assert_eq!(value("meno_time_between_tokens_seconds_count"), 10.0);
    assert!(value("meno_kv_cache_usage_ratio") > 0.0);
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        assert!(line.rsplit_once(' ').unwrap().1.parse::<f64>().is_ok(), "{line}");
    }
}
