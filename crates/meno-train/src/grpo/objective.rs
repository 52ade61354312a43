//! The objective of GRPO, per token, as a function of its log-probability and entropy.
//!
//! R1 eq. 1–2 in the per-token form of DeepSeekMath eq. 3 and DeepSeek-V3.2 §3.1, as a loss (negated):
//!
//! L_t = w_t · ( P_t + β KL_t ) − w_H · H_t
//!
//! with ρ = π_θ / π_old of the token or, at the sequence level, of the whole response (GSPO, arXiv
//! 2507.18071: exp(mean_t log π_θ/π_old)); P_t by [`LossType`]:
//!
//! | loss type | P_t | source |
//! |---|---|---|
//! | `grpo`, `dr_grpo`, `bnpo`, `dapo`, `gspo` | −min(min(ρ, δ) A, clip(ρ, 1−ε, 1+ε_high) A) | R1 eq. 1 |
//! | `cispo` | −sg(min(ρ, 1+ε_high)) A log π_θ | MiniMax-M1 §3.1, arXiv 2506.13585 |
//! | `sapo` | −(4/τ) σ(τ(ρ−1)) A, τ by the sign of A | arXiv 2511.20347 |
//!
//! where δ (`delta`, INTELLECT-2, arXiv 2505.07291) is infinite unless set, and
//! KL_t = k3 = π_ref/π_θ − log(π_ref/π_θ) − 1 ≥ 0 (Schulman's unbiased estimator of the KL divergence), times ρ if
//! `use_bias_correction_kl` (DeepSeek-V3.2 §3.1: then the gradient is unbiased too).
//!
//! w_t is the normalization ([`token_weight`]); R1 writes the ratio per output without 1/|o|; implementations use the
//! per-token form.
//!
//! TRL's `cispo` caps the ratio at `epsilon_high`; here, as in MiniMax-M1, at 1 + `epsilon_high`. TRL's 5.0
//! corresponds to 4.0 here.

use meno_tensor::tape::{Batch, Objective, TokenLoss};
use serde::{Deserialize, Serialize};

/// The variants of the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum LossType {
    /// Mean over the tokens of a response, then over responses (DeepSeekMath).
    Grpo,
    /// Sum over tokens divided by the constant `max_completion_length`, then mean over responses (arXiv 2503.20783).
    DrGrpo,
    /// Mean over all tokens of the local batch. Here an optimizer step is one local batch, so this equals `dapo`.
    Bnpo,
    /// Mean over all tokens of the step (DAPO, arXiv 2503.14476).
    #[default]
    Dapo,
    /// Like `dapo`, with the ratio capped and detached instead of clipped (MiniMax-M1).
    Cispo,
    /// Like `grpo`, with a sigmoid of the ratio instead of clipping (arXiv 2511.20347).
    Sapo,
    /// Like `grpo`, with one ratio per response (arXiv 2507.18071).
    Gspo,
}

impl LossType {
    /// True if the ratio is clipped to 1 − ε and 1 + ε_high.
    pub fn clips(self) -> bool {
        !matches!(self, LossType::Cispo | LossType::Sapo)
    }
}

/// The level of the importance ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ImportanceSamplingLevel {
    /// One ratio per token: π_θ / π_old.
    #[default]
    Token,
    /// One ratio per response: the geometric mean of its tokens' ratios.
    Sequence,
}

/// The constants of the objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ObjectiveConfig {
    /// The variant of the loss.
    pub loss_type: LossType,
    /// ε: the ratio is clipped below 1 − ε.
    pub epsilon: f32,
    /// The ratio is clipped above 1 + ε_high (DAPO's clip-higher).
    pub epsilon_high: f32,
    /// δ: the ratio is capped here for negative advantages too (INTELLECT-2's two-sided clip).
    pub delta: Option<f32>,
    /// τ of `sapo` for positive advantages.
    pub sapo_temperature_pos: f32,
    /// τ of `sapo` for other advantages.
    pub sapo_temperature_neg: f32,
    /// The weight of the KL term.
    pub beta: f32,
    /// Multiply the KL term by the ratio.
    pub use_bias_correction_kl: bool,
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        ObjectiveConfig {
            loss_type: LossType::Dapo,
            epsilon: 0.2,
            epsilon_high: 0.2,
            delta: None,
            sapo_temperature_pos: 1.0,
            sapo_temperature_neg: 1.05,
            beta: 0.0,
            use_bias_correction_kl: false,
        }
    }
}

/// Inputs of a token's loss besides its own log-probability and entropy.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenContext {
    /// log π_old, as sampled.
    pub old_logprob: f32,
    /// log π_ref (any value if β is 0).
    pub ref_logprob: f32,
    /// The advantage.
    pub advantage: f32,
    /// The token has no policy loss.
    pub masked: bool,
    /// w_H: the weight of the token's entropy, which is subtracted from the loss.
    pub entropy_weight: f32,
    /// Values shared by the whole response, at the sequence level.
    pub sequence: Option<SequenceRatio>,
}

