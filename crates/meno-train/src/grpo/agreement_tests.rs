//! Compares the loss, its gradients and its metrics with TRL's `GRPOTrainer._compute_loss`
//! (`dev/reference/grpo_loss.py`).

use super::Grpo;
use super::mini_batch::Scores;
use super::objective::{GrpoObjective, LossType};
use super::pass::{PackedPass, StepSums};
use crate::data::{Question, Verdict};
use crate::rollout::Rollout;
use meno_tensor::tape::{Objective, Outputs};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Golden {
    max_completion_length: usize,
    logprobs: Vec<Vec<f32>>,
    old_logprobs: Vec<Vec<f32>>,
    ref_logprobs: Vec<Vec<f32>>,
    entropies: Vec<Vec<f32>>,
    truncated: Vec<bool>,
    advantages: BTreeMap<usize, Vec<f32>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    settings: serde_json::Value,
    steps: Vec<Step>,
    metrics: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Step {
    loss: f64,
    dlogprobs: Vec<Vec<f64>>,
    #[serde(default)]
    dentropies: Vec<Vec<f64>>,
}

/// The results of the passes of one step.
struct Computed {
    sums: StepSums,
    dlogprobs: Vec<Vec<f64>>,
    dentropies: Vec<Vec<f64>>,
}

impl Golden {
    fn read() -> Golden {
        serde_json::from_str(include_str!("../../tests/golden/grpo_loss.json")).unwrap()
    }

    fn rollouts(&self, grpo: &Grpo) -> Vec<Rollout> {
        let advantages = &self.advantages[&grpo.num_generations];
        let rollout = |i: usize| Rollout {
            question: Question { prompt: vec![1, 2], ..Question::default() },
            tokens: vec![3; self.logprobs[i].len()],
            logprobs: self.old_logprobs[i].clone(),
            ref_logprobs: self.ref_logprobs[i].clone(),
            text: String::new(),
            truncated: self.truncated[i],
            verdict: Verdict::Wrong,
            reward: 0.0,
            scores: Vec::new(),
            advantage: advantages[i],
        };
        (0..self.logprobs.len()).map(rollout).collect()
    }

    /// Runs one step over the rollouts from `first` on, in passes of two, with these log-probabilities and entropies in
    /// place of the network's.
    fn step(&self, grpo: &Grpo, first: usize, mini: &[Rollout]) -> Computed {
        let score = |i: usize| Scores { logprobs: self.logprobs[i].clone(), entropies: self.entropies[i].clone() };
        let needed = if grpo.needs_scores() { mini.len() } else { 0 };
        let scores: Vec<Scores> = (first..first + needed).map(score).collect();
        let terms = grpo.terms(mini, &scores);
        let config = grpo.objective();
        let zeros = || mini.iter().map(|r| vec![0.0; r.tokens.len()]).collect();
        let mut computed = Computed { sums: StepSums::default(), dlogprobs: zeros(), dentropies: zeros() };
        let teaching: Vec<usize> = (0..mini.len()).filter(|&i| grpo.teaches(&mini[i])).collect();
        let mut pass = PackedPass::default();
        for members in teaching.chunks(2) {
            pass.fill(mini, members, &terms);
            let entropy = grpo.entropy_coef != 0.0;
            let objective = GrpoObjective { config, tokens: &pass.tokens, temperature: 1.0, entropy };
            let rows = pass.batch.len();
            let mut out = Outputs { logprobs: vec![0.0; rows], entropies: vec![0.0; rows], ..Outputs::default() };
            for (i, answer) in &pass.members {
                for (t, row) in answer.clone().enumerate() {
                    out.logprobs[row] = self.logprobs[first + i][t];
                    out.entropies[row] = self.entropies[first + i][t];
                    let token = objective.token(&pass.batch, 0, row, out.logprobs[row], out.entropies[row]);
                    out.losses.next_token += token.loss as f64;
                    computed.dlogprobs[*i][t] = token.dlogprob as f64;
                    computed.dentropies[*i][t] = token.dentropy as f64;
                }
            }
            computed.sums.add(&out, &pass, &config, grpo.level());
        }
        computed
    }
}

/// Returns the largest difference between corresponding values.
fn difference(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.len() == b.len()));
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn settings(golden: &Golden, case: &Case) -> Grpo {
    let grpo: Grpo = serde_json::from_value(case.settings.clone()).unwrap();
    Grpo { max_completion_length: golden.max_completion_length, ..grpo }
}

