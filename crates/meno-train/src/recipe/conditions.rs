//! The conditions under which settings have an effect.

use super::sections::{DistillSection, TaskSection};
use crate::evaluation::{Evaluate, Metric};
use crate::grpo::objective::LossType;
use crate::grpo::{Grpo, RewardFunc};
use crate::lr_schedule::LrSchedulerType;
use crate::pretrain::Pretrain;
use crate::prompt::PromptStyle;
use crate::rejection_sampling::RejectionSampling;
use crate::sft::Sft;
use crate::train::{Optim, Train};

/// Settings that have an effect only under a condition.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Their full names; a trailing `*` matches all names with this prefix.
    pub(super) keys: &'static [&'static str],
    /// True if the settings have an effect.
    pub(super) holds: bool,
    /// The note if they have none.
    pub(super) note: String,
}

fn when(holds: bool, keys: &'static [&'static str], note: impl Into<String>) -> Condition {
    Condition { keys, holds, note: note.into() }
}

/// `[train]`.
pub(super) fn of_train(train: &Train) -> Vec<Condition> {
    use LrSchedulerType::{Constant, V3, Wsd};
    let kind = train.lr_scheduler_type;
    vec![
        when(kind != Constant, &["train.min_lr_rate"], "has no effect: `train.lr_scheduler_type` is constant"),
        when(
            matches!(kind, V3 | Wsd),
            &["train.decay_start"],
            "has no effect: `train.lr_scheduler_type` is not v3 or wsd",
        ),
        when(kind == V3, &["train.decay_end"], "has no effect: `train.lr_scheduler_type` is not v3"),
        when(train.optim == Optim::Muon, &["train.muon_momentum"], "has no effect: `train.optim` is adamw"),
        when(train.learning_rate > 0.0, &["train.learning_rate"], "changes no weight"),
    ]
}

/// `[train]` of a run whose number of steps is set in the recipe.
pub(super) fn of_steps(train: &Train) -> Vec<Condition> {
    let why = format!("is more than `train.max_steps` = {}: the learning rate never reaches its peak", train.max_steps);
    vec![when(train.warmup_steps <= train.max_steps, &["train.warmup_steps"], why)]
}

/// `[pretrain]`.
pub(super) fn of_pretrain(pretrain: &Pretrain) -> Vec<Condition> {
    let why = "has no effect: `pretrain.bias_update_speed` is 0";
    vec![when(pretrain.bias_update_speed > 0.0, &["pretrain.bias_update_until"], why)]
}

/// `[sft]`.
pub(super) fn of_sft(sft: &Sft, train: &Train) -> Vec<Condition> {
    let epochs = sft.num_train_epochs > 0.0;
    let mut all = vec![when(!epochs, &["train.max_steps"], "has no effect: `sft.num_train_epochs` sets the steps")];
    if !epochs {
        all.extend(of_steps(train));
    }
    all
}

/// `[grpo]`.
pub(super) fn of_grpo(grpo: &Grpo) -> Vec<Condition> {
    let has = |f: RewardFunc| grpo.reward_funcs.contains(&f);
    let programs = grpo.reward_funcs.iter().any(|f| matches!(f, RewardFunc::Program(_)));
    vec![
        when(
            !grpo.loss_type.clips() || grpo.epsilon < 1.0,
            &["grpo.epsilon"],
            "leaves the ratio without a lower bound, as R1's 10 does: 1 - ε is not above 0",
        ),
        when(
            grpo.loss_type != LossType::Sapo,
            &["grpo.epsilon", "grpo.epsilon_high"],
            "has no effect: sapo does not clip",
        ),
        when(
            grpo.loss_type == LossType::Sapo,
            &["grpo.sapo_temperature_pos", "grpo.sapo_temperature_neg"],
            "has no effect: `grpo.loss_type` is not sapo",
        ),
        when(grpo.beta > 0.0, &["grpo.use_bias_correction_kl"], "has no effect: `grpo.beta` is 0"),
        when(grpo.sync_ref_model, &["grpo.ref_model_sync_steps"], "has no effect without `grpo.sync_ref_model`"),
        when(grpo.dynamic_sampling, &["grpo.max_resample_rounds"], "has no effect without `grpo.dynamic_sampling`"),
        when(
            !grpo.dynamic_sampling || grpo.max_resample_rounds > 0,
            &["grpo.dynamic_sampling"],
            "has no effect: `grpo.max_resample_rounds` is 0",
        ),
        when(
            has(RewardFunc::CosineLength),
            &["grpo.cosine_*"],
            "has no effect: `grpo.reward_funcs` has no cosine_length",
        ),
        when(
            has(RewardFunc::SoftOverlong),
            &["grpo.overlong_cache"],
            "has no effect: `grpo.reward_funcs` has no soft_overlong",
        ),
        when(has(RewardFunc::Format), &["grpo.answer_tags"], "has no effect: `grpo.reward_funcs` has no format"),
        when(
            programs,
            &["grpo.reward_timeout", "grpo.reward_max_restarts"],
            "has no effect: `grpo.reward_funcs` has no program",
        ),
    ]
}

/// `[eval]` of a training recipe.
pub(super) fn of_eval(eval: &Evaluate) -> Vec<Condition> {
    vec![when(eval.eval_steps > 0, &["eval.*"], "has no effect: `eval.eval_steps` is 0")]
}

/// `[task]` of a run that uses it.
pub(super) fn of_task(task: &TaskSection) -> Vec<Condition> {
    vec![
        when(task.prompt == PromptStyle::Chat, &["task.system"], "has no effect: `task.prompt` is not chat"),
        when(task.name == "countdown", &["task.countdown.*"], "has no effect: `task.name` is not countdown"),
    ]
}

/// `[task]` and the question settings of fine-tuning, which only affect held-out questions.
pub(super) fn of_questions(eval: &Evaluate, task: &TaskSection) -> Vec<Condition> {
    let asked = eval.eval_task.is_some() && eval.eval_steps > 0;
    let mut all =
        vec![when(asked, &["task.*"], "has no effect: there is no `eval.eval_task`, or `eval.eval_steps` is 0")];
    if asked {
        all.push(when(false, &["task.name"], "has no effect: the held-out questions come from `eval.eval_task`"));
        all.extend(of_task(&TaskSection { name: eval.eval_task.clone().unwrap_or_default(), ..task.clone() }));
    } else if eval.eval_steps > 0 {
        const SAMPLING: &[&str] = &[
            "eval.split",
            "eval.num_problems",
            "eval.num_samples",
            "eval.temperature",
            "eval.top_p",
            "eval.max_completion_length",
            "eval.max_sequences",
            "eval.seed",
            "eval.metric_for_best_model",
        ];
        let loss = eval.metric_for_best_model == Metric::Loss;
        let keys = if loss { &SAMPLING[..SAMPLING.len() - 1] } else { SAMPLING };
        all.push(when(false, keys, "has no effect: there is no `eval.eval_task`, so only the loss is measured"));
    }
    all
}

/// `[sample]`.
pub(super) fn of_sample(sample: &RejectionSampling) -> Vec<Condition> {
    vec![when(sample.require_format, &["sample.answer_tags"], "has no effect: `sample.require_format` is false")]
}

/// `[distill]`: either a teacher is sampled, or traces are given.
pub(super) fn of_traces(distill: &DistillSection, sample: &RejectionSampling, task: &TaskSection) -> Vec<Condition> {
    if distill.traces.is_some() {
        return vec![when(false, &["sample.*"], "has no effect: `distill.traces` is set, so no teacher is sampled")];
    }
    [of_sample(sample), of_task(task)].concat()
}
