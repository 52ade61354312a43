//! What a recipe computes in one optimizer step.

use crate::error::Error;
use crate::grpo::Grpo;
use crate::limits::refused;
use crate::recipe::{self, DistillRecipe, GrpoRecipe, ModelSection, PretrainRecipe, Recipe, SftRecipe};
use crate::sft::Sft;
use crate::train::Train;
use meno_model::Config;
use meno_tensor::ops::router::TopkMethod;
use std::path::Path;

/// A recipe that can be planned.
#[derive(Clone, Debug)]
pub enum PlannedRecipe {
    /// Of `meno pretrain`.
    Pretrain(PretrainRecipe),
    /// Of `meno sft`.
    Sft(SftRecipe),
    /// Of `meno grpo`.
    Grpo(GrpoRecipe),
    /// Of `meno distill`: the training of the student is planned.
    Distill(DistillRecipe),
}

impl PlannedRecipe {
    /// Reads a recipe and recognizes its command by its sections.
    ///
    /// # Errors
    /// Fails if the recipe is invalid, or is one of a command that does not train.
    pub fn load(path: &Path, sets: &[String]) -> Result<PlannedRecipe, Error> {
        let text = meno_model::input::read_text(path, meno_model::input::SMALL).map_err(Error::io(path))?;
        let file = path.display().to_string();
        let Ok(table) = text.parse::<toml::Table>() else {
            // Any command reports the error of the syntax.
            return Ok(PlannedRecipe::Pretrain(recipe::parse(&file, &text, sets)?));
        };
        if table.contains_key("distill") {
            return Ok(PlannedRecipe::Distill(recipe::parse(&file, &text, sets)?));
        }
        let sections = ["pretrain", "sft", "grpo"];
        let found: Vec<&str> = sections.into_iter().filter(|section| table.contains_key(*section)).collect();
        match found[..] {
            ["pretrain"] => Ok(PlannedRecipe::Pretrain(recipe::parse(&file, &text, sets)?)),
            ["sft"] => Ok(PlannedRecipe::Sft(recipe::parse(&file, &text, sets)?)),
            ["grpo"] => Ok(PlannedRecipe::Grpo(recipe::parse(&file, &text, sets)?)),
            _ => {
                let message = "`meno plan` plans recipes of pretrain, sft, grpo and distill, and recognizes them by \
                               their section: expected exactly one of [pretrain], [sft], [grpo] and [distill] (it may \
                               be empty)";
                Err(Error::Recipe { file, message: message.into() })
            }
        }
    }

    /// Returns the section of the model.
    pub fn model(&self) -> &ModelSection {
        match self {
            PlannedRecipe::Pretrain(r) => r.model(),
            PlannedRecipe::Sft(r) => r.model(),
            PlannedRecipe::Grpo(r) => r.model(),
            PlannedRecipe::Distill(r) => r.model(),
        }
    }

    /// Returns the settings common to all stages.
    pub fn train(&self) -> &Train {
        match self {
            PlannedRecipe::Pretrain(r) => &r.train,
            PlannedRecipe::Sft(r) => &r.train,
            PlannedRecipe::Grpo(r) => &r.train,
            PlannedRecipe::Distill(r) => &r.train,
        }
    }

    /// Returns what a step computes on a network of this shape. `length` is the mean number of tokens of a sequence,
    /// with GRPO of an answer; without it, sequences are as long as the recipe allows.
    pub fn work(&self, config: Config, length: Option<usize>) -> Result<Work, Error> {
        let work = match self {
            PlannedRecipe::Pretrain(r) => {
                let length = length.unwrap_or(r.train.max_tokens);
                let tokens = r.pretrain.tokens_per_step.max(length) as f64;
                let mtp = r.pretrain.mtp_loss_weight > 0.0 && config.num_nextn_predict_layers > 0;
                let (train, steps) = (r.train.clone(), Some(r.train.max_steps));
                Work { verb: "pretrain", config, train, mtp, steps, length, tokens, rollout: None }
            }
            PlannedRecipe::Sft(r) => sft("sft", &r.sft, &r.train, config, length),
            PlannedRecipe::Distill(r) => sft("distill", &r.sft, &r.train, config, length),
            PlannedRecipe::Grpo(r) => grpo(&r.grpo, &r.train, config, length),
        };
        if work.length < 2 || work.length > work.train.max_tokens {
            let expected = format!("a sequence has 2 to {} tokens (`train.max_tokens`)", work.train.max_tokens);
            return Err(refused("--length", work.length, expected));
        }
        Ok(work)
    }
}

