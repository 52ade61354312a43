//! Rewards: functions of a question and a response, combined as a weighted sum.
//!
//! R1 §2.2.2 uses rules only (accuracy, format) and no neural reward model; §2.3.2 adds language consistency. Length
//! shaping is DAPO's soft overlong punishment and the cosine reward of arXiv 2502.03373. A custom reward is a closure
//! ([`from_fn`]), a type that implements [`Reward`], or any [`program`] that reads and writes JSON lines.

pub mod accuracy;
pub mod format;
pub mod language_consistency;
pub mod languages;
pub mod length;
pub mod program;
mod prose;
pub mod repetition;
pub(crate) mod reward;

pub use reward::{Input, Reward};

use crate::data::Question;
use crate::error::Error;
use crate::observer::Observer;
use meno_eval::{Problem, Split, Task};

/// A reward that scores the answers of a rollout together. Every [`Reward`] implements it.
pub trait BatchReward: Sync {
    /// Returns its name in metrics: `rewards/<name>/mean`.
    fn name(&self) -> &str;
    /// Fails if it cannot score answers to the question; the error explains why.
    fn check(&self, _question: &Question) -> Result<(), String> {
        Ok(())
    }
    /// Returns the reward of each response, in order; `None` if the observer stopped it.
    fn score_all(&self, inputs: &[Input], observer: &mut dyn Observer) -> Result<Option<Vec<f32>>, Error>;
}

impl<R: Reward> BatchReward for R {
    fn name(&self) -> &str {
        Reward::name(self)
    }
    fn check(&self, question: &Question) -> Result<(), String> {
        Reward::check(self, question)
    }
    fn score_all(&self, inputs: &[Input], _: &mut dyn Observer) -> Result<Option<Vec<f32>>, Error> {
        Ok(Some(inputs.iter().map(|input| self.score(input)).collect()))
    }
}

/// Creates a reward from a closure.
///
/// ```
/// use meno_train::rewards::{Input, Weighted, accuracy::Accuracy, from_fn};
///
/// // Right answers, and a little for brevity.
/// let rewards = [
///     Weighted::new(1.0, Accuracy::default()),
///     Weighted::new(0.1, from_fn("brevity", |answer: &Input| 1.0 / (1.0 + answer.tokens as f32))),
/// ];
/// assert_eq!(rewards[1].reward.name(), "brevity");
/// ```
/// Pass the rewards to `Grpo::run` to replace those of the recipe.
pub fn from_fn<F: Fn(&Input) -> f32 + Sync>(name: impl Into<String>, score: F) -> impl Reward {
    FromFn { name: name.into(), score }
}

struct FromFn<F> {
    name: String,
    score: F,
}

impl<F: Fn(&Input) -> f32 + Sync> Reward for FromFn<F> {
    fn name(&self) -> &str {
        &self.name
    }
    fn score(&self, input: &Input) -> f32 {
        (self.score)(input)
    }
}

/// A reward and its weight.
pub struct Weighted {
    /// The factor of its score in the sum.
    pub weight: f32,
    /// The reward.
    pub reward: Box<dyn BatchReward>,
}

impl Weighted {
    /// Combines a reward with its weight.
    pub fn new(weight: f32, reward: impl BatchReward + 'static) -> Self {
        Weighted { weight, reward: Box::new(reward) }
    }
}

/// A response's weighted sum and its individual scores.
pub type Scored = (f32, Vec<f32>);

/// Scores responses. Returns, for each, the weighted sum in the order of `rewards`, and the individual scores. `None`
/// if the observer stopped it.
pub fn compose(
    rewards: &[Weighted],
    inputs: &[Input],
    observer: &mut dyn Observer,
) -> Result<Option<Vec<Scored>>, Error> {
    let mut columns = Vec::with_capacity(rewards.len());
    for Weighted { reward, .. } in rewards {
        let Some(column) = reward.score_all(inputs, observer)? else { return Ok(None) };
        if let Some((score, input)) = column.iter().zip(inputs).find(|(score, _)| !score.is_finite()) {
            let message = format!("gives {score} to an answer to question {}", input.question.index);
            return Err(Error::Reward { name: reward.name().to_owned(), message });
        }
        columns.push(column);
    }
    let scored = |i: usize| {
        let scores: Vec<f32> = columns.iter().map(|column| column[i]).collect();
        (scores.iter().zip(rewards).map(|(s, r)| s * r.weight).sum(), scores)
    };
    Ok(Some((0..inputs.len()).map(scored).collect()))
}

/// Fails if a reward cannot score a question.
pub fn check(rewards: &[Weighted], questions: &[Question]) -> Result<(), Error> {
    let mut each = rewards.iter().flat_map(|r| questions.iter().map(move |q| (r, q)));
    each.try_for_each(|(r, q)| {
        r.reward.check(q).map_err(|message| Error::Question {
            index: q.index,
            question: q.text.chars().take(60).collect(),
            message: format!("{message}; the reward `{}` needs it", r.reward.name()),
        })
    })
}

/// Fails if a finite task has a question that a reward cannot score, before training starts.
pub fn check_task(rewards: &[Weighted], task: &dyn Task, split: Split) -> Result<(), Error> {
    (0..task.len(split).unwrap_or(0)).try_for_each(|i| {
        let Problem { index, question: text, answer, language, record } = task.problem(split, i);
        check(rewards, &[Question { index, text, answer, language, record, ..Question::default() }])
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::data::Verdict;
    use crate::observer::NoopObserver;

    pub(crate) fn question(language: &str) -> Question {
        Question { language: language.into(), ..Question::default() }
    }

    pub(crate) fn input<'a>(question: &'a Question, text: &'a str) -> Input<'a> {
        Input { question, text, tokens: text.len(), truncated: false, verdict: Verdict::Wrong }
    }

    #[test]
    fn the_sum_is_weighted() {
        let rewards =
            [Weighted::new(1.0, accuracy::Accuracy::default()), Weighted::new(0.5, format::FormatReward::default())];
        let q = question("en");
        let mut i = input(&q, "<think>1+1=2</think><answer>2</answer>");
        i.verdict = Verdict::Right;
        let right = i;
        i.verdict = Verdict::Wrong;
        let scored = compose(&rewards, &[right, i], &mut NoopObserver).unwrap().unwrap();
        assert_eq!(scored, [(1.5, vec![1.0, 1.0]), (0.5, vec![0.0, 1.0])]);
    }

    #[test]
    fn a_closure_is_a_reward_and_its_nan_an_error() {
        let q = question("en");
        let rewards = [Weighted::new(2.0, from_fn("length", |i: &Input| i.tokens as f32))];
        let scored = compose(&rewards, &[input(&q, "four")], &mut NoopObserver).unwrap().unwrap();
        assert_eq!(scored, [(8.0, vec![4.0])]);
        let rewards = [Weighted::new(1.0, from_fn("ratio", |i: &Input| i.tokens as f32 / 0.0))];
        let error = compose(&rewards, &[input(&q, "")], &mut NoopObserver).unwrap_err().to_string();
        assert!(error.contains("`ratio`") && error.contains("NaN"), "{error}");
    }

    #[test]
    fn a_question_of_an_unknown_language_is_named() {
        let rewards = [Weighted::new(1.0, language_consistency::LanguageConsistency)];
        let bad = Question { index: 7, text: "Was ist 1+1?".into(), ..question("deutsch") };
        let error = check(&rewards, &[question("de"), bad]).unwrap_err().to_string();
        for part in ["question 7", "Was ist 1+1?", "\"deutsch\"", "`language_consistency`"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