/// The importance ratio of a response, and what the derivative of the loss by it needs. Every token changes the ratio,
/// so the gradient of a token includes the losses of all tokens of the response.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SequenceRatio {
    /// log ρ: the mean of log π_θ/π_old.
    pub log_ratio: f32,
    /// The fraction of its tokens with a policy loss.
    pub unmasked: f32,
    /// The mean of k3.
    pub kl: f32,
}

/// The loss of one token, before normalization and without its entropy.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenTerm {
    /// The loss.
    pub loss: f32,
    /// d loss / d log-probability.
    pub dlogprob: f32,
    /// The KL term: k3, times the ratio if `use_bias_correction_kl`.
    pub kl: f32,
    /// The ratio was below 1 − ε with a negative advantage: clipped.
    pub clipped_low: bool,
    /// The ratio was above 1 + ε_high with a positive advantage: clipped (`cispo`: capped).
    pub clipped_high: bool,
}

/// k3 = exp(d) − d − 1 with d = log π_ref − log π, and its derivative by log π.
pub fn k3(logprob: f32, ref_logprob: f32) -> (f32, f32) {
    let d = ref_logprob - logprob;
    // exp_m1 keeps k3 ≥ 0 where exp(d) − 1 would cancel.
    ((d.exp_m1() - d).max(0.0), -d.exp_m1())
}

impl ObjectiveConfig {
    /// The loss of one token and its derivative.
    pub fn term(&self, logprob: f32, token: &TokenContext) -> TokenTerm {
        let ratio = token.sequence.map_or(logprob - token.old_logprob, |s| s.log_ratio).exp();
        let mut term = self.policy(ratio, token.advantage);
        if self.loss_type == LossType::Cispo {
            // The ratio is a constant: only the token's own log-probability affects its loss.
            term.dlogprob = term.loss;
            term.loss *= logprob;
        } else if let Some(s) = token.sequence {
            term.dlogprob *= s.unmasked;
        }
        if token.masked {
            term.loss = 0.0;
            if self.loss_type == LossType::Cispo || token.sequence.is_none() {
                term.dlogprob = 0.0;
            }
        }
        if self.beta != 0.0 {
            let (mut value, mut derivative) = k3(logprob, token.ref_logprob);
            if self.use_bias_correction_kl {
                derivative = ratio * (derivative + token.sequence.map_or(value, |s| s.kl));
                value *= ratio;
            }
            term.kl = value;
            term.loss += self.beta * value;
            term.dlogprob += self.beta * derivative;
        }
        term
    }

    /// Returns P as a function of the ratio, and its derivative by log ρ; for `cispo` the factor of log π.
    fn policy(&self, ratio: f32, advantage: f32) -> TokenTerm {
        let (low, high) = (1.0 - self.epsilon, 1.0 + self.epsilon_high);
        let capped = ratio > high && advantage > 0.0;
        let term = |loss, dlogprob| TokenTerm { loss, dlogprob, ..TokenTerm::default() };
        match self.loss_type {
            LossType::Cispo => TokenTerm { clipped_high: capped, ..term(-ratio.min(high) * advantage, 0.0) },
            LossType::Sapo => {
                let tau = if advantage > 0.0 { self.sapo_temperature_pos } else { self.sapo_temperature_neg };
                let x = tau * (ratio - 1.0);
                let (gate, rest) = (1.0 / (1.0 + (-x).exp()), 1.0 / (1.0 + x.exp()));
                term(-4.0 / tau * gate * advantage, -4.0 * gate * rest * ratio * advantage)
            }
            // min(ρA, clip(ρ)A) is the clipped branch exactly when clipping lowers the objective.
            _ if ratio < low && advantage < 0.0 => TokenTerm { clipped_low: true, ..term(-low * advantage, 0.0) },
            _ if capped => TokenTerm { clipped_high: true, ..term(-high * advantage, 0.0) },
            _ => match self.delta {
                Some(delta) if ratio > delta && advantage < 0.0 => term(-delta * advantage, 0.0),
                _ => term(-ratio * advantage, -ratio * advantage),
            },
        }
    }
}

/// Returns the weight of every token of a response of `tokens` tokens; the step has `responses` responses and
/// `step_tokens` tokens.
pub fn token_weight(
    loss_type: LossType,
    tokens: usize,
    responses: usize,
    step_tokens: usize,
    max_completion_length: usize,
) -> f32 {
    let divisor = match loss_type {
        LossType::Grpo | LossType::Sapo | LossType::Gspo => tokens * responses,
        LossType::DrGrpo => max_completion_length * responses,
        LossType::Bnpo | LossType::Dapo | LossType::Cispo => step_tokens,
    };
    1.0 / divisor.max(1) as f32
}

