//! Evaluates held-out questions and examples during training: `[eval]` of a training recipe.
//!
//! The questions are answered by the same engine and weights that train. The random numbers are keyed by `eval.seed`,
//! not by the training step. So every evaluation uses the same numbers and training uses none of them: a run with
//! evaluation ends with the same bits as one without. The metrics are those of `meno eval`, and for `meno sft` and
//! `meno distill` the loss of held-out examples. The best model so far is kept in `best/`, next to the checkpoints.

mod best;
mod during_run;
mod figures;
mod settings;

pub use best::{Best, DIR as BEST, load_best};
pub(crate) use during_run::{Measured, after_step, check, finish};
pub use settings::{Evaluate, Metric};

use crate::data::{Example, Question, Questions, TaskQuestions};
use crate::error::Error;
use crate::gather;
use crate::limits::refused;
use crate::observer::Observer;
use crate::rollout::{Rollout, RolloutConfig, generator, rollout};
use crate::time::Answering;
use figures::Figures;
use meno_comm::{Comm, Communicator};
use meno_eval::Task;
use meno_eval::score::{JudgedProblem, Sample, Summary};
use meno_model::Model;
use meno_tensor::precision::Precision;

/// Held-out data, ready to be evaluated.
pub struct Evaluation<'a> {
    settings: &'a Evaluate,
    asking: Option<HeldOutQuestions<'a>>,
    examples: &'a [Example],
}

/// Held-out questions, ready to be asked.
struct HeldOutQuestions<'a> {
    asked: &'a TaskQuestions<'a>,
    questions: Vec<Question>,
    config: RolloutConfig,
}

/// Computes the loss of held-out examples, as defined by the stage. `None` if the observer stopped it.
pub(crate) type LossOf<'a> = dyn FnMut(&mut Model, &[Example], &mut dyn Observer) -> Result<Option<f64>, Error> + 'a;

impl<'a> Evaluation<'a> {
    /// Creates an evaluation of the loss of held-out examples; with no examples, only questions are evaluated.
    pub fn new(settings: &'a Evaluate, examples: &'a [Example]) -> Result<Self, Error> {
        settings.check()?;
        Ok(Evaluation { settings, asking: None, examples })
    }

    /// Also evaluates the held-out questions of `asked`. Answers have up to `max_completion_length` tokens unless the
    /// settings specify another length.
    pub fn asking(
        mut self,
        asked: &'a TaskQuestions<'a>,
        max_completion_length: usize,
        precision: Precision,
    ) -> Result<Self, Error> {
        let all = asked.task.len(asked.split);
        let wanted = self.settings.num_problems.or(all).unwrap_or(200).min(all.unwrap_or(u64::MAX));
        let questions = (0..wanted).map(|i| asked.question(i)).collect::<Result<_, Error>>()?;
        let config = self.settings.rollout_config(max_completion_length, precision, asked.stop_tokens());
        self.asking = Some(HeldOutQuestions { asked, questions, config });
        Ok(self)
    }

    /// Shares the questions among the ranks of a run. Fails if a rank lacks experts, which answering needs.
    pub(crate) fn share(&mut self, comm: &Comm, model: &Model) -> Result<(), Error> {
        let Some(asking) = &mut self.asking else { return Ok(()) };
        if !model.layout().is_complete() {
            let expected = "held-out questions need all experts on every process: measure `eval.eval_files` only";
            return Err(refused("train.expert_parallel", true, expected));
        }
        asking.config.comm = comm.clone();
        Ok(())
    }

    /// Estimates the time of all evaluations in a run of `max_steps` steps, in seconds, by measuring `model`.
    pub fn time(&self, model: &mut Model, max_steps: usize) -> Result<Option<(String, f64)>, Error> {
        let Some(asking) = &self.asking else { return Ok(None) };
        let count = (1..=max_steps).filter(|step| self.due(*step, max_steps)).count();
        let part = asking.questions.len().min((4 * asking.config.slots).div_ceil(asking.config.num_generations));
        let answering = Answering::measure(model, &asking.config, asking.asked, &asking.questions[..part])?;
        let answers = asking.questions.len() * asking.config.num_generations;
        let what = format!("evaluation: {count} times {answers} answers, {}", answering.about());
        Ok(Some((what, count as f64 * answering.seconds(answers))))
    }

    /// Returns the number of tokens of held-out examples over all evaluations of a run of `max_steps` steps.
    pub fn tokens_of_examples(&self, max_steps: usize) -> usize {
        let count = (1..=max_steps).filter(|step| self.due(*step, max_steps)).count();
        count * self.examples.iter().map(|e| e.tokens.len()).sum::<usize>()
    }

