//! How long each stage of a replication will take, before there are models: networks of the same sizes with random
//! weights are measured for some seconds, and the settings say how much each stage trains and asks.

use super::family::Asking;
use super::settings::{FromTraces, Pretraining, Reinforcement, Settings};
use super::stages::STAGES;
use super::tokenizer;
use meno_engine::{Sampling, Tokenizer};
use meno_eval::Split;
use meno_model::{Config, Model};
use meno_train::data::Questions;
use meno_train::error::Error;
use meno_train::rollout::Sampler;
use meno_train::time::{Answering, Training};
use serde_json::Value;
use std::time::Instant;

/// Length of an answer as a share of its limit: what the answers of earlier runs had on average.
const LENGTH: f64 = 0.45;
/// Share of the groups of answers that teach something: in the others all are right, or all wrong.
const TEACHING: f64 = 0.6;
/// Share of the sampled answers that are kept to learn from.
const KEPT: f64 = 0.6;
/// Seconds of the tokenizer, per document.
const DOCUMENT: f64 = 0.000_25;

/// Seconds of each stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// By the order of [`STAGES`].
    pub stages: Vec<f64>,
    /// Seconds that measuring took.
    pub probe: f64,
}

impl Plan {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.stages.iter().sum()
    }
}

/// What was measured of a network.
struct Network {
    training: Training,
    answering: Answering,
    prompt: f64,
}

/// Plans the replication by `settings`, before anything of it is there.
pub fn plan(settings: &Settings, seed: u64) -> Result<Plan, Error> {
    let start = Instant::now();
    let task = settings.arithmetic(seed);
    // The vocabulary hardly depends on how many documents it is made of.
    let documents = settings.task.tokenizer_documents.min(500);
    let tokenizer = tokenizer::train(&settings.corpus, &task, seed, documents)?;
    let plan = plan_with(settings, seed, &tokenizer)?;
    Ok(Plan { probe: start.elapsed().as_secs_f64(), ..plan })
}

/// As [`plan`], with the tokenizer that is there.
pub(super) fn plan_with(s: &Settings, seed: u64, tokenizer: &Tokenizer) -> Result<Plan, Error> {
    let start = Instant::now();
    let teacher = Network::measure(s, seed, &s.base, &s.network, tokenizer)?;
    let student = Network::measure(s, seed, &s.student, &s.student_network, tokenizer)?;
    let seconds = |name: &str| match name {
        "tokenizer" => DOCUMENT * s.task.tokenizer_documents as f64,
        "base" => teacher.pretraining(&s.base),
        "r1-zero" => teacher.reinforcement(s, &s.zero),
        "r1-zero-language" => teacher.reinforcement(s, &s.zero_language),
        "cold-start" => teacher.taught_by_traces(s, &s.cold_start, &teacher),
        "reasoning-rl" => teacher.reinforcement(s, &s.reasoning),
        "rejection-sft" => teacher.taught_by_traces(s, &s.rejection, &teacher),
        "r1" => teacher.reinforcement(s, &s.last),
        "student-base" => student.pretraining(&s.student),
        "distill" => student.taught_by_traces(s, &s.distill, &teacher),
        _ => student.reinforcement(s, &s.student_rl),
    };
    let measured = |name: &str| {
        let network = if matches!(name, "student-base" | "distill" | "student-rl") { &student } else { &teacher };
        network.measurement(s, name)
    };
    let stages = STAGES.iter().map(|stage| seconds(stage.name) + measured(stage.name)).collect();
    Ok(Plan { stages, probe: start.elapsed().as_secs_f64() })
}

/// Tokens of an answer that may have `limit`.
fn length(limit: usize) -> f64 {
    (LENGTH * limit as f64).max(1.0)
}

