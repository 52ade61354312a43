//! Sessions of a small random model: seeds, and answers to repeated questions.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_engine::tokenizer::CharacterLevel;
use meno_engine::{GenerationConfig, Session, TextModel, Tokenizer};
use meno_model::{Config, Model};
use meno_tensor::precision::Precision;
use serde_json::json;

fn session() -> Session {
    let tokenizer = Tokenizer::character_level(&CharacterLevel {
        special: &["<eos>", "<unk>"],
        alphabet: "abcdefghijklmnopqrstuvwxyz",
        eos: "<eos>",
        unk: "<unk>",
        ..CharacterLevel::default()
    });
    let config = json!({
        "model_type": "llama", "vocab_size": 28, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": true,
    });
    let text = TextModel {
        name: "tiny".into(),
        path: "tiny".into(),
        model: Model::random(Config::from_value("tiny", config).unwrap(), 1).unwrap(),
        precision: Precision::F32,
        tokenizer: tokenizer.unwrap(),
        template: None,
        generation: GenerationConfig::default(),
        task_profile: None,
    };
    text.session().unwrap()
}

fn answers(mut session: Session) -> [String; 3] {
    [(); 3].map(|()| session.ask("abc", &mut |_| {}).unwrap().answer)
}

#[test]
fn a_repeated_question_gets_another_answer_and_a_seed_repeats_them_all() {
    let first = answers(session());
    assert!(first[0] != first[1] && first[1] != first[2], "{first:?}");
    assert_eq!(answers(session().with_seed(0)), first);
    let other = answers(session().with_seed(1));
    assert!(other.iter().zip(&first).all(|(a, b)| a != b), "{other:?} {first:?}");
    assert_eq!(answers(session().with_seed(1)), other);
}
