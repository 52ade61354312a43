//! The stages, in the paper's order, each resumable: a stage whose `stage.json` stands is done; one that was cut off
//! continues from its last checkpoint.

use super::family::{Asking, Pages, example};
use super::measure::{Measures, behaviour};
use super::plan::plan_with;
use super::record::{self, StageRecord, Watching};
use super::settings::{FromTraces, Pretraining, Reinforcement, Settings};
use super::work::{Style, read, translate};
use super::{Watch, corpus, taught, tokenizer};
use meno_engine::{GenerationConfig, Sampling, Tokenizer, generation_config};
use meno_eval::Split;
use meno_eval::tasks::arithmetic::{Arithmetic, parse_question};
use meno_model::{Config, Model};
use meno_train::checkpoint::{self, Checkpoints};
use meno_train::data::Example;
use meno_train::error::Error;
use meno_train::rejection_sampling::{Tally, Trace};
use meno_train::rollout::{Sampler, generator, rollout};
use meno_train::run::{Run, Summary};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A stage: its directory, its title, its section of the paper.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// The directory under the run's.
    pub name: &'static str,
    /// What people read.
    pub title: &'static str,
    /// Where the paper has it.
    pub section: &'static str,
}

const fn stage(name: &'static str, title: &'static str, section: &'static str) -> Stage {
    Stage { name, title, section }
}

/// All of them, in order.
pub const STAGES: [Stage; 11] = [
    stage("tokenizer", "Tokenizer", "V3 §4.1"),
    stage("base", "Base pretraining", "V3 §4.2"),
    stage("r1-zero", "R1-Zero", "R1 §2.2"),
    stage("r1-zero-language", "R1-Zero with language reward", "R1 §2.3.2, ablation"),
    stage("cold-start", "Cold start", "R1 §2.3.1"),
    stage("reasoning-rl", "Reasoning RL", "R1 §2.3.2"),
    stage("rejection-sft", "Rejection sampling, SFT", "R1 §2.3.3"),
    stage("r1", "RL for all scenarios: R1", "R1 §2.3.4"),
    stage("student-base", "Student pretraining", "R1 §2.4"),
    stage("distill", "Distillation", "R1 §2.4"),
    stage("student-rl", "RL on the student", "R1 §4.1"),
];

/// The length of prompts, at most: a question, and the beginning of an answer where one is forced.
const MAX_PROMPT: usize = 96;

/// A run in progress.
pub(super) struct Replication<'a> {
    pub(super) settings: Settings,
    pub(super) seed: u64,
    pub(super) out: PathBuf,
    pub(super) watch: &'a mut dyn Watch,
    /// Training problems belong to the run; test problems are the same for every run.
    pub(super) task: Arithmetic,
    pub(super) test: Arithmetic,
    pub(super) tokenizer: Option<Tokenizer>,
}

/// What a stage made: its model, how training went, what more it has to tell.
struct Made {
    model: Model,
    /// FLOPs: 2 per active parameter and token forward, 6 forward and backward.
    flops: f64,
    facts: Value,
}

/// `None`: the observer stopped it.
type Stopped<T> = Result<Option<T>, Error>;

