//! Every network on every device: a training step, scoring and decoding agree with the CPU. On each device, generated,
//! prefilled and scored log-probabilities have the same bits.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/networks.rs"]
mod networks;

use meno_model::convert::Checkpoint;
use meno_model::gguf::FileType;
use meno_model::{Dtype, InferOptions, LoadOptions, Model, TrainOptions, contract};
use meno_tensor::backend::{Executor, Pass};
use meno_tensor::device::Device;
use meno_tensor::precision::Precision;
use meno_tensor::tape::{Batch, CrossEntropy};
use networks::{config, deepseek_v3, granite, llama, qwen2, tokens, train_step, training_batch};
use serde_json::{Value, json};

const LOSS: CrossEntropy = CrossEntropy { head_scale: [1.0, 0.3] };

fn kinds() -> Vec<(&'static str, Value)> {
    let mut direct = deepseek_v3();
    direct["q_lora_rank"] = Value::Null;
    vec![
        ("deepseek_v3", deepseek_v3()),
        ("deepseek_v3 without q_lora", direct),
        ("llama", llama()),
        ("qwen2", qwen2()),
        ("granite", granite()),
        ("qwen3_moe", qwen3_moe()),
    ]
}

fn qwen3_moe() -> Value {
    let mut value = qwen2();
    for (key, x) in [
        ("model_type", json!("qwen3_moe")),
        ("head_dim", json!(8)),
        ("num_experts", json!(6)),
        ("num_experts_per_tok", json!(2)),
        ("moe_intermediate_size", json!(16)),
        ("norm_topk_prob", json!(true)),
        ("decoder_sparse_step", json!(1)),
        ("mlp_only_layers", json!([])),
        ("tie_word_embeddings", json!(false)),
    ] {
        value[key] = x;
    }
    value
}

