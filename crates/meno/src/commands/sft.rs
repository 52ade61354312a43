//! `meno sft`: fine-tunes a model on messages or prompt/completion pairs (SFT).

use crate::open;
use crate::ranks;
use crate::training::{self, RecipeArgs};
use anyhow::Result;
use meno_engine::TextAssets;
use meno_model::Model;
use meno_train::data::{DataFile, Example};
use meno_train::evaluation::Evaluate;
use meno_train::memory::Estimate;
use meno_train::recipe::SftRecipe;
use meno_train::sft::{Dataset, ExampleReader};
use meno_train::{Sft, Train};

/// The end of the `--help` text.
const MORE: &str = "\
Held-out data: eval.eval_steps with eval.eval_files (examples, whose loss is measured) or eval.eval_task (questions, \
whose score is); the best model is kept in best/ of run.output_dir.
The formats of data files: docs/recipes.md.";

/// Arguments of `meno sft`.
#[derive(clap::Args, Debug)]
#[command(after_help = MORE)]
pub(crate) struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// Runs `meno sft`.
pub(crate) fn run(Args { recipe: args }: Args) -> Result<()> {
    let recipe: SftRecipe = args.load()?;
    training::with_threads(recipe.run.threads, || {
        let mut model = training::model_to_train(&recipe.model, &recipe.train)?;
        note_mtp(&model, &recipe.sft);
        let text = open::text_assets(&recipe.model)?;
        if args.dry_run {
            let data = dataset(&recipe.data.files, &text, &recipe.train, &recipe.sft)?;
            let held_out = held_out(&recipe.eval, &text, &recipe.train, &recipe.sft)?;
            let memory = estimate(&model, &recipe.train, &recipe.sft, &recipe.eval)?;
            let answers = (recipe.train.max_tokens, recipe.train.precision);
            return training::with_evaluation(&recipe.task, &recipe.eval, &text, answers, &held_out, |evaluation| {
                let time = || recipe.sft.time(&recipe.train, &mut model, &data, evaluation.as_ref());
                args.print_dry_run(&recipe, Some(&memory), &training::probing(time)?);
                Ok(())
            });
        }
        let checkpoints = training::checkpoints(&args, &recipe.run, &recipe, text.files.clone())?;
        let data = dataset(&recipe.data.files, &text, &recipe.train, &recipe.sft)?;
        let held_out = held_out(&recipe.eval, &text, &recipe.train, &recipe.sft)?;
        let answers = (recipe.train.max_tokens, recipe.train.precision);
        training::with_evaluation(&recipe.task, &recipe.eval, &text, answers, &held_out, |evaluation| {
            training::run_evaluated(&args, "sft", &recipe, checkpoints, evaluation, |run| {
                Ok(recipe.sft.run(&recipe.train, &mut model, &data, run)?)
            })
        })
    })
}

/// Prints a note if the recipe sets a multi-token prediction loss but the model has no module for it.
pub(super) fn note_mtp(model: &Model, sft: &Sft) {
    if sft.mtp_loss_weight > 0.0 && model.config.num_nextn_predict_layers == 0 {
        let weight = sft.mtp_loss_weight;
        eprintln!(
            "note: `sft.mtp_loss_weight` = {weight} has no effect: the model has no multi-token prediction module"
        );
    }
}

/// The memory of a run, including its evaluations.
pub(super) fn estimate(model: &Model, train: &Train, sft: &Sft, eval: &Evaluate) -> Result<Estimate> {
    let mtp = sft.mtp_loss_weight > 0.0 && model.config.num_nextn_predict_layers > 0;
    let mut estimate = Estimate::new(model, train, mtp, None, &ranks::world())?;
    if eval.eval_steps > 0 && eval.eval_task.is_some() {
        let bytes = eval.memory(model, train.max_tokens, train.max_tokens)?;
        estimate.parts.push(("KV cache and activations of evaluation", bytes));
    }
    Ok(estimate)
}

/// The examples of all files. Reports what was left out or cut off, and whether the run is too short for its warm-up.
pub(super) fn dataset(files: &[DataFile], text: &TextAssets, train: &Train, sft: &Sft) -> Result<Dataset> {
    let data = read(files, text, train, sft, "note")?;
    let steps = sft.with_epochs(train, data.mixture.epoch() as usize).max_steps;
    if sft.num_train_epochs > 0.0 && train.warmup_steps > steps {
        let warmup = train.warmup_steps;
        eprintln!(
            "note: `train.warmup_steps` = {warmup} is more than the run's {steps} steps: the learning rate never \
             reaches its peak"
        );
    }
    Ok(data)
}

/// The held-out examples of `eval.eval_files`, if the recipe measures them.
pub(super) fn held_out(eval: &Evaluate, text: &TextAssets, train: &Train, sft: &Sft) -> Result<Vec<Example>> {
    if eval.eval_steps == 0 || eval.eval_files.is_empty() {
        return Ok(Vec::new());
    }
    Ok(read(&eval.eval_files, text, train, sft, "note: eval.eval_files")?.examples)
}

fn read(files: &[DataFile], text: &TextAssets, train: &Train, sft: &Sft, note: &str) -> Result<Dataset> {
    let (tokenizer, template) = (&text.tokenizer, text.template.as_ref());
    let reader = ExampleReader { tokenizer, template, max_tokens: train.max_tokens, max_length: sft.max_length };
    let data = reader.read(files)?;
    for line in data.account.notes() {
        eprintln!("{note}: {line}");
    }
    Ok(data)
}