impl Replication<'_> {
    /// Runs or skips every stage.
    pub(super) fn run(&mut self) -> Stopped<Vec<StageRecord>> {
        let (mut records, mut planned) = (Vec::new(), false);
        for (i, stage) in STAGES.iter().enumerate() {
            let dir = self.out.join(stage.name);
            let record = match record::load(&dir)? {
                Some(record) => {
                    self.watch.skip(i, &record.result());
                    record
                }
                None => {
                    if let Some(tokenizer) = self.tokenizer.as_ref().filter(|_| !planned) {
                        let plan = plan_with(&self.settings, self.seed, tokenizer)?;
                        self.watch.plan(&plan.stages);
                        planned = true;
                    }
                    self.watch.begin(i);
                    let Some(record) = self.stage(*stage, &dir)? else { return Ok(None) };
                    self.watch.finish(&record.result());
                    record
                }
            };
            records.push(record);
            if stage.name == "tokenizer" {
                self.tokenizer = Some(Tokenizer::load(&dir)?);
            }
        }
        Ok(Some(records))
    }

    fn stage(&mut self, stage: Stage, dir: &Path) -> Stopped<StageRecord> {
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let before = record::elapsed(dir);
        let clock = Instant::now();
        if stage.name == "tokenizer" {
            return self.make_tokenizer(stage, dir, clock).map(Some);
        }
        let s = self.settings.clone();
        let made = match stage.name {
            "base" => self.pretrain(dir, &s.base, &s.network, &s)?,
            "r1-zero" => self.reinforce(dir, &s.zero, "base", 1)?,
            "r1-zero-language" => self.reinforce(dir, &s.zero_language, "base", 1)?,
            "cold-start" => self.fine_tune(dir, &s.cold_start, "r1-zero", "base", 3)?,
            "reasoning-rl" => self.reinforce(dir, &s.reasoning, "cold-start", 4)?,
            "rejection-sft" => self.fine_tune(dir, &s.rejection, "reasoning-rl", "base", 5)?,
            "r1" => self.reinforce(dir, &s.last, "rejection-sft", 6)?,
            "student-base" => self.pretrain(dir, &s.student, &s.student_network, &s)?,
            "distill" => self.fine_tune(dir, &s.distill, "r1", "student-base", 7)?,
            _ => self.reinforce(dir, &s.student_rl, "student-base", 8)?,
        };
        let Some(Made { mut model, flops, facts }) = made else { return Ok(None) };
        let trained_seconds = before + clock.elapsed().as_secs_f64();
        let Some(measures) = self.measure(stage, &mut model)? else { return Ok(None) };
        let forced = match stage.name {
            "base" | "r1-zero" => match self.forced_styles(&mut model)? {
                Some(table) => Some(table),
                None => return Ok(None),
            },
            _ => None,
        };
        let history = record::history(dir)?;
        let counts = model.config.counts();
        let record = StageRecord {
            name: stage.name.into(),
            title: stage.title.into(),
            section: stage.section.into(),
            seconds: before + clock.elapsed().as_secs_f64(),
            trained_seconds,
            parameters: [counts.stored(), counts.active],
            flops,
            max_logprob_gap: record::max(&history, "sampling/logprob_gap"),
            measures: Some(measures),
            forced: forced.unwrap_or_default(),
            facts,
            history,
        };
        taught::taught().save(dir)?;
        record::save(dir, &record)?;
        Ok(Some(record))
    }

    fn make_tokenizer(&mut self, stage: Stage, dir: &Path, clock: Instant) -> Result<StageRecord, Error> {
        let s = &self.settings;
        let t = tokenizer::train(&s.corpus, &self.task, self.seed, s.task.tokenizer_documents)?;
        t.save(dir, Some(tokenizer::CHAT_TEMPLATE))?;
        let example = s.corpus.document(&self.task, self.seed, 0);
        let record = StageRecord {
            name: stage.name.into(),
            title: stage.title.into(),
            section: stage.section.into(),
            seconds: clock.elapsed().as_secs_f64(),
            facts: json!({ "vocabulary": t.vocab_size(), "documents": s.task.tokenizer_documents,
                           "tokens_of_first_document": t.encode(&example.response, false)?.len() }),
            ..StageRecord::default()
        };
        record::save(dir, &record)?;
        Ok(record)
    }

    fn tokenizer(&self) -> Tokenizer {
        self.tokenizer.clone().expect("invariant: the tokenizer is the first stage")
    }

    /// Files that go with every checkpoint.
    fn assets(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let file = |name: &str| -> Result<(String, Vec<u8>), Error> {
            let path = self.out.join("tokenizer").join(name);
            Ok((name.to_owned(), std::fs::read(&path).map_err(Error::io(&path))?))
        };
        let t = self.tokenizer();
        let generation = GenerationConfig::default().or_default().to_json(&t);
        let generation = (generation_config::FILE.to_owned(), generation.into_bytes());
        Ok(vec![file("tokenizer.json")?, file("tokenizer_config.json")?, generation])
    }

    /// Trains in `dir` with checkpoints every `save_steps`; leaves the model there and no checkpoint.
    fn trained(
        &mut self,
        dir: &Path,
        save_steps: usize,
        train: impl FnOnce(&mut Run) -> Result<Summary, Error>,
    ) -> Stopped<Summary> {
        let mut checkpoints = Checkpoints::new(dir, save_steps);
        checkpoints.resume = true;
        checkpoints.save_total_limit = 1;
        checkpoints.assets = self.assets()?;
        let mut watching = Watching::new(self.watch, dir)?;
        let mut run = Run::new(&mut watching);
        run.checkpoints = Some(checkpoints);
        run.metrics = Some(dir.join("metrics.jsonl"));
        let summary = train(&mut run)?;
        Ok((!summary.stopped).then_some(summary))
    }

    fn pretrain(&mut self, dir: &Path, p: &Pretraining, network: &Value, s: &Settings) -> Stopped<Made> {
        let tokenizer = self.tokenizer();
        let mut network = network.clone();
        // A multiple of 16, as kernels like it; the ids beyond the tokenizer's are never seen.
        network["vocab_size"] = tokenizer.vocab_size().next_multiple_of(16).into();
        network["bos_token_id"] = tokenizer.bos().into();
        network["eos_token_id"] = tokenizer.eos().first().copied().into();
        let mut model = Model::random(Config::from_value("network", network)?, p.train.seed)?;
        let task = self.task.clone();
        let pages = Pages { corpus: &s.corpus, task: &task, tokenizer: &tokenizer, seed: self.seed };
        let every = (p.train.max_steps / 4).max(50);
        let done = self.trained(dir, every, |run| p.pretrain.run(&p.train, &mut model, &pages, run))?;
        let Some(_) = done else { return Ok(None) };
        let tokens = record::last(dir, "num_tokens")?;
        let flops = 6.0 * model.config.counts().active as f64 * tokens;
        Ok(Some(Made { model, flops, facts: json!({ "tokens": tokens }) }))
    }

    /// Reinforcement learning of the model in stage `from`.
    fn reinforce(&mut self, dir: &Path, r: &Reinforcement, from: &str, questions: u64) -> Stopped<Made> {
        let tokenizer = self.tokenizer();
        let mut model = Model::load(&self.out.join(from))?;
        let task = self.task.clone();
        let first = questions << 40;
        let asking = Asking { task: &task, tokenizer: &tokenizer, split: Split::Train, first, forced: None };
        let rewards = r.grpo.rewards()?;
        let every = (r.train.max_steps / 4).max(4);
        let done = self.trained(dir, every, |run| r.grpo.run(&r.train, &mut model, &asking, &rewards, run))?;
        let Some(_) = done else { return Ok(None) };
        let history = record::history(dir)?;
        let sampled = record::sum(&history, "completions/total_length");
        let trained = record::last(dir, "num_tokens")?;
        let flops = model.config.counts().active as f64 * (2.0 * sampled + 6.0 * trained);
        let rewards: Vec<Value> = r.grpo.reward_funcs.iter().map(|f| json!(f)).collect();
        let facts = json!({ "from": from, "rewards": rewards, "reward_weights": r.grpo.reward_weights,
                            "tokens_sampled": sampled, "tokens_trained": trained });
        Ok(Some(Made { model, flops, facts }))
    }

    /// Samples answers of the model in stage `teacher`, keeps the good ones and fine-tunes the one in stage `from`.
    fn fine_tune(&mut self, dir: &Path, f: &FromTraces, teacher: &str, from: &str, questions: u64) -> Stopped<Made> {
        let tokenizer = self.tokenizer();
        let Some((traces, tally)) = self.traces(dir, f, teacher, questions)? else { return Ok(None) };
        let cold_start = teacher == "r1-zero";
        let text = |t: &Trace| if cold_start { rewrite(t) } else { Some(t.text.clone()) };
        let examples: Vec<Example> = traces
            .iter()
            .filter_map(|t| Some((t, text(t)?)))
            .map(|(t, text)| example(&tokenizer, &t.question.prompt_text, &text))
            .collect::<Result<_, _>>()?;
        let mut model = Model::load(&self.out.join(from))?;
        if examples.is_empty() {
            // Nothing was right and readable: the stage teaches nothing, and its figures will say so.
            let mut to = Checkpoints::new(dir, 0);
            to.assets = self.assets()?;
            checkpoint::save_model(&to, &model, dir)?;
            let facts = json!({ "from": from, "teacher": teacher, "tally": tally, "examples": 0 });
            return Ok(Some(Made { model, flops: 0.0, facts }));
        }
        let train = f.sft.with_epochs(&f.train, examples.len());
        let every = (train.max_steps / 2).max(50);
        let done = self.trained(dir, every, |run| f.sft.run(&f.train, &mut model, &examples, run))?;
        let Some(_) = done else { return Ok(None) };
        let trained = record::last(dir, "num_tokens")?;
        let teacher_active = Config::load(&self.out.join(teacher).join("config.json"))?.counts().active as f64;
        let sampling_flops = 2.0 * teacher_active * tally.tokens as f64;
        let flops = sampling_flops + 6.0 * model.config.counts().active as f64 * trained;
        let facts = json!({ "from": from, "teacher": teacher, "tally": tally, "examples": examples.len(),
                            "tokens_trained": trained, "sampling_flops": sampling_flops });
        Ok(Some(Made { model, flops, facts }))
    }

    /// The traces of a stage, from `traces.json` if they were sampled before.
    fn traces(&mut self, dir: &Path, f: &FromTraces, teacher: &str, questions: u64) -> Stopped<(Vec<Trace>, Tally)> {
        let file = dir.join("traces.json");
        if let Some(done) = record::read_json(&file)? {
            return Ok(Some(done));
        }
        let tokenizer = self.tokenizer();
        let mut model = Model::load(&self.out.join(teacher))?;
        let task = self.task.clone();
        let first = questions << 40;
        let asking = Asking { task: &task, tokenizer: &tokenizer, split: Split::Train, first, forced: None };
        let precision = self.settings.precision.into();
        let sampled = f.sample.run(&mut model, precision, &asking, &mut *self.watch)?;
        let Some((mut traces, tally)) = sampled else { return Ok(None) };
        traces.retain(is_readable);
        take(&mut traces, f.max_examples);
        record::write_json(&file, &(&traces, &tally))?;
        Ok(Some((traces, tally)))
    }

    fn sampler(&self, samples: usize) -> Sampler {
        let e = &self.settings.evaluation;
        let sampling = Sampling {
            temperature: e.temperature,
            max_tokens: e.max_completion_length,
            stop_tokens: self.tokenizer().eos(),
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            ..Sampling::default()
        };
        let (slots, precision) = (e.max_sequences, self.settings.precision.into());
        Sampler {
            num_generations: samples,
            sampling,
            slots,
            rows: 512.max(slots),
            precision,
            key: [u64::MAX, self.seed],
        }
    }

    /// The figures of a model on the held-out problems.
    fn measure(&mut self, stage: Stage, model: &mut Model) -> Stopped<Measures> {
        let (e, tokenizer, task) = (self.settings.evaluation.clone(), self.tokenizer(), self.test.clone());
        let asking = Asking { task: &task, tokenizer: &tokenizer, split: e.split, first: 0, forced: None };
        let vote = matches!(stage.name, "base" | "r1-zero" | "r1");
        let samples = if vote { e.samples } else { e.samples_between };
        let sampler = self.sampler(samples);
        let mut generator = generator(model, &sampler, MAX_PROMPT)?;
        let questions = (0..e.problems as u64).map(|i| meno_train::data::Questions::question(&asking, i));
        let questions = questions.collect::<Result<Vec<_>, _>>()?;
        let rollouts = rollout(model, &mut generator, &sampler, &asking, &[], (0, questions), &mut *self.watch)?;
        Ok(rollouts.map(|r| Measures::of(&task, &r, samples, e.shown)))
    }

    /// pass@1 by style, the style forced by the beginning of the answer.
    fn forced_styles(&mut self, model: &mut Model) -> Stopped<Vec<(String, f64)>> {
        let (e, tokenizer, task) = (self.settings.evaluation.clone(), self.tokenizer(), self.test.clone());
        let sampler = self.sampler(2);
        let mut generator = generator(model, &sampler, MAX_PROMPT)?;
        let mut table = Vec::new();
        for style in Style::ALL {
            let asking = Asking { task: &task, tokenizer: &tokenizer, split: e.split, first: 0, forced: Some(style) };
            let questions = (0..e.forced_problems as u64).map(|i| meno_train::data::Questions::question(&asking, i));
            let questions = questions.collect::<Result<Vec<_>, _>>()?;
            let rollouts = rollout(model, &mut generator, &sampler, &asking, &[], (0, questions), &mut *self.watch)?;
            let Some(rollouts) = rollouts else { return Ok(None) };
            let right = rollouts.iter().filter(|r| r.verdict == meno_eval::Verdict::Right).count();
            table.push((style.name().to_owned(), right as f64 / rollouts.len().max(1) as f64));
        }
        Ok(Some(table))
    }
}

