//! One update of the policy from a mini-batch of a rollout, with the log-probability gate.
//!
//! The gate compares what sampling and training say of the same tokens under the same weights, so it is defined for
//! every token that is trained on, and at one moment: after the rollout, before its first update. The first mini-batch
//! gives it for nothing, by the forward pass of its own update; the later ones, which the weights will have left
//! behind, are scored at that moment by a forward pass more. Each update then reports the gap of its own mini-batch;
//! repetitions of a rollout (μ > 1) train on tokens that were checked before.

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

    /// A mini-batch of a rollout: whole groups, in order.
    fn mini_batch<'r>(&self, rollouts: &'r [Rollout], part: usize) -> &'r [Rollout] {
        let (g, parts) = (self.grpo.num_generations, self.grpo.steps_per_generation);
        let groups = rollouts.len() / g;
        &rollouts[groups * part / parts * g..groups * (part + 1) / parts * g]
    }

    /// Whether no loss is taken of a rollout.
    fn masked(&self, r: &Rollout) -> bool {
        self.grpo.mask_truncated_completions && r.truncated
    }

    /// The rollouts to compute, by the passes they fit in. What has no advantage has no gradient (unless the KL term
    /// pulls): it is normalised over, not computed.
    fn passes(&self, mini: &[Rollout]) -> Vec<Vec<usize>> {
        let teaches =
            |r: &Rollout| !r.tokens.is_empty() && !self.masked(r) && (r.advantage != 0.0 || self.grpo.beta != 0.0);
        let kept: Vec<usize> = (0..mini.len()).filter(|&i| teaches(&mini[i])).collect();
        let lens: Vec<usize> = kept.iter().map(|&i| mini[i].len()).collect();
        let whole = |pass: &Vec<usize>| pass.iter().map(|&m| kept[m]).collect();
        best_fit(&lens, self.train.max_tokens).iter().map(whole).collect()
    }

    fn update_on(
        &mut self,
        rollouts: &[Rollout],
        model: &mut Model,
        metrics: &mut Metrics,
        observer: &mut dyn Observer,
    ) -> Result<Option<usize>, Error> {
        let (grpo, clip) = (self.grpo, self.grpo.clip());
        let (part, fresh) = (self.progress.used % grpo.steps_per_generation, self.progress.used == 0);
        let mini = self.mini_batch(rollouts, part);
        let step_tokens: usize = mini.iter().filter(|r| !self.masked(r)).map(|r| r.tokens.len()).sum();
        let weight = |r: &Rollout| {
            token_weight(grpo.loss_type, r.tokens.len(), mini.len(), step_tokens, grpo.max_completion_length)
        };
        if fresh && !self.gate_later(rollouts, model, observer)? {
            return Ok(None);
        }
        let passes = self.passes(mini);
        let mut sums = Sums::default();
        let mut pass = Pass::default();
        for (n, members) in passes.iter().enumerate() {
            pass.fill(mini, members, weight);
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
                let gap = gate(out, &pass, grpo.logprob_gap_tolerance, self.state.step + 1)?;
                self.progress.gaps[0] = self.progress.gaps[0].max(gap);
            }
            observer.on_progress("passes", n + 1, passes.len());
            if observer.should_stop() {
                return Ok(None);
            }
        }
        let mut grad_norm = 0.0;
        if !passes.is_empty() {
            grad_norm = self.trainer.update(model, self.state.step)?;
            if grpo.bias_update_speed > 0.0 {
                model.update_router_bias(&sums.expert_load, grpo.bias_update_speed);
            }
        }
        if !sums.loss.is_finite() {
            return Err(Error::NotFinite { step: self.state.step + 1, what: "the loss", value: sums.loss as f32 });
        }
        self.report(&sums, grad_norm, metrics);
        Ok(Some(sums.rows))
    }

    /// The gate of what the first update of a rollout does not compute itself; `false` if the observer stopped it.
    fn gate_later(
        &mut self,
        rollouts: &[Rollout],
        model: &mut Model,
        observer: &mut dyn Observer,
    ) -> Result<bool, Error> {
        let parts = self.grpo.steps_per_generation;
        self.progress.gaps = vec![0.0; parts];
        let mut later: Vec<(usize, Vec<usize>)> = Vec::new();
        for part in 0..parts {
            let mini = self.mini_batch(rollouts, part);
            match self.passes(mini) {
                // Nothing to train on: the gate is still measured, over as much as fits a pass.
                passes if passes.is_empty() => later.push((part, self.one_pass(mini))),
                passes if part > 0 => later.extend(passes.into_iter().map(|members| (part, members))),
                _ => {}
            }
        }
        let (mut pass, total) = (Pass::default(), later.len());
        for (n, (part, members)) in later.into_iter().enumerate() {
            pass.fill(self.mini_batch(rollouts, part), &members, |_| 1.0);
            let out = self.trainer.score(model, &pass.batch, &Score { temperature: self.grpo.temperature });
            let gap = gate(out, &pass, self.grpo.logprob_gap_tolerance, self.state.step + 1)?;
            self.progress.gaps[part] = self.progress.gaps[part].max(gap);
            observer.on_progress("log-prob gate", n + 1, total);
            if observer.should_stop() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// As many rollouts as fit one pass.
    fn one_pass(&self, rollouts: &[Rollout]) -> Vec<usize> {
        let mut room = self.train.max_tokens;
        let fits = |&i: &usize| {
            let fits = !rollouts[i].tokens.is_empty() && rollouts[i].len() <= room;
            room -= if fits { rollouts[i].len() } else { 0 };
            fits
        };
        (0..rollouts.len()).filter(fits).collect()
    }

    fn report(&self, sums: &Sums, grad_norm: f32, m: &mut Metrics) {
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
        if let Some(gap) = self.progress.gaps.get(self.progress.used) {
            m.push("sampling/logprob_gap", *gap as f64);
        }
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
