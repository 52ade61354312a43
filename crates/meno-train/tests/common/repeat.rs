//! A mixture-of-experts network, and a task that it learns in seconds: repeating a letter.

use crate::tiny::{STOP, VOCAB};
use meno_model::{Config, Model};
use meno_train::Error;
use meno_train::data::{Question, Questions, Verdict};
use meno_train::rewards::{Input, Reward, Weighted};
use serde_json::json;

/// A network with every part of DeepSeek-V3.
pub(crate) fn moe() -> Model {
    Model::random(moe_config(), 3).unwrap()
}

/// The shape of [`moe`].
pub(crate) fn moe_config() -> Config {
    let config = json!({
        "model_type": "deepseek_v3", "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48,
        "moe_intermediate_size": 16, "num_hidden_layers": 2, "first_k_dense_replace": 1, "n_routed_experts": 4,
        "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "topk_method": "noaux_tc",
        "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 1.0, "num_attention_heads": 2,
        "q_lora_rank": null, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 128, "tie_word_embeddings": false,
        "initializer_range": 0.08, "hidden_act": "silu", "num_nextn_predict_layers": 1, "aux_loss_alpha": 0.001,
        "seq_aux": true, "num_key_value_heads": 2, "moe_layer_freq": 1,
    });
    Config::from_value("tiny", config).unwrap()
}

/// Asks to repeat a letter; answers are letters until the stop token.
pub(crate) struct Repeat;

impl Questions for Repeat {
    fn question(&self, index: u64) -> Result<Question, Error> {
        let letter = 4 + (index % 4) as u32;
        let answer = self.text(&[letter]);
        Ok(Question { index, prompt: vec![2, letter, 3], answer, language: "en".into(), ..Question::default() })
    }
    fn text(&self, tokens: &[u32]) -> String {
        tokens.iter().filter(|t| **t != STOP).map(|t| char::from(b'a' + *t as u8)).collect()
    }
    fn stop_tokens(&self) -> Vec<u32> {
        vec![STOP]
    }
    fn verify(&self, question: &Question, response: &str, truncated: bool) -> Verdict {
        match response.starts_with(&question.answer) {
            _ if truncated && response.is_empty() => Verdict::Truncated,
            true => Verdict::Right,
            false => Verdict::Wrong,
        }
    }
}

/// The fraction of a response's letters that equal the requested one.
struct Share;

impl Reward for Share {
    fn name(&self) -> &str {
        "share"
    }
    fn score(&self, input: &Input) -> f32 {
        let hits = input.text.matches(input.question.answer.as_str()).count();
        hits as f32 / input.text.len().max(1) as f32
    }
}

/// The reward of [`Repeat`].
pub(crate) fn rewards() -> [Weighted; 1] {
    [Weighted::new(1.0, Share)]
}
