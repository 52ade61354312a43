//! Evaluates held-out questions and examples during training: `[eval]` of a training recipe.
//!
//! The questions are answered by the same engine and weights that train. The random numbers are keyed by `eval.seed`,
//! not by the training step. So every evaluation uses the same numbers and training uses none of them: a run with
//! evaluation ends with the same bits as one without. The metrics are those of `meno eval`, and for `meno sft` and
//! `meno distill` the loss of held-out examples. The best model so far is kept in `best/`, next to the checkpoints.

mod best;

pub use best::{Best, DIR as BEST, load_best};

use crate::checkpoint::Checkpoints;
use crate::data::{DataFile, Example, Question, Questions, TaskQuestions};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::rollout::{Rollout, Sampler, generator, rollout};
use crate::run::{Observer, Run};
use crate::time::Answering;
use meno_engine::Sampling;
use meno_eval::score::{JudgedProblem, Sample, Summary};
use meno_eval::{Split, Task};
use meno_model::Model;
use meno_tensor::precision::Precision;
use serde::{Deserialize, Serialize};

/// `[eval]` of a training recipe: which held-out questions to evaluate, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluate {
    /// Optimizer steps between two evaluations; 0 disables them.
    pub eval_steps: usize,
    /// sft and distill: files of held-out examples, as in `[data]`; their loss is evaluated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub eval_files: Vec<DataFile>,
    /// A task family or a file of held-out questions. If left out: for grpo the split of `[task]`, for sft none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_task: Option<String>,
    /// validation or test, for a task family. A file of questions has no splits.
    pub split: Split,
    /// Number of problems; if left out, all of a file, or 200 of a task family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_problems: Option<u64>,
    /// k: samples per problem.
    pub num_samples: usize,
    /// Sampling temperature; 0 for the most probable token.
    pub temperature: f32,
    /// Sample from the smallest set of tokens with this probability.
    pub top_p: f32,
    /// Maximum length of a response in tokens; if left out, as in training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_completion_length: Option<usize>,
    /// Number of concurrent sequences.
    pub max_sequences: usize,
    /// Seed of the sampling.
    pub seed: u64,
    /// The metric that selects the best checkpoint: pass1, pass_at_k, cons_at_k or loss; always loss if there are only
    /// `eval_files`.
    pub metric_for_best_model: Metric,
    /// End the run with the best model instead of the last one.
    pub load_best_model_at_end: bool,
}

impl Default for Evaluate {
    fn default() -> Self {
        Evaluate {
            eval_steps: 0,
            eval_files: Vec::new(),
            eval_task: None,
            split: Split::Validation,
            num_problems: None,
            num_samples: 4,
            temperature: 0.6,
            top_p: 0.95,
            max_completion_length: None,
            max_sequences: 32,
            seed: 0,
            metric_for_best_model: Metric::Pass1,
            load_best_model_at_end: false,
        }
    }
}

/// A metric that selects the best checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The mean fraction of right samples.
    #[default]
    Pass1,
    /// The probability that at least one of k samples is right.
    PassAtK,
    /// The majority vote over k samples.
    ConsAtK,
    /// The mean cross-entropy of the tokens of held-out answers; lower is better.
    Loss,
}

impl Metric {
    fn name(self) -> &'static str {
        match self {
            Metric::Pass1 => "pass@1",
            Metric::PassAtK => "pass@k",
            Metric::ConsAtK => "cons@k",
            Metric::Loss => "loss",
        }
    }

    /// Returns true if `new` is better than `old`.
    fn improves(self, new: f32, old: f32) -> bool {
        if self == Metric::Loss { new < old } else { new > old }
    }

    /// Formats a value for display.
    fn shown(self, value: f64) -> String {
        if self == Metric::Loss { format!("{value:.4}") } else { format!("{:.1} %", 100.0 * value) }
    }
}

