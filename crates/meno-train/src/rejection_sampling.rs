//! Rejection sampling (R1 §2.3.3): samples several answers to each question and keeps the answers that are verified and
//! readable, without duplicates. The result is data for supervised fine-tuning.

use crate::data::{Example, Question, Questions, Verdict};
use crate::error::Error;
use crate::limits::{AT_LEAST_ONE, FRACTION, NOT_NEGATIVE, PROBABILITY, refused, within};
use crate::metrics::Metrics;
use crate::observer::Observer;
use crate::rewards::format::FormatReward;
use crate::rewards::language_consistency::{self, LanguageConsistency};
use crate::rewards::repetition::repeated_share;
use crate::rewards::{self, Weighted};
use crate::rollout::{Rollout, RolloutConfig, finished, generator};
use crate::time::{Answering, Time};
use meno_engine::Sampling;
use meno_model::Model;
use meno_tensor::precision::Precision;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::Instant;

/// Settings of rejection sampling: `[sample]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RejectionSampling {
    /// Number of questions, starting at `first_question`.
    pub num_questions: usize,
    /// The index of the first question in the task.
    pub first_question: u64,
    /// Answers sampled per question.
    pub num_generations: usize,
    /// Maximum number of answers kept per question, so that easy questions do not crowd out hard ones.
    pub keep_per_question: usize,
    /// Maximum length of an answer, in tokens.
    pub max_completion_length: usize,
    /// Maximum length of a prompt, in tokens.
    pub max_prompt_length: usize,
    /// Sampling temperature.
    pub temperature: f32,
    /// Sample from the smallest set of tokens with this probability.
    pub top_p: f32,
    /// Number of concurrent sequences.
    pub max_sequences: usize,
    /// Keep only answers with the thought and the answer enclosed in their tags.
    pub require_format: bool,
    /// Require `<answer>` tags after the thought, with `require_format`.
    pub answer_tags: bool,
    /// Keep only answers with at least this fraction of words in the question's language; 0 disables the filter.
    /// Answers without words pass.
    pub min_language_consistency: f32,
    /// Keep only answers with at most this fraction of repeated 3-grams.
    pub max_repetition: f32,
    /// Keep only answers with at least this many tokens.
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

/// An answer that was kept for training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The question.
    pub question: Question,
    /// The answer's tokens, including the stop token.
    pub tokens: Vec<u32>,
    /// The answer as text.
    pub text: String,
}

impl Trace {
    /// Returns the trace as an example for a student with the same tokenizer.
    pub fn example(&self) -> Example {
        let tokens = [self.question.prompt.as_slice(), &self.tokens].concat();
        Example { tokens, prompt: self.question.prompt.len() }
    }
}

/// Counts of sampled answers, and of dropped ones by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Answers sampled.
    pub sampled: usize,
    /// Not verified: wrong, truncated or unparsable.
    pub not_right: usize,
    /// Right, but badly formatted, mixed in language, repetitive or too short.
    pub unreadable: usize,
    /// Right and readable, but the same as another answer to the question.
    pub duplicate: usize,
    /// Right, readable and new, but the question already had enough answers.
    pub surplus: usize,
    /// Kept.
    pub kept: usize,
    /// Tokens sampled.
    pub tokens: usize,
}

/// The answers kept so far, to detect duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The answers kept per question, in normalized form ([`Questions::identity`]).
    answers: HashMap<String, HashSet<String>>,
    /// Counts of answers sampled and dropped so far.
    pub tally: Tally,
}

/// Receives the answers kept in a round, with the number of questions done and the tally so far.
pub type Keep<'a> = dyn FnMut(usize, &Tally, Vec<Trace>) -> Result<(), Error> + 'a;

impl Kept {
    /// Adds an answer that was kept earlier, without counting it.
    pub fn restore(&mut self, [question, answer]: [String; 2]) {
        self.answers.entry(question).or_default().insert(answer);
    }
}

impl RejectionSampling {
    /// Returns true if the answer passes the readability filters.
    pub fn readable(&self, rollout: &Rollout) -> bool {
        let format = FormatReward {
            answer: self.answer_tags.then(|| FormatReward::default().answer).flatten(),
            ..FormatReward::default()
        };
        let (own, all) = language_consistency::count(&rollout.question.language, &rollout.text);
        rollout.tokens.len() >= self.min_completion_length
            && (!self.require_format || format.matches(&rollout.question.prompt_text, &rollout.text))
            && (all == 0 || own as f32 >= self.min_language_consistency * all as f32)
            && repeated_share(&rollout.text, 3) <= self.max_repetition
    }

