//! Chooses a token from a row of logits as the card does (`kernels/sampling.cu`), on the host: for rows whose logits
//! the host needs anyway. Both choose the same token.
//!
//! The weight of a token is ⌊2⁴⁴ · exp(z − max)⌋. Sums of these integers are exact, so their order does not matter.

use super::log_softmax::{exp_row, log_softmax_row};
use crate::log_softmax::LogSoftmax;
use crate::sampling::{self, SampledToken, Scratch, Sums, TokenSampling, by_likelihood};
use bytemuck::{Pod, Zeroable};

/// How the card chooses a token: `Row` in the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(super) struct Row {
    inv_temperature: f32,
    top_p: f32,
    min_p: f32,
    top_k: i32,
    tokens: i32,
    greedy: i32,
    u: f64,
}

impl Row {
    pub(super) fn new(sampling: &TokenSampling) -> Row {
        let int = |n: usize| n.min(i32::MAX as usize) as i32;
        Row {
            inv_temperature: 1.0 / sampling.logprob_temperature(),
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            top_k: int(sampling.top_k),
            tokens: int(sampling.vocab_size),
            greedy: i32::from(sampling.is_greedy()),
            u: sampling.u,
        }
    }
}

/// What the card reports: `Sampled` in the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct Sampled {
    max: f32,
    sum: f32,
    weighted: f32,
    logit: f32,
    token: u32,
    finite: u32,
    unused: [u32; 2],
}

impl Sampled {
    /// Returns the token with its log-probability; `None` if the logits are not finite.
    pub(super) fn token(&self, sampling: &TokenSampling) -> Option<SampledToken> {
        let softmax = LogSoftmax::new(1.0 / sampling.logprob_temperature(), self.max, self.sum, self.weighted);
        (self.finite != 0).then(|| SampledToken { token: self.token, logprob: softmax.logprob(self.logit) })
    }
}

/// Returns the weight of a token from e = exp(z − max).
fn weight(e: f32) -> u64 {
    (e * (1u64 << 44) as f32) as u64
}

/// Chooses a token from a row of logits.
pub(super) fn sample(logits: &[f32], settings: &TokenSampling, scratch: &mut Scratch) -> SampledToken {
    sampling::sample::<Integers>(logits, settings, scratch, log_softmax_row, exp_row)
}

/// Sums of integer [`weight`]s.
struct Integers;

impl Sums for Integers {
    fn keep_top_p(candidates: &mut Vec<(f32, u32)>, p: f32) {
        let total: u64 = candidates.iter().map(|c| weight(c.0)).sum();
        if total == 0 {
            return; // the most likely token is chosen
        }
        let enough = ((f64::from(p) * total as f64).ceil() as u64).clamp(1, total);
        // Candidates below this sum to less than total − enough, so `enough` is reached without them.
        let floor = (total - enough) / candidates.len() as u64;
        candidates.retain(|c| weight(c.0) >= floor);
        candidates.sort_unstable_by(by_likelihood);
        let mut sum = 0;
        let reached = candidates.iter().position(|c| {
            sum += weight(c.0);
            sum >= enough
        });
        candidates.truncate(reached.map_or(candidates.len(), |i| i + 1));
    }