    fn due(&self, step: usize, max_steps: usize) -> bool {
        let every = self.settings.eval_steps;
        every > 0 && (step.is_multiple_of(every) || step >= max_steps)
    }

    /// Returns true if the run ends with its best model.
    pub(crate) fn load_best_at_end(&self) -> bool {
        self.settings.load_best_model_at_end
    }

    /// Returns the name of the task whose questions are asked.
    fn task_name(&self) -> Option<&str> {
        self.asking.as_ref().map(|asking| asking.asked.task.name())
    }

    /// Returns the metric that selects the best model: the loss if nothing else is evaluated.
    fn metric(&self) -> Metric {
        if self.asking.is_none() { Metric::Loss } else { self.settings.metric_for_best_model }
    }

    /// Evaluates all held-out data. Returns `None` if the observer stopped it.
    fn measure(
        &self,
        model: &mut Model,
        step: usize,
        loss_of: &mut LossOf,
        observer: &mut dyn Observer,
    ) -> Result<Option<Figures>, Error> {
        let mut figures = Figures::default();
        if !self.examples.is_empty() {
            let Some(loss) = loss_of(model, self.examples, observer)? else { return Ok(None) };
            if !loss.is_finite() {
                return Err(Error::NotFinite { step, what: "the held-out loss", value: loss as f32 });
            }
            figures.loss = Some(loss);
        }
        if let Some(asking) = &self.asking {
            let Some(summary) = asking.measure(model, observer)? else { return Ok(None) };
            figures.summary = Some(summary);
        }
        Ok(Some(figures))
    }
}

impl HeldOutQuestions<'_> {
    /// Evaluates all questions. Returns `None` if the observer stopped it.
    fn measure(&self, model: &mut Model, observer: &mut dyn Observer) -> Result<Option<Summary>, Error> {
        let k = self.config.num_generations;
        let longest = self.questions.iter().map(|q| q.prompt.len()).max().unwrap_or(1);
        // Built for each evaluation, so that its cache takes memory only during one.
        let mut generator = generator(model, &self.config, longest)?;
        let total = self.questions.len() * k;
        let mut judged: Vec<JudgedProblem> = Vec::new();
        for part in self.questions.chunks((4 * self.config.slots).div_ceil(k)) {
            let mut watch = HeldOut { observer, before: judged.len() * k, total };
            let questions = (judged.len() as u64, part.to_vec());
            let rollouts = rollout(model, &mut generator, &self.config, self.asked, &[], questions, &mut watch)?;
            let Some(rollouts) = rollouts else { return Ok(None) };
            judged.extend(judge_all(self.asked.task, &rollouts, k, &*self.config.comm));
        }
        Ok(Some(Summary::of(self.asked.task, &judged)))
    }
}

/// Judges the samples of all problems, `k` of each. Each rank judges some of the problems and returns all results.
pub fn judge_all(task: &dyn Task, rollouts: &[Rollout], k: usize, comm: &dyn Communicator) -> Vec<JudgedProblem> {
    let own = rollouts.chunks(k).enumerate().skip(comm.rank()).step_by(comm.size());
    let judged = own.map(|(i, group)| (i, judge(task, group))).collect();
    gather::values(comm, judged).into_iter().map(|(_, judged)| judged).collect()
}

/// Judges the samples of one problem.
pub fn judge(task: &dyn Task, group: &[Rollout]) -> JudgedProblem {
    let problem = group[0].question.problem();
    let judge = |r: &Rollout| Sample::judge(task, &problem, r.text.clone(), r.tokens.len(), r.truncated);
    JudgedProblem { samples: group.iter().map(judge).collect(), problem: problem.clone() }
}

/// Reports the progress of an evaluation under a separate name.
struct HeldOut<'o> {
    observer: &'o mut dyn Observer,
    before: usize,
    total: usize,
}

impl Observer for HeldOut<'_> {
    fn on_progress(&mut self, _what: &str, done: usize, _total: usize) {
        self.observer.on_progress("held-out responses", self.before + done, self.total);
    }
    fn on_sampled(&mut self, tokens: usize, seconds: f64) {
        self.observer.on_sampled(tokens, seconds);
    }
    fn on_note(&mut self, line: &str) {
        self.observer.on_note(line);
    }
    fn should_stop(&mut self) -> bool {
        self.observer.should_stop()
    }
}
