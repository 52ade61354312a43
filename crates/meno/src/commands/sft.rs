//! `meno sft`.

use crate::training::{self, RecipeArgs, Text};
use anyhow::Result;
use meno_train::data::DataFile;
use meno_train::memory::Estimate;
use meno_train::recipe::SftRecipe;
use meno_train::sft::{Dataset, Reading};
use meno_train::{Sft, Train};

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
        let checkpoints = training::checkpoints(&args, &recipe.run, &recipe, text.assets.clone())?;
        let data = dataset(&recipe.data.files, &text, &recipe.train, &recipe.sft)?;
        training::run(&args, "sft", &recipe, checkpoints, |run| {
            Ok(recipe.sft.run(&recipe.train, &mut model, &data, run)?)
        })
    })
}

/// The examples of all files; says what was left out or cut off.
pub(super) fn dataset(files: &[DataFile], text: &Text, train: &Train, sft: &Sft) -> Result<Dataset> {
    let (tokenizer, template) = (&text.tokenizer, text.template.as_ref());
    let reading = Reading { tokenizer, template, max_tokens: train.max_tokens, max_length: sft.max_length };
    let data = reading.read(files)?;
    for note in data.account.notes() {
        eprintln!("note: {note}");
    }
    Ok(data)
}