    fn pick(mut candidates: impl Iterator<Item = (f32, u32)> + Clone, u: f64) -> Option<u32> {
        let total: u64 = candidates.clone().map(|c| weight(c.0)).sum();
        let rank = ((u * total as f64) as u64).min(total.checked_sub(1)?);
        let mut sum = 0;
        let chosen = candidates.find(|c| {
            sum += weight(c.0);
            sum > rank
        });
        chosen.map(|c| c.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::cuda::Cuda;
    use crate::cuda::driver::Launch;
    use crate::device::Device;
    use crate::rng::Rng;

    /// Samples rows of logits on the card.
    fn on_card(cuda: &Cuda, logits: &[f32], rows: &[TokenSampling]) -> Vec<Option<SampledToken>> {
        let vocab = logits.len() / rows.len();
        let gpu = &cuda.gpu;
        let sizes =
            [rows.len() * size_of::<Sampled>(), 4 * logits.len(), 4 * logits.len(), size_of::<Row>() * rows.len()];
        let [results, exps, z, settings] = sizes.map(|bytes| gpu.allocate(bytes, "a test").unwrap());
        z.write(0, logits).unwrap();
        settings.write(0, &rows.iter().map(Row::new).collect::<Vec<_>>()).unwrap();
        let args = &mut [results.at().into(), exps.at().into(), z.at().into(), settings.at().into(), vocab.into()];
        gpu.launch("sample_f32", Launch::blocks(rows.len(), 512), args).unwrap();
        let mut sampled = vec![Sampled::default(); rows.len()];
        results.read(0, &mut sampled).unwrap();
        sampled.iter().zip(rows).map(|(sampled, row)| sampled.token(row)).collect()
    }

    /// Returns settings that differ in every filter, for a vocabulary.
    fn settings(rng: &mut Rng, vocab: usize, i: usize) -> TokenSampling {
        TokenSampling {
            temperature: [1.0, 0.6, 0.0, 1.7][i % 4],
            top_k: [0, 1 + rng.below(vocab), 0, 3, vocab + 1][i % 5],
            top_p: [1.0, 0.95, 0.3, 1e-6, 0.999_999][i / 2 % 5],
            min_p: [0.0, 0.0, 0.05, 1.0][i / 3 % 4],
            vocab_size: if i.is_multiple_of(3) { vocab - vocab / 4 } else { usize::MAX },
            u: [0.0, 1.0 - f64::EPSILON / 2.0, rng.uniform_f64(), rng.uniform_f64()][i % 4],
        }
    }

    fn cards() -> impl Iterator<Item = Cuda> {
        let number = |device| if let Device::Cuda(number) = device { Some(number) } else { None };
        Device::all().into_iter().filter_map(number).map(|number| Cuda::open(number).unwrap())
    }

    #[test]
    fn the_card_chooses_the_same_tokens_as_the_host() {
        for cuda in cards() {
            for vocab in [1, 31, 513, 3000] {
                let (mut rng, rows) = (Rng::new(&[vocab as u64]), 40);
                let settings: Vec<_> = (0..rows).map(|i| settings(&mut rng, vocab, i)).collect();
                // Ties in every second row, few different values.
                let mut logit = |i: usize| {
                    let x = 3.0 * rng.normal();
                    if (i / vocab).is_multiple_of(2) { x } else { x.round() }
                };
                let logits: Vec<f32> = (0..rows * vocab).map(&mut logit).collect();
                let card = on_card(&cuda, &logits, &settings);
                for ((card, row), logits) in card.iter().zip(&settings).zip(logits.chunks(vocab)) {
                    let host = cuda.sample(logits, row, &mut Scratch::default());
                    assert_eq!(*card, Some(host), "{row:?} of {vocab}");
                }
            }
        }
    }

    #[test]
    fn logits_that_are_not_finite_give_no_token() {
        for cuda in cards() {
            let plain = TokenSampling { temperature: 1.0, top_k: 0, top_p: 0.9, min_p: 0.0, vocab_size: 600, u: 0.5 };
            for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut logits = vec![0.5; 2 * 700];
                logits[650] = x; // beyond the tokens that may be chosen
                let card = on_card(&cuda, &logits, &[plain; 2]);
                assert_eq!((card[0].is_some(), card[1].is_some()), (false, true));
            }
        }
    }

    #[test]
    fn frequencies_are_the_probabilities() {
        let logits = [0.0, 1.0, 2.0, -1.0];
        let row = log_softmax_row(&logits, 1.0);
        let mut counts = [0usize; 4];
        let n = 4000;
        for i in 0..n {
            let u = (i as f64 + 0.5) / n as f64;
            let settings = TokenSampling { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, vocab_size: 4, u };
            counts[sample(&logits, &settings, &mut Scratch::default()).token as usize] += 1;
        }
        for (count, logit) in counts.into_iter().zip(logits) {
            assert!((count as f32 / n as f32 - row.logprob(logit).exp()).abs() < 1e-3);
        }
    }
}
