//! Held-out questions, measured while a model is trained: `[eval]` of a training recipe.
//!
//! The same engine and weights that train answer the questions. The random numbers are keyed by `eval.seed`, not by the
//! training step, so every measurement uses the same ones and training uses none of them: a run with evaluation ends
//! with the same bits as one without. The figures are those of `meno eval`. The model with the best score so far is kept
//! in `best/`, beside the checkpoints.

mod best;

pub use best::{Best, DIR as BEST, load_best};

use crate::checkpoint::Checkpoints;
use crate::data::{Asked, Question, Questions};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::rollout::{Rollout, Sampler, generator, rollout};
use crate::run::{Observer, Run};
use meno_engine::Sampling;
use meno_eval::score::{Judged, Sample, Summary};
use meno_eval::{Split, Task};
use meno_model::Model;
use meno_tensor::gemm::Precision;
use serde::{Deserialize, Serialize};

/// `[eval]` of a training recipe: which held-out questions are measured, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluate {
    /// Optimizer steps between two evaluations; 0 disables them.
    pub eval_steps: usize,
    /// A task family or a `.jsonl` file of held-out questions; the split of `[task]` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_task: Option<String>,
    /// validation or test, of a task family. A file of questions has no splits.
    pub split: Split,
    /// Problems; all of a file if left out, else 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_problems: Option<u64>,
    /// k: samples of each problem.
    pub num_samples: usize,
    /// Sampling temperature; 0 for the most probable token.
    pub temperature: f32,
    /// Sample from the smallest set of tokens with this probability.
    pub top_p: f32,
    /// Longest response, in tokens; as in training if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_completion_length: Option<usize>,
    /// Responses generated at once.
    pub max_sequences: usize,
    /// Seed of the sampling.
    pub seed: u64,
    /// What the best checkpoint is chosen by: pass1, pass_at_k or cons_at_k.
    pub metric_for_best_model: Metric,
    /// End the run with the best model instead of the last.
    pub load_best_model_at_end: bool,
}

impl Default for Evaluate {
    fn default() -> Self {
        Evaluate {
            eval_steps: 0,
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

/// A figure to choose the best checkpoint by; greater is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The mean share of right samples.
    #[default]
    Pass1,
    /// The chance that one of k samples is right.
    PassAtK,
    /// The majority vote over k samples.
    ConsAtK,
}

impl Metric {
    fn of(self, s: &Summary) -> f64 {
        match self {
            Metric::Pass1 => s.pass1.mean,
            Metric::PassAtK => s.pass_at_k,
            Metric::ConsAtK => s.cons_at_k.mean,
        }
    }
    fn name(self) -> &'static str {
        match self {
            Metric::Pass1 => "pass@1",
            Metric::PassAtK => "pass@k",
            Metric::ConsAtK => "cons@k",
        }
    }
}

impl Evaluate {
    /// Refuses settings that cannot work.
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
        if self.load_best_model_at_end && self.eval_steps == 0 {
            return bad(
                "eval.load_best_model_at_end",
                "true".into(),
                "there is no best model without `eval.eval_steps`",
            );
        }
        Ok(())
    }

    /// How answers are sampled, in a training of answers of up to `max_completion_length` tokens.
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

    /// Bytes of the KV cache and activations of an evaluation, for prompts of up to `max_prompt` tokens.
    pub fn memory(&self, model: &Model, max_completion_length: usize, max_prompt: usize) -> Result<usize, Error> {
        let sampler = self.sampler(max_completion_length, Precision::F32, Vec::new());
        Ok(generator(model, &sampler, max_prompt)?.bytes())
    }
}

/// Held-out questions, ready to be asked.
pub struct Evaluation<'a> {
    settings: &'a Evaluate,
    asked: &'a Asked<'a>,
    questions: Vec<Question>,
    sampler: Sampler,
}

/// The outcome of [`after_step`].
pub(crate) enum Measured {
    /// No evaluation was due.
    NotDue,
    /// The observer stopped it.
    Stopped,
    /// The score that the best model is chosen by.
    Score(f64),
}

impl<'a> Evaluation<'a> {
    /// `asked` holds the questions; answers have up to `max_completion_length` tokens unless the settings say otherwise.
    pub fn new(
        settings: &'a Evaluate,
        asked: &'a Asked<'a>,
        max_completion_length: usize,
        precision: Precision,
    ) -> Result<Self, Error> {
        settings.check()?;
        let all = asked.task.len(asked.split);
        let wanted = settings.num_problems.or(all).unwrap_or(200).min(all.unwrap_or(u64::MAX));
        let questions = (0..wanted).map(|i| asked.question(i)).collect::<Result<_, Error>>()?;
        let sampler = settings.sampler(max_completion_length, precision, asked.stop_tokens());
        Ok(Evaluation { settings, asked, questions, sampler })
    }

