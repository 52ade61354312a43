//! The rows of one pass over a mini-batch, and the sums over the passes of a step.

use super::mini_batch::RolloutTerms;
use super::objective::{ImportanceSamplingLevel, ObjectiveConfig, TokenContext, TokenTerm};
use crate::expert_load::ExpertLoad;
use crate::rollout::Rollout;
use crate::shards::Sums;
use meno_tensor::tape::{Batch, IGNORE, Objective, Outputs, TokenLoss};
use std::ops::Range;

/// Computes log-probabilities at a temperature, without a loss.
pub(super) struct Score {
    pub(super) temperature: f32,
}

impl Objective for Score {
    fn token(&self, _: &Batch, _: usize, _: usize, _: f32, _: f32) -> TokenLoss {
        TokenLoss::default()
    }
    fn temperature(&self) -> f32 {
        self.temperature
    }
}

/// The rows of one pass: rollouts, one after the other.
#[derive(Default)]
pub(super) struct PackedPass {
    pub(super) batch: Batch,
    /// The inputs of the loss of every row's target.
    pub(super) tokens: Vec<TokenContext>,
    /// For each rollout: its index, and the rows that predict its answer.
    pub(super) members: Vec<(usize, Range<usize>)>,
}

impl PackedPass {
    /// Fills the pass with `members` of `rollouts` for training; `terms` has one entry per rollout.
    pub(super) fn fill(&mut self, rollouts: &[Rollout], members: &[usize], terms: &[RolloutTerms]) {
        self.pack(rollouts, members, |i| terms[i].weight);
        for (i, answer) in &self.members {
            let (r, terms) = (&rollouts[*i], &terms[*i]);
            self.tokens[answer.clone()].iter_mut().enumerate().for_each(|(t, token)| *token = terms.token(r, t));
        }
    }

    /// Fills the pass with `members` of `rollouts` for scoring.
    pub(super) fn fill_to_score(&mut self, rollouts: &[Rollout], members: &[usize]) {
        self.pack(rollouts, members, |_| 1.0);
        for (i, answer) in &self.members {
            let tokens = self.tokens[answer.clone()].iter_mut().zip(&rollouts[*i].logprobs);
            tokens.for_each(|(token, old)| token.old_logprob = *old);
        }
    }

    /// Returns values of the rows that predict the answers: for each member in order, its part of every list.
    pub(super) fn answers(&self, lists: &[&[f32]]) -> Vec<f64> {
        let parts = self.members.iter().flat_map(|(_, answer)| lists.iter().map(|list| &list[answer.clone()]));
        parts.flatten().map(|&x| x.into()).collect()
    }

    fn pack(&mut self, rollouts: &[Rollout], members: &[usize], weight: impl Fn(usize) -> f32) {
        self.batch.clear();
        self.members.clear();
        self.tokens.clear();
        let mut tokens = Vec::new();
        for &i in members {
            let r = &rollouts[i];
            let prompt = r.question.prompt.len();
            tokens.clear();
            tokens.extend_from_slice(&r.question.prompt);
            tokens.extend_from_slice(&r.tokens);
            let w = weight(i);
            let rows = self.batch.push_training(&tokens, |at| if at >= prompt { w } else { 0.0 });
            // Row i predicts token i + 1: the answer is predicted by the last row of the prompt and all rows of the
            // answer but the last.
            let answer = rows.start + prompt - 1..rows.end - 1;
            // The earlier rows predict the prompt itself, which is not scored.
            self.batch.targets[0][rows.start..answer.start].fill(IGNORE);
            self.members.push((i, answer));
        }
        self.tokens.resize(self.batch.len(), TokenContext::default());
    }
}

/// Sums over the tokens of a step.
#[derive(Default)]
pub(super) struct StepSums {
    pub(super) loss: f64,
    pub(super) tokens: f64,
    pub(super) entropy: f64,
    /// The entropy bonus as included in the loss.
    pub(super) entropy_loss: f64,
    pub(super) kl: f64,
    pub(super) clip: ClipSums,
    /// The log-probability gap: the largest of all tokens.
    pub(super) gap: f32,
    pub(super) expert_load: ExpertLoad,
    pub(super) rows: usize,
}

