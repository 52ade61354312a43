//! The settings of GRPO, under TRL's names.

use super::advantages::ScaleRewards;
use super::objective::{Clip, LossType};
use super::reward_funcs::RewardFunc;
use crate::data::Question;
use crate::error::Error;
use crate::rewards::Weighted;
use crate::rollout::Sampler;
use crate::trainer::Train;
use meno_engine::Sampling;
use serde::{Deserialize, Serialize};

/// Settings of GRPO: `[grpo]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grpo {
    /// Questions of one rollout.
    pub num_questions: usize,
    /// G: answers sampled to each question.
    pub num_generations: usize,
    /// Mini-batches (optimizer steps) that a rollout is trained on in.
    pub steps_per_generation: usize,
    /// μ: how often the whole rollout is trained on.
    pub num_iterations: usize,
    /// Longest answer, in tokens.
    pub max_completion_length: usize,
    /// Longest prompt, in tokens.
    pub max_prompt_length: usize,
    /// Sampling temperature, above 0.
    pub temperature: f32,
    /// Sample from the smallest set of tokens with this probability; 1 for all. Below 1 the ratio stays that of the
    /// full distributions.
    pub top_p: f32,
    /// Sample from this many most probable tokens; 0 for all.
    pub top_k: usize,
    /// Leave out tokens below this fraction of the most probable one's probability.
    pub min_p: f32,
    /// Answers generated at once; each has a place in the KV cache.
    pub max_sequences: usize,
    /// grpo, dr_grpo, dapo or cispo: how the loss is normalised and clipped.
    pub loss_type: LossType,
    /// group, batch or none: what advantages are divided by.
    pub scale_rewards: ScaleRewards,
    /// ε: the ratio is clipped below 1 − ε. R1 used 10.
    pub epsilon: f32,
    /// The ratio is clipped above 1 + ε_high; as `epsilon` if left out (DAPO: 0.28).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon_high: Option<f32>,
    /// β: the weight of the KL divergence to the reference; 0 for no reference (R1: 0.001).
    pub beta: f32,
    /// Whether the reference takes over the policy's weights as training goes on.
    pub sync_ref_model: bool,
    /// Optimizer steps between two such moments (R1: 400).
    pub ref_model_sync_steps: usize,
    /// Rewards, by name: accuracy, format, language_consistency, cosine_length, soft_overlong, repetition_penalty; or
    /// the path of a program, `./my_reward`, from the working directory.
    pub reward_funcs: Vec<RewardFunc>,
    /// The weight of each reward; 1 each if left empty.
    pub reward_weights: Vec<f32>,
    /// Whether the format reward asks for `<answer>` tags after the thought.
    pub answer_tags: bool,
    /// cosine_length: the length at which the schedule ends; `max_completion_length` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cosine_max_len: Option<usize>,
    /// cosine_length: the reward of a wrong answer of no tokens.
    pub cosine_min_value_wrong: f32,
    /// cosine_length: the reward of a wrong answer of `cosine_max_len` tokens.
    pub cosine_max_value_wrong: f32,
    /// cosine_length: the reward of a right answer of `cosine_max_len` tokens.
    pub cosine_min_value_correct: f32,
    /// cosine_length: the reward of a right answer of no tokens.
    pub cosine_max_value_correct: f32,
    /// cosine_length: the reward of an answer that runs into the limit, right or wrong.
    pub cosine_exceed_length: f32,
    /// Seconds that a reward's program has for each answer.
    pub reward_timeout: f32,
    /// How often a reward's program is started again over one answer before the run ends with an error.
    pub reward_max_restarts: usize,
    /// soft_overlong: over how many tokens before the longest answer the punishment grows.
    pub overlong_cache: usize,
    /// Take no loss of answers that ran into the length limit (DAPO's overlong filtering).
    pub mask_truncated_completions: bool,
    /// Replace groups whose rewards are all equal by new questions (DAPO).
    pub dynamic_sampling: bool,
    /// How often at most groups are replaced in one rollout.
    pub max_resample_rounds: usize,
    /// γ: by how much a router bias moves after each step; 0 for never.
    pub bias_update_speed: f32,
    /// Largest |logp_rollout − logp_train| before the run stops with an error. 0: the same bits.
    pub logprob_gap_tolerance: f32,
}

