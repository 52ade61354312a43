//! Estimates the duration of a run on this machine before it starts. A probe of a few seconds runs the model itself: a
//! training pass, a weight update, and answers to the run's own questions, possibly incomplete. The settings give the
//! number of each in the run. The probe updates the model, so it must not be used afterwards.

use crate::data::Questions;
use crate::error::Error;
use crate::rollout::{RolloutConfig, generator};
use crate::train::Train;
use crate::trainer::Trainer;
use meno_engine::{Finish, Generator, Request, Sampling, Stop, StreamKey};
use meno_model::Model;
use meno_tensor::cpu::roofline;
use meno_tensor::pool;
use meno_tensor::rng::Rng;
use meno_tensor::tape::{Batch, CrossEntropy};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Maximum seconds of the answer probe, after the prompts.
const ANSWERS: f64 = 5.0;
/// Maximum seconds of the probe with a single answer.
const ALONE: f64 = 0.7;
/// Approximate seconds of the probe of training passes.
const PASSES: f64 = 1.5;
/// Floating-point operations per second of a GPU, to choose the size of a pass only.
const GPU_FLOPS: f64 = 1e14;

/// Seconds by purpose.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Time {
    /// Purpose and seconds.
    pub parts: Vec<(String, f64)>,
    /// Duration of the probe in seconds.
    pub probe: f64,
}

impl Time {
    /// Adds a part.
    pub fn push(&mut self, what: impl Into<String>, seconds: f64) {
        self.parts.push((what.into(), seconds));
    }

    /// Returns the sum of all parts.
    pub fn total(&self) -> f64 {
        self.parts.iter().map(|p| p.1).sum()
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        for (what, seconds) in &self.parts {
            writeln!(f, "{:>14}  {what}", duration(*seconds))?;
        }
        write!(
            f,
            "{:>14}  in total, estimated from a probe of {} on this machine",
            duration(self.total()),
            duration(self.probe)
        )
    }
}

/// Formats seconds for display.
pub fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        3600..172_800 => format!("{} h {:02} min", s / 3600, s / 60 % 60),
        _ => format!("{} days {} h", s / 86400, s / 3600 % 24),
    }
}

/// The training speed of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Training {
    /// Seconds per token in a pass, forward and backward.
    pub token: f64,
    /// Seconds per weight update, including packing the weights for the next pass.
    pub update: f64,
    /// Tokens of a measured pass.
    pub rows: usize,
}

impl Training {
    /// Trains `model` on random sequences of `length` tokens.
    pub fn measure(model: &mut Model, train: &Train, mtp: bool, length: usize) -> Result<Training, Error> {
        let flops = match model.backend().device().has_own_memory() {
            true => GPU_FLOPS,
            false => roofline::gflops(train.precision) * 1e9 * pool::threads() as f64,
        };
        let active = model.config.counts().active.max(1) as f64;
        // Choose passes of a second or less, however large the model is.
        let rows = ((0.5 * PASSES * flops / (6.0 * active)) as usize).max(64).min(train.max_tokens).max(2);
        let mut trainer = Trainer::new(
            &Train { max_tokens: rows, gradient_shards: 1, ..train.clone() },
            model,
            mtp,
            &meno_comm::solo(),
        )?;
        let batch = random(model.config.vocab_size, rows, length.clamp(2, rows));
        let mut pass = |trainer: &mut Trainer| {
            let start = Instant::now();
            trainer.pass(model, &batch, &CrossEntropy { head_scale: [1.0, if mtp { 0.1 } else { 0.0 }] })?;
            Ok::<f64, Error>(start.elapsed().as_secs_f64())
        };
        // The first pass also packs the weights.
        let (first, mut times) = (pass(&mut trainer)?, Vec::new());
        while times.is_empty() || times.len() < 5 && first + times.iter().sum::<f64>() < PASSES {
            times.push(pass(&mut trainer)?);
        }
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let start = Instant::now();
        trainer.update(model, 0)?;
        let update = start.elapsed().as_secs_f64() + (first - mean).max(0.0);
        Ok(Training { token: mean / batch.len() as f64, update, rows: batch.len() })
    }