/// Counts clipped ratios: of tokens, or of responses at the sequence level.
#[derive(Default)]
pub(super) struct ClipSums {
    pub(super) ratios: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// The smallest fraction of a response's ratios that were clipped below.
    pub(super) low_min: Option<f64>,
    /// The largest fraction of a response's ratios that were clipped above.
    pub(super) high_max: Option<f64>,
}

impl ClipSums {
    /// Adds a response with `ratios` ratios.
    fn add(&mut self, ratios: f64, low: f64, high: f64) {
        self.ratios += ratios;
        self.low += low;
        self.high += high;
        self.low_min = Some(self.low_min.map_or(low / ratios, |m| m.min(low / ratios)));
        self.high_max = Some(self.high_max.map_or(high / ratios, |m| m.max(high / ratios)));
    }

    /// Adds the counts of other responses.
    fn merge(&mut self, next: ClipSums) {
        self.ratios += next.ratios;
        self.low += next.low;
        self.high += next.high;
        self.low_min = [self.low_min, next.low_min].into_iter().flatten().reduce(f64::min);
        self.high_max = [self.high_max, next.high_max].into_iter().flatten().reduce(f64::max);
    }
}

impl StepSums {
    pub(super) fn add(
        &mut self,
        out: &Outputs,
        pass: &PackedPass,
        config: &ObjectiveConfig,
        level: ImportanceSamplingLevel,
    ) {
        self.rows += pass.batch.len();
        self.loss += out.losses.next_token;
        for (_, answer) in &pass.members {
            let (mut low, mut high) = (0.0, 0.0);
            for row in answer.clone() {
                let token = &pass.tokens[row];
                let TokenTerm { kl, clipped_low, clipped_high, .. } = config.term(out.logprobs[row], token);
                self.tokens += 1.0;
                self.entropy += out.entropies[row] as f64;
                self.entropy_loss -= (token.entropy_weight * out.entropies[row]) as f64;
                self.kl += kl as f64;
                low += f64::from(u8::from(clipped_low));
                high += f64::from(u8::from(clipped_high));
            }
            match level {
                ImportanceSamplingLevel::Token => self.clip.add(answer.len() as f64, low, high),
                // All tokens of a response share its ratio.
                ImportanceSamplingLevel::Sequence => self.clip.add(1.0, low.min(1.0), high.min(1.0)),
            }
        }
        self.expert_load.add(&out.expert_load);
    }
}

impl Sums for StepSums {
    fn to_numbers(&self) -> Vec<f64> {
        let StepSums { loss, tokens, entropy, entropy_loss, kl, ref clip, gap, rows, .. } = *self;
        // NaN stands for no value.
        let [low_min, high_max] = [clip.low_min, clip.high_max].map(|x| x.unwrap_or(f64::NAN));
        let mut row = vec![loss, tokens, entropy, entropy_loss, kl, gap.into(), rows as f64];
        row.extend([clip.ratios, clip.low, clip.high, low_min, high_max]);
        self.expert_load.write(&mut row);
        row
    }
    fn from_numbers(numbers: Vec<f64>) -> StepSums {
        let mut row = numbers.into_iter();
        let mut next = || row.next().unwrap_or_default();
        let [loss, tokens, entropy, entropy_loss, kl] = [(); 5].map(|()| next());
        let (gap, rows) = (next() as f32, next() as usize);
        let [ratios, low, high, low_min, high_max] = [(); 5].map(|()| next());
        let [low_min, high_max] = [low_min, high_max].map(|x| (!x.is_nan()).then_some(x));
        let clip = ClipSums { ratios, low, high, low_min, high_max };
        let expert_load = ExpertLoad::read(&mut row);
        StepSums { loss, tokens, entropy, entropy_loss, kl, clip, gap, rows, expert_load }
    }
    fn merge(&mut self, next: StepSums) {
        self.loss += next.loss;
        self.tokens += next.tokens;
        self.entropy += next.entropy;
        self.entropy_loss += next.entropy_loss;
        self.kl += next.kl;
        self.clip.merge(next.clip);
        self.gap = self.gap.max(next.gap);
        self.rows += next.rows;
        self.expert_load.add(&next.expert_load.0);
    }
}
