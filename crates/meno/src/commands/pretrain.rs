//! `meno pretrain`: trains a base model on packed text.

use crate::open;
use crate::ranks;
use crate::training::{self, RecipeArgs};
use anyhow::Result;
use meno_train::data::{DataFile, Mixed, Mixture, read_documents};
use meno_train::memory::Estimate;
use meno_train::recipe::PretrainRecipe;

/// Arguments of `meno pretrain`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// Runs `meno pretrain`.
pub(crate) fn run(Args { recipe: args }: Args) -> Result<()> {
    let recipe: PretrainRecipe = args.load()?;
    training::with_threads(recipe.run.threads, || {
        let mut model = training::model_to_train(&recipe.model, &recipe.train)?;
        let text = open::text_assets(&recipe.model)?;
        let encode = |t: &str| Ok(text.tokenizer.encode(t, true)?);
        let end = text.tokenizer.eos().first().copied();
        let begin = || training::checkpoints(&args, &recipe.run, &recipe, text.files.clone());
        let checkpoints = if args.dry_run { None } else { Some(begin()?) };
        let (mut documents, mut parts) = (Vec::new(), Vec::new());
        for DataFile { path, weight } in &recipe.data.files {
            let more = read_documents(path, &encode, end, model.config.vocab_size)?;
            parts.push((more.len(), *weight));
            documents.extend(more);
        }
        let documents = Mixed { documents, mixture: Mixture::new(&parts), seed: recipe.train.seed };
        let Some(checkpoints) = checkpoints else {
            let mtp = recipe.pretrain.mtp_loss_weight > 0.0 && model.config.num_nextn_predict_layers > 0;
            let memory = Estimate::new(&model, &recipe.train, mtp, None, &ranks::world())?;
            let time = training::probing(|| recipe.pretrain.time(&recipe.train, &mut model, &documents))?;
            args.print_dry_run(&recipe, Some(&memory), &time);
            return Ok(());
        };
        training::run(&args, "pretrain", &recipe, checkpoints, |run| {
            Ok(recipe.pretrain.run(&recipe.train, &mut model, &documents, run)?)
        })
    })
}
