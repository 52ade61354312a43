//! Chooses a token from a row of logits: temperature, top-k, top-p, min-p, in the order of transformers' generate().
//!
//! The result depends on the logits, the settings and a uniform number alone.

use crate::log_softmax::LogSoftmax;
use std::cmp::Ordering;

/// How to choose a token from a row of logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenSampling {
    /// Logits are divided by this; 0 takes the most likely token (ties to the lowest id).
    pub temperature: f32,
    /// Keep this many of the most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the fewest most likely tokens that together have this probability; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this fraction as likely as the most likely; 0 keeps all.
    pub min_p: f32,
    /// Only tokens below this are chosen. The others stay part of the distribution.
    pub vocab_size: usize,
    /// A uniform number in [0, 1).
    pub u: f64,
}

impl TokenSampling {
    /// Takes the most likely token.
    pub fn greedy() -> TokenSampling {
        TokenSampling { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, vocab_size: usize::MAX, u: 0.0 }
    }
    /// Returns true if the most likely token is chosen.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0 || self.top_k == 1
    }
    /// Returns the temperature of the log-probability: 1 at temperature 0.
    pub fn logprob_temperature(&self) -> f32 {
        if self.temperature == 0.0 { 1.0 } else { self.temperature }
    }
}

/// A token that was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampledToken {
    /// The token.
    pub token: u32,
    /// Its log-probability in the full distribution at [`TokenSampling::logprob_temperature`], with the bits of
    /// scoring.
    pub logprob: f32,
}

/// Reusable memory for sampling.
#[derive(Default)]
pub struct Scratch {
    /// exp(z − max) of every token.
    exps: Vec<f32>,
    /// Weights and ids of the remaining candidates.
    candidates: Vec<(f32, u32)>,
}

/// Returns the most likely token; the lowest id on ties.
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, &x) in logits.iter().enumerate() {
        if x > logits[best] || logits[best].is_nan() {
            best = i;
        }
    }
    best as u32
}

/// Orders candidates by descending likelihood, then by id.
pub fn by_likelihood(a: &(f32, u32), b: &(f32, u32)) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// The sums of weights by which a backend chooses among candidates, which have exp(z − max) and an id.
pub(crate) trait Sums {
    /// Keeps the fewest most likely candidates that have at least the share `p` < 1 of the weight, the most likely
    /// first.
    fn keep_top_p(candidates: &mut Vec<(f32, u32)>, p: f32);
    /// Returns the candidate whose interval of the cumulative weights contains `u`.
    fn pick(candidates: impl Iterator<Item = (f32, u32)> + Clone, u: f64) -> Option<u32>;
}

/// Chooses a token: a backend's [`sample`](crate::backend::Backend::sample), with its own sums. `normalizer` and
/// `log_softmax` are the backend's.
pub(crate) fn sample<S: Sums>(
    logits: &[f32],
    sampling: &TokenSampling,
    scratch: &mut Scratch,
    normalizer: impl Fn(&[f32], f32) -> LogSoftmax,
    log_softmax: impl Fn(&mut [f32], f32) -> LogSoftmax,
) -> SampledToken {
    let tokens = sampling.vocab_size.min(logits.len());
    let best = argmax(&logits[..tokens]);
    let inv_temperature = 1.0 / sampling.logprob_temperature();
    if sampling.is_greedy() {
        let logprob = normalizer(logits, inv_temperature).logprob(logits[best as usize]);
        return SampledToken { token: best, logprob };
    }
    let Scratch { exps, candidates } = scratch;
    exps.clear();
    exps.extend_from_slice(logits);
    let row = log_softmax(exps, inv_temperature);
    let all = exps[..tokens].iter().zip(0..).map(|(&e, id)| (e, id));
    let unfiltered = sampling.top_k == 0 && sampling.top_p >= 1.0 && sampling.min_p == 0.0;
    let token = if unfiltered {
        S::pick(all, sampling.u)
    } else {
        candidates.clear();
        candidates.extend(all);
        keep_top_k(candidates, sampling.top_k);
        if sampling.top_p < 1.0 {
            S::keep_top_p(candidates, sampling.top_p);
        }
        if sampling.min_p > 0.0 {
            let least = sampling.min_p * exps[best as usize];
            candidates.retain(|c| c.0 >= least);
        }
        S::pick(candidates.iter().copied(), sampling.u)
    };
    let token = token.unwrap_or(best);
    SampledToken { token, logprob: row.logprob(logits[token as usize]) }
}

/// Keeps the `k` most likely candidates, in the order of their ids; 0 keeps all.
fn keep_top_k(candidates: &mut Vec<(f32, u32)>, k: usize) {
    if k > 0 && k < candidates.len() {
        candidates.select_nth_unstable_by(k - 1, by_likelihood);
        candidates.truncate(k);
        candidates.sort_unstable_by_key(|c| c.1);
    }
}

/// Sums in f64, in the order of the candidates.
pub(crate) struct F64;

impl Sums for F64 {
    fn keep_top_p(candidates: &mut Vec<(f32, u32)>, p: f32) {
        let total: f64 = candidates.iter().map(|c| c.0 as f64).sum();
        // Tokens below this sum to less than 1 − p, so p is reached without them. Only the rest needs sorting.
        let floor = (1.0 - p as f64) * total / candidates.len() as f64;
        candidates.retain(|c| c.0 as f64 >= floor);
        candidates.sort_unstable_by(by_likelihood);
        let mut sum = 0.0;
        let reached = candidates.iter().position(|c| {
            sum += c.0 as f64;
            sum >= p as f64 * total
        });
        candidates.truncate(reached.map_or(candidates.len(), |i| i + 1));
    }

    fn pick(candidates: impl Iterator<Item = (f32, u32)> + Clone, u: f64) -> Option<u32> {
        let total: f64 = candidates.clone().map(|c| c.0 as f64).sum();
        let mut rest = u * total;
        for (weight, id) in candidates.clone() {
            rest -= weight as f64;
            if rest < 0.0 {
                return Some(id);
            }
        }
        candidates.filter(|c| c.0 > 0.0).last().map(|c| c.1) // rounding at the very end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_likely_token_is_the_first_on_ties_and_never_nan() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(argmax(&[f32::NAN, 3.0, f32::NAN]), 1);
    }

    #[test]
    fn top_p_needs_only_part_of_the_vocabulary_sorted() {
        // Compare with the plain definition: sort everything, cut where the sum reaches p.
        let mut rng = crate::rng::Rng::new(&[3]);
        for round in 0..50 {
            let logits: Vec<f32> = (0..200).map(|_| rng.normal() * 3.0).collect();
            let p = 0.05 + 0.018 * round as f32;
            let mut plain: Vec<(f32, u32)> = logits.iter().enumerate().map(|(i, x)| (x.exp(), i as u32)).collect();
            let mut fast = plain.clone();
            plain.sort_by(by_likelihood);
            let total: f64 = plain.iter().map(|c| c.0 as f64).sum();
            let mut sum = 0.0;
            let keep = plain.iter().take_while(|c| {
                let before = sum;
                sum += c.0 as f64;
                before < p as f64 * total
            });
            let plain: Vec<_> = keep.copied().collect();
            F64::keep_top_p(&mut fast, p);
            assert_eq!(fast, plain);
        }
    }
}
