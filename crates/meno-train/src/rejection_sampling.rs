//! Rejection sampling (R1 §2.3.3): sample several answers to each question, keep those that the verifier accepts and
//! that a person can read, each once. What is kept is data for supervised fine-tuning.

use crate::data::{Example, Question, Questions, Verdict};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::rewards::format::Format;
use crate::rewards::language_consistency::{self, LanguageConsistency};
use crate::rewards::repetition::repeated_share;
use crate::rewards::{self, Weighted};
use crate::rollout::{Rollout, Sampler, generator, rollout};
use crate::run::Observer;
use meno_engine::Sampling;
use meno_model::Model;
use meno_tensor::gemm::Precision;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ops::Range;

/// Settings of rejection sampling: `[sample]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RejectionSampling {
    /// Questions asked, from number `first_question` of the task.
    pub num_questions: usize,
    /// The first of them.
    pub first_question: u64,
    /// Answers sampled to each question.
    pub num_generations: usize,
    /// Answers kept of one question, at most: easy questions must not crowd out hard ones.
    pub keep_per_question: usize,
    /// Longest answer, in tokens.
    pub max_completion_length: usize,
    /// Longest prompt, in tokens.
    pub max_prompt_length: usize,
    /// Sampling temperature.
    pub temperature: f32,
    /// Sample from the smallest set of tokens with this probability.
    pub top_p: f32,
    /// Answers generated at once.
    pub max_sequences: usize,
    /// Keep only answers whose thought and answer stand in their tags.
    pub require_format: bool,
    /// Whether that asks for `<answer>` tags after the thought.
    pub answer_tags: bool,
    /// Keep only answers with at least this share of words in the question's language; 0 for any. Answers without
    /// words pass.
    pub min_language_consistency: f32,
    /// Keep only answers with at most this share of repeated 3-grams.
    pub max_repetition: f32,
    /// Keep only answers of at least this many tokens.
    pub min_completion_length: usize,
    /// Seed of the sampling.
    pub seed: u64,
}

impl Default for RejectionSampling {
    fn default() -> Self {
        RejectionSampling {
            num_questions: 256,
            first_question: 0,
            num_generations: 8,
            keep_per_question: 4,
            max_completion_length: 256,
            max_prompt_length: 256,
            temperature: 1.0,
            top_p: 1.0,
            max_sequences: 64,
            require_format: true,
            answer_tags: true,
            min_language_consistency: 0.0,
            max_repetition: 0.5,
            min_completion_length: 1,
            seed: 0,
        }
    }
}

/// An answer worth learning from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// What was asked.
    pub question: Question,
    /// The answer's tokens, with the one that ended it.
    pub tokens: Vec<u32>,
    /// The answer as text.
    pub text: String,
}

impl Trace {
    /// The trace as an example for a student with the same tokenizer.
    pub fn example(&self) -> Example {
        let tokens = [self.question.prompt.as_slice(), &self.tokens].concat();
        Example { tokens, prompt: self.question.prompt.len() }
    }
}

/// How many answers were sampled, and why those that are missing were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Answers sampled.
    pub sampled: usize,
    /// Not verified: wrong, truncated or unparsable.
    pub not_right: usize,
    /// Right, but against the form, mixed in language, repetitive or too short.
    pub unreadable: usize,
    /// Right and readable, but the same as another answer to the question.
    pub duplicate: usize,
    /// Right, readable and new, but the question had enough.
    pub surplus: usize,
    /// Kept.
    pub kept: usize,
    /// Tokens sampled.
    pub tokens: usize,
}

impl RejectionSampling {
    /// Whether a person could read this answer.
    pub fn readable(&self, rollout: &Rollout) -> bool {
        let format =
            Format { answer: self.answer_tags.then(|| Format::default().answer).flatten(), ..Format::default() };
        let (own, all) = language_consistency::count(&rollout.question.language, &rollout.text);
        rollout.tokens.len() >= self.min_completion_length
            && (!self.require_format || format.matches(&rollout.question.prompt_text, &rollout.text))
            && (all == 0 || own as f32 >= self.min_language_consistency * all as f32)
            && repeated_share(&rollout.text, 3) <= self.max_repetition
    }

    /// Keeps the verified, readable, different answers, at most `keep_per_question` each, in order.
    pub fn filter(&self, rollouts: Vec<Rollout>, tally: &mut Tally) -> Vec<Trace> {
        let mut kept: Vec<Trace> = Vec::new();
        let mut seen: HashSet<(u64, Vec<u32>)> = HashSet::new();
        let mut of_question: std::collections::HashMap<u64, usize> = std::collections::HashMap::new();
        for r in rollouts {
            tally.sampled += 1;
            tally.tokens += r.tokens.len();
            if r.verdict != Verdict::Right {
                tally.not_right += 1;
            } else if !self.readable(&r) {
                tally.unreadable += 1;
            } else if !seen.insert((r.question.index, r.tokens.clone())) {
                tally.duplicate += 1;
            } else if of_question.get(&r.question.index).is_some_and(|&n| n >= self.keep_per_question) {
                tally.surplus += 1;
            } else {
                tally.kept += 1;
                *of_question.entry(r.question.index).or_default() += 1;
                kept.push(Trace { question: r.question, tokens: r.tokens, text: r.text });
            }
        }
        kept
    }

