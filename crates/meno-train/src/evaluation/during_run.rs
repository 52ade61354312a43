//! The evaluations of a run: after a step when one is due, and the best model at the end.

use super::best::{Best, Record, keep, load_best};
use super::{Evaluation, LossOf};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::run::Run;
use meno_model::Model;

/// The outcome of [`after_step`].
pub(crate) enum Measured {
    /// No evaluation was due.
    NotDue,
    /// The observer stopped it.
    Stopped,
    /// The score that selects the best model.
    Score(f64),
}

/// Evaluates the model after `step` if an evaluation is due; `loss_of` computes the loss of held-out examples. Adds the
/// results to `metrics` and keeps a new best model.
pub(crate) fn after_step(
    run: &mut Run,
    model: &mut Model,
    (step, max_steps): (usize, usize),
    best: &mut Option<Best>,
    metrics: &mut Metrics,
    loss_of: &mut LossOf,
) -> Result<Measured, Error> {
    let Run { observer, evaluation: Some(evaluation), checkpoints, .. } = run else { return Ok(Measured::NotDue) };
    if !evaluation.due(step, max_steps) {
        return Ok(Measured::NotDue);
    }
    let Some(figures) = evaluation.measure(model, step, loss_of, *observer)? else { return Ok(Measured::Stopped) };
    figures.push(metrics);
    let metric = evaluation.metric();
    let score = figures.value(metric);
    let new = Best { step, score: score as f32 };
    let mut note = format!("step {step}: held-out {}", figures.describe(metric));
    match best {
        Some(old) if !metric.improves(new.score, old.score) => {
            note += &format!("; the best is {}, of step {}", metric.shown(old.score.into()), old.step);
        }
        _ => {
            note += "; the best so far";
            if let Some(to) = checkpoints {
                let task = evaluation.task_name();
                let record = Record {
                    step,
                    score: new.score,
                    metric,
                    task,
                    summary: figures.summary.as_ref(),
                    loss: figures.loss,
                };
                let path = keep(to, model, &record)?;
                note += &format!(", kept in {}", path.display());
            }
            *best = Some(new);
        }
    }
    metrics.push("eval/best", best.map_or(score, |b| b.score as f64));
    observer.on_note(&note);
    Ok(Measured::Score(score))
}

/// Loads the best model at the end of a run if `load_best_model_at_end` is set.
pub(crate) fn finish(run: &Run, model: &mut Model) -> Result<(), Error> {
    match (&run.evaluation, &run.checkpoints) {
        (Some(evaluation), Some(to)) if evaluation.load_best_at_end() => load_best(to, model),
        _ => Ok(()),
    }
}

/// Fails if the run cannot keep its best model.
pub(crate) fn check(run: &Run) -> Result<(), Error> {
    if run.evaluation.as_ref().is_some_and(Evaluation::load_best_at_end) && run.checkpoints.is_none() {
        let expected = "a run without checkpoints keeps no best model".into();
        return Err(Error::Setting { key: "eval.load_best_model_at_end", value: "true".into(), expected });
    }
    Ok(())
}
