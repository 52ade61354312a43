//! How each kind of stage trains its model.

use crate::context::{Replication, StageOutput, training_questions};
use crate::corpus::summarized;
use crate::dataset::{CorpusDocuments, example};
use crate::history::{history, last, sum};
use crate::json_file::{read_json, write_json};
use crate::observer::Interruptible;
use crate::settings::{FromTraces, Pretraining, Reinforcement};
use crate::stage::{Stage, first_question};
use crate::stage_logger::StageLogger;
use crate::trace_reading::read;
use crate::worked_steps::translate;
use meno_eval::tasks::arithmetic::{Expression, parse_question};
use meno_model::{Config, LoadOptions, Model};
use meno_train::checkpoint::{self, Checkpoints};
use meno_train::data::Example;
use meno_train::rejection_sampling::{Tally, Trace};
use meno_train::{Error, Run, Summary};
use serde_json::{Value, json};
use std::path::Path;

/// The roles of models and questions in a stage that fine-tunes on sampled answers.
#[derive(Clone, Copy)]
pub(crate) struct Lesson {
    /// The stage whose model answers.
    pub(crate) teacher: Stage,
    /// The stage that made the initial model.
    pub(crate) from: Stage,
    /// True if the answers are edited to be readable.
    pub(crate) edited: bool,
    /// Which training questions are asked.
    pub(crate) block: u64,
}

impl Replication<'_> {
    /// Runs `train` in `dir` with a checkpoint every `save_steps` steps. Resumes from the last checkpoint, if any.
    /// Leaves the finished model in `dir`.
    fn train(
        &mut self,
        dir: &Path,
        save_steps: usize,
        train: impl FnOnce(&mut Run) -> Result<Summary, Error>,
    ) -> Interruptible<Summary> {
        let mut checkpoints = Checkpoints::new(dir, save_steps);
        checkpoints.resume = true;
        checkpoints.save_total_limit = 1;
        checkpoints.assets = self.assets()?;
        let mut logger = StageLogger::new(self.observer, dir)?;
        let mut run = Run::new(&mut logger);
        run.checkpoints = Some(checkpoints);
        run.metrics = Some(dir.join("metrics.jsonl"));
        let summary = train(&mut run)?;
        Ok((!summary.stopped).then_some(summary))
    }

    /// Loads the model of a stage.
    fn load(&self, stage: Stage) -> Result<Model, Error> {
        let options = LoadOptions { device: self.settings.device, ..LoadOptions::default() };
        Ok(Model::load_with(&self.dir(stage), options, &mut |_, _| {})?)
    }

    /// Pretrains `network` with random initial weights.
    pub(crate) fn pretrain(&mut self, dir: &Path, p: &Pretraining, network: &Value) -> Interruptible<StageOutput> {
        let tokenizer = self.tokenizer();
        let mut network = network.clone();
        // Kernels prefer a multiple of 16. The ids beyond the tokenizer's never occur.
        network["vocab_size"] = tokenizer.vocab_size().next_multiple_of(16).into();
        network["bos_token_id"] = tokenizer.bos().into();
        network["eos_token_id"] = tokenizer.eos().first().copied().into();
        let mut model = Model::random_on(self.settings.device, Config::from_value("network", network)?, p.train.seed)?;
        let (task, corpus) = (self.task.clone(), self.settings.corpus.clone());
        let documents = CorpusDocuments { corpus: &corpus, task: &task, tokenizer: &tokenizer, seed: self.seed };
        let every = (p.train.max_steps / 4).max(50);
        let done = self.train(dir, every, |run| p.pretrain.run(&p.train, &mut model, &documents, run))?;
        let Some(_) = done else { return Ok(None) };
        let tokens = last(&history(dir)?, "num_tokens");
        let flops = 6.0 * model.config.counts().active as f64 * tokens;
        Ok(Some(StageOutput { model, flops, facts: json!({ "tokens": tokens }) }))
    }

    /// Trains the model of stage `from` by reinforcement learning.
    pub(crate) fn reinforce(
        &mut self,
        dir: &Path,
        r: &Reinforcement,
        from: Stage,
        block: u64,
    ) -> Interruptible<StageOutput> {
        let tokenizer = self.tokenizer();
        let mut model = self.load(from)?;
        let task = self.task.clone();
        let questions = training_questions(&task, &tokenizer, first_question(block));
        let rewards = r.grpo.rewards()?;
        let every = (r.train.max_steps / 4).max(4);
        let done = self.train(dir, every, |run| r.grpo.run(&r.train, &mut model, &questions, &rewards, run))?;
        let Some(_) = done else { return Ok(None) };
        let history = history(dir)?;
        let sampled = sum(&history, "completions/total_length");
        let trained = last(&history, "num_tokens");
        let flops = model.config.counts().active as f64 * (2.0 * sampled + 6.0 * trained);
        let rewards: Vec<Value> = r.grpo.reward_funcs.iter().map(|f| json!(f)).collect();
        let facts = json!({ "from": from.name(), "rewards": rewards, "reward_weights": r.grpo.reward_weights,
                            "tokens_sampled": sampled, "tokens_trained": trained });
        Ok(Some(StageOutput { model, flops, facts }))
    }

    /// Samples answers of the teacher's model, keeps the right and readable ones, and fine-tunes another model on them.
    pub(crate) fn fine_tune(&mut self, dir: &Path, f: &FromTraces, lesson: Lesson) -> Interruptible<StageOutput> {
        let Lesson { teacher, from, edited, .. } = lesson;
        let tokenizer = self.tokenizer();
        let Some((traces, tally)) = self.traces(dir, f, lesson)? else { return Ok(None) };
        let text = |t: &Trace| if edited { edit(t) } else { Some(t.text.clone()) };
        let examples: Vec<Example> = traces
            .iter()
            .filter_map(|t| Some((t, text(t)?)))
            .map(|(t, text)| example(&tokenizer, &t.question.prompt_text, &text))
            .collect::<Result<_, _>>()?;
        let mut model = self.load(from)?;
        if examples.is_empty() {
            // No answer was right and readable, so there is nothing to train on. The results will show it.
            let mut to = Checkpoints::new(dir, 0);
            to.assets = self.assets()?;
            checkpoint::save_model(&to, &model, dir)?;
            let facts = json!({ "from": from.name(), "teacher": teacher.name(), "tally": tally, "examples": 0 });
            return Ok(Some(StageOutput { model, flops: 0.0, facts }));
        }
        let train = f.sft.with_epochs(&f.train, examples.len());
        let every = (train.max_steps / 2).max(50);
        let done = self.train(dir, every, |run| f.sft.run(&f.train, &mut model, &examples, run))?;
        let Some(_) = done else { return Ok(None) };
        let trained = last(&history(dir)?, "num_tokens");
        let teacher_active = Config::load(&self.dir(teacher).join("config.json"))?.counts().active as f64;
        let sampling_flops = 2.0 * teacher_active * tally.tokens as f64;
        let flops = sampling_flops + 6.0 * model.config.counts().active as f64 * trained;
        let facts = json!({ "from": from.name(), "teacher": teacher.name(), "tally": tally,
                            "examples": examples.len(), "tokens_trained": trained,
                            "sampling_flops": sampling_flops });
        Ok(Some(StageOutput { model, flops, facts }))
    }

    /// The traces of a stage. Reads `traces.json` if they were sampled before, else samples them and writes it.
    fn traces(&mut self, dir: &Path, f: &FromTraces, lesson: Lesson) -> Interruptible<(Vec<Trace>, Tally)> {
        let file = dir.join("traces.json");
        if let Some(done) = read_json(&file)? {
            return Ok(Some(done));
        }
        let tokenizer = self.tokenizer();
        let mut model = self.load(lesson.teacher)?;
        let task = self.task.clone();
        let questions = training_questions(&task, &tokenizer, first_question(lesson.block));
        let precision = self.settings.precision;
        let sampled = f.sample.run(&mut model, precision, &questions, &mut *self.observer)?;
        let Some((mut traces, tally)) = sampled else { return Ok(None) };
        traces.retain(is_readable);
        keep_first(&mut traces, f.max_examples);
        write_json(&file, &(&traces, &tally))?;
        Ok(Some((traces, tally)))
    }
}