    /// How answers are sampled.
    pub fn sampler(&self, precision: Precision, stop_tokens: Vec<u32>) -> Sampler {
        let sampling = Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: 0,
            min_p: 0.0,
            max_tokens: self.max_completion_length,
            stop_tokens,
            ..Sampling::default()
        };
        let slots = self.max_sequences.min(self.num_questions * self.num_generations).max(1);
        let (num_generations, key) = (self.num_generations, [self.seed, 0]);
        Sampler { num_generations, sampling, slots, rows: 512.max(slots), precision, key }
    }

    /// Samples the answers to questions `range` (numbers relative to `first_question`), filters them, and hands them
    /// to `keep` round by round with the number of questions done. Returns `None` if the observer stopped it.
    pub fn rounds(
        &self,
        model: &mut Model,
        precision: Precision,
        task: &dyn Questions,
        range: Range<usize>,
        observer: &mut dyn Observer,
        keep: &mut dyn FnMut(usize, Vec<Trace>) -> Result<(), Error>,
    ) -> Result<Option<Tally>, Error> {
        let sampler = self.sampler(precision, task.stop_tokens());
        let mut generator = generator(model, &sampler, self.max_prompt_length)?;
        // Rounds long enough to fill the slots several times over, short enough to lose little to a kill.
        let per_round = (4 * sampler.slots).div_ceil(self.num_generations.max(1)).max(1);
        let mut tally = Tally::default();
        let mut at = range.start;
        while at < range.end {
            let n = per_round.min(range.end - at);
            let questions = (at..at + n).map(|i| task.question(self.first_question + i as u64));
            let questions = questions.collect::<Result<Vec<_>, _>>()?;
            if self.min_language_consistency > 0.0 {
                rewards::check(&[Weighted::new(1.0, LanguageConsistency)], &questions)?;
            }
            let rollouts = rollout(model, &mut generator, &sampler, task, &[], (at as u64, questions), observer)?;
            let Some(rollouts) = rollouts else { return Ok(None) };
            observer.on_rollouts(&rollouts);
            let traces = self.filter(rollouts, &mut tally);
            at += n;
            keep(at, traces)?;
            observer.on_step(&tally.metrics(at), self.num_questions);
        }
        Ok(Some(tally))
    }

    /// Samples all questions and returns what was kept; `None` if the observer stopped it.
    pub fn run(
        &self,
        model: &mut Model,
        precision: Precision,
        task: &dyn Questions,
        observer: &mut dyn Observer,
    ) -> Result<Option<(Vec<Trace>, Tally)>, Error> {
        let mut kept = Vec::new();
        let mut keep = |_, traces: Vec<Trace>| {
            kept.extend(traces);
            Ok(())
        };
        let tally = self.rounds(model, precision, task, 0..self.num_questions, observer, &mut keep)?;
        Ok(tally.map(|tally| (kept, tally)))
    }
}

impl Tally {
    /// Its figures, after `questions` questions.
    pub fn metrics(&self, questions: usize) -> Metrics {
        let mut m = Metrics::new(questions);
        let n = self.sampled.max(1) as f64;
        m.push("sampled", self.sampled as f64);
        m.push("kept", self.kept as f64);
        m.push("verdicts/right", 1.0 - self.not_right as f64 / n);
        m.push("unreadable", self.unreadable as f64 / n);
        m.push("duplicate", self.duplicate as f64 / n);
        m.push("completions/mean_length", self.tokens as f64 / n);
        m
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(index: u64, tokens: &[u32], text: &str, verdict: Verdict) -> Rollout {
        let question = Question { index, language: "en".into(), ..Question::default() };
        let (tokens, text) = (tokens.to_vec(), text.to_owned());
        let (logprobs, ref_logprobs, scores) = (vec![], vec![], vec![]);
        let truncated = false;
        Rollout {
            question,
            tokens,
            logprobs,
            ref_logprobs,
            text,
            truncated,
            verdict,
            reward: 0.0,
            scores,
            advantage: 0.0,
        }
    }

    #[test]
    fn keeps_exactly_the_verified_readable_and_new() {
        let good = "<think>so it is</think><answer>2</answer>";
        let settings =
            RejectionSampling { keep_per_question: 2, min_language_consistency: 0.9, ..RejectionSampling::default() };
        let rollouts = vec![
            rollout(0, &[1], good, Verdict::Right),
            rollout(0, &[1], good, Verdict::Right),
            rollout(0, &[2], good, Verdict::Wrong),
            rollout(0, &[3], good, Verdict::Truncated),
            rollout(0, &[4], "2", Verdict::Right),
            rollout(0, &[5], "<think>so 得</think><answer>2</answer>", Verdict::Right),
            rollout(0, &[6], "<think>a b c a b c a b c a b c a b c</think><answer>2</answer>", Verdict::Right),
            rollout(0, &[7], good, Verdict::Right),
            rollout(0, &[8], good, Verdict::Right),
            rollout(1, &[1], good, Verdict::Right),
        ];
        let mut tally = Tally::default();
        let kept = settings.filter(rollouts, &mut tally);
        let kept: Vec<(u64, u32)> = kept.iter().map(|t| (t.question.index, t.tokens[0])).collect();
        assert_eq!(kept, [(0, 1), (0, 7), (1, 1)]);
        let expected =
            Tally { sampled: 10, not_right: 2, unreadable: 3, duplicate: 1, surplus: 1, kept: 3, tokens: 10 };
        assert_eq!(tally, expected);
    }
}
