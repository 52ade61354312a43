//! One update of the policy from a mini-batch of a rollout, with the log-probability gate.

use super::Loop;
use super::objective::{Clip, Policy, TokenTerm, token_weight};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::packing::best_fit;
use crate::rollout::Rollout;
use crate::run::Observer;
use meno_model::Model;
use meno_tensor::batch::{Batch, IGNORE};
use meno_tensor::tape::{Objective, Outputs, TokenLoss};
use std::ops::Range;

/// Scores at a temperature; no loss.
struct Score {
    temperature: f32,
}

impl Objective for Score {
    fn token(&self, _: &Batch, _: usize, _: usize, _: f32) -> TokenLoss {
        TokenLoss::default()
    }
    fn temperature(&self) -> f32 {
        self.temperature
    }
}

/// The rows of one pass: rollouts, one after the other.
#[derive(Default)]
struct Pass {
    batch: Batch,
    old_logprobs: Vec<f32>,
    ref_logprobs: Vec<f32>,
    advantages: Vec<f32>,
    /// For each rollout: its index, and the rows that predict its answer.
    members: Vec<(usize, Range<usize>)>,
}

impl Pass {
    fn fill(&mut self, rollouts: &[Rollout], members: &[usize], weight: impl Fn(&Rollout) -> f32) {
        self.batch.clear();
        self.members.clear();
        for values in [&mut self.old_logprobs, &mut self.ref_logprobs, &mut self.advantages] {
            values.clear();
        }
        let mut tokens = Vec::new();
        for &i in members {
            let r = &rollouts[i];
            let prompt = r.question.prompt.len();
            tokens.clear();
            tokens.extend_from_slice(&r.question.prompt);
            tokens.extend_from_slice(&r.tokens);
            let w = weight(r);
            let rows = self.batch.push_training(&tokens, |at| if at >= prompt { w } else { 0.0 });
            // Row i predicts token i + 1: the answer is predicted by the last row of the prompt and its own but one.
            let answer = rows.start + prompt - 1..rows.end - 1;
            // The rows before predict the prompt itself, of which nothing is wanted.
            self.batch.targets[0][rows.start..answer.start].fill(IGNORE);
            self.old_logprobs.resize(answer.start, 0.0);
            self.old_logprobs.extend_from_slice(&r.logprobs);
            self.ref_logprobs.resize(answer.start, 0.0);
            self.ref_logprobs.extend(r.ref_logprobs.iter().copied());
            self.members.push((i, answer));
        }
        self.old_logprobs.resize(self.batch.len(), 0.0);
        self.ref_logprobs.resize(self.batch.len(), 0.0);
        self.advantages.resize(self.batch.len(), 0.0);
        for (i, answer) in &self.members {
            self.advantages[answer.clone()].fill(rollouts[*i].advantage);
        }
    }
}

/// Sums over the tokens of a step.
#[derive(Default)]
struct Sums {
    loss: f64,
    tokens: f64,
    entropy: f64,
    kl: f64,
    clipped_low: f64,
    clipped_high: f64,
    expert_load: Vec<Vec<u32>>,
    rows: usize,
    gap: f32,
}

impl Sums {
    fn add(&mut self, out: &Outputs, pass: &Pass, clip: &Clip) {
        self.rows += pass.batch.len();
        self.loss += out.loss[0];
        for (_, answer) in &pass.members {
            for row in answer.clone() {
                let (lp, old, reference) = (out.logprobs[row], pass.old_logprobs[row], pass.ref_logprobs[row]);
                let TokenTerm { kl, clipped_low, clipped_high, .. } =
                    clip.term(lp, old, reference, pass.advantages[row]);
                self.tokens += 1.0;
                self.entropy += out.entropies[row] as f64;
                self.kl += kl as f64;
                self.clipped_low += f64::from(u8::from(clipped_low));
                self.clipped_high += f64::from(u8::from(clipped_high));
            }
        }
        self.expert_load.resize(out.expert_load.len(), Vec::new());
        for (sum, load) in self.expert_load.iter_mut().zip(&out.expert_load) {
            sum.resize(load.len(), 0);
            sum.iter_mut().zip(load).for_each(|(a, b)| *a += b);
        }
    }
}

