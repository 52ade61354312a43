//! Generation on every device: the device and the host choose the same tokens from the same logits, and neither other
//! sequences nor drafts change them.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_engine::sampler::Sampling;
use meno_engine::{Completion, Generator, GeneratorConfig, Request, Speculative, StreamKey};
use meno_model::{Config, Model};
use meno_tensor::device::Device;
use meno_tensor::precision::Precision;
use serde_json::json;
use std::ops::ControlFlow;

const VOCAB: usize = 31;

fn config() -> Config {
    let config = json!({
        "model_type": "deepseek_v3", "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48,
        "moe_intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
        "n_shared_experts": 1, "n_routed_experts": 4, "routed_scaling_factor": 1.5, "kv_lora_rank": 16,
        "q_lora_rank": 16, "qk_rope_head_dim": 8, "v_head_dim": 8, "qk_nope_head_dim": 8, "n_group": 2,
        "topk_group": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 1, "norm_topk_prob": true,
        "scoring_func": "sigmoid", "topk_method": "noaux_tc", "max_position_embeddings": 128, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "tie_word_embeddings": false, "initializer_range": 0.2, "hidden_act": "silu",
        "num_nextn_predict_layers": 1
    });
    Config::from_value("config.json", config).unwrap()
}

#[test]
fn memory_is_known_before_it_is_allocated() {
    for (device, precision) in Device::all().into_iter().flat_map(|d| [(d, Precision::F32), (d, Precision::Bf16)]) {
        let model = Model::random_on(device, config(), 1).unwrap();
        for absorbed in [false, true] {
            let settings = GeneratorConfig { precision, absorbed, ..GeneratorConfig::new(3, 100) };
            let planned = settings.planned_bytes(&model.config, device);
            let bytes = Generator::new(&model, settings).unwrap().bytes();
            assert_eq!(planned.iter().sum::<usize>(), bytes, "{device}, {precision}, absorbed {absorbed}");
        }
    }
}

/// Requests with every filter, alone and in groups. With alternatives, the host needs the logits of each token.
fn requests(alternatives: Option<usize>) -> Vec<Request> {
    let filters = [(0.0, 0, 1.0, 0.0), (1.0, 0, 1.0, 0.0), (0.6, 0, 0.9, 0.0), (1.3, 5, 0.8, 0.05)];
    let request = |(i, (temperature, top_k, top_p, min_p))| Request {
        prompt: (0..3 + 4 * i as u32).map(|t| (7 * t + i as u32) % VOCAB as u32).collect(),
        n: [1, 1, 3, 1][i],
        sampling: Sampling {
            temperature,
            top_k,
            top_p,
            min_p,
            max_tokens: 8 + i,
            vocab_size: VOCAB - 2,
            top_logprobs: alternatives,
            ..Default::default()
        },
        key: StreamKey { seed: 5, step: 1, sequence: i as u64 },
    };
    filters.into_iter().enumerate().map(request).collect()
}

fn generate(model: &mut Model, requests: &[Request], speculative: Speculative, slots: usize) -> Vec<Completion> {
    let config = GeneratorConfig { speculative, ..GeneratorConfig::new(slots, 64) };
    let mut generator = Generator::new(model, config).unwrap();
    generator.generate(model, requests, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// Returns the tokens of each answer.
fn tokens(completions: &[Completion]) -> Vec<&[u32]> {
    completions.iter().map(|c| &c.tokens[..]).collect()
}

#[test]
fn tokens_chosen_on_the_device_are_those_that_the_host_chooses() {
    for device in Device::all() {
        let mut model = Model::random_on(device, config(), 3).unwrap();
        let chosen = generate(&mut model, &requests(None), Speculative::Off, 6);
        let by_host = generate(&mut model, &requests(Some(0)), Speculative::Off, 6);
        assert_eq!(tokens(&chosen), tokens(&by_host), "{device}");
        let bits =
            |all: &[Completion]| -> Vec<u32> { all.iter().flat_map(|c| &c.logprobs).map(|l| l.to_bits()).collect() };
        for (speculative, slots) in [(Speculative::Mtp, 6), (Speculative::Ngram, 2)] {
            let other = generate(&mut model, &requests(None), speculative, slots);
            assert_eq!((tokens(&other), bits(&other)), (tokens(&chosen), bits(&chosen)), "{device} {speculative:?}");
        }
    }
}
