//! Networks against transformers: logits, losses and gradients of small random checkpoints.
//! `dev/reference/networks.py` made the files.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/networks.rs"]
mod networks;

use meno_model::safetensors::Safetensors;
use meno_model::{InferOptions, LoadOptions, Model, TrainOptions};
use meno_tensor::backend::Pass;
use meno_tensor::device::Device;
use meno_tensor::precision::Precision;
use meno_tensor::tape::{Batch, CrossEntropy};
use networks::{train_step, training_batch};
use std::path::{Path, PathBuf};

/// Tolerance of logits in f32.
const LOGITS: f32 = 5e-5;
/// Tolerance of the mean difference of logits in bf16, relative to the largest logit. Single logits differ by more
/// where rounding changes the choice of an expert.
const BF16_LOGITS: f32 = 1e-2;
/// Tolerance of gradients, relative to the largest value of a tensor.
const GRADIENTS: f32 = 5e-5;
const LOSS: CrossEntropy = CrossEntropy { head_scale: [1.0, 0.3] };
const T: usize = 21;

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn read(file: &Safetensors, name: &str) -> Vec<f32> {
    let mut values = vec![0.0; file.shape(name).unwrap().iter().product()];
    file.read_f32(name, &mut values).unwrap();
    values
}

fn tokens(file: &Path) -> Vec<Vec<u32>> {
    let bytes = std::fs::read(file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let ids = tensors.tensor("tokens").unwrap().data().chunks_exact(4);
    let ids: Vec<u32> = ids.map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
    ids.chunks(T).map(<[u32]>::to_vec).collect()
}

fn gap(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Returns the logits of both sequences, run together through the cache.
fn logits(precision: Precision, model: &mut Model, sequences: &[Vec<u32>], absorbed: bool) -> Vec<f32> {
    let o = InferOptions { absorbed };
    let mut batch = Batch::default();
    let mut cache = model.backend().kv_cache_with_slots(&model.cache_specs(o), 2, T).unwrap();
    for (slot, sequence) in sequences.iter().enumerate() {
        batch.push(sequence, 0, Some(slot));
    }
    batch.logit_rows = (0..batch.len()).collect();
    let mut executor = model.infer_executor(batch.len(), o).unwrap();
    executor
        .forward(&mut *model.weights, Pass::new(precision, &batch).with_objective(&LOSS), Some(&mut cache))
        .unwrap();
    executor.outputs().logits.clone()
}

fn compare(name: &str, gradients: usize) {
    for device in Device::all().into_iter().filter(|&device| device != Device::Reference) {
        compare_on(device, name, gradients);
    }
}

fn compare_on(device: Device, name: &str, gradients: usize) {
    let path = directory(name);
    let expected = Safetensors::open(&path.join("expected.safetensors")).unwrap();
    let sequences = tokens(&path.join("expected.safetensors"));
    let options = LoadOptions { device, ..LoadOptions::default() };
    let mut model = Model::load_with(&path, options, &mut |_, _| {}).unwrap();

    let reference = read(&expected, "logits");
    let largest = reference.iter().fold(0f32, |a, b| a.max(b.abs()));
    let mut of = |precision, absorbed| gap(&logits(precision, &mut model, &sequences, absorbed), &reference);
    let (expanded, absorbed) = (of(Precision::F32, false), of(Precision::F32, true));
    assert!(expanded <= LOGITS, "{name} on {device}: logits differ by {expanded:e}");
    assert!(absorbed <= LOGITS, "{name} on {device}: absorbed logits differ by {absorbed:e}");
    let rounded = logits(Precision::Bf16, &mut model, &sequences, false);
    let rounded = rounded.iter().zip(&reference).map(|(a, b)| (a - b).abs()).sum::<f32>() / reference.len() as f32;
    assert!(rounded <= BF16_LOGITS * largest, "{name} on {device}: logits in bf16 differ by {rounded:e} of {largest}");

    let o = TrainOptions { recompute: false, mtp: true };
    let (executor, grads) = train_step(&mut model, o, 2 * T, &training_batch(&sequences), &LOSS);
    let losses = executor.outputs().losses;
    let loss = read(&expected, "loss");
    for (head, &expected) in loss.iter().enumerate() {
        // The executor's losses are scaled.
        let ours = [losses.next_token, losses.mtp][head] / LOSS.head_scale[head] as f64;
        assert!(
            (ours - expected as f64).abs() <= 1e-5 * expected as f64,
            "{name} on {device}: loss {head}: {ours}, {expected}"
        );
    }
    let (mut compared, mut worst) = (0, 0f32);
    for tensor in expected.names() {
        let Some(parameter) = tensor.strip_prefix("grad.") else { continue };
        let reference = read(&expected, &tensor);
        let p = model.layout().find(parameter).unwrap_or_else(|| panic!("{name}: no parameter {parameter}"));
        let scale = reference.iter().fold(0f32, |a, b| a.max(b.abs())).max(1e-3);
        let gap = gap(&grads[model.layout().info(p).range()], &reference) / scale;
        assert!(
            gap <= GRADIENTS,
            "{name} on {device}: gradient of {parameter} differs by {gap:e} of its largest value {scale}"
        );
        (compared, worst) = (compared + 1, worst.max(gap));
    }
    assert!(compared >= gradients, "{name}: only {compared} gradients");
    println!(
        "{name} on {device}: |Δlogit| {expanded:.1e} (absorbed {absorbed:.1e}, bf16 {rounded:.1e}) of {largest:.1}, \
         {compared} gradients, {worst:.1e}"
    );
}

#[test]
fn deepseek_v3() {
    compare("deepseek_v3", 40);
}

#[test]
fn deepseek_v3_with_mtp() {
    compare("deepseek_v3_mtp", 50);
}

#[test]
fn deepseek_v2_greedy() {
    compare("deepseek_v2_greedy", 40);
}

#[test]
fn deepseek_v2_group_limited() {
    compare("deepseek_v2_groups", 40);
}

#[test]
fn qwen2() {
    compare("qwen2", 14);
}

#[test]
fn llama() {
    compare("llama", 12);
}

#[test]
fn llama_with_biases_and_yarn() {
    compare("llama_yarn", 15);
}

#[test]
fn qwen3() {
    compare("qwen3", 14);
}

#[test]
fn qwen3_with_biases_and_yarn() {
    compare("qwen3_yarn", 18);
}

#[test]
fn qwen3_moe() {
    compare("qwen3_moe", 40);
}

#[test]
fn qwen3_moe_with_weights_as_they_are() {
    compare("qwen3_moe_unnormed", 36);
}

#[test]
fn kimi_k2() {
    compare("kimi_k2", 40);
}

#[test]
fn granite() {
    compare("granite", 11);
}
