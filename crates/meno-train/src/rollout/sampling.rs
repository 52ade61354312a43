//! Samples the answers of a rollout, verifies and rewards them.

use super::Rollout;
use crate::data::{Question, Questions};
use crate::error::Error;
use crate::observer::Observer;
use crate::rewards::{Input, Weighted, compose};
use meno_engine::{Finish, Generator, GeneratorConfig, Request, Sampling, Stop, StreamKey};
use meno_model::Model;
use meno_tensor::precision::Precision;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Time between two calls of the observer during sampling.
const ASKING: Duration = Duration::from_millis(100);

/// Settings of the sampling of a rollout.
#[derive(Clone, Debug, PartialEq)]
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
}

/// Samples `num_generations` answers per question and scores them. `questions` holds the number of the first question,
/// which selects the random numbers, and the questions. Answers are grouped by question. `None` if the observer stopped
/// it.
pub fn rollout(
    model: &mut Model,
    generator: &mut Generator,
    config: &RolloutConfig,
    task: &dyn Questions,
    rewards: &[Weighted],
    questions: (u64, Vec<Question>),
    observer: &mut dyn Observer,
) -> Result<Option<Vec<Rollout>>, Error> {
    let (mut rollouts, stopped) = finished(model, generator, config, task, questions, observer)?;
    if stopped {
        return Ok(None);
    }
    let inputs: Vec<Input> = rollouts.iter().map(Rollout::input).collect();
    let Some(scored) = compose(rewards, &inputs, observer)? else { return Ok(None) };
    rollouts.iter_mut().zip(scored).for_each(|(r, scored)| (r.reward, r.scores) = scored);
    Ok(Some(rollouts))
}

/// Like [`rollout`], without rewards. The second result is true if the observer stopped it. The first result then
/// contains only the answers to questions before the first incomplete one, so a run that continues with that question
/// loses nothing.
pub fn finished(
    model: &mut Model,
    generator: &mut Generator,
    config: &RolloutConfig,
    task: &dyn Questions,
    (first, questions): (u64, Vec<Question>),
    observer: &mut dyn Observer,
) -> Result<(Vec<Rollout>, bool), Error> {
    let n = config.num_generations;
    let request = |(i, q): (usize, &Question)| Request {
        prompt: q.prompt.clone(),
        n,
        sampling: Sampling { vocab_size: task.vocab_size(), ..config.sampling.clone() },
        key: StreamKey { seed: config.key[0], step: config.key[1], sequence: first + i as u64 },
    };
    let requests: Vec<Request> = questions.iter().enumerate().map(request).collect();
    let total = requests.len() * n;
    let (mut done, mut seen, mut stopped) = (0, 0, false);
    observer.on_progress("responses", 0, total);
    let begun = Instant::now();
    let mut reported = begun;
    let mut completions = generator.generate(model, &requests, &mut |event| {
        seen += 1;
        if event.finish.is_some() {
            done += 1;
            observer.on_progress("responses", done, total);
        }
        // Calling the observer has a cost, so call it at most every tenth of a second.
        if reported.elapsed() >= ASKING || seen == 1 {
            reported = Instant::now();
            observer.on_sampled(seen, begun.elapsed().as_secs_f64());
            stopped |= observer.should_stop();
        }
        if stopped { ControlFlow::Break(Stop::All) } else { ControlFlow::Continue(()) }
    })?;
    completions.sort_by_key(|c| (c.request, c.sample));
    if stopped {
        let cut = completions.iter().find(|c| c.finish == Finish::Cancelled).map_or(usize::MAX, |c| c.request);
        completions.retain(|c| c.request < cut);
    }
    let verify = |c: meno_engine::Completion| {
        let question = questions[c.request].clone();
        let truncated = c.finish == Finish::Length;
        let text = task.text(&c.tokens);
        let verdict = task.verify(&question, &text, truncated);
        let (tokens, logprobs) = (c.tokens, c.logprobs);
        let (ref_logprobs, scores) = (Vec::new(), Vec::new());
        let (reward, advantage) = (0.0, 0.0);
        Rollout { question, tokens, logprobs, ref_logprobs, text, truncated, verdict, reward, scores, advantage }
    };
    let rollouts: Vec<Rollout> = completions.into_iter().map(verify).collect();
    task.check()?;
    Ok((rollouts, stopped))
}

/// Creates a generator for prompts of up to `max_prompt` tokens.
pub fn generator(model: &Model, config: &RolloutConfig, max_prompt: usize) -> Result<Generator, Error> {
    let max_len = (max_prompt + config.sampling.max_tokens).min(model.config.max_position_embeddings);
    let (step_rows, precision) = (config.rows, config.precision);
    let config = GeneratorConfig { step_rows, precision, ..GeneratorConfig::new(config.slots, max_len) };
    Ok(Generator::new(model, config)?)
}
