//! Samples the answers of a rollout, verifies and rewards them.

use super::Rollout;
use crate::data::{Question, Questions};
use crate::error::Error;
use crate::gather;
use crate::observer::Observer;
use crate::rewards::{Input, Scored, Weighted, compose};
use meno_comm::Comm;
use meno_comm::queue::{Queue, Taken};
use meno_engine::{Finish, Generator, GeneratorConfig, More, Request, Sampling, Stop, StreamKey};
use meno_model::Model;
use meno_tensor::precision::Precision;
use std::cell::Cell;
use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

/// Time between two calls of the observer during sampling.
const ASKING: Duration = Duration::from_millis(100);

/// How long a rank without work waits before it looks for more.
const PAUSE: Duration = Duration::from_micros(200);

/// Settings of the sampling of a rollout.
#[derive(Clone, Debug)]
pub struct RolloutConfig {
    /// Answers per question.
    pub num_generations: usize,
    /// Temperature, filters, maximum length.
    pub sampling: Sampling,
    /// Number of concurrent sequences.
    pub slots: usize,
    /// Rows per step.
    pub rows: usize,
    /// Input type of the GEMMs.
    pub precision: Precision,
    /// Seed and step: the first two parts of the key of the random numbers.
    pub key: [u64; 2],
    /// The ranks that share the questions.
    pub comm: Comm,
}

impl RolloutConfig {
    /// Settings of one process: `num_generations` answers per question, `slots` sequences at a time.
    pub fn new(
        num_generations: usize,
        sampling: Sampling,
        slots: usize,
        precision: Precision,
        key: [u64; 2],
    ) -> RolloutConfig {
        let (rows, comm) = (512.max(slots), meno_comm::solo());
        RolloutConfig { num_generations, sampling, slots, rows, precision, key, comm }
    }
}

/// Samples `num_generations` answers per question and scores them. `questions` holds the number of the first question,
/// which selects the random numbers, and the questions. Answers are grouped by question. `None` if the observer stopped
/// it.
///
/// Each rank samples and verifies a part of the answers and scores some of the groups; every rank returns all answers.
/// They do not depend on the number of ranks.
pub fn rollout(
    model: &mut Model,
    generator: &mut Generator,
    config: &RolloutConfig,
    task: &dyn Questions,
    rewards: &[Weighted],
    questions: (u64, Vec<Question>),
    observer: &mut dyn Observer,
) -> Result<Option<Vec<Rollout>>, Error> {
    let (own, stopped) = sample(model, generator, config, task, questions, observer)?;
    if stopped {
        return Ok(None);
    }
    let mut all: Vec<Rollout> = gather::values(&*config.comm, own).into_iter().map(|(_, r)| r).collect();
    // Each rank scores whole groups, which do not depend on who sampled them.
    let groups = config.comm.share(all.len() / config.num_generations);
    let own = groups.start * config.num_generations..groups.end * config.num_generations;
    let inputs: Vec<Input> = all[own.clone()].iter().map(Rollout::input).collect();
    let scored = compose(rewards, &inputs, observer)?;
    if config.comm.any(scored.is_none()) {
        return Ok(None);
    }
    let row = |(reward, scores): Scored| std::iter::once(reward).chain(scores).map(f64::from).collect();
    let rows = own.zip(scored.unwrap_or_default().into_iter().map(row)).collect();
    for (r, (_, row)) in all.iter_mut().zip(gather::rows(&*config.comm, rows)) {
        r.reward = row[0] as f32;
        r.scores = row[1..].iter().map(|&score| score as f32).collect();
    }
    Ok(Some(all))
}

/// Like [`rollout`], without rewards. The second result is true if the observer stopped it. The first result then
/// contains only the answers to questions before the first incomplete one, so a run that continues with that question
/// loses nothing.
pub fn finished(
    model: &mut Model,
    generator: &mut Generator,
    config: &RolloutConfig,
    task: &dyn Questions,
    questions: (u64, Vec<Question>),
    observer: &mut dyn Observer,
) -> Result<(Vec<Rollout>, bool), Error> {
    let (own, stopped) = sample(model, generator, config, task, questions, observer)?;
    let all = gather::values(&*config.comm, own);
    let n = config.num_generations;
    let complete = all.iter().enumerate().take_while(|(i, (item, _))| i == item).count() / n * n;
    Ok((all.into_iter().take(complete).map(|(_, r)| r).collect(), stopped))
}

