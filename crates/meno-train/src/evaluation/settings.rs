//! The settings of an evaluation during training.

use crate::data::DataFile;
use crate::error::Error;
use crate::rollout::{RolloutConfig, generator};
use meno_engine::Sampling;
use meno_eval::Split;
use meno_model::Model;
use meno_tensor::precision::Precision;
use serde::{Deserialize, Serialize};

/// `[eval]` of a training recipe: which held-out questions to evaluate, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluate {
    /// Optimizer steps between two evaluations; 0 disables them.
    pub eval_steps: usize,
    /// sft and distill: files of held-out examples, as in `[data]`; their loss is evaluated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub eval_files: Vec<DataFile>,
    /// A task family or a file of held-out questions. If left out: for grpo the split of `[task]`, for sft none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_task: Option<String>,
    /// validation or test, for a task family. A file of questions has no splits.
    pub split: Split,
    /// Number of problems; if left out, all of a file, or 200 of a task family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_problems: Option<u64>,
    /// k: samples per problem.
    pub num_samples: usize,
    /// Sampling temperature; 0 for the most probable token.
    pub temperature: f32,
    /// Sample from the smallest set of tokens with this probability.
    pub top_p: f32,
    /// Maximum length of a response in tokens; if left out, as in training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_completion_length: Option<usize>,
    /// Number of concurrent sequences.
    pub max_sequences: usize,
    /// Seed of the sampling.
    pub seed: u64,
    /// The metric that selects the best checkpoint: pass1, pass_at_k, cons_at_k or loss; always loss if there are only
    /// `eval_files`.
    pub metric_for_best_model: Metric,
    /// End the run with the best model instead of the last one.
    pub load_best_model_at_end: bool,
}

impl Default for Evaluate {
    fn default() -> Self {
        Evaluate {
            eval_steps: 0,
            eval_files: Vec::new(),
            eval_task: None,
            split: Split::Validation,
            num_problems: None,
            num_samples: 4,
            temperature: 0.6,
            top_p: 0.95,
            max_completion_length: None,
            max_sequences: 32,
            seed: 0,
            metric_for_best_model: Metric::Pass1,
            load_best_model_at_end: false,
        }
    }
}

/// A metric that selects the best checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The mean fraction of right samples.
    #[default]
    Pass1,
    /// The probability that at least one of k samples is right.
    PassAtK,
    /// The majority vote over k samples.
    ConsAtK,
    /// The mean cross-entropy of the tokens of held-out answers; lower is better.
    Loss,
}

impl Metric {
    pub(super) fn name(self) -> &'static str {
        match self {
            Metric::Pass1 => "pass@1",
            Metric::PassAtK => "pass@k",
            Metric::ConsAtK => "cons@k",
            Metric::Loss => "loss",
        }
    }

    /// Returns true if `new` is better than `old`.
    pub(super) fn improves(self, new: f32, old: f32) -> bool {
        if self == Metric::Loss { new < old } else { new > old }
    }

    /// Formats a value for display.
    pub(super) fn shown(self, value: f64) -> String {
        if self == Metric::Loss { format!("{value:.4}") } else { format!("{:.1} %", 100.0 * value) }
    }
}

impl Evaluate {
    /// Checks the settings.
    pub fn check(&self) -> Result<(), Error> {
        let bad = |key, value: String, expected: &str| Err(Error::Setting { key, value, expected: expected.into() });
        for (key, value) in [
            ("eval.num_samples", self.num_samples),
            ("eval.max_sequences", self.max_sequences),
            ("eval.max_completion_length", self.max_completion_length.unwrap_or(1)),
            ("eval.num_problems", self.num_problems.unwrap_or(1) as usize),
        ] {
            if value == 0 {
                return bad(key, "0".into(), "expected 1 or above");
            }
        }
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return bad(
                "eval.temperature",
                self.temperature.to_string(),
                "expected 0 (the most probable token) or above",
            );
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return bad("eval.top_p", self.top_p.to_string(), "expected above 0 and at most 1");
        }
        if self.metric_for_best_model == Metric::Loss && self.eval_files.is_empty() && self.eval_steps > 0 {
            return bad("eval.metric_for_best_model", "loss".into(), "there is no loss without `eval.eval_files`");
        }
        if self.load_best_model_at_end && self.eval_steps == 0 {
            return bad(
                "eval.load_best_model_at_end",
                "true".into(),
                "there is no best model without `eval.eval_steps`",
            );
        }
        Ok(())
    }

    /// Returns how answers are sampled, during a training with answers of up to `max_completion_length` tokens.
    pub fn rollout_config(
        &self,
        max_completion_length: usize,
        precision: Precision,
        stop_tokens: Vec<u32>,
    ) -> RolloutConfig {
        let sampling = Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            max_tokens: self.max_completion_length.unwrap_or(max_completion_length),
            stop_tokens,
            ..Sampling::default()
        };
        RolloutConfig::new(self.num_samples, sampling, self.max_sequences, precision, [self.seed, 0])
    }

    /// Returns the bytes of KV cache and activations of an evaluation with prompts of up to `max_prompt` tokens.
    pub fn memory(&self, model: &Model, max_completion_length: usize, max_prompt: usize) -> Result<usize, Error> {
        let config = self.rollout_config(max_completion_length, Precision::F32, Vec::new());
        Ok(generator(model, &config, max_prompt)?.bytes())
    }
}
