//! The settings of GRPO, under TRL's names.

use super::advantages::ScaleRewards;
use super::objective::{ImportanceSamplingLevel, LossType, ObjectiveConfig};
use super::reward_funcs::RewardFunc;
use crate::data::Question;
use crate::error::Error;
use crate::limits::refused;
use crate::rewards::Weighted;
use crate::rollout::RolloutConfig;
use crate::train::Train;
use meno_engine::Sampling;
use serde::{Deserialize, Serialize};

/// Settings of GRPO: `[grpo]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grpo {
    /// Questions per rollout.
    pub num_questions: usize,
    /// G: answers sampled per question.
    pub num_generations: usize,
    /// Number of mini-batches (optimizer steps) per rollout.
    pub steps_per_generation: usize,
    /// μ: how many times to train on the whole rollout.
    pub num_iterations: usize,
    /// Maximum length of an answer, in tokens.
    pub max_completion_length: usize,
    /// Maximum length of a prompt, in tokens.
    pub max_prompt_length: usize,
    /// Sampling temperature, above 0.
    pub temperature: f32,
    /// Sample from the smallest set of tokens with this probability; 1 for all. Below 1, the importance ratio still
    /// uses the full distributions.
    pub top_p: f32,
    /// Sample from this many most probable tokens; 0 for all.
    pub top_k: usize,
    /// Exclude tokens below this fraction of the most probable token's probability.
    pub min_p: f32,
    /// Answers generated concurrently; each has a slot in the KV cache.
    pub max_sequences: usize,
    /// grpo, bnpo, dr_grpo, dapo, cispo, sapo or gspo: how the loss is normalized and clipped. gspo is grpo with
    /// `importance_sampling_level = "sequence"`.
    pub loss_type: LossType,
    /// token or sequence: one importance ratio per token, or one per response (GSPO). If left out: token, for gspo
    /// sequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance_sampling_level: Option<ImportanceSamplingLevel>,
    /// group, batch or none: the divisor of advantages.
    pub scale_rewards: ScaleRewards,
    /// ε: the ratio is clipped below 1 − ε. R1 used 10.
    pub epsilon: f32,
    /// The ratio is clipped above 1 + ε_high; if left out, as `epsilon` (DAPO: 0.28).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon_high: Option<f32>,
    /// δ: the ratio is also capped here for negative advantages, where `epsilon` sets no upper bound (INTELLECT-2: 4).
    /// If left out: no cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<f32>,
    /// sapo: τ of tokens with a positive advantage.
    pub sapo_temperature_pos: f32,
    /// sapo: τ of all other tokens; larger than the positive one, so that bad answers have less weight when off-policy.
    pub sapo_temperature_neg: f32,
    /// Responses with a negative advantage whose probability dropped by more than this, in nats per token, have no
    /// policy loss (DeepSeek-V3.2's off-policy mask; 0.5 is a reasonable start). If left out: no mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_policy_mask_threshold: Option<f32>,
    /// ρ: only this fraction of tokens, those with the highest entropy, has a policy loss (0.2 in arXiv 2506.01939); 1
    /// for all.
    pub top_entropy_quantile: f32,
    /// The weight of the entropy bonus: the mean entropy of the step's tokens, times this, is subtracted from the loss
    /// (verl: `entropy_coeff`, OpenRLHF: `entropy_loss_coef`).
    pub entropy_coef: f32,
    /// β: the weight of the KL divergence to the reference; 0 for no reference (R1: 0.001).
    pub beta: f32,
    /// Multiply the KL estimate by the importance ratio, which makes its gradient unbiased (DeepSeek-V3.2). TRL's
    /// default is true.
    pub use_bias_correction_kl: bool,
    /// Move the reference towards the policy's weights during training.
    pub sync_ref_model: bool,
    /// Optimizer steps between two such updates (R1: 400).
    pub ref_model_sync_steps: usize,
    /// α: the reference becomes α · policy + (1 − α) · reference (TR-DPO; TRL's default is 0.6). 1 copies the policy
    /// (R1).
    pub ref_model_mixup_alpha: f32,
    /// Rewards, by name: accuracy, format, language_consistency, cosine_length, soft_overlong, repetition_penalty; or
    /// the path of a program, `./my_reward`, relative to the working directory.
    pub reward_funcs: Vec<RewardFunc>,
    /// The weight of each reward; 1 each if left empty.
    pub reward_weights: Vec<f32>,
    /// Require `<answer>` tags after the thought, in the format reward.
    pub answer_tags: bool,
    /// cosine_length: the length at which the schedule ends; if left out, `max_completion_length`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cosine_max_len: Option<usize>,
    /// cosine_length: the reward of a wrong answer with no tokens.
    pub cosine_min_value_wrong: f32,
    /// cosine_length: the reward of a wrong answer of `cosine_max_len` tokens.
    pub cosine_max_value_wrong: f32,
    /// cosine_length: the reward of a right answer of `cosine_max_len` tokens.
    pub cosine_min_value_correct: f32,
    /// cosine_length: the reward of a right answer with no tokens.
    pub cosine_max_value_correct: f32,
    /// cosine_length: the reward of an answer that hits the limit, right or wrong.
    pub cosine_exceed_length: f32,
    /// Timeout of a reward's program, in seconds per answer.
    pub reward_timeout: f32,
    /// How often a reward's program is restarted on one answer before the run fails.
    pub reward_max_restarts: usize,
    /// soft_overlong: number of tokens before the maximum length over which the penalty grows.
    pub overlong_cache: usize,
    /// Exclude answers that hit the length limit from the loss (DAPO's overlong filtering).
    pub mask_truncated_completions: bool,
    /// Replace groups with equal rewards by new questions (DAPO).
    pub dynamic_sampling: bool,
    /// Maximum number of times that groups are replaced in one rollout.
    pub max_resample_rounds: usize,
    /// γ: how much a router bias changes after each step; 0 disables the updates.
    pub bias_update_speed: f32,
    /// Maximum |logp_rollout − logp_train|; above it, the run stops with an error. 0 requires the same bits.
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
            importance_sampling_level: None,
            scale_rewards: ScaleRewards::Group,
            epsilon: 0.2,
            epsilon_high: None,
            delta: None,
            sapo_temperature_pos: 1.0,
            sapo_temperature_neg: 1.05,
            off_policy_mask_threshold: None,
            top_entropy_quantile: 1.0,
            entropy_coef: 0.0,
            beta: 0.0,
            use_bias_correction_kl: false,
            sync_ref_model: false,
            ref_model_sync_steps: 400,
            ref_model_mixup_alpha: 1.0,
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
    /// Returns the constants of the objective.
    pub fn objective(&self) -> ObjectiveConfig {
        ObjectiveConfig {
            loss_type: self.loss_type,
            epsilon: self.epsilon,
            epsilon_high: self.epsilon_high.unwrap_or(self.epsilon),
            delta: self.delta,
            sapo_temperature_pos: self.sapo_temperature_pos,
            sapo_temperature_neg: self.sapo_temperature_neg,
            beta: self.beta,
            use_bias_correction_kl: self.use_bias_correction_kl,
        }
    }

    /// Returns the level of the importance ratio.
    pub fn level(&self) -> ImportanceSamplingLevel {
        let default = match self.loss_type {
            LossType::Gspo => ImportanceSamplingLevel::Sequence,
            _ => ImportanceSamplingLevel::Token,
        };
        self.importance_sampling_level.unwrap_or(default)
    }

    /// Returns how answers are sampled.
    pub fn rollout_config(&self, train: &Train, stop_tokens: Vec<u32>) -> RolloutConfig {
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
        RolloutConfig::new(self.num_generations, sampling, slots, train.precision, [train.seed, 0])
    }

    /// Checks the settings together with the rewards.
    pub(super) fn check(&self, train: &Train, rewards: &[Weighted]) -> Result<(), Error> {
        if train.expert_parallel {
            let expected = "answers are sampled with all experts on every process: expected false";
            return Err(refused("train.expert_parallel", true, expected));
        }
        self.check_settings(train)?;
        if rewards.is_empty() {
            return Err(refused("grpo.reward_funcs", "[]", "expected at least one reward"));
        }
        Ok(())
    }

    /// Checks everything that does not require a model, a task, or the programs of rewards.
    pub fn check_settings(&self, train: &Train) -> Result<(), Error> {
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
        self.check_objective()?;
        self.check_reward_settings()?;
        if !self.reward_weights.is_empty() && self.reward_weights.iter().all(|w| *w == 0.0) {
            let expected = "expected a weight that is not 0: every answer has the same reward otherwise";
            return bad("grpo.reward_weights", format!("{:?}", self.reward_weights), expected);
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

    /// Checks the settings of the objective and of the reference.
    fn check_objective(&self) -> Result<(), Error> {
        let check = |fine: bool, key, value: String, expected: &str| match fine {
            true => Ok(()),
            false => Err(Error::Setting { key, value, expected: expected.into() }),
        };
        check(
            self.loss_type != LossType::Gspo || self.level() == ImportanceSamplingLevel::Sequence,
            "grpo.importance_sampling_level",
            "token".into(),
            "expected sequence: `grpo.loss_type` = gspo has one ratio for a response; grpo is its token form",
        )?;
        let high = 1.0 + self.epsilon_high.unwrap_or(self.epsilon);
        if let Some(delta) = self.delta {
            let expected = format!("expected above {high}, which is 1 + `grpo.epsilon_high`");
            check(delta.is_finite() && delta > high, "grpo.delta", delta.to_string(), &expected)?;
            let expected = "has no effect on `grpo.loss_type` = cispo and sapo, which do not clip: leave it out";
            check(self.loss_type.clips(), "grpo.delta", delta.to_string(), expected)?;
        }
        if let Some(threshold) = self.off_policy_mask_threshold {
            let expected = "expected nats a token, 0 or above; DeepSeek-V3.2's δ";
            let fine = threshold.is_finite() && threshold >= 0.0;
            check(fine, "grpo.off_policy_mask_threshold", threshold.to_string(), expected)?;
        }
        let above_zero = |x: f32| x.is_finite() && x > 0.0;
        let (pos, neg) = (self.sapo_temperature_pos, self.sapo_temperature_neg);
        check(above_zero(pos), "grpo.sapo_temperature_pos", pos.to_string(), "expected a finite value above 0")?;
        check(above_zero(neg), "grpo.sapo_temperature_neg", neg.to_string(), "expected a finite value above 0")?;
        let quantile = self.top_entropy_quantile;
        let expected = "expected the share of tokens to train on, above 0 and at most 1";
        check(quantile > 0.0 && quantile <= 1.0, "grpo.top_entropy_quantile", quantile.to_string(), expected)?;
        let coef = self.entropy_coef;
        let expected = "expected a finite weight, 0 or above";
        check(coef.is_finite() && coef >= 0.0, "grpo.entropy_coef", coef.to_string(), expected)?;
        let alpha = self.ref_model_mixup_alpha;
        let fine = alpha > 0.0 && alpha <= 1.0;
        check(fine, "grpo.ref_model_mixup_alpha", alpha.to_string(), "expected above 0, up to 1")?;
        let expected = "has no effect without `grpo.sync_ref_model = true`";
        check(alpha == 1.0 || self.sync_ref_model, "grpo.ref_model_mixup_alpha", alpha.to_string(), expected)?;
        let fine = self.ref_model_sync_steps > 0 || !self.sync_ref_model;
        check(fine, "grpo.ref_model_sync_steps", "0".into(), "expected 1 or above: the steps between two syncs")?;
        let expected = "there is no reference model to sync with `grpo.beta` = 0: raise beta, or leave it out";
        check(self.beta > 0.0 || !self.sync_ref_model, "grpo.sync_ref_model", "true".into(), expected)
    }

    /// Fails if a prompt does not fit.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{GrpoRecipe, parse};

    fn refused(toml: &str) -> Option<String> {
        let grpo: Grpo = toml::from_str(toml).unwrap();
        let refused = grpo.check_settings(&Train::default()).err().map(|e| e.to_string());
        // A recipe is checked when it is read: before a dry run ends and before anything is loaded.
        let recipe = format!("[grpo]\n{toml}");
        let read = parse::<GrpoRecipe>("", &recipe, &[]).err().map(|e| e.to_string());
        assert_eq!(read.is_some(), refused.is_some(), "{toml}: {read:?}");
        refused
    }

    #[test]
    fn settings_of_the_objective_that_cannot_work_are_refused_by_name() {
        for (toml, message) in [
            ("loss_type = \"gspo\"\nimportance_sampling_level = \"token\"", "`grpo.importance_sampling_level` = token"),
            ("delta = 1.2", "`grpo.delta` = 1.2: expected above 1.2, which is 1 + `grpo.epsilon_high`"),
            ("delta = nan", "`grpo.delta` = NaN"),
            ("delta = 4.0\nepsilon = 10.0", "`grpo.delta` = 4: expected above 11"),
            ("delta = 4.0\nloss_type = \"cispo\"", "`grpo.delta` = 4: has no effect"),
            ("delta = 4.0\nloss_type = \"sapo\"", "`grpo.delta` = 4: has no effect"),
            ("off_policy_mask_threshold = -0.1", "`grpo.off_policy_mask_threshold` = -0.1"),
            ("off_policy_mask_threshold = inf", "`grpo.off_policy_mask_threshold` = inf"),
            ("sapo_temperature_pos = 0.0", "`grpo.sapo_temperature_pos` = 0"),
            ("sapo_temperature_neg = nan", "`grpo.sapo_temperature_neg` = NaN"),
            ("top_entropy_quantile = 1.5", "`grpo.top_entropy_quantile` = 1.5"),
            ("top_entropy_quantile = nan", "`grpo.top_entropy_quantile` = NaN"),
            ("entropy_coef = -0.1", "`grpo.entropy_coef` = -0.1"),
            ("entropy_coef = inf", "`grpo.entropy_coef` = inf"),
            ("sync_ref_model = true\nref_model_mixup_alpha = 0.0", "`grpo.ref_model_mixup_alpha` = 0"),
            ("sync_ref_model = true\nref_model_mixup_alpha = 1.1", "`grpo.ref_model_mixup_alpha` = 1.1"),
            ("ref_model_mixup_alpha = 0.6", "has no effect without `grpo.sync_ref_model = true`"),
            ("sync_ref_model = true\nref_model_sync_steps = 0", "`grpo.ref_model_sync_steps` = 0"),
            ("sync_ref_model = true", "`grpo.sync_ref_model` = true: there is no reference model to sync"),
            ("top_entropy_quantile = 0.0", "`grpo.top_entropy_quantile` = 0: expected the share"),
            ("reward_weights = [0.0, 0.0]", "`grpo.reward_weights` = [0.0, 0.0]: expected a weight that is not 0"),
            ("reward_weights = [1.0]", "`grpo.reward_weights` = [1.0]: expected 2 weights"),
            ("reward_timeout = 0.0", "`grpo.reward_timeout` = 0"),
            ("num_generations = 1", "`grpo.num_generations` = 1"),
            ("steps_per_generation = 64", "`grpo.steps_per_generation` = 64"),
            ("max_completion_length = 4096", "raise it or shorten `grpo.max_completion_length`"),
        ] {
            let e = refused(toml).unwrap_or_else(|| panic!("{toml} is not refused"));
            assert!(e.contains(message), "{toml}: {e}");
        }
    }

    #[test]
    fn settings_of_the_papers_are_taken() {
        for toml in [
            "loss_type = \"gspo\"\nepsilon = 3e-4\nepsilon_high = 4e-4",
            "loss_type = \"grpo\"\nimportance_sampling_level = \"sequence\"",
            "loss_type = \"cispo\"\nepsilon_high = 4.0",
            "delta = 4.0\nbeta = 0.001\nuse_bias_correction_kl = true\noff_policy_mask_threshold = 0.5",
            "top_entropy_quantile = 0.2\nentropy_coef = 0.001",
            "beta = 0.001\nsync_ref_model = true\nref_model_sync_steps = 512\nref_model_mixup_alpha = 0.6",
        ] {
            assert_eq!(refused(toml), None, "{toml}");
        }
    }
}
