//! A network whose embedding has more rows than the tokenizer has tokens.

use crate::support::{Small, chat_body, tokenizer};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_tokens_are_never_sampled() {
    let tokens = tokenizer().vocab_size();
    // Half of all rows have no token.
    let client = Small { padding: tokens, ..Default::default() }.client();
    let mut seen = 0;
    for seed in 0..16 {
        let all = json!({"temperature": 1.5, "seed": seed, "logprobs": true, "top_logprobs": 20, "max_tokens": 60});
        let biased = json!({"temperature": 1, "seed": seed, "logprobs": true, "top_logprobs": 5,
                            "logit_bias": {tokens.to_string(): 100}});
        for fields in [all, biased] {
            let answer = client.chat(fields).await;
            for entry in answer["choices"][0]["logprobs"]["content"].as_array().unwrap() {
                seen += 1;
                // A row without a token would have an empty text.
                assert_ne!(entry["token"], "", "{entry}");
                for top in entry["top_logprobs"].as_array().unwrap() {
                    assert_ne!(top["token"], "", "{top}");
                }
            }
        }
    }
    assert!(seen > 100, "{seen}");
    let greedy = client.post("/v1/chat/completions", chat_body(json!({"temperature": 0}))).await;
    assert_eq!(greedy.status, 200, "{}", greedy.text);
}