impl Evaluate {
    /// Checks the settings.
    pub fn check(&self) -> Result<(), Error> {
        let bad = |key, value: String, expected: &str| Err(Error::Setting { key, value, expected: expected.into() });
        for (key, value) in [
            ("eval.num_samples", self.num_samples),
            ("eval.max_sequences", self.max_sequences),
            ("eval.max_completion_length", self.max_completion_length.unwrap_or(1)),
            ("eval.num_problems", self.num_problems.unwrap_or(1) as usize),
        ] {
            if value == 0 {
                return bad(key, "0".into(), "expected 1 or above");
            }
        }
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return bad(
                "eval.temperature",
                self.temperature.to_string(),
                "expected 0 (the most probable token) or above",
            );
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return bad("eval.top_p", self.top_p.to_string(), "expected above 0 and at most 1");
        }
        if self.metric_for_best_model == Metric::Loss && self.eval_files.is_empty() && self.eval_steps > 0 {
            return bad("eval.metric_for_best_model", "loss".into(), "there is no loss without `eval.eval_files`");
        }
        if self.load_best_model_at_end && self.eval_steps == 0 {
            return bad(
                "eval.load_best_model_at_end",
                "true".into(),
                "there is no best model without `eval.eval_steps`",
            );
        }
        Ok(())
    }

    /// Returns the sampler for answers, during a training with answers of up to `max_completion_length` tokens.
    pub fn sampler(&self, max_completion_length: usize, precision: Precision, stop_tokens: Vec<u32>) -> Sampler {
        let sampling = Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            max_tokens: self.max_completion_length.unwrap_or(max_completion_length),
            stop_tokens,
            ..Sampling::default()
        };
        let slots = self.max_sequences;
        let (num_generations, key) = (self.num_samples, [self.seed, 0]);
        Sampler { num_generations, sampling, slots, rows: 512.max(slots), precision, key }
    }

    /// Returns the bytes of KV cache and activations of an evaluation with prompts of up to `max_prompt` tokens.
    pub fn memory(&self, model: &Model, max_completion_length: usize, max_prompt: usize) -> Result<usize, Error> {
        let sampler = self.sampler(max_completion_length, Precision::F32, Vec::new());
        Ok(generator(model, &sampler, max_prompt)?.bytes())
    }
}

/// Held-out data, ready to be evaluated.
pub struct Evaluation<'a> {
    settings: &'a Evaluate,
    asking: Option<Asking<'a>>,
    examples: &'a [Example],
}

/// Held-out questions, ready to be asked.
struct Asking<'a> {
    asked: &'a TaskQuestions<'a>,
    questions: Vec<Question>,
    sampler: Sampler,
}

/// The outcome of [`after_step`].
pub(crate) enum Measured {
    /// No evaluation was due.
    NotDue,
    /// The observer stopped it.
    Stopped,
    /// The score that selects the best model.
    Score(f64),
}

/// The results of one evaluation.
#[derive(Default)]
struct Figures {
    loss: Option<f64>,
    summary: Option<Summary>,
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
        let sampler = self.settings.sampler(max_completion_length, precision, asked.stop_tokens());
        self.asking = Some(Asking { asked, questions, sampler });
        Ok(self)
    }

    /// Estimates the time of all evaluations in a run of `max_steps` steps, in seconds, by measuring `model`.
    pub fn time(&self, model: &mut Model, max_steps: usize) -> Result<Option<(String, f64)>, Error> {
        let Some(asking) = &self.asking else { return Ok(None) };
        let count = (1..=max_steps).filter(|step| self.due(*step, max_steps)).count();
        let part = asking.questions.len().min((4 * asking.sampler.slots).div_ceil(asking.sampler.num_generations));
        let answering = Answering::measure(model, &asking.sampler, asking.asked, &asking.questions[..part])?;
        let answers = asking.questions.len() * asking.sampler.num_generations;
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

impl Asking<'_> {
    /// Evaluates all questions. Returns `None` if the observer stopped it.
    fn measure(&self, model: &mut Model, observer: &mut dyn Observer) -> Result<Option<Summary>, Error> {
        let k = self.sampler.num_generations;
        let longest = self.questions.iter().map(|q| q.prompt.len()).max().unwrap_or(1);
        // Built for each evaluation, so that its cache takes memory only during one.
        let mut generator = generator(model, &self.sampler, longest)?;
        let total = self.questions.len() * k;
        let mut judged: Vec<JudgedProblem> = Vec::new();
        for part in self.questions.chunks((4 * self.sampler.slots).div_ceil(k)) {
            let mut watch = HeldOut { observer, before: judged.len() * k, total };
            let questions = (judged.len() as u64, part.to_vec());
            let rollouts = rollout(model, &mut generator, &self.sampler, self.asked, &[], questions, &mut watch)?;
            let Some(rollouts) = rollouts else { return Ok(None) };
            judged.extend(rollouts.chunks(k).map(|group| judge(self.asked.task, group)));
        }
        Ok(Some(Summary::of(self.asked.task, &judged)))
    }
}