    /// Returns the seconds of `steps` optimizer steps over `tokens` tokens in total.
    pub fn seconds(&self, steps: usize, tokens: f64) -> f64 {
        steps as f64 * self.update + tokens * self.token
    }
}

/// Returns a batch of random sequences.
fn random(vocab: usize, rows: usize, length: usize) -> Batch {
    let (mut rng, mut batch) = (Rng::new(&[1]), Batch::default());
    let weight = 1.0 / rows as f32;
    while batch.len() + length <= rows {
        let tokens: Vec<u32> = (0..length).map(|_| rng.below(vocab) as u32).collect();
        batch.push_training(&tokens, |_| weight);
    }
    batch
}

/// The speed of a model's answers, and their length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answering {
    /// Seconds until the first token: the prompts.
    prompts: f64,
    /// Number of answers requested, and number of answers that ended.
    asked: usize,
    ended: usize,
    /// Number of concurrent answers.
    at_once: usize,
    /// Seconds per step, with all answers concurrently and with one.
    step: [f64; 2],
    /// Tokens per answer: the mean, and the limit.
    mean: f64,
    limit: usize,
    /// Seconds for all, if all ended.
    whole: Option<f64>,
}

/// Observations of a set of answers.
#[derive(Default)]
struct Seen {
    tokens: usize,
    stopped: usize,
    cut: usize,
    /// Seconds until the first token, and from there to the last.
    prompts: f64,
    seconds: f64,
}

fn drive(generator: &mut Generator, model: &mut Model, requests: &[Request], most: f64) -> Result<Seen, Error> {
    let (begun, mut first, mut seen) = (Instant::now(), None, Seen::default());
    generator.generate(model, requests, &mut |event| {
        let now = Instant::now();
        let since: Duration = now - *first.get_or_insert(now);
        seen.prompts = (now - begun - since).as_secs_f64();
        seen.seconds = since.as_secs_f64();
        seen.tokens += 1;
        match event.finish {
            Some(Finish::Stop) => seen.stopped += 1,
            Some(_) => seen.cut += 1,
            None => {}
        }
        if seen.seconds > most { ControlFlow::Break(Stop::All) } else { ControlFlow::Continue(()) }
    })?;
    Ok(seen)
}

impl Answering {
    /// Measures the answers to `questions`: as many as one round of the run asks.
    pub fn measure(
        model: &mut Model,
        config: &RolloutConfig,
        task: &dyn Questions,
        questions: &[crate::data::Question],
    ) -> Result<Answering, Error> {
        let longest = questions.iter().map(|q| q.prompt.len()).max().unwrap_or(1);
        let mut generator = generator(model, config, longest)?;
        let request = |(i, prompt): (usize, &[u32]), n, max_tokens| Request {
            prompt: prompt.to_vec(),
            n,
            sampling: Sampling { vocab_size: task.vocab_size(), max_tokens, ..config.sampling.clone() },
            key: StreamKey { seed: config.key[0], step: config.key[1], sequence: i as u64 },
        };
        let (n, limit) = (config.num_generations, config.sampling.max_tokens);
        let prompts = questions.iter().map(|q| q.prompt.as_slice()).enumerate();
        let requests: Vec<Request> = prompts.map(|p| request(p, n, limit)).collect();
        let (asked, at_once) = (questions.len() * n, config.slots.min(questions.len() * n).max(1));
        let all = drive(&mut generator, model, &requests, ANSWERS)?;
        let ended = all.stopped + all.cut;
        let whole = (ended >= asked).then_some(all.prompts + all.seconds);
        let mut answering =
            Answering { prompts: all.prompts, asked, ended, at_once, limit, whole, ..Answering::default() };
        answering.mean = mean_length(&all, limit);
        if whole.is_none() {
            // Measure one answer alone: it gives the fixed cost of a step.
            let alone = requests.first().map(|r| Request { n: 1, ..r.clone() });
            let alone = drive(&mut generator, model, alone.as_slice(), ALONE)?;
            let step = |seen: &Seen, n: usize| n as f64 * seen.seconds / seen.tokens.saturating_sub(n).max(1) as f64;
            let full = step(&all, at_once);
            answering.step = [full, step(&alone, 1).min(full)];
        }
        Ok(answering)
    }