/// The objective over the rows of one pass; [`Batch::weights`] holds the normalization.
pub struct GrpoObjective<'a> {
    /// The constants.
    pub config: ObjectiveConfig,
    /// The inputs of the loss of every row's target.
    pub tokens: &'a [TokenContext],
    /// Divisor of the logits, as in sampling.
    pub temperature: f32,
    /// True if any entropy weight may differ from 0.
    pub entropy: bool,
}

impl Objective for GrpoObjective<'_> {
    fn token(&self, batch: &Batch, _head: usize, row: usize, logprob: f32, entropy: f32) -> TokenLoss {
        let (weight, token) = (batch.weights[row], &self.tokens[row]);
        let term = self.config.term(logprob, token);
        TokenLoss {
            loss: weight * term.loss - token.entropy_weight * entropy,
            dlogprob: weight * term.dlogprob,
            dentropy: -token.entropy_weight,
        }
    }
    fn temperature(&self) -> f32 {
        self.temperature
    }
    fn uses_entropy(&self) -> bool {
        self.entropy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(loss_type: LossType, beta: f32) -> ObjectiveConfig {
        ObjectiveConfig { loss_type, epsilon: 0.2, epsilon_high: 0.28, beta, ..ObjectiveConfig::default() }
    }

    fn term(c: &ObjectiveConfig, logprob: f32, old_logprob: f32, ref_logprob: f32, advantage: f32) -> TokenTerm {
        c.term(logprob, &TokenContext { old_logprob, ref_logprob, advantage, ..TokenContext::default() })
    }

    #[test]
    fn terms_by_hand() {
        let c = config(LossType::Grpo, 0.0);
        // On policy: the ratio is 1, the gradient −A (R1 §2.2.1).
        assert_eq!(term(&c, -1.0, -1.0, 0.0, 0.5), TokenTerm { loss: -0.5, dlogprob: -0.5, ..TokenTerm::default() });
        // ρ = 1.5: clipped for a positive advantage, free for a negative one.
        let lp = -1.0 + 1.5f32.ln();
        let t = term(&c, lp, -1.0, 0.0, 2.0);
        assert!(t.clipped_high && t.dlogprob == 0.0 && (t.loss + 2.56).abs() < 1e-5, "{t:?}");
        let t = term(&c, lp, -1.0, 0.0, -2.0);
        assert!(!t.clipped_high && (t.loss - 3.0).abs() < 1e-5 && (t.dlogprob - 3.0).abs() < 1e-5, "{t:?}");
        // ρ = 0.5: clipped for a negative advantage, free for a positive one.
        let lp = -1.0 + 0.5f32.ln();
        let t = term(&c, lp, -1.0, 0.0, -1.0);
        assert!(t.clipped_low && t.dlogprob == 0.0 && (t.loss - 0.8).abs() < 1e-6, "{t:?}");
        let t = term(&c, lp, -1.0, 0.0, 1.0);
        assert!(!t.clipped_low && (t.dlogprob + 0.5).abs() < 1e-6, "{t:?}");
    }

    #[test]
    fn the_derivative_is_that_of_the_loss() {
        for (loss_type, use_bias_correction_kl) in
            [(LossType::Grpo, false), (LossType::Dapo, true), (LossType::Sapo, true)]
        {
            let c = ObjectiveConfig { use_bias_correction_kl, ..config(loss_type, 0.04) };
            for i in 0..400 {
                let lp = -3.0 + 0.0075 * i as f32;
                let (old, reference, a) = (-1.4f32, -0.9f32, if i % 2 == 0 { 1.3 } else { -0.7 });
                let h = 1e-3f32;
                let (low, high) = (term(&c, lp - h, old, reference, a), term(&c, lp + h, old, reference, a));
                if low.clipped_low != high.clipped_low || low.clipped_high != high.clipped_high {
                    continue; // the kink of the clip
                }
                let numeric = (high.loss as f64 - low.loss as f64) / (2.0 * h as f64);
                let exact = term(&c, lp, old, reference, a).dlogprob as f64;
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
        // In GRPO every response counts the same; in DAPO it counts by its length.
        assert_eq!(w(LossType::Grpo, 10) * 10.0, w(LossType::Grpo, 30) * 30.0);
        assert_eq!(w(LossType::Dapo, 10) * 10.0 + w(LossType::Dapo, 30) * 30.0, 1.0);
    }

    #[test]
    fn cispo_keeps_the_gradient_of_every_token() {
        let c = config(LossType::Cispo, 0.0);
        let t = term(&c, -1.0 + 2f32.ln(), -1.0, 0.0, 1.0);
        assert!((t.dlogprob + 1.28).abs() < 1e-6, "the weight is capped, not cut: {t:?}");
        assert!((term(&c, -3.0, -1.0, 0.0, -1.0).dlogprob - (-2f32).exp()).abs() < 1e-6);
    }
}
