//! Reports about prompts: log-probabilities, embeddings and templates. Also fill-in-the-middle.

use crate::support::{CONTEXT, Client, Small, tokenizer};
use meno_engine::Tokenizer;
use meno_engine::tokenizer::CharacterLevel;
use serde_json::{Value, json};

async fn complete(client: &Client, fields: Value) -> Value {
    let mut body = json!({"model": "small", "prompt": "1+1=2", "temperature": 0, "max_tokens": 3});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let reply = client.post("/v1/completions", body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[tokio::test]
async fn prompts_and_answers_have_equal_scores() {
    let client = Small::default().client();
    // The log-probabilities of an answer while it is generated …
    let said = complete(&client, json!({"max_tokens": 12, "logprobs": 2})).await;
    let text = said["choices"][0]["text"].as_str().unwrap();
    let whole = format!("1+1=2{text}");
    // … and as a prompt: bit for bit equal.
    for fields in [json!({"max_tokens": 0}), json!({"max_tokens": 1}), json!({"max_tokens": 0, "n": 2})] {
        let mut body = json!({"prompt": whole, "echo": true, "logprobs": 2});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let reply = complete(&client, body).await;
        let more = fields["max_tokens"].as_u64().unwrap() as usize;
        for choice in reply["choices"].as_array().unwrap() {
            let told = &choice["logprobs"];
            let count = 5 + said["choices"][0]["logprobs"]["tokens"].as_array().unwrap().len();
            for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
                assert_eq!(told[list].as_array().unwrap().len(), count + more, "{list}");
            }
            assert_eq!((&told["token_logprobs"][0], &told["top_logprobs"][0]), (&Value::Null, &Value::Null));
            let scores = &told["token_logprobs"].as_array().unwrap()[5..count];
            assert_eq!(scores, said["choices"][0]["logprobs"]["token_logprobs"].as_array().unwrap());
            let tops = &told["top_logprobs"].as_array().unwrap()[5..count];
            assert_eq!(tops, said["choices"][0]["logprobs"]["top_logprobs"].as_array().unwrap());
            // With temperature 0 every token is the most likely one; lm-evaluation-harness checks this.
            for (score, top) in scores.iter().zip(tops) {
                assert_eq!(
                    score,
                    &numbers(&top.as_object().unwrap().values().cloned().collect())
                        .into_iter()
                        .fold(f64::MIN, f64::max)
                );
            }
            let text: String = told["tokens"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
            assert_eq!(choice["text"], text);
            let widths = told["tokens"].as_array().unwrap().iter().map(|t| t.as_str().unwrap().chars().count());
            let offsets = widths.scan(0, |at, width| Some(std::mem::replace(at, *at + width) as f64));
            assert_eq!(numbers(&told["text_offset"]), offsets.collect::<Vec<_>>());
        }
    }
}

/// lm-evaluation-harness drops the last entry, so the token that ends the answer must be included.
#[tokio::test]
async fn the_token_that_ends_the_answer_is_returned_with_the_prompt() {
    let client = Small::default().client();
    let eos = client.server.model.tokenizer.eos()[0];
    let fields = json!({"echo": true, "logprobs": 1, "max_tokens": 1, "logit_bias": {eos.to_string(): 100}});
    let reply = complete(&client, fields).await;
    let choice = &reply["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["text"]), (&json!("stop"), &json!("1+1=2")));
    assert_eq!(choice["logprobs"]["token_logprobs"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn several_prompts_and_streams_are_scored_too() {
    let client = Small::default().client();
    let one = |prompt: &str| complete(&client, json!({"prompt": prompt, "echo": true, "logprobs": 1, "max_tokens": 2}));
    let (a, b) = (one("abc").await, one("1+1=2, and so on").await);
    let ids: Vec<Vec<u32>> = ["abc", "1+1=2, and so on"]
        .iter()
        .map(|text| client.server.model.tokenizer.encode(text, false).unwrap())
        .collect();
    let both = complete(&client, json!({"prompt": ids, "echo": true, "logprobs": 1, "max_tokens": 2})).await;
    for (i, alone) in [&a, &b].into_iter().enumerate() {
        assert_eq!(both["choices"][i]["logprobs"], alone["choices"][0]["logprobs"]);
        assert_eq!(both["choices"][i]["text"], alone["choices"][0]["text"]);
    }
    let body = json!({"prompt": "abc", "echo": true, "logprobs": 1, "max_tokens": 2, "temperature": 0, "stream": true});
    let events = client.post("/v1/completions", body).await.events();
    let joined = |field: &str| -> Vec<Value> {
        events.iter().flat_map(|e| e["choices"][0]["logprobs"][field].as_array().cloned().unwrap_or_default()).collect()
    };
    for field in ["tokens", "token_logprobs", "text_offset"] {
        assert_eq!(Value::from(joined(field)), a["choices"][0]["logprobs"][field]);
    }
    let text: String = events.iter().filter_map(|e| e["choices"][0]["text"].as_str()).collect();
    assert_eq!(a["choices"][0]["text"], text);
    // Nothing is reported unless requested.
    let nothing = complete(&client, json!({"max_tokens": 0})).await;
    assert_eq!((&nothing["choices"][0]["text"], &nothing["usage"]["completion_tokens"]), (&json!(""), &json!(0)));
}

async fn embed(client: &Client, fields: Value) -> Value {
    let reply = client.post("/v1/embeddings", fields).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

#[tokio::test]
async fn embeddings_are_pooled_normalized_and_truncated() {
    let client = Small::default().client();
    let one = embed(&client, json!({"model": "small", "input": "hello"})).await;
    assert_eq!(one["usage"], json!({"prompt_tokens": 5, "total_tokens": 5}));
    let last = numbers(&one["data"][0]["embedding"]);
    let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    assert!(last.len() == 32 && (length(&last) - 1.0).abs() < 1e-6);
    let mean = numbers(&embed(&client, json!({"input": "hello", "pooling": "mean"})).await["data"][0]["embedding"]);
    assert!((length(&mean) - 1.0).abs() < 1e-6 && mean != last);
    let cut = numbers(&embed(&client, json!({"input": "hello", "dimensions": 8})).await["data"][0]["embedding"]);
    assert!(cut.len() == 8 && (length(&cut) - 1.0).abs() < 1e-6);
    assert!(cut.iter().zip(&last).all(|(a, b)| (a - b / length(&last[..8])).abs() < 1e-6));
    // More texts than run at once, also as tokens. Base64 has the same bits.
    let texts: Vec<String> = (0..40).map(|i| format!("text {}", i % 7)).chain(["hello".to_owned()]).collect();
    let ids: Vec<Vec<u32>> = texts.iter().map(|t| tokenizer().encode(t, false).unwrap()).collect();
    let many = embed(&client, json!({"input": texts})).await;
    assert_eq!(many["data"].as_array().unwrap().len(), 41);
    assert_eq!(numbers(&many["data"][40]["embedding"]), last);
    assert_eq!(many["data"][1]["embedding"], many["data"][8]["embedding"]);
    assert_ne!(many["data"][1]["embedding"], many["data"][2]["embedding"]);
    assert_eq!(embed(&client, json!({"input": ids})).await["data"], many["data"]);
    let base64 = embed(&client, json!({"input": ids[40], "encoding_format": "base64"})).await;
    assert_eq!(base64["data"][0]["embedding"].as_str().unwrap().len(), (32usize * 4).div_ceil(3) * 4);

    for (fields, param) in [
        (json!({}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": "x", "pooling": "cls"}), "pooling"),
        (json!({"input": "x", "dimensions": 33}), "dimensions"),
        (json!({"input": "x", "encoding_format": "hex"}), "encoding_format"),
        (json!({"input": "x", "normalize": false}), "normalize"),
        (json!({"input": "x".repeat(CONTEXT + 1)}), "input"),
    ] {
        let reply = client.post("/v1/embeddings", fields).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["error"]["param"]), (400, &json!(param)), "{}", reply.text);
    }
}

/// A tokenizer with the fill-in-the-middle tokens of Qwen2.5-Coder.
fn with_fim() -> Tokenizer {
    let alphabet: String = (' '..='~').collect();
    Tokenizer::character_level(&CharacterLevel {
        special: &["<pad>", "<eos>", "<unk>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>"],
        tags: &[],
        alphabet: &alphabet,
        eos: "<eos>",
        pad: Some("<pad>"),
        unk: "<unk>",
        ..Default::default()
    })
    .unwrap()
}

#[tokio::test]
async fn the_middle_is_filled_if_the_model_supports_it() {
    let client = Small { tokenizer: with_fim(), ..Small::default() }.client();
    let filled = complete(&client, json!({"prompt": "a = ", "suffix": "\nb", "max_tokens": 4})).await;
    let by_hand = "<|fim_prefix|>a = <|fim_suffix|>\nb<|fim_middle|>";
    let expected = complete(&client, json!({"prompt": by_hand, "max_tokens": 4})).await;
    assert_eq!(filled["choices"][0]["text"], expected["choices"][0]["text"]);
    assert_eq!(filled["usage"]["prompt_tokens"], expected["usage"]["prompt_tokens"]);
    let echo = complete(&client, json!({"prompt": "a = ", "suffix": "b", "max_tokens": 4, "echo": true})).await;
    assert!(echo["choices"][0]["text"].as_str().unwrap().starts_with("a = "));
    // The padding token ends the middle.
    let pad = client.server.model.tokenizer.token_to_id("<|fim_pad|>").unwrap().to_string();
    let ended = complete(&client, json!({"prompt": "a", "suffix": "b", "logit_bias": {pad.as_str(): 100}})).await;
    assert_eq!((&ended["choices"][0]["text"], &ended["choices"][0]["finish_reason"]), (&json!(""), &json!("stop")));
    assert_eq!(client.get("/props").await.json()["fill_in_the_middle"], true);

    let none = Small::default().client();
    let reply = none.post("/v1/completions", json!({"prompt": "a", "suffix": "b"})).await;
    let error = reply.json()["error"].clone();
    assert_eq!((reply.status.as_u16(), &error["param"]), (400, &json!("suffix")));
    assert!(error["message"].as_str().unwrap().contains("`small`"), "{error}");
}

#[tokio::test]
async fn server_information() {
    let client = Small::default().client();
    assert_eq!(client.get("/version").await.json()["version"], env!("CARGO_PKG_VERSION"));
    let props = client.get("/props").await.json();
    assert_eq!((&props["default_generation_settings"]["n_ctx"], &props["total_slots"]), (&json!(600), &json!(4)));
    assert_eq!(props["chat_template"], crate::support::TEMPLATE);
    assert_eq!((&props["eos_token"], &props["model_alias"]), (&json!("<eos>"), &json!("small")));
    let tokenizer = client.get("/tokenizer_info").await.json();
    assert_eq!((&tokenizer["eos_token"], &tokenizer["pad_token"]), (&json!("<eos>"), &json!("<pad>")));
    let chat = json!({"messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(client.post("/apply-template", chat).await.json()["prompt"], "u:hi;a:<think>");
    assert_eq!(client.post("/apply-template", json!({"messages": []})).await.status, 400);
}