impl Figures {
    /// Returns the value of the metric that selects the best model. The settings were checked, so it was evaluated.
    fn value(&self, metric: Metric) -> f64 {
        match (metric, &self.summary) {
            (Metric::Pass1, Some(s)) => s.pass1.mean,
            (Metric::PassAtK, Some(s)) => s.pass_at_k,
            (Metric::ConsAtK, Some(s)) => s.cons_at_k.mean,
            (_, _) => self.loss.unwrap_or(f64::INFINITY),
        }
    }

    /// Formats the metrics for display, with confidence intervals where available.
    fn describe(&self, metric: Metric) -> String {
        let mut parts = Vec::new();
        if let Some(s) = &self.summary {
            let metric = if metric == Metric::Loss { Metric::Pass1 } else { metric };
            let interval = match metric {
                Metric::Pass1 => Some(s.pass1),
                Metric::ConsAtK => Some(s.cons_at_k),
                _ => None,
            };
            let range = |i: meno_eval::Interval| format!(" ({:.1} to {:.1})", 100.0 * i.low, 100.0 * i.high);
            let value = metric.shown(self.value(metric));
            parts.push(format!("{} {value}{}", metric.name(), interval.map_or(String::new(), range)));
        }
        if let Some(loss) = self.loss {
            parts.push(format!("loss {}", Metric::Loss.shown(loss)));
        }
        parts.join(", ")
    }

    fn push(&self, m: &mut Metrics) {
        if let Some(loss) = self.loss {
            m.push("eval/loss", loss);
        }
        let Some(s) = &self.summary else { return };
        let n = (s.right + s.wrong + s.truncated + s.unparsable).max(1) as f64;
        m.push("eval/pass1", s.pass1.mean);
        m.push("eval/pass1_low", s.pass1.low);
        m.push("eval/pass1_high", s.pass1.high);
        m.push("eval/pass_at_k", s.pass_at_k);
        m.push("eval/cons_at_k", s.cons_at_k.mean);
        m.push("eval/truncated", s.truncated as f64 / n);
        m.push("eval/unparsable", s.unparsable as f64 / n);
        m.push("eval/mean_length", s.mean_tokens.mean);
    }
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
                let task = evaluation.asking.as_ref().map(|a| a.asked.task.name());
                let record = best::Record {
                    step,
                    score: new.score,
                    metric,
                    task,
                    summary: figures.summary.as_ref(),
                    loss: figures.loss,
                };
                let path = best::keep(to, model, &record)?;
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
    let to: Option<&Checkpoints> = run.checkpoints.as_ref();
    if run.evaluation.as_ref().is_some_and(Evaluation::load_best_at_end) && to.is_none() {
        let expected = "a run without checkpoints keeps no best model".into();
        return Err(Error::Setting { key: "eval.load_best_model_at_end", value: "true".into(), expected });
    }
    Ok(())
}
