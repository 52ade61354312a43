//! One update of the policy from a mini-batch of a rollout, with the log-probability gate.
//!
//! The gate compares the log-probabilities of sampling and of training for the same tokens and the same weights. It
//! covers every token that is trained on, and it is measured after the rollout, before its first update. The first
//! mini-batch gets the check free from the forward pass of its update. Later mini-batches would see changed
//! weights, so they are scored at that moment by an additional forward pass. Each update then reports the gap of its
//! own mini-batch. Repetitions of a rollout (μ > 1) train on tokens that were already checked.

use super::GrpoRun;
use super::mini_batch::Scores;
use super::objective::{GrpoObjective, LossType};
use super::pass::{PackedPass, Score, StepSums};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::observer::Observer;
use crate::packing::best_fit;
use crate::rollout::Rollout;
use crate::trainer::Trainer;
use meno_model::Model;
use meno_tensor::tape::Outputs;

impl GrpoRun<'_> {
    /// Trains on the next mini-batch of the rollout. Returns the number of rows computed; `None` if the observer
    /// stopped it.
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

    /// Returns a mini-batch of a rollout: whole groups, in order.
    fn mini_batch<'r>(&self, rollouts: &'r [Rollout], part: usize) -> &'r [Rollout] {
        let (g, parts) = (self.grpo.num_generations, self.grpo.steps_per_generation);
        let groups = rollouts.len() / g;
        &rollouts[groups * part / parts * g..groups * (part + 1) / parts * g]
    }

    /// Returns the rollouts to compute, packed into passes. Rollouts without a gradient count in the normalization but
    /// are not computed.
    fn passes(&self, mini: &[Rollout]) -> Vec<Vec<usize>> {
        self.pack(mini, |r| self.grpo.teaches(r))
    }

    /// Packs the rollouts for which `wanted` is true into passes.
    fn pack(&self, mini: &[Rollout], wanted: impl Fn(&Rollout) -> bool) -> Vec<Vec<usize>> {
        let kept: Vec<usize> = (0..mini.len()).filter(|&i| wanted(&mini[i])).collect();
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
        let (grpo, config) = (self.grpo, self.grpo.objective());
        let (part, fresh) = (self.progress.used % grpo.steps_per_generation, self.progress.used == 0);
        let mini = self.mini_batch(rollouts, part);
        if fresh && !self.gate_later(rollouts, model, observer)? {
            return Ok(None);
        }
        let Some(scores) = self.scores(mini, fresh, model, observer)? else { return Ok(None) };
        let terms = grpo.terms(mini, &scores);
        let taught: Vec<usize> = (0..mini.len()).filter(|&i| grpo.teaches(&mini[i])).collect();
        let lens: Vec<usize> = taught.iter().map(|&i| mini[i].len()).collect();
        let step = self.training.state.step;
        let mut pass = PackedPass::default();
        let mut run = |trainer: &mut Trainer, members: &[usize], sums: &mut StepSums| {
            let members: Vec<usize> = members.iter().map(|&member| taught[member]).collect();
            pass.fill(mini, &members, &terms);
            let (tokens, temperature) = (&pass.tokens, grpo.temperature);
            let objective = GrpoObjective { config, tokens, temperature, entropy: grpo.entropy_coef != 0.0 };
            let out = trainer.pass(model, &pass.batch, &objective)?;
            sums.add(out, &pass, &config, grpo.level());
            if fresh {
                sums.gap = sums.gap.max(gate(out, &pass, grpo.logprob_gap_tolerance, step + 1)?);
            }
            Ok(())
        };
        let Some(sums) = self.training.trainer.compute_shards(&lens, observer, &mut run)? else { return Ok(None) };
        if fresh {
            self.progress.gaps[0] = self.progress.gaps[0].max(sums.gap);
        }
        let mut grad_norm = 0.0;
        if !taught.is_empty() {
            grad_norm = self.training.trainer.update(model, step)?;
            if grpo.bias_update_speed > 0.0 {
                model.update_router_bias(&sums.expert_load.0, grpo.bias_update_speed)?;
            }
        }
        if !sums.loss.is_finite() {
            return Err(Error::NotFinite { step: step + 1, what: "the loss", value: sums.loss as f32 });
        }
        if grpo.off_policy_mask_threshold.is_some() {
            let masked = terms.iter().filter(|t| t.off_policy).count();
            metrics.push("off_policy_mask_ratio", masked as f64 / mini.len().max(1) as f64);
        }
        self.report(&sums, grad_norm, metrics);
        Ok(Some(sums.rows))
    }

    /// Returns what the loss of a mini-batch needs to know of its responses in advance ([`super::mini_batch`]); empty
    /// for most settings. `None` if the observer stopped it.
    fn scores(
        &mut self,
        mini: &[Rollout],
        fresh: bool,
        model: &mut Model,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<Scores>>, Error> {
        let grpo = self.grpo;
        if !grpo.needs_scores() {
            return Ok(Some(Vec::new()));
        }
        let mut scores = vec![Scores::default(); mini.len()];
        if fresh && grpo.logprob_gap_tolerance == 0.0 && !grpo.selects_by_entropy() {
            // The weights have not changed since sampling, and the gate ensures that both give the same bits.
            scores.iter_mut().zip(mini).for_each(|(s, r)| s.logprobs.clone_from(&r.logprobs));
            return Ok(Some(scores));
        }
        // The quantile covers all tokens, including those whose advantage is 0.
        let by_entropy = grpo.selects_by_entropy();
        let passes = self.pack(mini, |r| grpo.teaches(r) || by_entropy && !r.tokens.is_empty() && !grpo.masks(r));
        let score = Score { temperature: grpo.temperature };
        let mut pass = PackedPass::default();
        let scored = self.training.trainer.each_rank(passes.len(), "scores", observer, &mut |trainer, n| {
            pass.fill_to_score(mini, &passes[n]);
            let out = trainer.score(model, &pass.batch, &score)?;
            Ok(pass.answers(&[&out.logprobs, &out.entropies]))
        })?;
        let Some(scored) = scored else { return Ok(None) };
        for (members, row) in passes.iter().zip(scored) {
            let mut row = row.into_iter().map(|x| x as f32);
            for &i in members {
                let mut next = || row.by_ref().take(mini[i].tokens.len()).collect();
                scores[i] = Scores { logprobs: next(), entropies: next() };
            }
        }
        Ok(Some(scores))
    }

    /// Measures the gate for everything that the first update of a rollout does not compute. Returns `false` if the
    /// observer stopped it.
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
                // There is nothing to train on: measure the gate on as many rollouts as fit one pass.
                passes if passes.is_empty() => later.push((part, self.one_pass(mini))),
                passes if part > 0 => later.extend(passes.into_iter().map(|members| (part, members))),
                _ => {}
            }
        }
        let (step, tolerance) = (self.training.state.step + 1, self.grpo.logprob_gap_tolerance);
        let minis: Vec<&[Rollout]> = later.iter().map(|(part, _)| self.mini_batch(rollouts, *part)).collect();
        let score = Score { temperature: self.grpo.temperature };
        let mut pass = PackedPass::default();
        let gaps = self.training.trainer.each_rank(later.len(), "log-prob gate", observer, &mut |trainer, n| {
            pass.fill_to_score(minis[n], &later[n].1);
            let out = trainer.score(model, &pass.batch, &score)?;
            Ok(vec![gate(out, &pass, tolerance, step)?.into()])
        })?;
        let Some(gaps) = gaps else { return Ok(false) };
        for ((part, _), gap) in later.iter().zip(gaps) {
            self.progress.gaps[*part] = self.progress.gaps[*part].max(gap[0] as f32);
        }
        Ok(true)
    }

    /// Returns as many rollouts as fit one pass.
    fn one_pass(&self, rollouts: &[Rollout]) -> Vec<usize> {
        let mut room = self.train.max_tokens;
        let fits = |&i: &usize| {
            let fits = !rollouts[i].tokens.is_empty() && rollouts[i].len() <= room;
            room -= if fits { rollouts[i].len() } else { 0 };
            fits
        };
        (0..rollouts.len()).filter(fits).collect()
    }

    fn report(&self, sums: &StepSums, grad_norm: f32, m: &mut Metrics) {
        let n = sums.tokens.max(1.0);
        m.push("loss", sums.loss);
        if self.grpo.entropy_coef != 0.0 {
            m.push("policy_loss", sums.loss - sums.entropy_loss);
            m.push("entropy_coef", self.grpo.entropy_coef as f64);
        }
        m.push("grad_norm", grad_norm as f64);
        m.push("learning_rate", self.train.learning_rate_at(self.training.state.step) as f64);
        m.push("entropy", sums.entropy / n);
        if self.grpo.beta > 0.0 {
            m.push("kl", sums.kl / n);
        }
        let (clip, ratios) = (&sums.clip, sums.clip.ratios.max(1.0));
        if self.grpo.loss_type == LossType::Cispo {
            m.push("cispo_clip_ratio", clip.high / ratios);
        } else if self.grpo.loss_type.clips() {
            m.push("clip_ratio/low_mean", clip.low / ratios);
            m.push("clip_ratio/low_min", clip.low_min.unwrap_or(0.0));
            m.push("clip_ratio/high_mean", clip.high / ratios);
            m.push("clip_ratio/high_max", clip.high_max.unwrap_or(0.0));
            m.push("clip_ratio/region_mean", (clip.low + clip.high) / ratios);
        }
        if let Some(gap) = self.progress.gaps.get(self.progress.used) {
            m.push("sampling/logprob_gap", *gap as f64);
        }
    }

    /// Computes log π_ref of every answer with the same memory and kernels: swaps the weights for the reference's and
    /// back. Returns `false` if the observer stopped it.
    pub(super) fn score_reference(
        &mut self,
        model: &mut Model,
        rollouts: &mut [Rollout],
        observer: &mut dyn Observer,
    ) -> Result<bool, Error> {
        let Some(mut reference) = self.reference.take() else { return Ok(true) };
        model.weights.swap(&mut *reference)?;
        let scored = self.score_with_reference(model, rollouts, observer);
        model.weights.swap(&mut *reference)?;
        self.reference = Some(reference);
        scored
    }

    /// Computes log π_ref of every answer with a model that has the reference's weights.
    fn score_with_reference(
        &mut self,
        model: &mut Model,
        rollouts: &mut [Rollout],
        observer: &mut dyn Observer,
    ) -> Result<bool, Error> {
        let lens: Vec<usize> = rollouts.iter().map(Rollout::len).collect();
        let passes = best_fit(&lens, self.train.max_tokens);
        let score = Score { temperature: self.grpo.temperature };
        let mut pass = PackedPass::default();
        let scored = self.training.trainer.each_rank(passes.len(), "reference", observer, &mut |trainer, n| {
            pass.fill_to_score(rollouts, &passes[n]);
            let out = trainer.score(model, &pass.batch, &score)?;
            Ok(pass.answers(&[&out.logprobs]))
        })?;
        let Some(scored) = scored else { return Ok(false) };
        for (members, row) in passes.iter().zip(scored) {
            let mut row = row.into_iter().map(|x| x as f32);
            for &i in members {
                rollouts[i].ref_logprobs = row.by_ref().take(rollouts[i].tokens.len()).collect();
            }
        }
        Ok(true)
    }
}

/// Measures the log-probability gate: max |logp_rollout − logp_train| over the answers of a pass.
fn gate(out: &Outputs, pass: &PackedPass, tolerance: f32, step: usize) -> Result<f32, Error> {
    let mut worst = (0f32, 0, 0);
    for (sequence, answer) in &pass.members {
        for row in answer.clone() {
            let gap = (out.logprobs[row] - pass.tokens[row].old_logprob).abs();
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
