//! `meno grpo`: trains a model by reinforcement learning with verifiable rewards (GRPO).

use crate::exit::survive_closed_connections;
use crate::open;
use crate::ranks;
use crate::training::{self, RecipeArgs};
use anyhow::Result;
use meno_model::Model;
use meno_train::memory::Estimate;
use meno_train::recipe::GrpoRecipe;

/// The end of the `--help` text.
const MORE: &str = "\
Rewards (grpo.reward_funcs): accuracy, format, language_consistency, cosine_length, soft_overlong, repetition_penalty, \
or ./PROGRAM, which reads answers as JSON lines and writes a number for each.
Held-out questions: eval.eval_steps and eval.eval_task measure them during training; the best model is kept in best/ \
of run.output_dir.
A run that learns nothing prints a warning with the figures that show it. Details: docs/recipes.md.";

/// Arguments of `meno grpo`.
#[derive(clap::Args, Debug)]
#[command(after_help = MORE)]
pub(crate) struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// Runs `meno grpo`.
pub(crate) fn run(Args { recipe: args }: Args) -> Result<()> {
    let recipe: GrpoRecipe = args.load()?;
    training::with_threads(recipe.run.threads, || {
        let mut model = training::model(&recipe.model)?;
        let text = open::text_assets(&recipe.model)?;
        let begin = || training::checkpoints(&args, &recipe.run, &recipe, text.files.clone());
        let checkpoints = if args.dry_run { None } else { Some(begin()?) };
        // If a reward program exits, that is an error of this pipe and must not end the run.
        survive_closed_connections();
        training::with_task(&recipe.task, &text, |task| {
            let rewards = recipe.grpo.rewards()?;
            meno_train::rewards::check_task(&rewards, task.task, task.split)?;
            let lengths = (recipe.grpo.max_completion_length, recipe.train.precision);
            training::with_evaluation(&recipe.task, &recipe.eval, &text, lengths, &[], |evaluation| {
                // A dry run opens everything that a run needs: the task, held-out questions, reward programs.
                let Some(checkpoints) = checkpoints else {
                    let memory = estimate(&model, &recipe)?;
                    let time = || recipe.grpo.time(&recipe.train, &mut model, task, evaluation.as_ref());
                    let time = training::probing(time)?;
                    args.print_dry_run(&recipe, Some(&memory), &time);
                    return Ok(());
                };
                training::run_evaluated(&args, "grpo", &recipe, checkpoints, evaluation, |run| {
                    Ok(recipe.grpo.run(&recipe.train, &mut model, task, &rewards, run)?)
                })
            })
        })
    })
}

/// The memory of a run, including its evaluations.
fn estimate(model: &Model, recipe: &GrpoRecipe) -> Result<Estimate> {
    let mut estimate = Estimate::new(model, &recipe.train, false, Some(&recipe.grpo), &ranks::world())?;
    if recipe.eval.eval_steps > 0 {
        let (longest, prompt) = (recipe.grpo.max_completion_length, recipe.grpo.max_prompt_length);
        let bytes = recipe.eval.memory(model, longest, prompt)?;
        estimate.parts.push(("KV cache and activations of evaluation", bytes));
    }
    Ok(estimate)
}
