//! Speculative decoding on real networks: the same tokens and the same bits of their log-probabilities, greedy and
//! sampled, with drafts of the MTP module and of look-up, whatever else runs.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_engine::generator::Stats;
use meno_engine::sampler::Sampling;
use meno_engine::{Error, Generator, GeneratorConfig, Request, Speculative, StreamKey};
use meno_model::{Config, Model};
use meno_tensor::rng::Rng;
use serde_json::json;
use std::ops::ControlFlow;

const VOCAB: usize = 31;

fn model(mtp: usize) -> Model {
    let config = json!({
        "model_type": "deepseek_v3", "vocab_size": VOCAB, "hidden_size": 48, "intermediate_size": 80,
        "moe_intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 3,
        "n_shared_experts": 1, "n_routed_experts": 8, "routed_scaling_factor": 1.5, "kv_lora_rank": 20,
        "q_lora_rank": 24, "qk_rope_head_dim": 8, "v_head_dim": 12, "qk_nope_head_dim": 12, "n_group": 4,
        "topk_group": 2, "num_experts_per_tok": 3, "first_k_dense_replace": 1, "norm_topk_prob": true,
        "scoring_func": "sigmoid", "topk_method": "noaux_tc", "max_position_embeddings": 512, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "tie_word_embeddings": false, "initializer_range": 0.2, "hidden_act": "silu",
        "num_nextn_predict_layers": mtp
    });
    Model::random(Config::from_value("config.json", config).unwrap(), 3).unwrap()
}

/// Returns forty prompts: greedy, sampled, in groups, from 1 to 100 tokens.
fn requests() -> Vec<Request> {
    let mut rng = Rng::new(&[12]);
    (0..40)
        .map(|i| Request {
            prompt: (0..1 + rng.below(100)).map(|_| rng.below(VOCAB) as u32).collect(),
            n: [1, 1, 3][i % 3],
            sampling: Sampling {
                temperature: [0.0, 1.0, 0.5, 0.0][i % 4],
                top_p: [1.0, 0.9][i % 2],
                max_tokens: 40 + i,
                stop_tokens: vec![5],
                ..Default::default()
            },
            key: StreamKey { seed: 3, step: 0, sequence: i as u64 },
        })
        .collect()
}

/// Tokens, and the bits of their log-probabilities.
type Bits = (Vec<u32>, Vec<u32>);

/// Returns tokens, bits of log-probabilities and finish reasons, and the counters.
fn generate(
    model: &mut Model,
    speculative: Speculative,
    (slots, rows): (usize, usize),
    cache_tokens: Option<usize>,
) -> (Vec<Bits>, Stats) {
    let config = GeneratorConfig { step_rows: rows, speculative, cache_tokens, ..GeneratorConfig::new(slots, 200) };
    let mut generator = Generator::new(model, config).unwrap();
    let completions = generator.generate(model, &requests(), &mut |_| ControlFlow::Continue(())).unwrap();
    let bits = |c: meno_engine::Completion| (c.tokens, c.logprobs.iter().map(|l| l.to_bits()).collect());
    (completions.into_iter().map(bits).collect(), generator.stats())
}

#[test]
fn guesses_change_no_bit() {
    let mut model = model(1);
    let (expected, off) = generate(&mut model, Speculative::Off, (16, 64), None);
    assert_eq!((off.drafted, off.accepted), (0, 0));
    for speculative in [Speculative::Ngram, Speculative::Mtp] {
        for (shape, cache) in [((1, 8), None), ((7, 20), None), ((30, 200), None), ((12, 40), Some(1000))] {
            let (answers, on) = generate(&mut model, speculative, shape, cache);
            assert!(answers == expected, "{speculative:?} {shape:?}");
            assert!(on.accepted > 0 && on.accepted <= on.drafted, "{speculative:?} {shape:?}: {on:?}");
        }
    }
}

#[test]
fn a_model_without_the_module_says_so() {
    let model = model(0);
    let config = GeneratorConfig { speculative: Speculative::Mtp, ..GeneratorConfig::new(1, 64) };
    let error = Generator::new(&model, config).err().unwrap();
    assert!(matches!(error, Error::NoMtpModule), "{error}");
    assert!(error.to_string().contains("no multi-token prediction (MTP) module"), "{error}");
    let error = Generator::new(&model, GeneratorConfig::new(1, 1 << 20)).err().unwrap();
    let supported = model.config.max_position_embeddings;
    assert!(matches!(error, Error::ContextTooLong { max_len: 1048576, supported: s } if s == supported), "{error}");
}
