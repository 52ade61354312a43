//! The interface of all tasks: numbered problems in splits, and a verifier for the responses.

use crate::error::Error;
use crate::verify::Verdict;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A question with its reference answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its number in the split.
    pub index: u64,
    /// The question, as the user message.
    pub question: String,
    /// The reference answer, in the format of the task's verifier.
    pub answer: String,
    /// ISO 639 code of the question's language.
    pub language: String,
    /// The record that the problem was read from, without nulls; empty for a generated question. Not serialized.
    #[serde(skip)]
    pub record: Arc<Map<String, Value>>,
}

/// A part of a task. Training sees only the train split; model selection uses validation; reported scores use test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// For training.
    Train,
    /// For model selection.
    Validation,
    /// For reported scores.
    Test,
}

/// A source of problems with a verifier.
pub trait Task: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;
    /// Number of problems in a split; `None` if unlimited.
    fn len(&self, split: Split) -> Option<u64>;
    /// Problem number `index` of a split.
    fn problem(&self, split: Split, index: u64) -> Problem;
    /// The answer in a response, in a normal form that does not depend on how it is written. Votes count these answers.
    fn answer(&self, problem: &Problem, response: &str) -> Option<String>;
    /// True if an answer, in the form of [`Task::answer`], is right.
    fn is_right(&self, problem: &Problem, answer: &str) -> bool;

    /// True if two answers, in the form of [`Task::answer`], count as the same vote.
    fn is_same(&self, _problem: &Problem, a: &str, b: &str) -> bool {
        a == b
    }

    /// Returns the error that prevented a judgement since the last call. Call it after each batch of verdicts:
    /// [`Task::is_right`] returns false if an answer cannot be judged.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Judges a response; `truncated` if it reached the length limit.
    fn verify(&self, problem: &Problem, response: &str, truncated: bool) -> Verdict {
        match self.answer(problem, response) {
            _ if truncated => Verdict::Truncated,
            None => Verdict::Unparsable,
            Some(answer) if self.is_right(problem, &answer) => Verdict::Right,
            Some(_) => Verdict::Wrong,
        }
    }
}
