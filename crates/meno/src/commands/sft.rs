//! `meno sft`.

use crate::training::{self, RecipeArgs, Text};
use anyhow::Result;
use meno_train::data::Example;
use meno_train::memory::Estimate;
use meno_train::recipe::SftRecipe;
use meno_train::sft::read_examples;
use std::path::PathBuf;

/// Arguments of `meno sft`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// Runs `meno sft`.
pub fn run(Args { recipe: args }: Args) -> Result<()> {
    let recipe: SftRecipe = args.load()?;
    training::with_threads(recipe.run.threads, || {
        let mut model = training::model(&recipe.model)?;
        if args.dry_run {
            let mtp = recipe.sft.mtp_loss_weight > 0.0 && model.config.num_nextn_predict_layers > 0;
            args.print_dry_run(&recipe, Some(&Estimate::new(&model, &recipe.train, mtp, None)?));
            return Ok(());
        }
        let text = Text::of(&recipe.model)?;
        let examples = examples(&recipe.data.files, &text, recipe.train.max_tokens)?;
        let checkpoints = training::checkpoints(&args, &recipe.run, &recipe, text.assets.clone())?;
        training::run(&args, "sft", checkpoints, |run| Ok(recipe.sft.run(&recipe.train, &mut model, &examples, run)?))
    })
}

/// The examples of all files; says how many were too long.
pub(super) fn examples(files: &[PathBuf], text: &Text, max_tokens: usize) -> Result<Vec<Example>> {
    let (mut all, mut too_long) = (Vec::new(), 0);
    for file in files {
        let (examples, left_out) = read_examples(file, &text.tokenizer, text.template.as_ref(), max_tokens)?;
        all.extend(examples);
        too_long += left_out;
    }
    if too_long > 0 {
        eprintln!("{too_long} examples have more than train.max_tokens = {max_tokens} tokens and are left out");
    }
    Ok(all)
}
