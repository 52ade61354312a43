//! Log-probabilities in OpenAI's two forms.

use crate::generation::TokenInfo;
use crate::model::Served;
use serde_json::{Map, Value, json};

/// JSON has no −∞; OpenAI writes this.
fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { -9999.0 }
}

fn text(model: &Served, token: u32) -> String {
    let bytes = model.token_bytes().get(token as usize).map(|t| t.bytes.as_slice()).unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

fn entry(model: &Served, token: u32, logprob: f32) -> Value {
    let bytes = model.token_bytes().get(token as usize).map(|t| t.bytes.as_slice()).unwrap_or_default();
    json!({ "token": text(model, token), "logprob": finite(logprob), "bytes": bytes })
}

/// Of a chat: tokens of the text in `content`, those of the thought beside it.
pub fn chat(model: &Served, tokens: &[TokenInfo]) -> Value {
    let list = |thought: bool| -> Vec<Value> {
        let of = tokens.iter().filter(|t| t.thought == thought);
        of.map(|t| {
            let mut entry = entry(model, t.token, t.logprob);
            let top = t.top.iter().map(|&(token, logprob)| self::entry(model, token, logprob));
            entry["top_logprobs"] = top.collect();
            entry
        })
        .collect()
    };
    json!({ "content": list(false), "reasoning_content": list(true), "refusal": null })
}

/// Of a completion, whose text so far has `offset` characters.
pub fn completion(model: &Served, tokens: &[TokenInfo], offset: &mut usize) -> Value {
    let mut offsets = Vec::new();
    for t in tokens {
        offsets.push(*offset);
        *offset += text(model, t.token).chars().count();
    }
    let top: Vec<Value> = (tokens.iter())
        .map(|t| {
            let all = t.top.iter().map(|&(token, logprob)| (text(model, token), json!(finite(logprob))));
            Value::Object(Map::from_iter(all))
        })
        .collect();
    json!({
        "tokens": tokens.iter().map(|t| text(model, t.token)).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|t| finite(t.logprob)).collect::<Vec<_>>(),
        "top_logprobs": top,
        "text_offset": offsets,
    })
}
