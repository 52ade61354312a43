//! Small configs and batches for the tests of this crate.
#![allow(dead_code, reason = "every test binary uses a part")]

use meno_model::{Config, Model, TrainOptions};
use meno_tensor::backend::{Executor, Pass};
use meno_tensor::precision::Precision;
use meno_tensor::rng::Rng;
use meno_tensor::tape::{Batch, CrossEntropy};
use serde_json::{Value, json};

pub(crate) const VOCAB: usize = 96;

/// MLA (with q_lora), one dense and one MoE layer with groups, YaRN, MTP.
pub(crate) fn deepseek_v3() -> Value {
    json!({
        "model_type": "deepseek_v3", "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48,
        "moe_intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 3, "n_shared_experts": 1,
        "n_routed_experts": 8, "num_experts_per_tok": 3, "n_group": 4, "topk_group": 2, "topk_method": "noaux_tc",
        "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 2.5, "q_lora_rank": 24,
        "kv_lora_rank": 20, "qk_nope_head_dim": 12, "qk_rope_head_dim": 8, "v_head_dim": 10,
        "first_k_dense_replace": 1, "moe_layer_freq": 1, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "num_nextn_predict_layers": 1, "aux_loss_alpha": 0.001, "initializer_range": 0.2,
        "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 32,
            "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0},
        "tie_word_embeddings": false, "an_unknown_key": {"kept": [1, 2, 3]}
    })
}

/// Grouped queries, an untied head, Llama 3's rope scaling.
pub(crate) fn llama() -> Value {
    json!({
        "model_type": "llama", "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 256, "rope_theta": 10000.0, "tie_word_embeddings": false, "initializer_range": 0.2,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32}
    })
}

/// Grouped queries with bias, a tied head.
pub(crate) fn qwen2() -> Value {
    json!({
        "model_type": "qwen2", "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
        "max_position_embeddings": 256, "rope_theta": 1000000.0, "tie_word_embeddings": true, "initializer_range": 0.2
    })
}

/// Llama with constant factors, a tied head.
pub(crate) fn granite() -> Value {
    let mut value = qwen2();
    for (key, x) in [
        ("model_type", json!("granite")),
        ("embedding_multiplier", json!(3.0)),
        ("attention_multiplier", json!(0.2)),
        ("residual_multiplier", json!(0.22)),
        ("logits_scaling", json!(0.5)),
    ] {
        value[key] = x;
    }
    value
}

pub(crate) fn config(value: &Value) -> Config {
    Config::from_value("config.json", value.clone()).unwrap()
}

/// A random model whose biases are not zero and whose gains are not one.
pub(crate) fn model(value: &Value, seed: u64) -> Model {
    let mut model = Model::random(config(value), seed).unwrap();
    let mut rng = Rng::new(&[seed, 99]);
    for (p, _) in model.layout().clone().iter().filter(|(_, info)| info.shape.len() == 1) {
        model.weights.update(p, &mut |w| w.iter_mut().for_each(|x| *x += 0.1 * rng.normal())).unwrap();
    }
    model
}

pub(crate) fn tokens(n: usize, seed: u64) -> Vec<u32> {
    let mut rng = Rng::new(&[seed]);
    (0..n).map(|_| rng.below(VOCAB) as u32).collect()
}

/// One training step with zeroed gradients; returns the executor, which has the outputs, and the gradients.
pub(crate) fn train_step(
    model: &mut Model,
    o: TrainOptions,
    rows: usize,
    batch: &Batch,
    loss: &CrossEntropy,
) -> (Box<dyn Executor>, Vec<f32>) {
    let mut grads = model.backend().buffer(model.layout().total()).unwrap();
    let mut executor = model.train_executor(rows, o).unwrap();
    let pass = Pass::new(Precision::F32, batch).with_objective(loss);
    executor.step(&mut *model.weights, pass, &mut *grads).unwrap();
    let grads = grads.read(0..grads.len()).unwrap().into_owned();
    (executor, grads)
}

/// Whole sequences, every target of weight 1.
pub(crate) fn training_batch(sequences: &[Vec<u32>]) -> Batch {
    let mut batch = Batch::default();
    for sequence in sequences {
        batch.push_training(sequence, |_| 1.0);
    }
    batch
}
