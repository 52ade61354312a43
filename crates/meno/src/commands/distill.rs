//! `meno distill`: trains a student model on a teacher's answers.

use super::sample::SampleRun;
use super::sft::{dataset, estimate, held_out, note_mtp};
use crate::open;
use crate::ranks;
use crate::training::{self, RecipeArgs};
use anyhow::{Result, bail};
use meno_model::Model;
use meno_train::data::{DataFile, Example};
use meno_train::distill;
use meno_train::recipe::{DistillRecipe, ModelSection, SampleRecipe};
use meno_train::time::Time;
use std::path::{Path, PathBuf};

/// Arguments of `meno distill`.
#[derive(clap::Args, Debug)]
#[command(after_help = "The section [distill] of the recipe sets exactly one of `traces`, a directory of JSONL, and \
                        `teacher`, a local model.")]
pub(crate) struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// Runs `meno distill`.
pub(crate) fn run(Args { recipe: args }: Args) -> Result<()> {
    let recipe: DistillRecipe = args.load()?;
    recipe.train.check_processes(ranks::world().size())?;
    training::with_threads(recipe.run.threads, || {
        let mut student = training::model_to_train(&recipe.model, &recipe.train)?;
        note_mtp(&student, &recipe.sft);
        if args.dry_run {
            let memory = estimate(&student, &recipe.train, &recipe.sft, &recipe.eval)?;
            let time = training::probing(|| time(&recipe, &mut student))?;
            args.print_dry_run(&recipe, Some(&memory), &time);
            return Ok(());
        }
        let text = open::text_assets(&recipe.model)?;
        let checkpoints = training::checkpoints(&args, &recipe.run, &recipe, text.files.clone())?;
        let read = |path: &Path| {
            let files: Vec<DataFile> = distill::trace_files(path)?.into_iter().map(DataFile::from).collect();
            dataset(&files, &text, &recipe.train, &recipe.sft)
        };
        let data = match (&recipe.distill.traces, &recipe.distill.teacher) {
            (Some(traces), None) => read(traces)?,
            (None, Some(teacher)) => match ask(&args, &recipe, teacher)? {
                Some(traces) => read(&traces)?,
                None => ranks::exit_stopped(),
            },
            _ => bail!("[distill] needs `traces` (a directory of JSONL) or `teacher` (a local model), one of the two"),
        };
        let held_out = held_out(&recipe.eval, &text, &recipe.train, &recipe.sft)?;
        let answers = (recipe.train.max_tokens, recipe.train.precision);
        training::with_evaluation(&recipe.task, &recipe.eval, &text, answers, &held_out, |evaluation| {
            training::run_evaluated(&args, "distill", &recipe, checkpoints, evaluation, |run| {
                Ok(recipe.sft.run(&recipe.train, &mut student, &data, run)?)
            })
        })
    })
}

/// Estimates the time for the teacher's answers and the training on them. It assumes that half of the answers
/// that may be kept are kept.
fn time(recipe: &DistillRecipe, student: &mut Model) -> Result<Time> {
    let text = open::text_assets(&recipe.model)?;
    match (&recipe.distill.traces, &recipe.distill.teacher) {
        (Some(traces), None) => {
            let files: Vec<DataFile> = distill::trace_files(traces)?.into_iter().map(DataFile::from).collect();
            let data = dataset(&files, &text, &recipe.train, &recipe.sft)?;
            let held_out = held_out(&recipe.eval, &text, &recipe.train, &recipe.sft)?;
            let answers = (recipe.train.max_tokens, recipe.train.precision);
            training::with_evaluation(&recipe.task, &recipe.eval, &text, answers, &held_out, |evaluation| {
                Ok(recipe.sft.time(&recipe.train, student, &data, evaluation.as_ref())?)
            })
        }
        (None, Some(teacher)) => {
            let section = teacher_section(recipe, teacher);
            let (mut model, asking) = (training::model(&section)?, open::text_assets(&section)?);
            let (mut time, length) = training::with_task(&recipe.task, &asking, |task| {
                Ok(recipe.sample.time(&mut model, recipe.train.precision, task)?)
            })?;
            drop(model);
            let most = recipe.sample.keep_per_question.min(recipe.sample.num_generations);
            let examples = (recipe.sample.num_questions * most / 2).max(1);
            let length = (length as usize).clamp(2, recipe.train.max_tokens);
            let data = vec![Example { tokens: vec![0; length], prompt: 1 }; examples];
            let more = recipe.sft.time(&recipe.train, student, &data, None)?;
            time.parts.extend(more.parts);
            time.probe += more.probe;
            Ok(time)
        }
        _ => bail!("[distill] needs `traces` (a directory of JSONL) or `teacher` (a local model), one of the two"),
    }
}

/// The teacher as a recipe's model. It runs on the student's device.
fn teacher_section(recipe: &DistillRecipe, teacher: &Path) -> ModelSection {
    ModelSection { path: Some(teacher.to_owned()), device: recipe.model.device, ..ModelSection::default() }
}

/// Samples the teacher and returns the location of its traces. They are in the run's directory, so that
/// resuming does not sample the same question twice. `None` if it was stopped.
fn ask(args: &RecipeArgs, recipe: &DistillRecipe, teacher: &Path) -> Result<Option<PathBuf>> {
    let dir = recipe.run.output_dir.join("traces");
    let sample = SampleRecipe {
        model: teacher_section(recipe, teacher),
        task: recipe.task.clone(),
        precision: recipe.train.precision,
        sample: recipe.sample.clone(),
        run: recipe.run.clone(),
    };
    Ok(SampleRun { args, recipe: &sample, dir: &dir }.run(true)?.then_some(dir))
}
