//! The objective of GRPO, per token, as a function of its log-probability.
//!
//! R1 eq. 1–2 in the per-token form of DeepSeekMath eq. 3 and DeepSeek-V3.2 §3.1, as a loss (negated):
//!
//! L_t = w_t · ( −min(ρ A, clip(ρ, 1−ε, 1+ε_high) A) + β k3 ),  ρ = π_θ / π_old,
//! k3 = π_ref/π_θ − log(π_ref/π_θ) − 1 ≥ 0  (Schulman's unbiased estimator of the KL divergence).
//!
//! w_t is the normalisation ([`LossType`]); R1 writes the ratio per output without 1/|o|, which practice reads as the
//! per-token form. `cispo` (MiniMax-M1 §3.1) keeps every token's gradient: −sg(min(ρ, 1+ε_high)) A log π.

use meno_tensor::batch::Batch;
use meno_tensor::tape::{Objective, TokenLoss};
use serde::{Deserialize, Serialize};

/// The variants of the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum LossType {
    /// Mean over the tokens of a response, then over responses (DeepSeekMath).
    Grpo,
    /// Sum over tokens divided by the constant `max_completion_length`, mean over responses (arXiv 2503.20783).
    DrGrpo,
    /// Mean over all tokens of the step (DAPO, arXiv 2503.14476).
    #[default]
    Dapo,
    /// As `dapo`, the ratio capped and detached instead of clipped (MiniMax-M1).
    Cispo,
}

/// The constants of the objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// Which loss.
    pub loss_type: LossType,
    /// ε: the ratio is clipped below 1 − ε.
    pub epsilon: f32,
    /// The ratio is clipped above 1 + ε_high (DAPO's clip-higher).
    pub epsilon_high: f32,
    /// The weight of the KL term.
    pub beta: f32,
}

/// What became of one token.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenTerm {
    /// Loss, before normalisation.
    pub loss: f32,
    /// d loss / d log-probability.
    pub dlogprob: f32,
    /// k3.
    pub kl: f32,
    /// The ratio was below 1 − ε with a negative advantage: clipped.
    pub clipped_low: bool,
    /// The ratio was above 1 + ε_high with a positive advantage: clipped.
    pub clipped_high: bool,
}

/// k3 = exp(d) − d − 1 with d = log π_ref − log π, and its derivative by log π.
pub fn k3(logprob: f32, ref_logprob: f32) -> (f32, f32) {
    let d = ref_logprob - logprob;
    // exp_m1 keeps k3 ≥ 0 where exp(d) − 1 would cancel.
    ((d.exp_m1() - d).max(0.0), -d.exp_m1())
}

impl Clip {
    /// The loss of one token and its derivative.
    pub fn term(&self, logprob: f32, old_logprob: f32, ref_logprob: f32, advantage: f32) -> TokenTerm {
        let ratio = (logprob - old_logprob).exp();
        let (low, high) = (1.0 - self.epsilon, 1.0 + self.epsilon_high);
        let clipped_low = ratio < low && advantage < 0.0;
        let clipped_high = ratio > high && advantage > 0.0;
        let (mut loss, mut dlogprob) = match self.loss_type {
            LossType::Cispo => {
                let weight = ratio.min(high);
                (-weight * advantage * logprob, -weight * advantage)
            }
            // min(ρA, clip(ρ)A) is the clipped branch exactly where clipping lowers the objective.
            _ if clipped_low => (-low * advantage, 0.0),
            _ if clipped_high => (-high * advantage, 0.0),
            _ => (-ratio * advantage, -ratio * advantage),
        };
        let mut kl = 0.0;
        if self.beta != 0.0 {
            let (value, derivative) = k3(logprob, ref_logprob);
            kl = value;
            loss += self.beta * value;
            dlogprob += self.beta * derivative;
        }
        TokenTerm { loss, dlogprob, kl, clipped_low, clipped_high }
    }
}

/// The weight of every token of a response of `tokens` tokens, one of `responses` of a step with `step_tokens`.
pub fn token_weight(
    loss_type: LossType,
    tokens: usize,
    responses: usize,
    step_tokens: usize,
    max_completion_length: usize,
) -> f32 {
    let divisor = match loss_type {
        LossType::Grpo => tokens * responses,
        LossType::DrGrpo => max_completion_length * responses,
        LossType::Dapo | LossType::Cispo => step_tokens,
    };
    1.0 / divisor.max(1) as f32
}

/// The objective over the rows of one pass; [`Batch::weights`] holds the normalisation.
pub struct Policy<'a> {
    /// The constants.
    pub clip: Clip,
    /// log π_old of every row's target, as sampled.
    pub old_logprobs: &'a [f32],
    /// log π_ref of every row's target (any value if β is 0).
    pub ref_logprobs: &'a [f32],
    /// The advantage of every row.
    pub advantages: &'a [f32],
    /// Logits are divided by this, as when sampling.
    pub temperature: f32,
}