/// Returns the largest difference, relative to the largest value.
fn gap(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = a.iter().fold(1e-3f32, |m, x| m.max(x.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale
}

/// Returns the logits after every token, with the tokens fed to the cache in chunks.
fn decode(model: &mut Model, sequence: &[u32], chunk: usize, absorbed: bool) -> Vec<f32> {
    decode_in(Precision::F32, model, sequence, chunk, absorbed)
}

fn decode_in(precision: Precision, model: &mut Model, sequence: &[u32], chunk: usize, absorbed: bool) -> Vec<f32> {
    let o = InferOptions { absorbed };
    let mut executor = model.infer_executor(sequence.len(), o).unwrap();
    let specs = model.cache_specs(o);
    let mut cache = model.backend().kv_cache_with_slots(&specs, 1, sequence.len()).unwrap();
    let mut logits = Vec::new();
    for (i, tokens) in sequence.chunks(chunk).enumerate() {
        let mut batch = Batch::default();
        batch.logit_rows = batch.push(tokens, i * chunk, Some(0)).collect();
        let pass = Pass::new(precision, &batch);
        logits.extend_from_slice(&executor.forward(&mut *model.weights, pass, Some(&mut cache)).unwrap().logits);
    }
    logits
}

#[test]
fn devices_agree_on_a_training_step() {
    for (name, value) in kinds() {
        let batch = training_batch(&[tokens(13, 1), tokens(8, 2)]);
        let run = |device| {
            let mut model = Model::random_on(device, config(&value), 11).unwrap();
            let o = TrainOptions { recompute: false, mtp: true };
            let (executor, grads) = train_step(&mut model, o, 32, &batch, &LOSS);
            (executor.outputs().clone(), grads)
        };
        let (expected, expected_grads) = run(Device::Cpu);
        for device in Device::all() {
            let (out, grads) = run(device);
            assert_eq!(out.expert_load, expected.expert_load, "{name} on {device}: the same experts");
            assert!(gap(&expected.logprobs, &out.logprobs) <= 1e-5, "{name} on {device}: log-probabilities");
            assert!(gap(&expected_grads, &grads) <= 1e-4, "{name} on {device}: gradients");
            let (loss, other) = (expected.losses.total(), out.losses.total());
            assert!((loss - other).abs() <= 1e-5 * loss.abs(), "{name} on {device}: loss {other}, expected {loss}");
        }
    }
}

#[test]
fn memory_is_known_before_it_is_allocated() {
    let rows = 16;
    for (name, value) in kinds() {
        let config = config(&value);
        for device in Device::all() {
            let model = Model::random_on(device, config.clone(), 11).unwrap();
            for precision in [Precision::F32, Precision::Bf16] {
                let check = |executor: &dyn Executor, program| {
                    let planned = device.planned_bytes(&program, precision);
                    assert_eq!(executor.planned_bytes(precision), planned, "{name} on {device} in {precision}");
                };
                for (recompute, mtp) in [(false, true), (true, false)] {
                    let o = TrainOptions { recompute, mtp };
                    check(&*model.train_executor(rows, o).unwrap(), Model::train_program(&config, rows, o));
                }
                let o = InferOptions { absorbed: false };
                check(&*model.infer_executor(rows, o).unwrap(), Model::infer_program(&config, rows, o));
            }
        }
    }
}

#[test]
fn devices_agree_on_decoding() {
    for (name, value) in kinds() {
        let sequence = tokens(19, 4);
        for absorbed in [false, true] {
            let mut cpu = Model::random(config(&value), 12).unwrap();
            let expected = decode(&mut cpu, &sequence, 1, absorbed);
            for device in Device::all() {
                let mut model = Model::random_on(device, config(&value), 12).unwrap();
                let logits = decode(&mut model, &sequence, 1, absorbed);
                assert!(gap(&expected, &logits) <= 1e-5, "{name} on {device}, absorbed {absorbed}");
            }
        }
    }
}

#[test]
fn every_device_keeps_the_contract() {
    for (name, value) in kinds() {
        for device in Device::all() {
            let mut model = Model::random_on(device, config(&value), 13).unwrap();
            let sequence = tokens(19, 4);
            let batch = training_batch(std::slice::from_ref(&sequence));
            let mut executor = model.score_executor(32).unwrap();
            let pass = Pass::new(Precision::F32, &batch);
            let scored = executor.forward(&mut *model.weights, pass, None).unwrap().logprobs.clone();
            let trained = train_step(&mut model, TrainOptions::default(), 32, &batch, &LOSS).0;
            assert_eq!(trained.outputs().logprobs, scored, "{name} on {device}: trained and scored");
            let (backend, vocab) = (model.backend().clone(), model.config.vocab_size);
            for chunk in [1, 7, 19] {
                let logits = decode(&mut model, &sequence, chunk, false);
                for (row, (logits, next)) in logits.chunks(vocab).zip(&sequence[1..]).enumerate() {
                    let logprob = backend.normalizer(logits, 1.0).logprob(logits[*next as usize]);
                    assert_eq!(logprob, scored[row], "{name} on {device}: token {row} in chunks of {chunk}");
                }
            }
        }
    }
}

/// As `meno doctor` and `meno grpo` check it, in both precisions; with 64 sequences at the same time.
#[test]
fn the_check_of_the_contract_passes() {
    for (name, value) in [("qwen2", qwen2()), ("deepseek_v3", deepseek_v3())] {
        for (device, precision) in Device::all().into_iter().flat_map(|d| [(d, Precision::F32), (d, Precision::Bf16)]) {
            let mut model = Model::random_on(device, config(&value), 14).unwrap();
            for comparison in contract::check(&mut model, precision, 200).unwrap() {
                assert!(comparison.equal, "{name} on {device} in {precision}: {comparison:?}");
            }
        }
    }
}

/// Matrices that a GPU stores as bf16 alone have the values that a pass in bf16 rounds f32 matrices to, so the logits
/// are the same.
#[test]
fn weights_stored_as_bf16_have_the_same_bits() {
    for (name, value) in kinds() {
        let dir = tempfile::tempdir().unwrap();
        Model::random(config(&value), 15).unwrap().save(dir.path(), Dtype::Bf16).unwrap();
        for device in Device::all() {
            let load = |bf16_only| {
                let o = LoadOptions { device, bf16_only, ..LoadOptions::default() };
                Model::load_with(dir.path(), o, &mut |_, _| {}).unwrap()
            };
            let [mut all, mut alone] = [false, true].map(load);
            let logits = |model: &mut Model| decode_in(Precision::Bf16, model, &tokens(9, 4), 3, false);
            assert_eq!(logits(&mut alone), logits(&mut all), "{name} on {device}");
            let smaller = alone.weights.bytes() + alone.weights.quantized_bytes() < all.weights.bytes();
            assert_eq!(smaller, device.has_own_memory(), "{name} on {device}");
        }
    }
}

/// A GPU multiplies the matrices of a GGUF file as they are stored, those of experts too: the bits of products with
/// their values in bf16, and less than half the memory of those.
#[test]
fn quantized_experts_have_the_bits_of_dense_ones() {
    // Experts in Q4_K and Q6_K; in Q4_K, Q5_0 and Q8_0.
    for width in [256, 64] {
        let mut value = qwen3_moe();
        value["hidden_size"] = json!(256);
        value["moe_intermediate_size"] = json!(width);
        let dir = tempfile::tempdir().unwrap();
        Model::random(config(&value), 16).unwrap().save(dir.path(), Dtype::Bf16).unwrap();
        let (path, file_type) = (dir.path().join("model.gguf"), FileType::parse("q4_k_m").unwrap());
        let checkpoint = Checkpoint::open(dir.path(), None).unwrap();
        let metadata = checkpoint.metadata(file_type).unwrap();
        checkpoint.write_gguf(&path, file_type, &metadata, &mut |_, _, _| {}).unwrap();
        for device in Device::all().into_iter().filter(|device| device.has_own_memory()) {
            let load = |keep_quantized| {
                let o = LoadOptions { device, keep_quantized, ..LoadOptions::default() };
                Model::load_with(&path, o, &mut |_, _| {}).unwrap()
            };
            let [mut quantized, mut dense] = [true, false].map(load);
            let logits = |model: &mut Model| decode_in(Precision::Bf16, model, &tokens(9, 4), 3, false);
            assert_eq!(logits(&mut quantized), logits(&mut dense), "experts of width {width} on {device}");
            let (bytes, f32_bytes) = (quantized.weights.quantized_bytes(), dense.weights.bytes());
            assert!(bytes < f32_bytes / 4, "{bytes} bytes on {device}, {f32_bytes} in f32");
        }
    }
}
