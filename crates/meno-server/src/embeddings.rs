//! `POST /v1/embeddings`: pools the hidden states after the last norm into one vector of length 1 per text.

mod run;

use crate::base64::base64;
use crate::body::{self, JsonBody};
use crate::clients::WorkKind;
use crate::error::{ApiError, shorten};
use crate::fields::read_value;
use crate::model::ServedModel;
use crate::prompt_input::Prompts;
use crate::state::Server;
use axum::extract::State;
use axum::response::Response;
use meno_engine::Pooling;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Maximum number of texts per request (OpenAI's).
const MAX_INPUTS: usize = 2048;

/// A request, with OpenAI's fields and `pooling`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // documented in OpenAI's reference; `pooling` is in docs/serving.md
pub(crate) struct EmbeddingRequest {
    pub model: Option<String>,
    pub input: Option<Prompts>,
    pub encoding_format: Option<String>,
    pub dimensions: Option<usize>,
    pub pooling: Option<String>,
}

/// A validated request.
struct Prepared {
    prompts: Vec<Vec<u32>>,
    pooling: Pooling,
    as_base64: bool,
    dimensions: usize,
}

/// Handles `POST /v1/embeddings`.
pub(crate) async fn create(State(server): State<Arc<Server>>, body: JsonBody) -> Result<Response, ApiError> {
    let prepared = body.process(&server, WorkKind::Answer, |request: Value, server, client| {
        check_unsupported(&request)?;
        let request: EmbeddingRequest = read_value(request)?;
        Ok((request.prepare(server)?, client.clone()))
    });
    let (Prepared { prompts, pooling, as_base64, dimensions }, client) = prepared.await?;
    let tokens: usize = prompts.iter().map(Vec::len).sum();
    let vectors = run::vectors(&server, &client, prompts, pooling).await?;
    let entry = |(index, vector): (usize, Vec<f32>)| {
        let vector = normalized(vector, dimensions);
        let embedding = if as_base64 { base64_of(&vector).into() } else { Value::from(vector) };
        json!({ "object": "embedding", "index": index, "embedding": embedding })
    };
    let data: Vec<Value> = vectors.into_iter().enumerate().map(entry).collect();
    Ok(body::json(&json!({
        "object": "list", "data": data, "model": server.model.name,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    })))
}

/// Rejects fields of other servers that would change the vectors.
fn check_unsupported(request: &Value) -> Result<(), ApiError> {
    for (field, neutral) in [
        ("normalize", Value::Bool(true)),
        ("add_special_tokens", Value::Bool(true)),
        ("truncate_prompt_tokens", Value::Null),
        ("embd_normalize", json!(2)),
        ("instruction", json!("")),
        ("input_type", Value::Null),
    ] {
        if request.get(field).is_some_and(|value| !value.is_null() && *value != neutral) {
            let message = format!("{field} is not supported here (or send {neutral})");
            return Err(ApiError::unsupported(field, message));
        }
    }
    Ok(())
}

impl EmbeddingRequest {
    fn prepare(self, server: &Server) -> Result<Prepared, ApiError> {
        let model = &server.model;
        model.check_name(self.model.as_deref())?;
        if model.task_profile.is_some() {
            let message = format!("`{}` was trained for only a few tasks and has no embeddings", model.name);
            return Err(ApiError::not_implemented(message));
        }
        let as_base64 = match self.encoding_format.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(other) => {
                let message = format!("encoding_format is {:?}; expected \"float\" or \"base64\"", shorten(other));
                return Err(ApiError::invalid("encoding_format", message));
            }
        };
        let pooling = match self.pooling.as_deref() {
            None => model.pooling,
            Some("last") => Pooling::Last,
            Some("mean") => Pooling::Mean,
            Some(other) => {
                let message = format!("pooling is {:?}; expected \"last\" or \"mean\"", shorten(other));
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
        Ok(Prepared { prompts: prompts(server, input)?, pooling, as_base64, dimensions })
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

/// Changes an error to be about `input`. The message about long texts must not mention an answer, because there is
/// none.
fn about_input(model: &ServedModel, error: ApiError) -> ApiError {
    let error = error.about("input");
    if error.code != Some("context_length_exceeded") {
        return error;
    }
    let message = format!("input is too long: this model accepts texts of fewer than {} tokens", model.context);
    ApiError { message, ..error }
}

/// Returns the first `dimensions` values, scaled to length 1.
fn normalized(mut vector: Vec<f32>, dimensions: usize) -> Vec<f32> {
    vector.truncate(dimensions);
    let length = vector.iter().map(|&x| x as f64 * x as f64).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x = (*x as f64 / length) as f32);
    }
    vector
}

/// Encodes the little-endian bytes of the values in base64.
fn base64_of(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    base64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_little_endian() {
        assert_eq!(base64_of(&[1.0, -2.5]), "AACAPwAAIMA=");
    }

    #[test]
    fn vectors_have_length_1_whatever_is_cut_off() {
        assert_eq!(normalized(vec![3.0, 4.0, 12.0], 2), [0.6, 0.8]);
        assert_eq!(normalized(vec![0.0, 0.0], 2), [0.0, 0.0]);
    }
}
