//! What every task is: numbered problems in splits, and a verifier for their answers.

use crate::error::Error;
use crate::verify::Verdict;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// One question with its reference answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its number in the split.
    pub index: u64,
    /// What is asked, as a user would.
    pub question: String,
    /// The reference answer, in the form the task's verifier wants.
    pub answer: String,
    /// ISO 639 code of the language it is asked in.
    pub language: String,
    /// The record of a file that it was made of, without its nulls; empty for a question that was drawn. It is not saved.
    #[serde(skip)]
    pub record: Arc<Map<String, Value>>,
}

/// Which part of a task. Training never sees the other two; choices are made on validation, figures come from test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose by.
    Validation,
    /// To report.
    Test,
}

/// A family of questions with its verifier.
pub trait Task: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;
    /// How many problems a split has; `None` for as many as wanted.
    fn len(&self, split: Split) -> Option<u64>;
    /// Problem number `index` of a split.
    fn problem(&self, split: Split, index: u64) -> Problem;
    /// The answer a response gives, in one form for all ways to write it, as votes are counted by.
    fn answer(&self, problem: &Problem, response: &str) -> Option<String>;
    /// Whether an answer, as [`Task::answer`] gives it, is right.
    fn is_right(&self, problem: &Problem, answer: &str) -> bool;

    /// Whether two answers, as [`Task::answer`] gives them, are one vote.
    fn is_same(&self, _problem: &Problem, a: &str, b: &str) -> bool {
        a == b
    }

    /// The error that kept an answer from being judged since the last call. Whoever uses verdicts asks after each batch
    /// of them: without an answer's judgement [`Task::is_right`] can only say no.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// What the verifier says of a response; `truncated` when it ran into the length limit.
    fn verify(&self, problem: &Problem, response: &str, truncated: bool) -> Verdict {
        match self.answer(problem, response) {
            _ if truncated => Verdict::Truncated,
            None => Verdict::Unparsable,
            Some(answer) if self.is_right(problem, &answer) => Verdict::Right,
            Some(_) => Verdict::Wrong,
        }
    }
}
