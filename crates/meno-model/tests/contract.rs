//! The numerics contract on whole networks: a token's log-probability has the same bits however it is computed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/networks.rs"]
mod networks;

use meno_model::{InferOptions, Model, TrainOptions};
use meno_tensor::backend::{Executor, Pass};
use meno_tensor::pool::with_threads;
use meno_tensor::precision::Precision;
use meno_tensor::tape::{Batch, CrossEntropy, Losses};
use networks::{deepseek_v3, granite, llama, model, qwen2, tokens, train_step, training_batch};
use serde_json::Value;

const LOSS: CrossEntropy = CrossEntropy { head_scale: [1.0, 0.3] };

fn kinds() -> [(&'static str, Value); 5] {
    let mut direct = deepseek_v3();
    direct["q_lora_rank"] = Value::Null;
    [
        ("deepseek_v3", deepseek_v3()),
        ("deepseek_v3 without q_lora", direct),
        ("granite", granite()),
        ("llama", llama()),
        ("qwen2", qwen2()),
    ]
}

fn score(model: &mut Model, executor: &mut dyn Executor, precision: Precision, sequences: &[Vec<u32>]) -> Vec<f32> {
    executor
        .forward(&mut *model.weights, Pass::new(precision, &training_batch(sequences)).with_objective(&LOSS), None)
        .unwrap();
    executor.outputs().logprobs.clone()
}

/// Returns the log-probabilities of the tokens of `sequence`, fed to the cache in chunks of these sizes, among
/// `others`.
fn generate(model: &mut Model, precision: Precision, sequence: &[u32], chunks: &[usize], absorbed: bool) -> Vec<f32> {
    let options = InferOptions { absorbed };
    let mut executor = model.infer_executor(64, options).unwrap();
    let mut cache = model.backend().kv_cache_with_slots(&model.cache_specs(options), 3, 64).unwrap();
    let other = tokens(5, 77);
    let backend = model.backend().clone();
    let normalizer = |logits: &[f32]| backend.normalizer(logits, 1.0);
    let (mut at, mut logprobs) = (0, Vec::new());
    for &chunk in chunks {
        let mut batch = Batch::default();
        // Another sequence runs in the same batch, in another slot.
        batch.push(&other, 0, Some(0));
        let rows = batch.push(&sequence[at..at + chunk], at, Some(2));
        batch.logit_rows = rows.collect();
        executor
            .forward(&mut *model.weights, Pass::new(precision, &batch).with_objective(&LOSS), Some(&mut cache))
            .unwrap();
        for (i, logits) in executor.outputs().logits.chunks(model.config.vocab_size).enumerate() {
            let target = sequence.get(at + i + 1);
            logprobs.push(target.map_or(0.0, |&t| normalizer(logits).logprob(logits[t as usize])));
        }
        at += chunk;
    }
    logprobs
}

#[test]
fn scored_prefilled_and_decoded_are_one() {
    for (name, config) in kinds() {
        for precision in [Precision::F32, Precision::Bf16] {
            let mut model = model(&config, 3);
            let sequence = tokens(41, 5);
            let mut executor = model.score_executor(64).unwrap();
            let scored = score(&mut model, &mut *executor, precision, std::slice::from_ref(&sequence));
            let ones = [1; 41];
            for chunks in [&[41][..], &[7, 16, 1, 17], &ones] {
                let generated = generate(&mut model, precision, &sequence, chunks, false);
                assert_eq!(generated, scored, "{name} {precision:?} {chunks:?}");
            }
        }
    }
}

#[test]
fn a_sequence_alone_is_the_sequence_in_a_batch() {
    for (name, config) in kinds() {
        let mut model = model(&config, 4);
        let sequences: Vec<Vec<u32>> = (0..4).map(|i| tokens(9 + 11 * i, i as u64)).collect();
        let mut executor = model.score_executor(128).unwrap();
        let packed = score(&mut model, &mut *executor, Precision::F32, &sequences);
        let mut at = 0;
        for sequence in &sequences {
            let alone = score(&mut model, &mut *executor, Precision::F32, std::slice::from_ref(sequence));
            assert_eq!(alone, packed[at..at + sequence.len()], "{name}");
            at += sequence.len();
        }
    }
}

fn step(model: &mut Model, o: TrainOptions, batch: &Batch) -> (Vec<f32>, Losses, Vec<f32>) {
    let (executor, grads) = train_step(model, o, 64, batch, &LOSS);
    let out = executor.outputs();
    (out.logprobs.clone(), out.losses, grads)
}

#[test]
fn neither_threads_nor_recomputation_change_a_training_step() {
    for (name, config) in kinds() {
        let mut model = model(&config, 5);
        let batch = training_batch(&[tokens(33, 1), tokens(8, 2), tokens(20, 3)]);
        let o = TrainOptions { recompute: false, mtp: true };
        let one = with_threads(1, || step(&mut model, o, &batch));
        let two = with_threads(2, || step(&mut model, o, &batch));
        assert!(one == two, "{name}: threads");
        let recomputed = step(&mut model, TrainOptions { recompute: true, ..o }, &batch);
        assert!(one == recomputed, "{name}: recomputation");
        assert!(one.1.next_token > 0.0 && (one.1.mtp > 0.0) == name.starts_with("deepseek"), "{name}: {:?}", one.1);
    }
}

#[test]
fn training_sees_what_scoring_sees() {
    for (name, config) in kinds() {
        let mut model = model(&config, 6);
        let sequences = [tokens(30, 8), tokens(12, 9)];
        let mut executor = model.score_executor(64).unwrap();
        let scored = score(&mut model, &mut *executor, Precision::F32, &sequences);
        for mtp in [false, true] {
            let o = TrainOptions { recompute: false, mtp };
            assert_eq!(step(&mut model, o, &training_batch(&sequences)).0, scored, "{name} {mtp}");
        }
    }
}

#[test]
fn absorbed_decoding_agrees() {
    for (name, config) in &kinds()[..2] {
        let mut model = model(config, 7);
        let sequence = tokens(41, 5);
        let ones = [1; 41];
        for chunks in [&[41][..], &[7, 16, 1, 17], &ones] {
            let expanded = generate(&mut model, Precision::F32, &sequence, chunks, false);
            let absorbed = generate(&mut model, Precision::F32, &sequence, chunks, true);
            let gap = expanded.iter().zip(&absorbed).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            println!("{name}: {gap:e}");
            assert!(gap <= 1e-5, "{name}: {gap}");
        }
    }
}
