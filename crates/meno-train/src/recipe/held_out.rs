//! Checks `[eval]` of a training recipe, and lists the files it reads.

use super::sections::TaskSection;
use crate::error::Error;
use crate::evaluation::Evaluate;
use crate::limits::{POSITIVE, refused, within};
use meno_eval::{Split, tasks};
use std::path::PathBuf;

/// Returns the files of held-out questions and examples.
pub(super) fn held_out(eval: &Evaluate) -> Vec<PathBuf> {
    let task = eval.eval_task.iter().map(PathBuf::from).filter(|path| path.is_file());
    let files = eval.eval_files.iter().map(|f| f.path.clone());
    task.chain(files).filter(|_| eval.eval_steps > 0).collect()
}

/// Fails if the held-out questions are those of training, or belong to no task.
fn check_questions(eval: &Evaluate, task: &TaskSection) -> Result<(), Error> {
    eval.check()?;
    if eval.eval_steps == 0 {
        return Ok(());
    }
    if eval.split == Split::Train {
        return Err(refused("eval.split", "train", "it holds out nothing: expected validation or test"));
    }
    let name = eval.eval_task.as_ref().unwrap_or(&task.name);
    if *name == task.name && !tasks::NAMES.contains(&name.as_str()) {
        let expected = "a file has no splits, so eval.eval_task must name another";
        return Err(refused("eval.eval_steps", eval.eval_steps, expected));
    }
    Ok(())
}

/// Checks `[eval]` of reinforcement learning.
pub(super) fn check_eval_of_grpo(eval: &Evaluate, task: &TaskSection) -> Result<(), Error> {
    if let Some(file) = eval.eval_files.first() {
        let expected = "reinforcement learning measures answers: name questions in `eval.eval_task`";
        return Err(refused("eval.eval_files", file.path.display(), expected));
    }
    check_questions(eval, task)
}

/// Checks `[eval]` of fine-tuning.
pub(super) fn check_eval_of_sft(eval: &Evaluate, task: &TaskSection) -> Result<(), Error> {
    eval.check()?;
    eval.eval_files.iter().try_for_each(|f| within(POSITIVE, &[("eval.eval_files.weight", f.weight)]))?;
    if eval.eval_steps > 0 && eval.eval_files.is_empty() && eval.eval_task.is_none() {
        let expected = "there is nothing to measure: name held-out examples in `eval.eval_files`, or questions in \
                        `eval.eval_task`";
        return Err(refused("eval.eval_steps", eval.eval_steps, expected));
    }
    // Here `[task]` does not describe the training questions.
    if eval.eval_task.is_some() {
        check_questions(eval, &TaskSection { name: String::new(), ..task.clone() })
    } else {
        Ok(())
    }
}