impl Loop<'_> {
    /// Trains on the next mini-batch of the rollout; returns the rows computed, `None` if the observer stopped it.
    pub(super) fn update(
        &mut self,
        model: &mut Model,
        metrics: &mut Metrics,
        observer: &mut dyn Observer,
    ) -> Result<Option<usize>, Error> {
        let rollouts = std::mem::take(&mut self.progress.rollouts);
        let result = self.update_on(&rollouts, model, metrics, observer);
        self.progress.rollouts = rollouts;
        result
    }

    /// The mini-batch of this update: whole groups, in order.
    fn mini_batch(&self, rollouts: &[Rollout]) -> Range<usize> {
        let (g, parts) = (self.grpo.num_generations, self.grpo.steps_per_generation);
        let (groups, part) = (rollouts.len() / g, self.progress.used % parts);
        groups * part / parts * g..groups * (part + 1) / parts * g
    }

    fn update_on(
        &mut self,
        rollouts: &[Rollout],
        model: &mut Model,
        metrics: &mut Metrics,
        observer: &mut dyn Observer,
    ) -> Result<Option<usize>, Error> {
        let (grpo, clip) = (self.grpo, self.grpo.clip());
        let mini = &rollouts[self.mini_batch(rollouts)];
        let masked = |r: &Rollout| grpo.mask_truncated_completions && r.truncated;
        let step_tokens: usize = mini.iter().filter(|r| !masked(r)).map(|r| r.tokens.len()).sum();
        let weight = |r: &Rollout| {
            token_weight(grpo.loss_type, r.tokens.len(), mini.len(), step_tokens, grpo.max_completion_length)
        };
        // What has no advantage has no gradient (unless the KL term pulls): it is normalised over, not computed.
        let teaches = |r: &Rollout| !r.tokens.is_empty() && !masked(r) && (r.advantage != 0.0 || clip.beta != 0.0);
        let kept: Vec<usize> = (0..mini.len()).filter(|&i| teaches(&mini[i])).collect();
        let lens: Vec<usize> = kept.iter().map(|&i| mini[i].len()).collect();
        let passes = best_fit(&lens, self.train.max_tokens);
        let fresh = self.progress.used == 0;
        let mut sums = Sums::default();
        let mut pass = Pass::default();
        for (n, members) in passes.iter().enumerate() {
            let members: Vec<usize> = members.iter().map(|&m| kept[m]).collect();
            pass.fill(mini, &members, weight);
            let policy = Policy {
                clip,
                old_logprobs: &pass.old_logprobs,
                ref_logprobs: &pass.ref_logprobs,
                advantages: &pass.advantages,
                temperature: grpo.temperature,
            };
            let out = self.trainer.pass(model, &pass.batch, &policy);
            sums.add(out, &pass, &clip);
            if fresh {
                sums.gap = sums.gap.max(gate(out, &pass, grpo.logprob_gap_tolerance, self.state.step + 1)?);
            }
            observer.on_progress("passes", n + 1, passes.len());
            if observer.should_stop() {
                return Ok(None);
            }
        }
        if fresh && kept.is_empty() {
            sums.gap = self.gate_alone(rollouts, model)?;
        }
        let mut grad_norm = 0.0;
        if !kept.is_empty() {
            grad_norm = self.trainer.update(model, self.state.step)?;
            if grpo.bias_update_speed > 0.0 {
                model.update_router_bias(&sums.expert_load, grpo.bias_update_speed);
            }
        }
        if !sums.loss.is_finite() {
            return Err(Error::NotFinite { step: self.state.step + 1, what: "the loss", value: sums.loss as f32 });
        }
        self.report(&sums, grad_norm, fresh, metrics);
        Ok(Some(sums.rows))
    }

    fn report(&self, sums: &Sums, grad_norm: f32, fresh: bool, m: &mut Metrics) {
        let n = sums.tokens.max(1.0);
        m.push("loss", sums.loss);
        m.push("grad_norm", grad_norm as f64);
        m.push("learning_rate", self.train.learning_rate_at(self.state.step) as f64);
        m.push("entropy", sums.entropy / n);
        if self.grpo.beta > 0.0 {
            m.push("kl", sums.kl / n);
        }
        m.push("clip_ratio/low_mean", sums.clipped_low / n);
        m.push("clip_ratio/high_mean", sums.clipped_high / n);
        m.push("clip_ratio/region_mean", (sums.clipped_low + sums.clipped_high) / n);
        if fresh {
            m.push("sampling/logprob_gap", sums.gap as f64);
        }
    }

    /// The gate for a mini-batch with nothing to train on: as many rollouts as fit one pass, scored.
    fn gate_alone(&mut self, rollouts: &[Rollout], model: &mut Model) -> Result<f32, Error> {
        let mut room = self.train.max_tokens;
        let fits = |&i: &usize| {
            let fits = !rollouts[i].tokens.is_empty() && rollouts[i].len() <= room;
            room -= if fits { rollouts[i].len() } else { 0 };
            fits
        };
        let members: Vec<usize> = (0..rollouts.len()).filter(fits).collect();
        let mut pass = Pass::default();
        pass.fill(rollouts, &members, |_| 1.0);
        let out = self.trainer.score(model, &pass.batch, &Score { temperature: self.grpo.temperature });
        gate(out, &pass, self.grpo.logprob_gap_tolerance, self.state.step + 1)
    }

    /// log π_ref of every answer: the same memory and kernels, the weights swapped in and out.
    pub(super) fn score_reference(&mut self, model: &mut Model, rollouts: &mut [Rollout]) {
        model.params.data_mut().swap_with_slice(&mut self.reference);
        let lens: Vec<usize> = rollouts.iter().map(Rollout::len).collect();
        let mut pass = Pass::default();
        for members in best_fit(&lens, self.train.max_tokens) {
            pass.fill(rollouts, &members, |_| 1.0);
            let out = self.trainer.score(model, &pass.batch, &Score { temperature: self.grpo.temperature });
            for (i, answer) in &pass.members {
                rollouts[*i].ref_logprobs = out.logprobs[answer.clone()].to_vec();
            }
        }
        model.params.data_mut().swap_with_slice(&mut self.reference);
    }
}

/// The log-probability gate: max |logp_rollout − logp_train| over the answers of a pass.
fn gate(out: &Outputs, pass: &Pass, tolerance: f32, step: usize) -> Result<f32, Error> {
    let mut worst = (0f32, 0, 0);
    for (sequence, answer) in &pass.members {
        for row in answer.clone() {
            let gap = (out.logprobs[row] - pass.old_logprobs[row]).abs();
            if gap > worst.0 || gap.is_nan() {
                worst = (gap, *sequence, row - answer.start);
            }
        }
    }
    let (gap, sequence, position) = worst;
    if gap > tolerance || gap.is_nan() {
        return Err(Error::LogprobGap { step, gap, tolerance, sequence, position });
    }
    Ok(gap)
}
