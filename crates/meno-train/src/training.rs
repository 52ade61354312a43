//! The training loop of pretraining, fine-tuning and GRPO: resume, step, evaluate, record, save.

use crate::checkpoint::{self, Blocks, OwnedBlocks, State, Unfinished};
use crate::data::Example;
use crate::error::Error;
use crate::evaluation::{self, Best, Measured};
use crate::metrics::Metrics;
use crate::observer::Observer;
use crate::run::{Log, Run, Summary};
use crate::trainer::Trainer;
use meno_model::Model;

/// The metrics of an optimizer step, and the number of tokens it computed.
pub(crate) type MadeStep = (Metrics, usize);

/// State common to all stages.
pub(crate) struct StageState {
    /// Gradients, optimizer and executor.
    pub(crate) trainer: Trainer,
    /// The progress of the run; its `stage` names the checkpoints.
    pub(crate) state: State,
}

impl StageState {
    /// Creates the state at the start of a run of `stage`.
    pub(crate) fn new(stage: &str, trainer: Trainer) -> StageState {
        StageState { trainer, state: State { stage: stage.into(), ..State::default() } }
    }
}

/// A stage of training: what differs between pretraining, fine-tuning and GRPO.
pub(crate) trait Stage {
    /// Returns the state common to all stages.
    fn training(&self) -> &StageState;
    /// Returns the common state for modification.
    fn training_mut(&mut self) -> &mut StageState;
    /// Makes one optimizer step and counts it in [`StageState::state`]. `None` if the observer stopped it; then nothing
    /// has changed.
    fn step(&mut self, model: &mut Model, observer: &mut dyn Observer) -> Result<Option<MadeStep>, Error>;

    /// Restores what a checkpoint contains besides the weights, the optimizer and [`StageState::state`], which are
    /// already restored.
    fn resume(&mut self, _blocks: OwnedBlocks, _run: &Run) -> Result<(), Error> {
        Ok(())
    }
    /// Updates `state.extra` before a checkpoint is written.
    fn before_save(&mut self) {}
    /// Returns further blocks of a checkpoint.
    fn blocks(&self) -> Blocks<'_> {
        Blocks::new()
    }
    /// Returns the best held-out score so far, for stages with evaluation.
    fn best(&mut self) -> Option<&mut Option<Best>> {
        None
    }
    /// Returns the mean loss over held-out examples. `None` if the stage has none or the observer stopped it.
    fn held_out_loss(
        &mut self,
        _model: &mut Model,
        _examples: &[Example],
        _observer: &mut dyn Observer,
    ) -> Result<Option<f64>, Error> {
        Ok(None)
    }
    /// Inspects the metrics of a completed step, including its evaluation, and may add to them.
    fn after_step(&mut self, _measured: &Measured, _rows: usize, _metrics: &mut Metrics, _observer: &mut dyn Observer) {
    }
    /// Returns the number of tokens for the speed of a step.
    fn tokens(&self, _metrics: &Metrics, rows: usize) -> usize {
        rows
    }
}

/// Runs a stage for `max_steps` optimizer steps.
pub(crate) fn train(
    stage: &mut dyn Stage,
    max_steps: usize,
    model: &mut Model,
    run: &mut Run,
) -> Result<Summary, Error> {
    evaluation::check(run)?;
    if let Some(evaluation) = &mut run.evaluation {
        evaluation.share(&run.comm, model)?;
    }
    let name = stage.training().state.stage.clone();
    if let Some((saved, blocks)) = checkpoint::resume(run.checkpoints.as_ref(), run.observer, model, &name)? {
        let training = stage.training_mut();
        training.trainer.restore(&saved, &blocks)?;
        training.state = saved;
        stage.resume(blocks, run)?;
    }
    let mut log = Log::start(run, stage.training().state.steps_over())?;
    while has_work(&stage.training().state, max_steps) && log.may_continue(run.observer) {
        if !step(stage, max_steps, model, run, &mut log)? {
            log.summary.stopped = true;
            break;
        }
    }
    if log.summary.stopped && log.unsaved {
        // The partial next step is dropped; it has not changed the weights.
        save(stage, model, run)?;
    }
    if stage.training().state.steps_over() >= max_steps {
        evaluation::finish(run, model)?;
    }
    log.finish(run, model, max_steps)
}

/// Returns true if a step, or the evaluation of the last step, remains to be done.
fn has_work(state: &State, max_steps: usize) -> bool {
    state.unfinished.is_some() || state.step < max_steps
}

/// Makes one optimizer step and everything that follows it; `false` if the observer stopped it.
fn step(
    stage: &mut dyn Stage,
    max_steps: usize,
    model: &mut Model,
    run: &mut Run,
    log: &mut Log,
) -> Result<bool, Error> {
    let made = match stage.training_mut().state.unfinished.take() {
        Some(unfinished) => Some(unfinished.of_step(stage.training().state.step)),
        None => stage.step(model, run.observer)?,
    };
    let Some((mut metrics, rows)) = made else { return Ok(false) };
    let measured = evaluate(stage, max_steps, model, run, &mut metrics)?;
    if matches!(measured, Measured::Stopped) {
        stage.training_mut().state.unfinished = Some(Unfinished::new(&metrics, rows));
        log.unsaved = true;
        return Ok(false);
    }
    stage.after_step(&measured, rows, &mut metrics, run.observer);
    let tokens = stage.tokens(&metrics, rows);
    log.step(metrics, tokens, max_steps, run.observer)?;
    let step = stage.training().state.step;
    if run.checkpoints.as_ref().is_some_and(|c| c.due(step, max_steps)) {
        save(stage, model, run)?;
        log.unsaved = false;
    }
    Ok(true)
}

/// Evaluates held-out data if an evaluation is due.
fn evaluate(
    stage: &mut dyn Stage,
    max_steps: usize,
    model: &mut Model,
    run: &mut Run,
    metrics: &mut Metrics,
) -> Result<Measured, Error> {
    let Some(mut best) = stage.best().map(|best| *best) else { return Ok(Measured::NotDue) };
    let steps = (stage.training().state.step, max_steps);
    let mut loss_of = |model: &mut Model, examples: &[Example], observer: &mut dyn Observer| {
        stage.held_out_loss(model, examples, observer)
    };
    let measured = evaluation::after_step(run, model, steps, &mut best, metrics, &mut loss_of)?;
    if let Some(old) = stage.best() {
        *old = best;
    }
    Ok(measured)
}

/// Writes a checkpoint, if the run has a directory for it.
fn save(stage: &mut dyn Stage, model: &Model, run: &mut Run) -> Result<(), Error> {
    stage.before_save();
    let Some(to) = &run.checkpoints else { return Ok(()) };
    let StageState { trainer, state } = stage.training();
    let path = trainer.save(to, model, state, stage.blocks())?;
    run.observer.on_checkpoint(&path);
    Ok(())
}
