//! How the tokens of an answer are chosen ([`Sampling`]). The device chooses a token from a row of logits
//! ([`meno_tensor::sampling`]); penalties, biases and constraints change the logits before.
//!
//! All functions are pure: they take a row of logits and a uniform number. The number comes from a counter-based
//! generator keyed by (seed, step, sequence, position), so a token does not depend on which other sequences are being
//! sampled.

mod penalties;

pub use penalties::adjust;

use crate::constraint::TokenMask;
use meno_tensor::backend::Backend;
use meno_tensor::sampling::{self, TokenSampling, by_likelihood};

/// Maximum number of alternatives reported per token (OpenAI's limit).
pub const MAX_TOP_LOGPROBS: usize = 20;

/// How tokens are chosen, and when to stop.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by this; 0 takes the most likely token (ties to the lowest id).
    pub temperature: f32,
    /// Keep the most likely tokens that together have this probability; 1 keeps all.
    pub top_p: f32,
    /// Keep this many of the most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep tokens at least this fraction as likely as the most likely; 0 keeps all.
    pub min_p: f32,
    /// Maximum length of an answer in tokens.
    pub max_tokens: usize,
    /// Tokens that end an answer; the stop token is its last token.
    pub stop_tokens: Vec<u32>,
    /// The size of the tokenizer's vocabulary: only ids below this are chosen. Networks often have more output rows
    /// than their tokenizer has tokens, to round the size up; the other rows correspond to no token. They stay part of
    /// the distribution that log-probabilities refer to, as in training; like [`Sampling::top_k`], this only restricts
    /// the choice.
    pub vocab_size: usize,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// Subtracted once from the logits of tokens that occur in the answer (OpenAI).
    pub presence_penalty: f32,
    /// Subtracted from the logits of a token once per occurrence in the answer (OpenAI).
    pub frequency_penalty: f32,
    /// Divides positive and multiplies negative logits of tokens that occur in the prompt or the answer (CTRL, arXiv
    /// 1909.05858, §4.1); 1 has no effect.
    pub repetition_penalty: f32,
    /// `Some(k)`: report the k most likely tokens with every token, at most [`MAX_TOP_LOGPROBS`]; log-probabilities are
    /// then the model's own, at temperature 1. `None`: log-probabilities at [`Sampling::logprob_temperature`], as in
    /// training.
    pub top_logprobs: Option<usize>,
}

impl Default for Sampling {
    /// The model's own distribution.
    fn default() -> Self {
        Sampling {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            max_tokens: usize::MAX,
            stop_tokens: vec![],
            vocab_size: usize::MAX,
            logit_bias: vec![],
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repetition_penalty: 1.0,
            top_logprobs: None,
        }
    }
}

impl Sampling {
    /// Returns the temperature of the recorded log-probabilities. It is 1 for greedy choices and whenever alternatives
    /// are reported.
    pub fn logprob_temperature(&self) -> f32 {
        if self.temperature == 0.0 || self.top_logprobs.is_some() { 1.0 } else { self.temperature }
    }

    /// Returns true if tokens are chosen from modified logits.
    pub fn adjusts(&self) -> bool {
        let none = self.presence_penalty == 0.0 && self.frequency_penalty == 0.0 && self.repetition_penalty == 1.0;
        !none || !self.logit_bias.is_empty()
    }

    /// Returns true if a token and its log-probability follow from its logits alone, so that the device can choose it
    /// without sending the logits.
    pub(crate) fn needs_no_logits(&self) -> bool {
        !self.adjusts() && self.top_logprobs.is_none()
    }

    /// Returns how a token is chosen with the uniform number `u`.
    pub(crate) fn of_token(&self, u: f64) -> TokenSampling {
        let Sampling { temperature, top_k, top_p, min_p, vocab_size, .. } = *self;
        TokenSampling { temperature, top_k, top_p, min_p, vocab_size, u }
    }

    /// Checks all values; the message names the invalid one.
    pub fn check(&self) -> Result<(), String> {
        let fraction = 0.0..=1.0;
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(format!("temperature {} must be 0 or more", self.temperature));
        }
        if !(fraction.contains(&self.top_p) && self.top_p > 0.0) {
            return Err(format!("top_p {} must be above 0 and at most 1", self.top_p));
        }
        if !fraction.contains(&self.min_p) {
            return Err(format!("min_p {} must be between 0 and 1", self.min_p));
        }
        let penalties = [("presence_penalty", self.presence_penalty), ("frequency_penalty", self.frequency_penalty)];
        if let Some((name, x)) = penalties.into_iter().find(|p| !p.1.is_finite()) {
            return Err(format!("{name} {x} must be a number"));
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite()) {
            return Err(format!("repetition_penalty {} must be above 0", self.repetition_penalty));
        }
        if let Some((token, bias)) = self.logit_bias.iter().find(|b| b.1.is_nan()) {
            return Err(format!("logit_bias {bias} of token {token} must be a number"));
        }
        if let Some(k) = self.top_logprobs.filter(|&k| k > MAX_TOP_LOGPROBS) {
            return Err(format!("top_logprobs {k} must be at most {MAX_TOP_LOGPROBS}"));
        }
        Ok(())
    }
}

