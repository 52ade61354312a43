//! `meno grpo`.

use crate::training::{self, RecipeArgs, Text};
use anyhow::Result;
use meno_train::memory::Estimate;
use meno_train::recipe::GrpoRecipe;

/// Arguments of `meno grpo`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// Runs `meno grpo`.
pub fn run(Args { recipe: args }: Args) -> Result<()> {
    let recipe: GrpoRecipe = args.load()?;
    training::with_threads(recipe.run.threads, || {
        let mut model = training::model(&recipe.model)?;
        if args.dry_run {
            args.print_dry_run(&recipe, Some(&Estimate::new(&model, &recipe.train, false, Some(&recipe.grpo))?));
            return Ok(());
        }
        let text = Text::of(&recipe.model)?;
        let checkpoints = training::checkpoints(&args, &recipe.run, &recipe, text.assets.clone())?;
        training::with_task(&recipe.task, &text, |task| {
            training::run(&args, "grpo", &recipe, checkpoints, |run| {
                let rewards = recipe.grpo.rewards();
                Ok(recipe.grpo.run(&recipe.train, &mut model, task, &rewards, run)?)
            })
        })
    })
}
