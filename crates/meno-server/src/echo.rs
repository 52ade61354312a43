//! `echo` with `logprobs` in `/v1/completions`: the prompt repeated with the log-probability of each of its tokens. It is
//! how lm-evaluation-harness scores given answers (`local-completions`).

use crate::generation::TokenInfo;
use crate::logprobs;
use crate::model::Served;
use serde_json::Value;

/// Log-probabilities of the tokens of a prompt that is repeated as `text`. The first token has none: nothing is before
/// it.
pub fn logprobs(model: &Served, prompt: &[TokenInfo], text: &str, offset: &mut usize) -> Value {
    let mut told = logprobs::completion(model, prompt, offset);
    for field in ["token_logprobs", "top_logprobs"] {
        if let Some(first) = told[field].get_mut(0) {
            *first = Value::Null;
        }
    }
    // A token that the tokenizer put before the text takes no place in it.
    let added = prompt.first().filter(|t| model.tokenizer.bos() == Some(t.token));
    let added = added.and_then(|t| model.tokenizer.id_to_token(t.token)).filter(|bos| !text.starts_with(bos.as_str()));
    if added.is_some() {
        let width = told["text_offset"][1].as_u64().unwrap_or(*offset as u64);
        if let Some(offsets) = told["text_offset"].as_array_mut() {
            offsets.iter_mut().skip(1).for_each(|at| *at = (at.as_u64().unwrap_or(0) - width).into());
        }
        *offset -= width as usize;
    }
    told
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
