//! `POST /v1/embeddings`: the hidden states of a text after the last norm, as one vector of length 1.

mod run;

use crate::app::Server;
use crate::body::{self, Posted};
use crate::clients::Work;
use crate::completions::Prompts;
use crate::error::{ApiError, shown};
use crate::fields::read_value;
use crate::model::Served;
use axum::extract::State;
use axum::response::Response;
use meno_engine::Pooling;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Most texts of a request (OpenAI's).
const MAX_INPUTS: usize = 2048;

/// A request, in OpenAI's fields, and `pooling`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // OpenAI's reference documents them; `pooling` is in docs/serving.md
pub struct EmbeddingRequest {
    pub model: Option<String>,
    pub input: Option<Prompts>,
    pub encoding_format: Option<String>,
    pub dimensions: Option<usize>,
    pub pooling: Option<String>,
}

/// A request that was read.
struct Prepared {
    prompts: Vec<Vec<u32>>,
    pooling: Pooling,
    base64: bool,
    dimensions: usize,
}

/// Answers a request.
pub async fn answer(State(server): State<Arc<Server>>, posted: Posted) -> Result<Response, ApiError> {
    let prepared = posted.run(&server, Work::Answer, |request: Value, server, client| {
        refuse_unknown(&request)?;
        let request: EmbeddingRequest = read_value(request)?;
        Ok((request.prepare(server)?, client.clone()))
    });
    let (Prepared { prompts, pooling, base64, dimensions }, client) = prepared.await?;
    let tokens: usize = prompts.iter().map(Vec::len).sum();
    let vectors = run::vectors(&server, &client, prompts, pooling).await?;
    let entry = |(index, vector): (usize, Vec<f32>)| {
        let vector = normalised(vector, dimensions);
        let embedding = if base64 { base64_of(&vector).into() } else { Value::from(vector) };
        json!({ "object": "embedding", "index": index, "embedding": embedding })
    };
    let data: Vec<Value> = vectors.into_iter().enumerate().map(entry).collect();
    Ok(body::json(&json!({
        "object": "list", "data": data, "model": server.model.name,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    })))
}

/// Fields of other servers that would change the vectors.
fn refuse_unknown(request: &Value) -> Result<(), ApiError> {
    for (field, neutral) in [
        ("normalize", Value::Bool(true)),
        ("add_special_tokens", Value::Bool(true)),
        ("truncate_prompt_tokens", Value::Null),
        ("embd_normalize", json!(2)),
        ("instruction", json!("")),
        ("input_type", Value::Null),
    ] {
        if request.get(field).is_some_and(|value| !value.is_null() && *value != neutral) {
            let message = format!("{field} is not offered here (or send {neutral})");
            return Err(ApiError::unsupported(field, message));
        }
    }
    Ok(())
}

impl EmbeddingRequest {
    fn prepare(self, server: &Server) -> Result<Prepared, ApiError> {
        let model = &server.model;
        model.check_name(self.model.as_deref())?;
        if model.taught.is_some() {
            let message = format!("`{}` was taught a few tasks and nothing else: it has no embeddings", model.name);
            return Err(ApiError::not_implemented(message));
        }
        let base64 = match self.encoding_format.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(other) => {
                let message = format!("encoding_format is {:?}; expected \"float\" or \"base64\"", shown(other));
                return Err(ApiError::invalid("encoding_format", message));
            }
        };
        let pooling = match self.pooling.as_deref() {
            None => model.pooling,
            Some("last") => Pooling::Last,
            Some("mean") => Pooling::Mean,
            Some(other) => {
                let message = format!("pooling is {:?}; expected \"last\" or \"mean\"", shown(other));
                return Err(ApiError::invalid("pooling", message));
            }
        };
        let width = server.engine.config().hidden_size;
        let dimensions = self.dimensions.unwrap_or(width);
        if !(1..=width).contains(&dimensions) {
            let message = format!("dimensions is {dimensions}; the vectors of this model have {width}");
            return Err(ApiError::invalid("dimensions", message));
        }
        let input = self.input.ok_or_else(|| ApiError::invalid("input", "input is missing"))?;
        Ok(Prepared { prompts: prompts(server, input)?, pooling, base64, dimensions })
    }
}

fn prompts(server: &Server, input: Prompts) -> Result<Vec<Vec<u32>>, ApiError> {
    let model = &server.model;
    let count = match &input {
        Prompts::Text(crate::types::OneOrMany::Many(texts)) => texts.len(),
        Prompts::ManyTokens(lists) => lists.len(),
        _ => 1,
    };
    if !(1..=MAX_INPUTS).contains(&count) {
        let message = format!("input has {count} texts; expected 1 to {MAX_INPUTS}");
        return Err(ApiError::invalid("input", message));
    }
    let encode = |text: String| model.encode(text, true).map(|prompt| prompt.tokens).map_err(|e| about_input(model, e));
    let check = |tokens: Vec<u32>| model.check_prompt(&tokens).map(|()| tokens).map_err(|e| about_input(model, e));
    match input {
        Prompts::Text(texts) => texts.into_vec().into_iter().map(encode).collect(),
        Prompts::Tokens(tokens) => Ok(vec![check(tokens)?]),
        Prompts::ManyTokens(lists) => lists.into_iter().map(check).collect(),
    }
}

/// The same error about `input`. A text that is too long has no answer whose length could be reduced.
fn about_input(model: &Served, error: ApiError) -> ApiError {
    let error = error.about("input");
    if error.code != Some("context_length_exceeded") {
        return error;
    }
    let message = format!("input is too long: this model takes texts of less than {} tokens", model.context);
    ApiError { message, ..error }
}

/// The first `dimensions` values, scaled to length 1.
fn normalised(mut vector: Vec<f32>, dimensions: usize) -> Vec<f32> {
    vector.truncate(dimensions);
    let length = vector.iter().map(|&x| x as f64 * x as f64).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x = (*x as f64 / length) as f32);
    }
    vector
}

/// The little-endian bytes of the values, in base64.
fn base64_of(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    base64(&bytes)
}

/// Base64 with padding (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, &byte| word << 8 | byte as u32) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= chunk.len() { digit as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64_of(&[1.0, -2.5]), "AACAPwAAIMA=");
    }

    #[test]
    fn vectors_have_length_1_whatever_is_cut_off() {
        assert_eq!(normalised(vec![3.0, 4.0, 12.0], 2), [0.6, 0.8]);
        assert_eq!(normalised(vec![0.0, 0.0], 2), [0.0, 0.0]);
    }
}
