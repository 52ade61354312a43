//! Checks the numerics contract (`docs/numerics.md`) of a network on its device: a token's log-probability has the same
//! bits whether its sequence is scored alone or with others, and whether it is scored or generated.

use crate::{Error, InferOptions, Model};
use meno_tensor::backend::Pass;
use meno_tensor::precision::Precision;
use meno_tensor::rng::Rng;
use meno_tensor::tape::Batch;

/// Tokens of the sequence that is compared: more than a page of the KV cache.
const LENGTH: usize = 71;
/// Tokens of it that are fed as a prompt; the others are generated one at a time.
const PROMPT: usize = 40;
/// Sequences that generate at the same time.
const TOGETHER: usize = 64;

/// A comparison, and whether all bits were equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// What was compared with the sequence scored alone.
    pub with: &'static str,
    /// True if every log-probability had the same bits.
    pub equal: bool,
}

/// Compares the log-probabilities of one sequence: scored alone; scored in a batch of `rows` tokens; generated alone;
/// generated together with 63 others. The tokens are random.
pub fn check(model: &mut Model, precision: Precision, rows: usize) -> Result<Vec<Comparison>, Error> {
    let mut rng = Rng::new(&[71]);
    let vocab = model.config.vocab_size;
    let length = LENGTH.min(model.config.max_position_embeddings);
    let mut tokens = |n: usize| (0..n).map(|_| rng.below(vocab) as u32).collect::<Vec<u32>>();
    let sequence = tokens(length);
    let others: Vec<Vec<u32>> = (0..(rows / length).max(1)).map(|_| tokens(length)).collect();
    let alone = score(model, precision, &[], &sequence)?;
    let comparisons = [
        ("scored in a large batch", score(model, precision, &others, &sequence)?),
        ("generated alone", generate(model, precision, &[], &sequence)?),
        ("generated with 63 others", generate(model, precision, &others, &sequence)?),
    ];
    Ok(comparisons.map(|(with, logprobs)| Comparison { with, equal: logprobs == alone }).into())
}

/// Returns the log-probabilities of a sequence that is scored behind `others`.
fn score(model: &mut Model, precision: Precision, others: &[Vec<u32>], sequence: &[u32]) -> Result<Vec<f32>, Error> {
    let mut batch = Batch::default();
    others.iter().for_each(|other| _ = batch.push_training(other, |_| 1.0));
    let rows = batch.push_training(sequence, |_| 1.0);
    let mut executor = model.score_executor(batch.len())?;
    let out = executor.forward(&mut *model.weights, Pass::new(precision, &batch), None)?;
    Ok(out.logprobs[rows.start..rows.end - 1].to_vec())
}

/// Returns the log-probabilities of a sequence that is generated together with `others`.
fn generate(model: &mut Model, precision: Precision, others: &[Vec<u32>], sequence: &[u32]) -> Result<Vec<f32>, Error> {
    let o = InferOptions::default();
    let count = if others.is_empty() { 1 } else { TOGETHER };
    let sequences: Vec<&[u32]> =
        std::iter::once(sequence).chain(others.iter().map(Vec::as_slice)).cycle().take(count).collect();
    let prompt = PROMPT.min(sequence.len() - 1);
    let mut executor = model.infer_executor(prompt.max(sequences.len()), o)?;
    let backend = model.backend().clone();
    let mut cache = backend.kv_cache_with_slots(&model.cache_specs(o), sequences.len(), sequence.len())?;
    let mut logprobs = Vec::new();
    let mut feed = |batch: &Batch, next: &[u32]| -> Result<(), Error> {
        let out = executor.forward(&mut *model.weights, Pass::new(precision, batch), Some(&mut cache))?;
        let rows = out.logits.chunks(model.config.vocab_size).zip(next);
        logprobs.extend(rows.map(|(row, &token)| backend.normalizer(row, 1.0).logprob(row[token as usize])));
        Ok(())
    };
    for (slot, tokens) in sequences.iter().enumerate() {
        let mut batch = Batch::default();
        let rows = batch.push(&tokens[..prompt], 0, Some(slot));
        batch.logit_rows = if slot == 0 { rows.collect() } else { Vec::new() };
        feed(&batch, &tokens[1..=prompt])?;
    }
    for at in prompt..sequence.len() - 1 {
        let mut batch = Batch::default();
        sequences.iter().enumerate().for_each(|(slot, tokens)| _ = batch.push(&tokens[at..=at], at, Some(slot)));
        batch.logit_rows = vec![0];
        feed(&batch, &sequence[at + 1..at + 2])?;
    }
    Ok(logprobs)
}