/// The thought of an answer, and what it is about.
fn thought(t: &Trace) -> Option<(&str, meno_eval::tasks::arithmetic::Expression)> {
    let (e, _) = parse_question(&t.question.text)?;
    let (_, rest) = t.text.split_once("<think>")?;
    Some((rest.split_once("</think>")?.0.trim_matches('\n'), e))
}

/// Whether the thought can be followed line by line to the answer it ends with.
fn is_readable(t: &Trace) -> bool {
    thought(t).is_some_and(|(thought, e)| {
        let r = read(thought, &e);
        r.is_readable() && r.value == Some(e.value())
    })
}

/// The first `n` traces, or all of them for 0.
fn take(traces: &mut Vec<Trace>, n: usize) {
    if n > 0 {
        traces.truncate(n);
    }
}

/// What people did with R1-Zero's answers for the cold start: the words in the question's language, a summary behind.
fn rewrite(t: &Trace) -> Option<String> {
    let (thought, e) = thought(t)?;
    let thought = translate(thought, &t.question.language);
    Some(corpus::summarised(&thought, e.value(), &t.question.language))
}

#[cfg(test)]
#[test]
fn the_cold_start_takes_as_many_traces_as_it_says() {
    let all: Vec<Trace> = (0..20)
        .map(|index| Trace {
            question: meno_train::data::Question { index, ..Default::default() },
            tokens: vec![],
            text: String::new(),
        })
        .collect();
    let taken = |n| {
        let mut traces = all.clone();
        take(&mut traces, n);
        traces
    };
    assert_eq!(taken(7), all[..7]);
    assert_eq!(taken(20), all);
    assert_eq!(taken(50), all);
    assert_eq!(taken(0), all);
}

/// The behaviour of a rollout, as figures beside the trainer's.
pub(super) fn figures(rollouts: &[meno_train::rollout::Rollout]) -> Vec<(&'static str, f64)> {
    let (b, _) = behaviour(rollouts);
    let mut figures =
        vec![("behaviour/self_check", b.self_check), ("behaviour/wait", b.wait), ("behaviour/mixed", b.mixed)];
    let more = [
        ("behaviour/language_consistency", b.language_consistency),
        ("behaviour/slips_per_step", b.slips_per_step),
        ("behaviour/right_with_check", b.right_with_check),
        ("behaviour/right_without_check", b.right_without_check),
    ];
    figures.extend(more.into_iter().filter_map(|(n, v)| Some((n, v?))));
    figures
}
