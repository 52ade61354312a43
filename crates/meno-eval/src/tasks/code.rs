//! Programming problems from a data file. A sandbox runs the answer's program against the tests.
//!
//! A record has the question (`question_content`, `question`, `prompt`, `text` or `description`) and its tests in one
//! of the formats of [`tests_of`].

mod formats;

pub use formats::tests_of;

use super::dataset::{name_of, read, text};
use super::task::{Problem, Split, Task};
use crate::error::Error;
use crate::sandbox::Sandbox;
use crate::verify::Verdict;
use crate::verify::code::{Test, Tests, answer, judge};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

/// The problems of one file.
pub struct Code {
    name: String,
    problems: Vec<Problem>,
    sandbox: Sandbox,
    /// Results by problem and program. Votes and scores judge the same program repeatedly.
    judged: Mutex<HashMap<(u64, String), bool>>,
    /// The first error that prevented a judgement. Results after it are not valid.
    broken: Mutex<Option<Error>>,
}

/// True if a record is a programming problem.
pub fn is_code(line: &Value) -> bool {
    formats::KEYS.iter().any(|key| line.get(key).is_some())
}

impl Code {
    /// Reads a file. An error names the bad record.
    pub fn open(path: &Path, sandbox: Sandbox) -> Result<Code, Error> {
        let (name, problems) = (name_of(path), read(path, problem)?);
        Ok(Code { name, problems, sandbox, judged: Mutex::default(), broken: Mutex::default() })
    }
}

fn problem(value: &Value, index: u64) -> Result<Problem, String> {
    let mut question = text(value, &["question_content", "question", "prompt", "text", "description"])?;
    let starter = value.get("starter_code").and_then(Value::as_str).unwrap_or_default();
    let tests = tests_of(value)?;
    // The prompt texts of LiveCodeBench.
    question += &match (&tests.function, starter, tests.tests.first()) {
        (_, starter, _) if !starter.is_empty() => format!(
            "\n\nYou will use the following starter code to write the solution to the problem and enclose your code \
             within delimiters.\n```python\n{starter}\n```"
        ),
        (None, _, Some(Test::Case { .. })) => {
            "\n\nRead the inputs from stdin, solve the problem and write the answer to \
             stdout. Enclose your code within delimiters as follows.\n```python\n# YOUR CODE HERE\n```"
                .to_owned()
        }
        _ => "\n\nWrite the whole function and enclose your code within ```python and ``` delimiters.".to_owned(),
    };
    let answer = serde_json::to_string(&tests).map_err(|e| e.to_string())?;
    Ok(Problem { index, question, answer, language: "en".to_owned(), ..Problem::default() })
}

impl Task for Code {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self, _split: Split) -> Option<u64> {
        Some(self.problems.len() as u64)
    }

    fn problem(&self, _split: Split, index: u64) -> Problem {
        self.problems[(index % self.problems.len() as u64) as usize].clone()
    }

    /// The program as a code block with its language.
    fn answer(&self, problem: &Problem, response: &str) -> Option<String> {
        answer(response, &serde_json::from_str(&problem.answer).ok()?)
    }

    /// Returns false if the answer cannot be judged; [`Task::check`] then returns the error.
    fn is_right(&self, problem: &Problem, answer: &str) -> bool {
        let key = (problem.index, answer.to_owned());
        let judged = || self.judged.lock().expect("invariant: no judge panicked");
        if let Some(&right) = judged().get(&key) {
            return right;
        }
        let tests = serde_json::from_str(&problem.answer).map_err(|e| Error::Tests(e.to_string()));
        match tests.and_then(|tests: Tests| judge(&self.sandbox, answer, &tests, false)) {
            Ok(judgement) => {
                let right = judgement.verdict == Verdict::Right;
                judged().insert(key, right);
                right
            }
            Err(error) => {
                let error = match error {
                    Error::Tests(message) => Error::Tests(format!("problem {}: {message}", problem.index)),
                    other => other,
                };
                self.broken.lock().expect("invariant: no judge panicked").get_or_insert(error);
                false
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        self.broken.lock().expect("invariant: no judge panicked").take().map_or(Ok(()), Err)
    }
}