impl Objective for Policy<'_> {
    fn token(&self, batch: &Batch, _head: usize, row: usize, logprob: f32) -> TokenLoss {
        let weight = batch.weights[row];
        let term = self.clip.term(logprob, self.old_logprobs[row], self.ref_logprobs[row], self.advantages[row]);
        TokenLoss { loss: weight * term.loss, dlogprob: weight * term.dlogprob }
    }
    fn temperature(&self) -> f32 {
        self.temperature
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(loss_type: LossType, beta: f32) -> Clip {
        Clip { loss_type, epsilon: 0.2, epsilon_high: 0.28, beta }
    }

    #[test]
    fn terms_by_hand() {
        let c = clip(LossType::Grpo, 0.0);
        // On policy: the ratio is 1, the gradient −A (R1 §2.2.1).
        assert_eq!(c.term(-1.0, -1.0, 0.0, 0.5), TokenTerm { loss: -0.5, dlogprob: -0.5, ..TokenTerm::default() });
        // ρ = 1.5: clipped for a positive advantage, free for a negative one.
        let lp = -1.0 + 1.5f32.ln();
        let t = c.term(lp, -1.0, 0.0, 2.0);
        assert!(t.clipped_high && t.dlogprob == 0.0 && (t.loss + 2.56).abs() < 1e-5, "{t:?}");
        let t = c.term(lp, -1.0, 0.0, -2.0);
        assert!(!t.clipped_high && (t.loss - 3.0).abs() < 1e-5 && (t.dlogprob - 3.0).abs() < 1e-5, "{t:?}");
        // ρ = 0.5: clipped for a negative advantage, free for a positive one.
        let lp = -1.0 + 0.5f32.ln();
        let t = c.term(lp, -1.0, 0.0, -1.0);
        assert!(t.clipped_low && t.dlogprob == 0.0 && (t.loss - 0.8).abs() < 1e-6, "{t:?}");
        let t = c.term(lp, -1.0, 0.0, 1.0);
        assert!(!t.clipped_low && (t.dlogprob + 0.5).abs() < 1e-6, "{t:?}");
    }

    #[test]
    fn the_derivative_is_that_of_the_loss() {
        for loss_type in [LossType::Grpo, LossType::Dapo] {
            let c = clip(loss_type, 0.04);
            for i in 0..400 {
                let lp = -3.0 + 0.0075 * i as f32;
                let (old, reference, a) = (-1.4f32, -0.9f32, if i % 2 == 0 { 1.3 } else { -0.7 });
                let h = 1e-3f32;
                let (low, high) = (c.term(lp - h, old, reference, a), c.term(lp + h, old, reference, a));
                if low.clipped_low != high.clipped_low || low.clipped_high != high.clipped_high {
                    continue; // the kink of the clip
                }
                let numeric = (high.loss as f64 - low.loss as f64) / (2.0 * h as f64);
                let exact = c.term(lp, old, reference, a).dlogprob as f64;
                assert!((numeric - exact).abs() < 2e-3 * (1.0 + exact.abs()), "{lp}: {numeric} {exact}");
            }
        }
    }

    #[test]
    fn k3_is_never_negative_and_estimates_the_divergence() {
        for i in -200..=200 {
            for j in [-1e-4f32, -1e-6, 0.0, 1e-7, 0.3] {
                let lp = -5.0 + 0.02 * i as f32;
                assert!(k3(lp, lp + j).0 >= 0.0);
            }
        }
        assert_eq!(k3(-1.0, -1.0), (0.0, 0.0));
        // E_π[k3] = KL(π || π_ref) on a vocabulary of three.
        let (p, q) = ([0.5f32, 0.3, 0.2], [0.2f32, 0.5, 0.3]);
        let exact: f32 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
        let mean: f32 = p.iter().zip(q).map(|(p, q)| p * k3(p.ln(), q.ln()).0).sum();
        assert!((exact - mean).abs() < 1e-6, "{exact} {mean}");
    }

    #[test]
    fn dapo_weighs_tokens_and_grpo_weighs_responses() {
        // Two responses of 10 and 30 tokens, at most 100.
        let w = |t, tokens| token_weight(t, tokens, 2, 40, 100);
        assert_eq!((w(LossType::Grpo, 10), w(LossType::Grpo, 30)), (1.0 / 20.0, 1.0 / 60.0));
        assert_eq!((w(LossType::Dapo, 10), w(LossType::Dapo, 30)), (1.0 / 40.0, 1.0 / 40.0));
        assert_eq!((w(LossType::DrGrpo, 10), w(LossType::DrGrpo, 30)), (1.0 / 200.0, 1.0 / 200.0));
        // A whole response counts the same in GRPO whatever its length, in DAPO by its length.
        assert_eq!(w(LossType::Grpo, 10) * 10.0, w(LossType::Grpo, 30) * 30.0);
        assert_eq!(w(LossType::Dapo, 10) * 10.0 + w(LossType::Dapo, 30) * 30.0, 1.0);
    }

    #[test]
    fn cispo_keeps_the_gradient_of_every_token() {
        let c = clip(LossType::Cispo, 0.0);
        let t = c.term(-1.0 + 2f32.ln(), -1.0, 0.0, 1.0);
        assert!((t.dlogprob + 1.28).abs() < 1e-6, "the weight is capped, not cut: {t:?}");
        assert!((c.term(-3.0, -1.0, 0.0, -1.0).dlogprob - (-2f32).exp()).abs() < 1e-6);
    }
}
