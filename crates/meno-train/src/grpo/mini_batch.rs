//! Determines how the rollouts of a mini-batch enter the loss of its step: their weights, and all quantities that
//! depend on more than one token.
//!
//! The ratio of a whole response (GSPO), the off-policy mask and the quantile of entropies must be known before the
//! first backward pass. They come from a forward pass with the weights of the step, which gives the same bits that the
//! training passes compute again.

use super::Grpo;
use super::objective::{ImportanceSamplingLevel, SequenceRatio, TokenContext, k3, token_weight};
use crate::rollout::Rollout;

/// Log-probabilities and entropies of a response under the weights of the step; empty if not computed.
#[derive(Clone, Debug, Default)]
pub(super) struct Scores {
    pub(super) logprobs: Vec<f32>,
    pub(super) entropies: Vec<f32>,
}

/// How one rollout enters the loss.
#[derive(Clone, Debug, Default)]
pub(super) struct RolloutTerms {
    /// The weight of each token in the loss.
    pub(super) weight: f32,
    /// The weight of each token's entropy bonus.
    entropy_weight: f32,
    /// The ratio of the response; only at the sequence level.
    sequence: Option<SequenceRatio>,
    /// The response is masked as off-policy: it has no policy loss.
    pub(super) off_policy: bool,
    /// True for tokens below the entropy quantile, which have neither policy loss nor entropy bonus; empty if unused.
    low_entropy: Vec<bool>,
}

impl RolloutTerms {
    /// Returns the inputs of the loss of token `i` of the response.
    pub(super) fn token(&self, r: &Rollout, i: usize) -> TokenContext {
        let low_entropy = self.low_entropy.get(i) == Some(&true);
        TokenContext {
            old_logprob: r.logprobs[i],
            ref_logprob: r.ref_logprobs.get(i).copied().unwrap_or(0.0),
            advantage: r.advantage,
            masked: self.off_policy || low_entropy,
            entropy_weight: if low_entropy { 0.0 } else { self.entropy_weight },
            sequence: self.sequence,
        }
    }
}

impl Grpo {
    /// True if a rollout is excluded from the loss.
    pub(super) fn masks(&self, r: &Rollout) -> bool {
        self.mask_truncated_completions && r.truncated
    }

    /// True if a rollout has a gradient. Without an advantage, only the KL term and the entropy bonus have one.
    pub(super) fn teaches(&self, r: &Rollout) -> bool {
        let pulled = r.advantage != 0.0 || self.beta != 0.0 || self.entropy_coef != 0.0;
        !r.tokens.is_empty() && !self.masks(r) && pulled
    }

    /// True if the loss needs the [`Scores`] of a mini-batch before its first backward pass.
    pub(super) fn needs_scores(&self) -> bool {
        self.level() == ImportanceSamplingLevel::Sequence
            || self.off_policy_mask_threshold.is_some()
            || self.selects_by_entropy()
    }

    /// True if tokens of low entropy are masked.
    pub(super) fn selects_by_entropy(&self) -> bool {
        self.top_entropy_quantile < 1.0
    }

    /// Returns how each rollout of a mini-batch enters the loss. `scores` has one entry per rollout; it is empty unless
    /// [`Grpo::needs_scores`].
    pub(super) fn terms(&self, mini: &[Rollout], scores: &[Scores]) -> Vec<RolloutTerms> {
        let (loss_type, responses) = (self.loss_type, mini.len());
        let step_tokens: usize = mini.iter().filter(|r| !self.masks(r)).map(|r| r.tokens.len()).sum();
        let mut terms: Vec<RolloutTerms> = mini
            .iter()
            .map(|r| {
                let (tokens, longest) = (r.tokens.len(), self.max_completion_length);
                let weight = token_weight(loss_type, tokens, responses, step_tokens, longest);
                RolloutTerms { weight, ..RolloutTerms::default() }
            })
            .collect();
        let mut bonus_tokens = step_tokens;
        if self.selects_by_entropy() {
            let entropies = mini.iter().zip(scores).filter(|(r, _)| !self.masks(r)).flat_map(|(_, s)| &s.entropies);
            let threshold = quantile(entropies.copied().collect(), 1.0 - self.top_entropy_quantile);
            for (t, s) in terms.iter_mut().zip(scores) {
                t.low_entropy = s.entropies.iter().map(|&e| e < threshold).collect();
            }
            let kept = mini.iter().zip(&terms).filter(|(r, _)| !self.masks(r)).flat_map(|(_, t)| &t.low_entropy);
            bonus_tokens = kept.filter(|low| !**low).count();
        }
        if self.entropy_coef != 0.0 {
            let weight = self.entropy_coef / bonus_tokens.max(1) as f32;
            terms.iter_mut().for_each(|t| t.entropy_weight = weight);
        }
        for ((t, r), s) in terms.iter_mut().zip(mini).zip(scores).filter(|(_, s)| !s.logprobs.is_empty()) {
            self.weigh_sequence(t, r, s);
        }
        terms
    }

    /// Sets the off-policy mask and the ratio of one response.
    fn weigh_sequence(&self, terms: &mut RolloutTerms, r: &Rollout, scores: &Scores) {
        let tokens = scores.logprobs.len() as f64;
        let ratios = scores.logprobs.iter().zip(&r.logprobs).map(|(new, old)| (*new - *old) as f64);
        let log_ratio = ratios.sum::<f64>() / tokens;
        // DeepSeek-V3.2 eq. 9: a bad answer that the policy has moved away from has no policy loss.
        terms.off_policy =
            r.advantage < 0.0 && self.off_policy_mask_threshold.is_some_and(|threshold| -log_ratio > threshold as f64);
        if self.level() == ImportanceSamplingLevel::Sequence {
            let masked = terms.low_entropy.iter().filter(|low| **low).count() as f64;
            let unmasked = if terms.off_policy { 0.0 } else { 1.0 - masked / tokens };
            let kls = scores.logprobs.iter().zip(&r.ref_logprobs).map(|(new, reference)| k3(*new, *reference).0 as f64);
            let kl = kls.sum::<f64>() / tokens;
            terms.sequence =
                Some(SequenceRatio { log_ratio: log_ratio as f32, unmasked: unmasked as f32, kl: kl as f32 });
        }
    }
}

/// Returns the `q`-quantile with linear interpolation and the rounding of `torch.quantile` in f32, so that a value
/// equal to the quantile does not fall below it. −∞ for no values.
fn quantile(mut values: Vec<f32>, q: f32) -> f32 {
    values.sort_by(f32::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return f32::NEG_INFINITY };
    let rank = q * last as f32;
    let (below, above) = (values[rank.floor() as usize], values[(rank.ceil() as usize).min(last)]);
    let fraction = rank - rank.floor();
    match fraction < 0.5 {
        true => below + fraction * (above - below),
        false => above - (above - below) * (1.0 - fraction),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_by_hand() {
        let q = |q| quantile(vec![3.0, 1.0, 2.0, 5.0], q);
        assert_eq!((q(0.0), q(1.0), q(0.5), q(0.25)), (1.0, 5.0, 2.5, 1.75));
        assert_eq!(quantile(vec![7.0], 0.8), 7.0);
        assert_eq!(quantile(Vec::new(), 0.8), f32::NEG_INFINITY);
        // Six values: the fourth of five intervals ends exactly at the fifth value, which must count as reached.
        assert_eq!(quantile(vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 0.8), 0.5);
    }
}
