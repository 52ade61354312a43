//! Estimates how long each stage will take, before any model is trained. It measures networks of the same sizes with
//! random weights for some seconds, and computes from the settings how much each stage trains and samples.

use crate::context::training_questions;
use crate::evaluation::FORCED_SAMPLES;
use crate::settings::{FromTraces, Pretraining, Reinforcement, Settings};
use crate::stage::{Stage, Work};
use crate::tokenizer;
use crate::worked_steps::ReasoningStyle;
use meno_engine::{Sampling, Tokenizer};
use meno_model::{Config, Model};
use meno_train::data::Questions;
use meno_train::rollout::RolloutConfig;
use meno_train::time::{Answering, Training};
use meno_train::{Error, Train};
use serde_json::Value;
use std::time::Instant;

/// The mean length of an answer as a share of its limit, measured in earlier runs.
const LENGTH: f64 = 0.45;
/// The share of groups of answers that are trained on. The others are all right or all wrong.
const TEACHING: f64 = 0.6;
/// The share of sampled answers that are kept for fine-tuning.
const KEPT: f64 = 0.6;
/// Seconds per document to train the tokenizer.
const DOCUMENT: f64 = 0.000_25;

/// The estimated seconds of each stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Seconds, in the order of [`Stage::ALL`].
    pub stages: Vec<f64>,
    /// Seconds that the measurement took.
    pub probe: f64,
}

impl Plan {
    /// The sum over all stages.
    pub fn total(&self) -> f64 {
        self.stages.iter().sum()
    }
}

/// The measured speed of a network.
struct Network {
    training: Training,
    answering: Answering,
    /// The mean length of a prompt, in tokens.
    prompt: f64,
}

/// Estimates the replication with `settings`, before its directory exists.
///
/// # Errors
/// If the settings describe no valid network.
pub fn plan(settings: &Settings, seed: u64) -> Result<Plan, Error> {
    let start = Instant::now();
    let task = settings.arithmetic(seed);
    // The vocabulary hardly depends on the number of documents.
    let documents = settings.task.tokenizer_documents.min(500);
    let tokenizer = tokenizer::train(&settings.corpus, &task, seed, documents)?;
    let plan = plan_with(settings, seed, &tokenizer)?;
    Ok(Plan { probe: start.elapsed().as_secs_f64(), ..plan })
}

/// As [`plan`], with the tokenizer of the run.
pub(crate) fn plan_with(s: &Settings, seed: u64, tokenizer: &Tokenizer) -> Result<Plan, Error> {
    let start = Instant::now();
    let teacher = Network::measure(s, seed, &s.base, &s.network, tokenizer)?;
    let student = Network::measure(s, seed, &s.student, &s.student_network, tokenizer)?;
    let seconds = |stage: Stage| {
        let network = if stage.is_student() { &student } else { &teacher };
        let work = match stage.work(s) {
            Work::TrainTokenizer => return DOCUMENT * s.task.tokenizer_documents as f64,
            Work::Pretrain { recipe, .. } => network.pretraining(recipe),
            Work::Reinforce { recipe, .. } => network.reinforcement(s, recipe),
            // The student's answers come from R1, which has the teacher's network.
            Work::FineTune { recipe, .. } => network.fine_tuning(s, recipe, &teacher),
        };
        work + network.measurement(s, stage)
    };
    let stages = Stage::ALL.map(seconds).into();
    Ok(Plan { stages, probe: start.elapsed().as_secs_f64() })
}

/// The expected tokens of an answer with at most `limit` tokens.
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
        let mut model = Model::random_on(s.device, Config::from_value("network", network)?, seed)?;
        let (e, task) = (&s.evaluation, s.arithmetic(seed));
        let asked = training_questions(&task, tokenizer, 0);
        let questions = (0..e.max_sequences as u64).map(|i| asked.question(i)).collect::<Result<Vec<_>, _>>()?;
        let max_tokens = length(e.max_completion_length) as usize;
        // Random weights could end an answer at any token, so no token ends one: all reach `max_tokens`.
        let sampling = Sampling { temperature: e.temperature, max_tokens, ..Sampling::default() };
        let sampling = Sampling { top_p: 1.0, top_k: 0, min_p: 0.0, stop_tokens: Vec::new(), ..sampling };
        let config = RolloutConfig::new(1, sampling, e.max_sequences, s.precision, [0, seed]);
        let answering = Answering::measure(&mut model, &config, &asked, &questions)?;
        let prompt = questions.iter().map(|q| q.prompt.len()).sum::<usize>() as f64 / questions.len().max(1) as f64;
        let mtp = p.pretrain.mtp_loss_weight > 0.0 && model.config.num_nextn_predict_layers > 0;
        let train = Train { precision: s.precision, ..p.train.clone() };
        let training = Training::measure(&mut model, &train, mtp, prompt as usize + max_tokens)?;
        Ok(Network { training, answering, prompt })
    }

    /// Seconds to sample `answers` answers of at most `limit` tokens.
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

    /// Seconds to sample answers of `teacher` and fine-tune this network on them.
    fn fine_tuning(&self, s: &Settings, f: &FromTraces, teacher: &Network) -> f64 {
        let limit = f.sample.max_completion_length.min(s.evaluation.max_completion_length);
        let sampled = f.sample.num_questions * f.sample.num_generations;
        let kept = f.sample.num_questions * f.sample.num_generations.min(f.sample.keep_per_question);
        let most = if f.max_examples > 0 { f.max_examples } else { usize::MAX };
        let examples = ((KEPT * kept as f64) as usize).clamp(1, most);
        let steps = f.sft.with_epochs(&f.train, examples).max_steps;
        let tokens = (steps * f.sft.train_batch_size) as f64 * (self.prompt + length(limit));
        teacher.answers(sampled, limit) + self.training.seconds(steps, tokens)
    }

    /// Seconds to measure the model of `stage` on the held-out problems.
    fn measurement(&self, s: &Settings, stage: Stage) -> f64 {
        let e = &s.evaluation;
        let forced = match stage.measures_forced_styles() {
            true => ReasoningStyle::ALL.len() * FORCED_SAMPLES * e.forced_problems,
            false => 0,
        };
        self.answers(e.problems * stage.samples(e) + forced, e.max_completion_length)
    }
}