    fn due(&self, step: usize, max_steps: usize) -> bool {
        let every = self.settings.eval_steps;
        every > 0 && (step.is_multiple_of(every) || step >= max_steps)
    }

    /// Returns whether the run ends with its best model.
    pub(crate) fn load_best_at_end(&self) -> bool {
        self.settings.load_best_model_at_end
    }

    /// Asks all questions. Returns `None` if the observer stopped it.
    pub fn measure(&self, model: &mut Model, observer: &mut dyn Observer) -> Result<Option<Summary>, Error> {
        let k = self.sampler.num_generations;
        let longest = self.questions.iter().map(|q| q.prompt.len()).max().unwrap_or(1);
        // Built for each evaluation, so that its cache takes memory only during one.
        let mut generator = generator(model, &self.sampler, longest)?;
        let total = self.questions.len() * k;
        let mut judged: Vec<Judged> = Vec::new();
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

/// Judges the samples of one problem.
pub fn judge(task: &dyn Task, group: &[Rollout]) -> Judged {
    let problem = group[0].question.problem();
    let judge = |r: &Rollout| Sample::judge(task, &problem, r.text.clone(), r.tokens.len(), r.truncated);
    Judged { samples: group.iter().map(judge).collect(), problem: problem.clone() }
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
    fn should_stop(&mut self) -> bool {
        self.observer.should_stop()
    }
}

/// Evaluates the model after `step` if that is due. Adds the figures to `metrics` and keeps a new best model.
pub(crate) fn after_step(
    run: &mut Run,
    model: &mut Model,
    (step, max_steps): (usize, usize),
    best: &mut Option<Best>,
    metrics: &mut Metrics,
) -> Result<Measured, Error> {
    let Run { observer, evaluation: Some(evaluation), checkpoints, .. } = run else { return Ok(Measured::NotDue) };
    if !evaluation.due(step, max_steps) {
        return Ok(Measured::NotDue);
    }
    let Some(summary) = evaluation.measure(model, *observer)? else { return Ok(Measured::Stopped) };
    push(&summary, metrics);
    let metric = evaluation.settings.metric_for_best_model;
    let score = metric.of(&summary);
    let new = Best { step, score: score as f32 };
    let mut note = format!("step {step}: held-out {}", describe(&summary, metric));
    match best {
        Some(old) if new.score <= old.score => {
            note += &format!("; the best is {:.1} %, of step {}", 100.0 * old.score, old.step);
        }
        _ => {
            note += "; the best so far";
            if let Some(to) = checkpoints {
                let path = best::keep(to, model, &new, evaluation.asked.task.name(), &summary)?;
                note += &format!(", kept in {}", path.display());
            }
            *best = Some(new);
        }
    }
    metrics.push("eval/best", best.map_or(score, |b| b.score as f64));
    observer.on_note(&note);
    Ok(Measured::Score(score))
}

/// The score with its interval.
fn describe(s: &Summary, metric: Metric) -> String {
    let interval = match metric {
        Metric::Pass1 => Some(s.pass1),
        Metric::ConsAtK => Some(s.cons_at_k),
        Metric::PassAtK => None,
    };
    let range = |i: meno_eval::Interval| format!(" ({:.1} to {:.1})", 100.0 * i.low, 100.0 * i.high);
    format!("{} {:.1} %{}", metric.name(), 100.0 * metric.of(s), interval.map_or(String::new(), range))
}

fn push(s: &Summary, m: &mut Metrics) {
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

/// Loads the best model at the end of a run if `load_best_model_at_end` is set.
pub(crate) fn finish(run: &Run, model: &mut Model) -> Result<(), Error> {
    match (&run.evaluation, &run.checkpoints) {
        (Some(evaluation), Some(to)) if evaluation.load_best_at_end() => load_best(to, model),
        _ => Ok(()),
    }
}

/// Refuses a run that cannot keep its best model.
pub(crate) fn check(run: &Run) -> Result<(), Error> {
    let to: Option<&Checkpoints> = run.checkpoints.as_ref();
    if run.evaluation.as_ref().is_some_and(Evaluation::load_best_at_end) && to.is_none() {
        let expected = "a run without checkpoints keeps no best model".into();
        return Err(Error::Setting { key: "eval.load_best_model_at_end", value: "true".into(), expected });
    }
    Ok(())
}