/// Samples and verifies this rank's answers, numbered by question and sample. The second result is true if the observer
/// of any rank stopped it; incomplete answers are then missing.
fn sample(
    model: &mut Model,
    generator: &mut Generator,
    config: &RolloutConfig,
    task: &dyn Questions,
    (first, questions): (u64, Vec<Question>),
    observer: &mut dyn Observer,
) -> Result<(Vec<(usize, Rollout)>, bool), Error> {
    let (n, size) = (config.num_generations, config.comm.size());
    let total = questions.len() * n;
    let mut dealer = Dealer { config, task, first, questions: &questions, given: Vec::new() };
    let mut queue = Queue::new(&config.comm, total, n);
    let stopped = Cell::new(false);
    let (mut done, mut seen) = (0, 0);
    observer.on_progress("responses", 0, total);
    let begun = Instant::now();
    let mut reported = begun;
    let mut source = |waiting: usize, running: usize| {
        if stopped.get() {
            queue.stop();
        }
        if queue.is_stopped() { More::Cancel } else { dealer.more(&mut queue, waiting, running) }
    };
    let completions = generator.generate_from(&mut *model.weights, &mut source, &mut |event| {
        seen += 1;
        if event.finish.is_some() {
            done += 1;
            // The other ranks are about as fast.
            observer.on_progress("responses", (done * size).min(total), total);
        }
        // Calling the observer has a cost, so call it at most every tenth of a second.
        if reported.elapsed() >= ASKING || seen == 1 {
            reported = Instant::now();
            observer.on_sampled(seen, begun.elapsed().as_secs_f64());
            stopped.set(stopped.get() || observer.should_stop());
        }
        if stopped.get() { ControlFlow::Break(Stop::All) } else { ControlFlow::Continue(()) }
    })?;
    if stopped.get() {
        queue.stop();
    }
    // Before verifying: rank 0 answers the others only until here.
    let stopped = queue.finish();
    let verify = |c: meno_engine::Completion| {
        let item = dealer.given[c.request] + c.sample;
        let question = questions[item / n].clone();
        let truncated = c.finish == Finish::Length;
        let text = task.text(&c.tokens);
        let verdict = task.verify(&question, &text, truncated);
        let (tokens, logprobs) = (c.tokens, c.logprobs);
        let (ref_logprobs, scores) = (Vec::new(), Vec::new());
        let (reward, advantage) = (0.0, 0.0);
        let rollout =
            Rollout { question, tokens, logprobs, ref_logprobs, text, truncated, verdict, reward, scores, advantage };
        (item, rollout)
    };
    let whole = completions.into_iter().filter(|c| c.finish != Finish::Cancelled);
    let own = whole.map(verify).collect();
    task.check()?;
    Ok((own, stopped))
}

/// Makes requests of the answers that a rank takes from the shared queue. Answer `i` is sample `i % n` of question
/// `i / n`.
struct Dealer<'a> {
    config: &'a RolloutConfig,
    task: &'a dyn Questions,
    /// The number of the first question.
    first: u64,
    questions: &'a [Question],
    /// The first answer of every request.
    given: Vec<usize>,
}

impl Dealer<'_> {
    /// Takes answers from the queue when fewer than a group wait for a place.
    fn more(&mut self, queue: &mut Queue, waiting: usize, running: usize) -> More {
        let n = self.config.num_generations;
        let room = match self.config.comm.size() {
            1 => usize::MAX,
            _ if waiting >= n => return More::Requests(Vec::new()),
            _ => (self.config.slots + n).saturating_sub(waiting + running).max(n),
        };
        match queue.take(room) {
            Taken::Items(items) => More::Requests(self.requests(items)),
            // Rank 0 answers the others between its own steps.
            Taken::Empty if waiting + running == 0 => More::End,
            Taken::Empty => More::Requests(Vec::new()),
            Taken::Pending => {
                if waiting + running == 0 {
                    std::thread::sleep(PAUSE);
                }
                More::Requests(Vec::new())
            }
        }
    }

    /// Returns the requests of some answers: whole groups as one request each, others one by one.
    fn requests(&mut self, items: Range<usize>) -> Vec<Request> {
        let n = self.config.num_generations;
        let mut requests = Vec::new();
        let mut at = items.start;
        while at < items.end {
            let (question, sample) = (at / n, at % n);
            let count = if sample == 0 && at + n <= items.end { n } else { 1 };
            let [seed, step] = self.config.key;
            let group = StreamKey { seed, step, sequence: self.first + question as u64 };
            let key = if count == n { group } else { group.of_sample(n, sample) };
            requests.push(Request {
                prompt: self.questions[question].prompt.clone(),
                n: count,
                sampling: Sampling { vocab_size: self.task.vocab_size(), ..self.config.sampling.clone() },
                key,
            });
            self.given.push(at);
            at += count;
        }
        requests
    }
}

/// Creates a generator for prompts of up to `max_prompt` tokens.
pub fn generator(model: &Model, config: &RolloutConfig, max_prompt: usize) -> Result<Generator, Error> {
    let max_len = (max_prompt + config.sampling.max_tokens).min(model.config.max_position_embeddings);
    let (step_rows, precision) = (config.rows, config.precision);
    let config = GeneratorConfig { step_rows, precision, ..GeneratorConfig::new(config.slots, max_len) };
    Ok(Generator::new(model, config)?)
}
