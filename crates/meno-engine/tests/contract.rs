//! The numerics contract of the engine: a token and its log-probability do not depend on other sequences, prompt
//! chunks, slots or threads, and scoring computes the same bits that generation recorded.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_engine::sampler::Sampling;
use meno_engine::{Completion, Generator, GeneratorConfig, Request, StreamKey};
use meno_model::{Config, Model};
use meno_tensor::backend::Pass;
use meno_tensor::pool::with_threads;
use meno_tensor::precision::Precision;
use meno_tensor::rng::Rng;
use meno_tensor::tape::{Batch, Objective, TokenLoss};
use serde_json::json;
use std::ops::ControlFlow;

const VOCAB: usize = 67;

fn models() -> Vec<(&'static str, Model)> {
    let deepseek = json!({
        "model_type": "deepseek_v3", "vocab_size": VOCAB, "hidden_size": 48, "intermediate_size": 80,
        "moe_intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "num_key_value_heads": 3,
        "n_shared_experts": 1, "n_routed_experts": 8, "routed_scaling_factor": 1.5, "kv_lora_rank": 20,
        "q_lora_rank": 24, "qk_rope_head_dim": 8, "v_head_dim": 12, "qk_nope_head_dim": 12, "n_group": 4,
        "topk_group": 2, "num_experts_per_tok": 3, "first_k_dense_replace": 1, "norm_topk_prob": true,
        "scoring_func": "sigmoid", "topk_method": "noaux_tc", "max_position_embeddings": 256, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "tie_word_embeddings": false, "initializer_range": 0.2, "hidden_act": "silu"
    });
    let qwen2 = json!({
        "model_type": "qwen2", "vocab_size": VOCAB, "hidden_size": 48, "intermediate_size": 100,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true, "initializer_range": 0.2,
        "hidden_act": "silu"
    });
    [("deepseek_v3", deepseek), ("qwen2", qwen2)]
        .map(|(name, config)| {
            let config = Config::from_value("config.json", config).unwrap();
            (name, Model::random(config, 3).unwrap())
        })
        .into()
}

/// Log-probabilities at a temperature, without a loss.
struct Score(f32);

impl Objective for Score {
    fn token(&self, _: &Batch, _: usize, _: usize, _: f32, _: f32) -> TokenLoss {
        TokenLoss::default()
    }
    fn temperature(&self) -> f32 {
        self.0
    }
}

fn requests() -> Vec<Request> {
    let mut rng = Rng::new(&[9]);
    (0..7)
        .map(|i| Request {
            prompt: (0..[3, 40, 17, 1, 90, 33, 8][i]).map(|_| rng.below(VOCAB) as u32).collect(),
            n: [4, 1, 3, 2, 2, 1, 6][i],
            sampling: Sampling {
                temperature: [1.0, 0.0, 0.7, 1.3][i % 4],
                top_p: if i == 2 { 0.9 } else { 1.0 },
                max_tokens: 20 + 5 * i,
                stop_tokens: vec![5],
                ..Default::default()
            },
            key: StreamKey { seed: 11, step: 0, sequence: i as u64 },
        })
        .collect()
}

fn generate(
    model: &mut Model,
    precision: Precision,
    requests: &[Request],
    slots: usize,
    rows: usize,
) -> Vec<Completion> {
    let config = GeneratorConfig { step_rows: rows, precision, ..GeneratorConfig::new(slots, 160) };
    let mut generator = Generator::new(model, config).unwrap();
    generator.generate(model, requests, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// Returns tokens and the bits of their log-probabilities.
fn bits(completions: &[Completion]) -> Vec<(&[u32], Vec<u32>)> {
    completions.iter().map(|c| (&c.tokens[..], c.logprobs.iter().map(|l| l.to_bits()).collect())).collect()
}

#[test]
fn alone_or_in_a_crowd_in_any_chunks_on_any_threads() {
    for (name, mut model) in models() {
        for precision in [Precision::F32, Precision::Bf16] {
            let requests = requests();
            let crowd = generate(&mut model, precision, &requests, 19, 256);
            assert!(crowd.iter().any(|c| c.tokens.len() > 10));
            for (slots, rows) in [(1, 1), (2, 7), (5, 33)] {
                let other = generate(&mut model, precision, &requests, slots, rows);
                assert_eq!(bits(&other), bits(&crowd), "{name} {precision:?}: {slots} slots, {rows} rows");
            }
            let threads = with_threads(3, || generate(&mut model, precision, &requests, 19, 100));
            assert_eq!(bits(&threads), bits(&crowd), "{name} {precision:?}: three threads");
            // A sample alone: the only one of a request with the matching key.
            for c in &crowd {
                let r = &requests[c.request];
                let key = r.key.of_sample(r.n, c.sample);
                let alone = generate(&mut model, precision, &[Request { n: 1, key, ..r.clone() }], 1, 64);
                assert_eq!(bits(&alone)[0], bits(std::slice::from_ref(c))[0], "{name} {precision:?}: alone");
            }
        }
    }
}

#[test]
fn scoring_gives_the_bits_that_generation_recorded() {
    for (name, mut model) in models() {
        for precision in [Precision::F32, Precision::Bf16] {
            let requests = requests();
            let completions = generate(&mut model, precision, &requests, 8, 64);
            let mut executor = model.score_executor(1024).unwrap();
            // Pack as many sequences as fit into one batch; a batch has one temperature.
            for (i, r) in requests.iter().enumerate() {
                let mut batch = Batch::default();
                let mine: Vec<&Completion> = completions.iter().filter(|c| c.request == i).collect();
                let rows: Vec<_> = mine
                    .iter()
                    .map(|c| {
                        let tokens: Vec<u32> = r.prompt.iter().chain(&c.tokens).copied().collect();
                        batch.push_training(&tokens, |_| 1.0).start + r.prompt.len() - 1
                    })
                    .collect();
                let objective = Score(r.sampling.logprob_temperature());
                executor
                    .forward(&mut *model.weights, Pass::new(precision, &batch).with_objective(&objective), None)
                    .unwrap();
                for (c, row) in mine.iter().zip(rows) {
                    let scored = &executor.outputs().logprobs[row..row + c.tokens.len()];
                    let same = scored.iter().zip(&c.logprobs).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{name} {precision:?} request {i}: {scored:?} against {:?}", c.logprobs);
                }
            }
        }
    }
}

#[test]
fn more_context_than_the_model_has_is_refused() {
    let (_, model) = models().remove(1);
    let error = Generator::new(&model, GeneratorConfig::new(1, 300)).err().unwrap();
    assert!(error.to_string().contains("300 tokens"), "{error}");
    assert!(error.to_string().contains("256"), "{error}");
}