impl Default for Grpo {
    fn default() -> Self {
        Grpo {
            num_questions: 32,
            num_generations: 8,
            steps_per_generation: 1,
            num_iterations: 1,
            max_completion_length: 256,
            max_prompt_length: 256,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            max_sequences: 64,
            loss_type: LossType::Dapo,
            scale_rewards: ScaleRewards::Group,
            epsilon: 0.2,
            epsilon_high: None,
            beta: 0.0,
            sync_ref_model: false,
            ref_model_sync_steps: 400,
            reward_funcs: vec![RewardFunc::Accuracy, RewardFunc::Format],
            reward_weights: Vec::new(),
            answer_tags: true,
            cosine_max_len: None,
            cosine_min_value_wrong: -1.0,
            cosine_max_value_wrong: -0.5,
            cosine_min_value_correct: 0.5,
            cosine_max_value_correct: 1.0,
            cosine_exceed_length: -1.0,
            reward_timeout: 60.0,
            reward_max_restarts: 3,
            overlong_cache: 32,
            mask_truncated_completions: false,
            dynamic_sampling: false,
            max_resample_rounds: 3,
            bias_update_speed: 0.0,
            logprob_gap_tolerance: 0.0,
        }
    }
}

impl Grpo {
    /// The constants of the objective.
    pub fn clip(&self) -> Clip {
        let epsilon_high = self.epsilon_high.unwrap_or(self.epsilon);
        Clip { loss_type: self.loss_type, epsilon: self.epsilon, epsilon_high, beta: self.beta }
    }

    /// How answers are sampled.
    pub fn sampler(&self, train: &Train, stop_tokens: Vec<u32>) -> Sampler {
        let sampling = Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            max_tokens: self.max_completion_length,
            stop_tokens,
            ..Sampling::default()
        };
        let slots = self.max_sequences.min(self.num_questions * self.num_generations).max(1);
        Sampler {
            num_generations: self.num_generations,
            sampling,
            slots,
            rows: 512.max(slots),
            precision: train.precision.into(),
            key: [train.seed, 0],
        }
    }

    /// Refuses settings that cannot work.
    pub(super) fn check(&self, train: &Train, rewards: &[Weighted]) -> Result<(), Error> {
        let bad = |key, value: String, expected: &str| Err(Error::Setting { key, value, expected: expected.into() });
        self.check_ranges()?;
        if self.num_generations < 2 {
            let value = self.num_generations.to_string();
            return bad("grpo.num_generations", value, "expected 2 or above: an advantage is relative to a group");
        }
        if self.steps_per_generation > self.num_questions {
            let value = self.steps_per_generation.to_string();
            return bad("grpo.steps_per_generation", value, "expected at most `grpo.num_questions`: groups stay whole");
        }
        if rewards.is_empty() {
            return bad("grpo.reward_funcs", "[]".into(), "expected at least one reward");
        }
        if !self.reward_weights.is_empty() && self.reward_weights.len() != self.reward_funcs.len() {
            let expected = format!("expected {} weights, one for each of `grpo.reward_funcs`", self.reward_funcs.len());
            return bad("grpo.reward_weights", format!("{:?}", self.reward_weights), &expected);
        }
        if self.max_completion_length + 1 > train.max_tokens {
            let (tokens, max_tokens) = (self.max_completion_length + 1, train.max_tokens);
            return Err(Error::TooLong { tokens, max_tokens, what: "`grpo.max_completion_length`" });
        }
        Ok(())
    }

    /// Refuses prompts that do not fit.
    pub(super) fn check_prompts(&self, questions: &[Question], train: &Train) -> Result<(), Error> {
        let longest = questions.iter().map(|q| q.prompt.len()).max().unwrap_or(0);
        if longest > self.max_prompt_length {
            let expected = format!("a question has {longest} tokens: raise it");
            return Err(Error::Setting {
                key: "grpo.max_prompt_length",
                value: self.max_prompt_length.to_string(),
                expected,
            });
        }
        let tokens = longest + self.max_completion_length;
        if tokens > train.max_tokens {
            let max_tokens = train.max_tokens;
            return Err(Error::TooLong { tokens, max_tokens, what: "`grpo.max_completion_length`" });
        }
        Ok(())
    }
}