    /// Returns the mean number of tokens per answer.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Returns the seconds of `answers` answers, with as many concurrent sequences as in the probe.
    pub fn seconds(&self, answers: usize) -> f64 {
        if answers == 0 || self.asked == 0 {
            return 0.0;
        }
        let share = answers as f64 / self.asked as f64;
        if let Some(whole) = self.whole {
            return whole * share;
        }
        let [full, alone] = self.step;
        let at_once = self.at_once.min(answers);
        let step = |n: f64| alone + (full - alone) * n / self.at_once as f64;
        let steps = answers as f64 * self.mean / at_once as f64;
        // Towards the end, fewer and fewer sequences run; the longest of many is longer than the mean.
        let longest = (self.mean * ((at_once as f64).ln() + 0.58)).clamp(self.mean, self.limit.max(1) as f64);
        let tail = (longest - self.mean).max(0.0);
        self.prompts * share + steps * step(at_once as f64) + tail * step(at_once as f64 / 4.0)
    }

    /// Describes the result of the probe, for display.
    pub fn about(&self) -> String {
        let Answering { mean, limit, ended, asked, .. } = self;
        format!("{mean:.0} tokens each of at most {limit} ({ended} of {asked} ended in the probe)")
    }
}

/// Estimates the mean length of answers, some of which have not ended, as if each token ended the answer with the same
/// probability.
fn mean_length(seen: &Seen, limit: usize) -> f64 {
    let limit = limit.max(1) as f64;
    if seen.stopped == 0 {
        return limit;
    }
    let mean = seen.tokens as f64 / seen.stopped as f64;
    mean * (1.0 - (-limit / mean).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_for_people() {
        let texts = [5.2, 75.0, 7260.0, 300_000.0].map(duration);
        assert_eq!(texts, ["5 s", "1 min 15 s", "2 h 01 min", "3 days 11 h"]);
    }

    #[test]
    fn answers_that_have_not_ended_count() {
        let seen = |tokens, stopped, cut| Seen { tokens, stopped, cut, ..Seen::default() };
        // None has ended: each may reach its limit.
        assert_eq!(mean_length(&seen(1000, 0, 0), 512), 512.0);
        // One in a hundred tokens ends an answer.
        assert!((mean_length(&seen(10_000, 100, 0), 1 << 20) - 100.0).abs() < 1e-9);
        let cut = mean_length(&seen(10_000, 100, 40), 100);
        assert!((cut - 63.2).abs() < 0.1, "{cut}");
    }

    #[test]
    fn more_answers_take_longer_and_a_whole_round_is_taken_as_measured() {
        let whole = Answering { asked: 64, ended: 64, whole: Some(3.0), ..Answering::default() };
        assert_eq!([0, 64, 640].map(|n| whole.seconds(n)), [0.0, 3.0, 30.0]);
        let part = Answering {
            asked: 64,
            at_once: 64,
            step: [0.1, 0.02],
            mean: 100.0,
            limit: 400,
            prompts: 1.0,
            ..Answering::default()
        };
        // 100 steps of a tenth of a second, a second of prompts, and the tail: 300 steps of 0.04 s, with 16 of 64
        // answers.
        assert!((part.seconds(64) - 23.0).abs() < 1e-9, "{}", part.seconds(64));
        // Twice the steps and the prompts, and one tail.
        assert!((part.seconds(128) - 34.0).abs() < 1e-9, "{}", part.seconds(128));
        assert!(part.seconds(1) < 10.0);
    }
}
