//! A small network with a letter tokenizer.

use meno::engine::Tokenizer;
use meno::engine::tokenizer::CharacterLevel;
use meno::model::{Config, Dtype, Model};
use std::path::Path;

/// Its config; the vocabulary is large enough for the tokenizer.
pub(crate) const CONFIG: &str = r#"{"model_type": "qwen2", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0, "max_position_embeddings": 64, "tie_word_embeddings": true}"#;

/// Saves the network with random weights, its tokenizer and this chat template in a directory.
pub(crate) fn save_model(dir: &Path, template: &str) {
    let config = Config::from_value("CONFIG", serde_json::from_str(CONFIG).unwrap()).unwrap();
    Model::random(config, 1).unwrap().save(dir, Dtype::F32).unwrap();
    let tokenizer = CharacterLevel {
        special: &["<pad>", "<eos>", "<unk>"],
        alphabet: "abcdefghijklmnopqrstuvwxyz ",
        eos: "<eos>",
        unk: "<unk>",
        ..Default::default()
    };
    Tokenizer::character_level(&tokenizer).unwrap().save(dir, Some(template)).unwrap();
}