    /// Checks the settings.
    pub fn check(&self) -> Result<(), Error> {
        let counts = [
            ("sample.num_questions", self.num_questions),
            ("sample.num_generations", self.num_generations),
            ("sample.keep_per_question", self.keep_per_question),
            ("sample.max_completion_length", self.max_completion_length),
            ("sample.max_prompt_length", self.max_prompt_length),
            ("sample.max_sequences", self.max_sequences),
        ];
        within(AT_LEAST_ONE, &counts.map(|(key, v)| (key, v as f64)))?;
        within(NOT_NEGATIVE, &[("sample.temperature", self.temperature.into())])?;
        within(PROBABILITY, &[("sample.top_p", self.top_p.into())])?;
        let fractions = [
            ("sample.min_language_consistency", self.min_language_consistency.into()),
            ("sample.max_repetition", self.max_repetition.into()),
        ];
        within(FRACTION, &fractions)?;
        if self.min_completion_length > self.max_completion_length {
            let expected = format!("expected at most `sample.max_completion_length` = {}", self.max_completion_length);
            return Err(refused("sample.min_completion_length", self.min_completion_length, expected));
        }
        Ok(())
    }

    /// Returns the number of questions to ask: `num_questions`, or the number from `first_question` to the end of the
    /// task if that is smaller. Asking a question again would give the same answers.
    pub fn questions(&self, task: &dyn Questions) -> Result<usize, Error> {
        let Some(len) = task.len() else { return Ok(self.num_questions) };
        let left = len.saturating_sub(self.first_question);
        if left == 0 {
            let expected = format!("the task has {len} questions: expected at most {}", len.saturating_sub(1));
            return Err(refused("sample.first_question", self.first_question, expected));
        }
        Ok(self.num_questions.min(usize::try_from(left).unwrap_or(usize::MAX)))
    }

    /// Keeps verified, readable, distinct answers in order, at most `keep_per_question` per question. `kept` holds
    /// those of earlier rounds.
    pub fn filter(&self, task: &dyn Questions, rollouts: Vec<Rollout>, kept: &mut Kept) -> Vec<Trace> {
        let mut new = Vec::new();
        for r in rollouts {
            let tally = &mut kept.tally;
            tally.sampled += 1;
            tally.tokens += r.tokens.len();
            if r.verdict != Verdict::Right {
                tally.not_right += 1;
                continue;
            }
            if !self.readable(&r) {
                tally.unreadable += 1;
                continue;
            }
            let [question, answer] = task.identity(&r.question, &r.text, &r.tokens);
            let answers = kept.answers.entry(question).or_default();
            if answers.contains(&answer) {
                tally.duplicate += 1;
            } else if answers.len() >= self.keep_per_question {
                tally.surplus += 1;
            } else {
                tally.kept += 1;
                answers.insert(answer);
                new.push(Trace { question: r.question, tokens: r.tokens, text: r.text });
            }
        }
        new
    }

    /// Returns how answers are sampled.
    pub fn rollout_config(&self, precision: Precision, stop_tokens: Vec<u32>) -> RolloutConfig {
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
        RolloutConfig::new(self.num_generations, sampling, slots, precision, [self.seed, 0])
    }

