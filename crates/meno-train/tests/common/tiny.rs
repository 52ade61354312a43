//! A network of a few thousand weights, shared by several tests.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_model::{Config, Model};
use serde_json::json;

pub(crate) const VOCAB: usize = 24;
/// The token that ends an answer.
pub(crate) const STOP: u32 = 1;

/// Returns a dense network, always with the same weights.
pub(crate) fn dense() -> Model {
    let config = json!({
        "model_type": "llama", "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "max_position_embeddings": 512, "tie_word_embeddings": true, "initializer_range": 0.08,
        "hidden_act": "silu",
    });
    Model::random(Config::from_value("tiny", config).unwrap(), 3).unwrap()
}
