//! `echo` with `logprobs` in `/v1/completions`: the prompt repeated with the log-probability of each of its tokens. It is
//! how lm-evaluation-harness scores given answers (`local-completions`).

use crate::generation::TokenInfo;
use crate::logprobs::{self, TextOffset};
use crate::model::Served;
use serde_json::Value;

/// Log-probabilities of the tokens of a prompt that is repeated as `text`. The first token has none: nothing is before
/// it.
pub fn logprobs(model: &Served, prompt: &[TokenInfo], text: &str, offset: &mut TextOffset) -> Value {
    let (first, others) = prompt.split_at(prompt.len().min(1));
    // A token that the tokenizer put before the text takes no place in it.
    let bos = first.iter().find(|t| model.tokenizer.bos() == Some(t.token));
    let bos = bos.and_then(|t| model.tokenizer.id_to_token(t.token));
    let mut told = match bos.filter(|bos| !text.starts_with(bos.as_str())) {
        Some(_) => logprobs::completion(model, first, &mut TextOffset::default()),
        None => logprobs::completion(model, first, offset),
    };
    for field in ["token_logprobs", "top_logprobs"] {
        if let Some(first) = told[field].get_mut(0) {
            *first = Value::Null;
        }
    }
    join(told, logprobs::completion(model, others, offset))
}

/// The lists of two such objects, one after the other.
pub fn join(mut first: Value, second: Value) -> Value {
    let Value::Object(second) = second else { return first };
    for (field, more) in second {
        match (first[field.as_str()].as_array_mut(), more) {
            (Some(list), Value::Array(more)) => list.extend(more),
            (_, more) => first[field.as_str()] = more,
        }
    }
    first
}