/// Reusable scratch memory for sampling.
#[derive(Default)]
pub struct Scratch {
    sampling: sampling::Scratch,
    /// Modified logits.
    pub(crate) adjusted: Vec<f32>,
    /// Tokens that occurred, one bit each.
    pub(crate) seen: Vec<u64>,
    /// The tokens that a constraint allows.
    pub(crate) mask: TokenMask,
}

/// Returns the log-probability of a token at [`Sampling::logprob_temperature`].
pub fn logprob(backend: &dyn Backend, logits: &[f32], sampling: &Sampling, token: u32) -> f32 {
    backend.normalizer(logits, 1.0 / sampling.logprob_temperature()).logprob(logits[token as usize])
}

/// Returns the `k` most likely of the first `vocab_size` tokens with their log-probabilities at temperature 1, most
/// likely first.
pub fn top_logprobs(backend: &dyn Backend, logits: &[f32], vocab_size: usize, k: usize) -> Vec<(u32, f32)> {
    let tokens = &logits[..vocab_size.min(logits.len())];
    let k = k.min(MAX_TOP_LOGPROBS).min(tokens.len());
    let mut top: Vec<(f32, u32)> = Vec::with_capacity(k + 1);
    for (&x, id) in tokens.iter().zip(0..) {
        if top.len() == k && top.last().is_none_or(|last| by_likelihood(&(x, id), last).is_ge()) {
            continue;
        }
        let at = top.partition_point(|t| by_likelihood(t, &(x, id)).is_lt());
        top.insert(at, (x, id));
        top.truncate(k);
    }
    let row = backend.normalizer(logits, 1.0);
    top.into_iter().map(|(x, id)| (id, row.logprob(x))).collect()
}