impl Network {
    fn measure(
        s: &Settings,
        seed: u64,
        p: &Pretraining,
        network: &Value,
        tokenizer: &Tokenizer,
    ) -> Result<Network, Error> {
        let mut network = network.clone();
        network["vocab_size"] = tokenizer.vocab_size().next_multiple_of(16).into();
        let mut model = Model::random(Config::from_value("network", network)?, seed)?;
        let (e, task) = (&s.evaluation, s.arithmetic(seed));
        let asking = Asking { task: &task, tokenizer, split: Split::Train, first: 0, forced: None };
        let questions = (0..e.max_sequences as u64).map(|i| asking.question(i)).collect::<Result<Vec<_>, _>>()?;
        let max_tokens = length(e.max_completion_length) as usize;
        // Random weights end an answer anywhere: none is ended but by its length.
        let sampling = Sampling { temperature: e.temperature, max_tokens, ..Sampling::default() };
        let sampler = Sampler {
            num_generations: 1,
            sampling: Sampling { top_p: 1.0, top_k: 0, min_p: 0.0, stop_tokens: Vec::new(), ..sampling },
            slots: e.max_sequences,
            rows: 512.max(e.max_sequences),
            precision: s.precision.into(),
            key: [0, seed],
        };
        let answering = Answering::measure(&mut model, &sampler, &asking, &questions)?;
        let prompt = questions.iter().map(|q| q.prompt.len()).sum::<usize>() as f64 / questions.len().max(1) as f64;
        let mtp = p.pretrain.mtp_loss_weight > 0.0 && model.config.num_nextn_predict_layers > 0;
        let train = meno_train::Train { precision: s.precision, ..p.train.clone() };
        let training = Training::measure(&mut model, &train, mtp, prompt as usize + max_tokens)?;
        Ok(Network { training, answering, prompt })
    }

    /// Seconds of `answers` answers that may have `limit` tokens.
    fn answers(&self, answers: usize, limit: usize) -> f64 {
        self.answering.seconds(answers) * length(limit) / self.answering.mean().max(1.0)
    }

    fn pretraining(&self, p: &Pretraining) -> f64 {
        self.training.seconds(p.train.max_steps, (p.train.max_steps * p.pretrain.tokens_per_step) as f64)
    }

    fn reinforcement(&self, s: &Settings, r: &Reinforcement) -> f64 {
        let (g, steps, parts) = (&r.grpo, r.train.max_steps, r.grpo.steps_per_generation as f64);
        let rollouts = steps.div_ceil((g.steps_per_generation * g.num_iterations).max(1)) as f64;
        let answers = g.num_questions * g.num_generations;
        let limit = g.max_completion_length.min(s.evaluation.max_completion_length);
        let tokens = answers as f64 * (self.prompt + length(limit));
        let scored = (parts - 1.0) / parts + if g.beta > 0.0 { 1.0 } else { 0.0 };
        rollouts * (self.answers(answers, limit) + scored * tokens * self.training.token / 3.0)
            + self.training.seconds(steps, steps as f64 * TEACHING * tokens / parts)
    }

    /// `teacher` answers, this network learns.
    fn taught_by_traces(&self, s: &Settings, f: &FromTraces, teacher: &Network) -> f64 {
        let limit = f.sample.max_completion_length.min(s.evaluation.max_completion_length);
        let sampled = f.sample.num_questions * f.sample.num_generations;
        let kept = f.sample.num_questions * f.sample.num_generations.min(f.sample.keep_per_question);
        let most = if f.max_examples > 0 { f.max_examples } else { usize::MAX };
        let examples = ((KEPT * kept as f64) as usize).clamp(1, most);
        let steps = f.sft.with_epochs(&f.train, examples).max_steps;
        let tokens = (steps * f.sft.train_batch_size) as f64 * (self.prompt + length(limit));
        teacher.answers(sampled, limit) + self.training.seconds(steps, tokens)
    }

    /// Measuring a stage's model on the held-out problems.
    fn measurement(&self, s: &Settings, name: &str) -> f64 {
        let e = &s.evaluation;
        let samples = match name {
            "tokenizer" => return 0.0,
            "base" | "r1-zero" | "r1" => e.samples,
            _ => e.samples_between,
        };
        // Four styles, two answers to each question.
        let forced = if matches!(name, "base" | "r1-zero") { 8 * e.forced_problems } else { 0 };
        self.answers(e.problems * samples + forced, e.max_completion_length)
    }
}