/// Returns the name of a variant: the settings that change the formula.
fn variant(grpo: &Grpo) -> String {
    let mut name = format!("{:?}, {:?}", grpo.loss_type, grpo.level());
    let parts = [
        ("delta", grpo.delta.is_some()),
        ("KL", grpo.beta != 0.0 && !grpo.use_bias_correction_kl),
        ("unbiased KL", grpo.beta != 0.0 && grpo.use_bias_correction_kl),
        ("off-policy mask", grpo.off_policy_mask_threshold.is_some()),
        ("entropy quantile", grpo.selects_by_entropy()),
        ("entropy bonus", grpo.entropy_coef != 0.0),
    ];
    parts.iter().filter(|p| p.1).for_each(|p| name += &format!(", {}", p.0));
    name
}

#[test]
fn losses_and_gradients_are_those_of_trl() {
    let golden = Golden::read();
    let mut worst: BTreeMap<String, [f64; 3]> = BTreeMap::new();
    for case in &golden.cases {
        let grpo = settings(&golden, case);
        let rollouts = golden.rollouts(&grpo);
        let size = rollouts.len() / grpo.steps_per_generation;
        assert_eq!(case.steps.len(), grpo.steps_per_generation);
        for (n, (mini, expected)) in rollouts.chunks(size).zip(&case.steps).enumerate() {
            let computed = golden.step(&grpo, n * size, mini);
            // TRL divides these by the mean number of tokens of the rollout's steps, Meno by the number of tokens of
            // the step.
            let tokens = |r: &[Rollout]| r.iter().filter(|r| !grpo.masks(r)).map(|r| r.tokens.len()).sum::<usize>();
            let scale = match grpo.loss_type {
                LossType::Dapo | LossType::Cispo => {
                    tokens(&rollouts) as f64 / (grpo.steps_per_generation * tokens(mini)) as f64
                }
                _ => 1.0,
            };
            let scaled = |x: &[Vec<f64>]| x.iter().map(|r| r.iter().map(|x| x * scale).collect()).collect::<Vec<_>>();
            let differences = [
                (computed.sums.loss - expected.loss * scale).abs(),
                difference(&computed.dlogprobs, &scaled(&expected.dlogprobs)),
                if expected.dentropies.is_empty() {
                    computed.dentropies.iter().flatten().fold(0.0, |m, d| d.abs().max(m))
                } else {
                    difference(&computed.dentropies, &expected.dentropies)
                },
            ];
            assert!(differences.iter().all(|d| *d < 1e-7), "{}: {differences:?}", case.settings);
            let entry = worst.entry(variant(&grpo)).or_default();
            entry.iter_mut().zip(differences).for_each(|(w, d)| *w = w.max(d));
        }
    }
    for (name, [loss, dlogprob, dentropy]) in &worst {
        println!("| {name} | {loss:.1e} | {dlogprob:.1e} | {dentropy:.1e} |");
    }
    assert!(worst.len() > 100, "{} variants", worst.len());
}

#[test]
fn metrics_are_those_of_trl() {
    let golden = Golden::read();
    let mut compared = 0;
    for case in &golden.cases {
        let grpo = settings(&golden, case);
        let computed = golden.step(&grpo, 0, &golden.rollouts(&grpo));
        let (sums, clip) = (&computed.sums, &computed.sums.clip);
        for (name, expected) in &case.metrics {
            let value = match name.as_str() {
                "kl" => sums.kl / sums.tokens,
                "entropy" => sums.entropy / sums.tokens,
                "policy_loss" => sums.loss - sums.entropy_loss,
                "entropy_coef" => grpo.entropy_coef as f64,
                "clip_ratio/low_mean" => clip.low / clip.ratios,
                "clip_ratio/high_mean" | "cispo_clip_ratio" => clip.high / clip.ratios,
                "clip_ratio/region_mean" => (clip.low + clip.high) / clip.ratios,
                "clip_ratio/low_min" => clip.low_min.unwrap(),
                "clip_ratio/high_max" => clip.high_max.unwrap(),
                other => panic!("TRL logs {other}"),
            };
            assert!((value - expected).abs() < 1e-6, "{name} of {}: {value} {expected}", case.settings);
            compared += 1;
        }
    }
    assert!(compared > 500, "{compared}");
}