/// Returns the token that the uniform number `u` in [0, 1) selects, and its log-probability in the full distribution at
/// [`Sampling::logprob_temperature`]. The log-probability has the same bits as in scoring.
pub fn sample(backend: &dyn Backend, logits: &[f32], sampling: &Sampling, u: f64, scratch: &mut Scratch) -> (u32, f32) {
    let sampled = backend.sample(logits, &sampling.of_token(u), &mut scratch.sampling);
    match sampling.top_logprobs {
        None => (sampled.token, sampled.logprob),
        Some(_) => (sampled.token, logprob(backend, logits, sampling, sampled.token)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meno_tensor::cpu::Cpu;

    /// Probabilities .5 .25 .125 .125 at temperature 1.
    fn logits() -> Vec<f32> {
        [0.5f32, 0.25, 0.125, 0.125].iter().map(|p| p.ln()).collect()
    }

    /// Returns how often each token is chosen over a fine grid of uniform numbers, in 64ths.
    fn shares(sampling: &Sampling) -> [usize; 4] {
        let mut counts = [0; 4];
        let mut scratch = Scratch::default();
        for i in 0..64 {
            counts[sample(&Cpu, &logits(), sampling, (i as f64 + 0.5) / 64.0, &mut scratch).0 as usize] += 1;
        }
        counts
    }

    #[test]
    fn temperature_by_hand() {
        assert_eq!(shares(&Sampling::default()), [32, 16, 8, 8]);
        // At 0.5 the probabilities are squared: 16 : 4 : 1 : 1 of 22 → 46.5, 11.6, 2.9, 2.9 of 64.
        assert_eq!(shares(&Sampling { temperature: 0.5, ..Default::default() }), [47, 11, 3, 3]);
        assert_eq!(shares(&Sampling { temperature: 0.0, ..Default::default() }), [64, 0, 0, 0]);
    }

    #[test]
    fn log_probabilities_are_of_the_full_distribution() {
        let filtered = Sampling { temperature: 0.5, top_k: 2, ..Default::default() };
        let (token, logprob) = sample(&Cpu, &logits(), &filtered, 0.0, &mut Scratch::default());
        assert_eq!(token, 0);
        assert!((logprob - (16f32 / 22.0).ln()).abs() < 1e-6);
        let greedy = Sampling { temperature: 0.0, ..Default::default() };
        assert!((sample(&Cpu, &logits(), &greedy, 0.0, &mut Scratch::default()).1 - 0.5f32.ln()).abs() < 1e-6);
        assert_eq!(logprob, Cpu.normalizer(&logits(), 2.0).logprob(logits()[0]));
    }

    #[test]
    fn filters_by_hand() {
        let s = |top_k, top_p, min_p| shares(&Sampling { top_k, top_p, min_p, ..Default::default() });
        assert_eq!(s(2, 1.0, 0.0), [43, 21, 0, 0]); // 2/3, 1/3
        assert_eq!(s(3, 1.0, 0.0), [37, 18, 9, 0]); // 4/7, 2/7, 1/7; the tie goes to the lower id
        assert_eq!(s(0, 0.5, 0.0), [64, 0, 0, 0]); // the first alone reaches .5
        assert_eq!(s(0, 0.51, 0.0), [43, 21, 0, 0]);
        assert_eq!(s(0, 0.8, 0.0), [37, 18, 9, 0]);
        assert_eq!(s(0, 1.0, 0.5), [43, 21, 0, 0]); // at least half of .5
        assert_eq!(s(0, 1.0, 0.51), [64, 0, 0, 0]);
        assert_eq!(s(2, 0.6, 0.0), [64, 0, 0, 0]); // after top-k the first has 2/3
        assert_eq!(s(1, 0.9, 0.1), [64, 0, 0, 0]);
    }

    #[test]
    fn alternatives_are_the_models_own_at_temperature_1() {
        let top = top_logprobs(&Cpu, &logits(), usize::MAX, 3);
        assert_eq!(top.iter().map(|t| t.0).collect::<Vec<_>>(), [0, 1, 2]); // the tie goes to the lower id
        for (t, p) in top.iter().zip([0.5f32, 0.25, 0.125]) {
            assert!((t.1 - p.ln()).abs() < 1e-6, "{t:?}");
        }
        assert_eq!(top_logprobs(&Cpu, &logits(), usize::MAX, 9).len(), 4);
        assert!(top_logprobs(&Cpu, &logits(), usize::MAX, 0).is_empty());
        let told = Sampling { temperature: 0.5, top_logprobs: Some(1), ..Default::default() };
        let (token, logprob) = sample(&Cpu, &logits(), &told, 0.0, &mut Scratch::default());
        assert_eq!((token, logprob), (0, top[0].1));
    }

    #[test]
    fn rows_beyond_the_vocabulary_are_never_chosen_and_keep_their_share_of_the_log_probability() {
        // The best row by far, and the second best, correspond to no token.
        let mut padded = logits();
        padded.extend([4.0, 3.0]);
        let s = |temperature, top_k, top_p, min_p| Sampling {
            temperature,
            top_k,
            top_p,
            min_p,
            vocab_size: 4,
            ..Default::default()
        };
        let mut scratch = Scratch::default();
        for sampling in
            [s(1.0, 0, 1.0, 0.0), s(0.0, 0, 1.0, 0.0), s(1.0, 2, 1.0, 0.0), s(1.0, 0, 0.8, 0.0), s(1.0, 0, 1.0, 0.5)]
        {
            let full = Sampling { vocab_size: usize::MAX, ..sampling.clone() };
            for i in 0..64 {
                let u = (i as f64 + 0.5) / 64.0;
                let (token, logprob) = sample(&Cpu, &padded, &sampling, u, &mut scratch);
                // The same as with the four rows alone: masking renormalizes, like top-k.
                assert_eq!(token, sample(&Cpu, &logits(), &full, u, &mut scratch).0);
                assert_eq!(logprob, Cpu.normalizer(&padded, 1.0).logprob(padded[token as usize]));
            }
        }
        let top: Vec<u32> = top_logprobs(&Cpu, &padded, 4, 20).into_iter().map(|t| t.0).collect();
        assert_eq!(top, [0, 1, 2, 3]);
        // Logits so far below the padding that their weights are 0: a token is still chosen.
        padded.iter_mut().take(4).for_each(|x| *x -= 1e4);
        assert_eq!(sample(&Cpu, &padded, &s(1.0, 0, 1.0, 0.0), 0.9, &mut scratch).0, 0);
    }

    #[test]
    fn nonsense_is_named() {
        let bad = |s: Sampling| s.check().unwrap_err();
        assert!(bad(Sampling { temperature: -1.0, ..Default::default() }).contains("temperature -1"));
        assert!(bad(Sampling { temperature: f32::NAN, ..Default::default() }).contains("temperature NaN"));
        assert!(bad(Sampling { top_p: 0.0, ..Default::default() }).contains("top_p 0"));
        assert!(bad(Sampling { min_p: 2.0, ..Default::default() }).contains("min_p 2"));
        assert!(bad(Sampling { repetition_penalty: 0.0, ..Default::default() }).contains("repetition_penalty 0"));
        assert!(bad(Sampling { presence_penalty: f32::NAN, ..Default::default() }).contains("presence_penalty NaN"));
        assert!(bad(Sampling { logit_bias: vec![(7, f32::NAN)], ..Default::default() }).contains("token 7"));
        assert!(bad(Sampling { top_logprobs: Some(21), ..Default::default() }).contains("top_logprobs 21"));
        // If all logits are NaN, it returns a token instead of panicking.
        sample(&Cpu, &[f32::NAN; 3], &Sampling { top_p: 0.5, ..Default::default() }, 0.3, &mut Scratch::default());
        sample(&Cpu, &[f32::NEG_INFINITY; 3], &Sampling::default(), 0.3, &mut Scratch::default());
    }
}
