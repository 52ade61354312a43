//! `meno distill`.

use super::sft::examples;
use crate::training::{self, RecipeArgs, Text};
use anyhow::{Result, bail};
use meno_train::data::Example;
use meno_train::distill;
use meno_train::memory::Estimate;
use meno_train::recipe::DistillRecipe;
use std::path::Path;

/// Arguments of `meno distill`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// Runs `meno distill`.
pub fn run(Args { recipe: args }: Args) -> Result<()> {
    let recipe: DistillRecipe = args.load()?;
    training::with_threads(recipe.run.threads, || {
        let mut student = training::model(&recipe.model)?;
        if args.dry_run {
            args.print_dry_run(&recipe, Some(&Estimate::new(&student, &recipe.train, false, None)?));
            return Ok(());
        }
        let text = Text::of(&recipe.model)?;
        let checkpoints = training::checkpoints(&args, &recipe.run, &recipe, text.assets.clone())?;
        let examples = match (&recipe.distill.traces, &recipe.distill.teacher) {
            (Some(traces), None) => examples(&distill::trace_files(traces)?, &text, recipe.train.max_tokens)?,
            (None, Some(teacher)) => match ask(&args, &recipe, teacher, &text)? {
                Some(examples) => examples,
                None => std::process::exit(130),
            },
            _ => bail!("[distill] needs `traces` (a directory of JSONL) or `teacher` (a local model), one of the two"),
        };
        training::run(&args, "distill", checkpoints, |run| {
            Ok(recipe.sft.run(&recipe.train, &mut student, &examples, run)?)
        })
    })
}

/// Samples the teacher; the traces stay in the run's directory, so that resuming asks it nothing twice.
fn ask(args: &RecipeArgs, recipe: &DistillRecipe, teacher: &Path, student: &Text) -> Result<Option<Vec<Example>>> {
    let dir = recipe.run.output_dir.join("traces");
    let sample = super::sample::SampleRun {
        args,
        model: &meno_train::recipe::ModelSection { path: Some(teacher.to_owned()), ..Default::default() },
        task: &recipe.task,
        precision: recipe.train.precision,
        sample: &recipe.sample,
        dir: &dir,
    };
    if !sample.run(true)? {
        return Ok(None);
    }
    Ok(Some(examples(&distill::trace_files(&dir)?, student, recipe.train.max_tokens)?))
}