    /// Samples the answers to questions `range` (numbers relative to `first_question`) with `config`
    /// ([`RejectionSampling::rollout_config`]), filters them against `kept`, and passes them to `keep` after each
    /// round, with the number of questions done and the tally. Returns `None` if the observer stopped it.
    pub fn rounds(
        &self,
        model: &mut Model,
        config: &RolloutConfig,
        task: &dyn Questions,
        (range, kept): (Range<usize>, &mut Kept),
        observer: &mut dyn Observer,
        keep: &mut Keep,
    ) -> Result<Option<()>, Error> {
        self.check()?;
        let mut generator = generator(model, config, self.max_prompt_length)?;
        // Long enough to fill the slots several times, short enough to lose little if the process is killed.
        let per_round = (4 * config.slots).div_ceil(self.num_generations.max(1)).max(1);
        let mut at = range.start;
        while at < range.end {
            let n = per_round.min(range.end - at);
            let questions = (at..at + n).map(|i| task.question(self.first_question + i as u64));
            let questions = questions.collect::<Result<Vec<_>, _>>()?;
            if self.min_language_consistency > 0.0 {
                rewards::check(&[Weighted::new(1.0, LanguageConsistency)], &questions)?;
            }
            let (rollouts, stopped) = finished(model, &mut generator, config, task, (at as u64, questions), observer)?;
            observer.on_rollouts(&rollouts);
            at += rollouts.len() / self.num_generations;
            let traces = self.filter(task, rollouts, kept);
            keep(at, &kept.tally, traces)?;
            observer.on_step(&kept.tally.metrics(at), range.end);
            if stopped {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    /// Measures `model` and extrapolates. Returns the time, and the number of tokens of a prompt and its answer.
    pub fn time(&self, model: &mut Model, precision: Precision, task: &dyn Questions) -> Result<(Time, f64), Error> {
        let start = Instant::now();
        self.check()?;
        let config = self.rollout_config(precision, task.stop_tokens());
        let wanted = self.questions(task)?;
        let part = wanted.min((4 * config.slots).div_ceil(self.num_generations.max(1)).max(1));
        let questions = (0..part as u64).map(|i| task.question(self.first_question + i));
        let questions = questions.collect::<Result<Vec<_>, _>>()?;
        let answering = Answering::measure(model, &config, task, &questions)?;
        let answers = wanted * self.num_generations;
        let mut time = Time::default();
        time.push(format!("answering: {answers} answers, {}", answering.about()), answering.seconds(answers));
        time.probe = start.elapsed().as_secs_f64();
        let prompt = questions.iter().map(|q| q.prompt.len()).sum::<usize>() as f64 / part.max(1) as f64;
        Ok((time, prompt + answering.mean()))
    }

    /// Samples all questions, at most as many as the task has, and returns the kept answers; `None` if the observer
    /// stopped it.
    pub fn run(
        &self,
        model: &mut Model,
        precision: Precision,
        task: &dyn Questions,
        observer: &mut dyn Observer,
    ) -> Result<Option<(Vec<Trace>, Tally)>, Error> {
        let (mut all, mut kept) = (Vec::new(), Kept::default());
        let mut keep = |_, _: &Tally, traces: Vec<Trace>| {
            all.extend(traces);
            Ok(())
        };
        let range = 0..self.questions(task)?;
        let config = self.rollout_config(precision, task.stop_tokens());
        let done = self.rounds(model, &config, task, (range, &mut kept), observer, &mut keep)?;
        Ok(done.map(|()| (all, kept.tally)))
    }
}

impl Tally {
    /// Returns the metrics after `questions` questions.
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

    /// Identical questions: a fixed number, or endless.
    struct TestQuestions(Option<u64>);

    impl Questions for TestQuestions {
        fn question(&self, index: u64) -> Result<Question, Error> {
            Ok(asked(index))
        }
        fn text(&self, _tokens: &[u32]) -> String {
            String::new()
        }
        fn stop_tokens(&self) -> Vec<u32> {
            Vec::new()
        }
        fn verify(&self, _question: &Question, _response: &str, _truncated: bool) -> Verdict {
            Verdict::Right
        }
        fn len(&self) -> Option<u64> {
            self.0
        }
    }

    fn asked(index: u64) -> Question {
        Question { index, text: format!("question {index}"), language: "en".into(), ..Question::default() }
    }

    fn rollout(index: u64, tokens: &[u32], text: &str, verdict: Verdict) -> Rollout {
        let question = asked(index);
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
        let other = "<think>or so</think><answer>2</answer>";
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
            // Different tokens and surrounding space do not make a different answer.
            rollout(0, &[7], &format!(" {good}\n"), Verdict::Right),
            rollout(0, &[9], other, Verdict::Right),
            rollout(0, &[8], "<think>a third way</think><answer>2</answer>", Verdict::Right),
            rollout(1, &[1], good, Verdict::Right),
        ];
        let mut kept = Kept::default();
        let traces = settings.filter(&TestQuestions(None), rollouts, &mut kept);
        let of = |traces: &[Trace]| traces.iter().map(|t| (t.question.index, t.tokens[0])).collect::<Vec<_>>();
        assert_eq!(of(&traces), [(0, 1), (0, 9), (1, 1)]);
        let expected =
            Tally { sampled: 11, not_right: 2, unreadable: 3, duplicate: 2, surplus: 1, kept: 3, tokens: 11 };
        assert_eq!(kept.tally, expected);

        // Later rounds know the kept answers, in memory or read back from the traces. A question listed twice is one
        // question.
        let mut read_back = Kept { tally: kept.tally, ..Kept::default() };
        for t in &traces {
            read_back.restore(TestQuestions(None).identity(&t.question, &t.text, &[]));
        }
        assert_eq!(read_back, kept);
        let again = |tokens| Rollout {
            question: Question { index: 7, ..asked(1) },
            ..rollout(1, tokens, good, Verdict::Right)
        };
        let rollouts =
            vec![again(&[3]), rollout(0, &[4], other, Verdict::Right), rollout(1, &[5], other, Verdict::Right)];
        let traces = settings.filter(&TestQuestions(None), rollouts, &mut read_back);
        assert_eq!(of(&traces), [(1, 5)]);
        assert_eq!((read_back.tally.duplicate, read_back.tally.surplus, read_back.tally.kept), (4, 1, 4));
    }

    #[test]
    fn a_question_is_asked_once() {
        let settings = RejectionSampling { num_questions: 5, first_question: 2, ..RejectionSampling::default() };
        assert_eq!(settings.questions(&TestQuestions(None)).unwrap(), 5);
        assert_eq!(settings.questions(&TestQuestions(Some(7))).unwrap(), 5);
        assert_eq!(settings.questions(&TestQuestions(Some(4))).unwrap(), 2);
        let error = settings.questions(&TestQuestions(Some(2))).unwrap_err().to_string();
        assert!(error.contains("`sample.first_question` = 2: the task has 2 questions"), "{error}");
    }
}