/// The thought of an answer, and the expression of its question.
fn thought(t: &Trace) -> Option<(&str, Expression)> {
    let (e, _) = parse_question(&t.question.text)?;
    let (_, rest) = t.text.split_once("<think>")?;
    Some((rest.split_once("</think>")?.0.trim_matches('\n'), e))
}

/// Returns true if every line of the thought follows from the one before, and the last gives the right answer.
fn is_readable(t: &Trace) -> bool {
    thought(t).is_some_and(|(thought, e)| {
        let reading = read(thought, &e);
        reading.is_readable() && reading.value == Some(e.value())
    })
}

/// Keeps the first `n` traces, or all of them if `n` is 0.
fn keep_first(traces: &mut Vec<Trace>, n: usize) {
    if n > 0 {
        traces.truncate(n);
    }
}

/// Does by rule what people did by hand with R1-Zero's answers for the cold start: translates the words into the
/// question's language and appends a summary. `None` if the answer has no thought.
fn edit(t: &Trace) -> Option<String> {
    let (thought, e) = thought(t)?;
    let thought = translate(thought, &t.question.language);
    Some(summarized(&thought, e.value(), &t.question.language))
}

#[cfg(test)]
mod tests {
    use super::*;
    use meno_train::data::Question;

    #[test]
    fn the_cold_start_takes_at_most_max_examples_traces() {
        let trace =
            |index| Trace { question: Question { index, ..Default::default() }, tokens: vec![], text: String::new() };
        let all: Vec<Trace> = (0..20).map(trace).collect();
        let kept = |n| {
            let mut traces = all.clone();
            keep_first(&mut traces, n);
            traces
        };
        assert_eq!(kept(7), all[..7]);
        assert_eq!(kept(20), all);
        assert_eq!(kept(50), all);
        assert_eq!(kept(0), all);
    }
}
