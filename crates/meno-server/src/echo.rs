//! `echo` with `logprobs` in `/v1/completions`: repeats the prompt with the log-probabilities of its tokens.
//! lm-evaluation-harness uses this to score given answers (`local-completions`).

use crate::logprobs::{self, TextOffset};
use crate::model::ServedModel;
use crate::update::TokenInfo;
use serde_json::Value;

/// Returns the log-probabilities of the tokens of a prompt that is repeated as `text`. The first token has none,
/// because nothing precedes it.
pub(crate) fn logprobs(model: &ServedModel, prompt: &[TokenInfo], text: &str, offset: &mut TextOffset) -> Value {
    let (first, others) = prompt.split_at(prompt.len().min(1));
    // The beginning-of-sequence token that the tokenizer added is not part of the text.
    let bos = first.iter().find(|t| model.tokenizer.bos() == Some(t.token));
    let bos = bos.and_then(|t| model.tokenizer.id_to_token(t.token));
    let mut result = match bos.filter(|bos| !text.starts_with(bos.as_str())) {
        Some(_) => logprobs::completion(model, first, &mut TextOffset::default()),
        None => logprobs::completion(model, first, offset),
    };
    for field in ["token_logprobs", "top_logprobs"] {
        if let Some(first) = result[field].get_mut(0) {
            *first = Value::Null;
        }
    }
    join(result, logprobs::completion(model, others, offset))
}

/// Concatenates the lists in two such objects.
pub(crate) fn join(mut first: Value, second: Value) -> Value {
    let Value::Object(second) = second else { return first };
    for (field, more) in second {
        match (first[field.as_str()].as_array_mut(), more) {
            (Some(list), Value::Array(more)) => list.extend(more),
            (_, more) => first[field.as_str()] = more,
        }
    }
    first
}