fn sft(verb: &'static str, sft: &Sft, train: &Train, config: Config, length: Option<usize>) -> Work {
    let length = length.unwrap_or(sft.max_length.unwrap_or(train.max_tokens));
    let mtp = sft.mtp_loss_weight > 0.0 && config.num_nextn_predict_layers > 0;
    // The number of steps of an epoch depends on the data, which is not read.
    let steps = (sft.num_train_epochs <= 0.0).then_some(train.max_steps);
    let tokens = (sft.train_batch_size * length) as f64;
    Work { verb, config, train: train.clone(), mtp, steps, length, tokens, rollout: None }
}

fn grpo(grpo: &Grpo, train: &Train, config: Config, length: Option<usize>) -> Work {
    let completion = length.unwrap_or(grpo.max_completion_length);
    let prompt = grpo.max_prompt_length.min(train.max_tokens.saturating_sub(completion));
    let (length, parts) = (prompt + completion, grpo.steps_per_generation as f64);
    let tokens = (grpo.num_questions * grpo.num_generations * length) as f64 / parts;
    Work {
        verb: "grpo",
        config,
        train: train.clone(),
        mtp: false,
        steps: Some(train.max_steps),
        length,
        tokens,
        rollout: Some(RolloutWork { grpo: grpo.clone(), prompt, completion }),
    }
}

/// What a recipe computes in one optimizer step, on all ranks together.
#[derive(Clone, Debug)]
pub struct Work {
    /// The command that runs the recipe.
    pub verb: &'static str,
    /// The shape of the network.
    pub config: Config,
    /// Settings common to all stages.
    pub train: Train,
    /// True if the multi-token prediction module is trained.
    pub mtp: bool,
    /// Optimizer steps of the run, if the recipe determines them.
    pub steps: Option<usize>,
    /// Tokens of a sequence.
    pub length: usize,
    /// Tokens of a step that are trained on.
    pub tokens: f64,
    /// The answers that GRPO samples.
    pub rollout: Option<RolloutWork>,
}

/// The answers that GRPO samples.
#[derive(Clone, Debug)]
pub struct RolloutWork {
    pub(super) grpo: Grpo,
    /// Tokens of a prompt.
    pub(super) prompt: usize,
    /// Tokens of an answer.
    pub(super) completion: usize,
}

impl RolloutWork {
    /// Returns the optimizer steps that use one rollout.
    pub(super) fn uses(&self) -> f64 {
        (self.grpo.steps_per_generation * self.grpo.num_iterations) as f64
    }

    /// Returns the answers of a rollout.
    pub(super) fn answers(&self) -> usize {
        self.grpo.num_questions * self.grpo.num_generations
    }

    /// Returns the tokens of a rollout that are scored without a gradient: by the log-probability gate, for all
    /// mini-batches except the first, and by the reference model.
    pub(super) fn scored(&self) -> f64 {
        let parts = self.grpo.steps_per_generation as f64;
        let passes = (parts - 1.0) / parts + if self.grpo.beta > 0.0 { 1.0 } else { 0.0 };
        passes * (self.answers() * (self.prompt + self.completion)) as f64
    }
}

impl Work {
    /// Returns the number of layers, including the multi-token prediction module.
    pub(super) fn layers(&self) -> usize {
        self.config.num_hidden_layers + self.config.num_nextn_predict_layers
    }

    /// Returns the number of layers with experts that compute in training.
    pub(super) fn moe_layers(&self) -> usize {
        let main = (0..self.config.num_hidden_layers).filter(|&layer| self.config.is_moe(layer)).count();
        main + usize::from(self.mtp)
    }

    /// Returns the number of `units`, ranks or nodes, that a token's experts are on, at most. Experts lie in contiguous
    /// blocks, and a token reaches those of `topk_group` groups (V3 §2.1.2).
    pub(super) fn reached(&self, units: usize) -> usize {
        let Some(gate) = self.config.moe().map(|moe| moe.gate) else { return 0 };
        let limit = match gate.topk_method {
            TopkMethod::Greedy => units,
            _ => gate.topk_group * units.div_ceil(gate.n_group),
        };
        gate.num_experts_per_tok.min(units).min(limit)
    }

    /// Returns the sequences of a step, at least one.
    pub(super) fn sequences(&self) -> usize {
        (self.tokens / self.length as f64).ceil().max(1.0) as usize
    }

    /// Returns what is assumed about the lengths of sequences, as a sentence.
    pub(super) fn lengths(&self) -> String {
        let how = "as long as the recipe allows, or as --length sets";
        match &self.rollout {
            Some(r) => format!("prompts have {} tokens and answers {}: {how}", r.prompt, r.completion),
            None => format!("sequences have {} tokens: {how}", self.length),
        }
    }
}
