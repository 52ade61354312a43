//! Programming problems from a JSONL file, judged by running the answer's program against tests in a sandbox.
//!
//! A line has the question (`question_content`, `question` or `prompt`) and its tests in one of these forms:
//! - LiveCodeBench: `public_test_cases` (and `private_test_cases`, unpacked to JSON), a list of `input`, `output`,
//!   `testtype`; the function of functional tests in `metadata`'s `func_name`; `starter_code` is shown;
//! - `tests`, the same list, with `function` beside it;
//! - HumanEval: `test` with `entry_point`; MBPP: `test_list`.

use super::dataset::{read_lines, text};
use super::{Problem, Split, Task};
use crate::error::Error;
use crate::sandbox::Sandbox;
use crate::verify::code::{Test, Tests, passes, program};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

/// The problems of one file.
pub struct Code {
    name: String,
    problems: Vec<Problem>,
    sandbox: Sandbox,
    /// By problem and program: whether it passed. A vote and a score ask for the same.
    judged: Mutex<HashMap<(u64, String), bool>>,
}

/// Whether a line is a programming problem.
pub(super) fn is_code(line: &Value) -> bool {
    ["tests", "test", "test_list", "public_test_cases"].iter().any(|key| line.get(key).is_some())
}

impl Code {
    /// Reads a file; a bad line is named.
    pub fn open(path: &Path, sandbox: Sandbox) -> Result<Code, Error> {
        let problems = read_lines(path, problem)?;
        let name = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        Ok(Code { name, problems, sandbox, judged: Mutex::default() })
    }
}

fn problem(value: &Value, index: u64) -> Result<Problem, String> {
    let mut question = text(value, &["question_content", "question", "prompt", "text"])?;
    let starter = value.get("starter_code").and_then(Value::as_str).unwrap_or_default();
    let tests = tests(value)?;
    if tests.tests.is_empty() {
        return Err("there is not one test".to_owned());
    }
    // LiveCodeBench's own words.
    question += &match (&tests.function, starter, &tests.tests[0]) {
        (_, starter, _) if !starter.is_empty() => format!(
            "\n\nYou will use the following starter code to write the solution to the problem and enclose your code \
             within delimiters.\n```python\n{starter}\n```"
        ),
        (None, _, Test::Case { .. }) => "\n\nRead the inputs from stdin, solve the problem and write the answer to \
             stdout. Enclose your code within delimiters as follows.\n```python\n# YOUR CODE HERE\n```"
            .to_owned(),
        _ => "\n\nWrite the whole function and enclose your code within ```python and ``` delimiters.".to_owned(),
    };
    let answer = serde_json::to_string(&tests).map_err(|e| e.to_string())?;
    Ok(Problem { index, question, answer, language: "en".to_owned() })
}

fn tests(value: &Value) -> Result<Tests, String> {
    let mut all = Tests { function: value.get("function").and_then(Value::as_str).map(str::to_owned), tests: vec![] };
    if let Some(metadata) = value.get("metadata") {
        let metadata = unpacked(metadata)?;
        all.function = metadata.get("func_name").and_then(Value::as_str).map(str::to_owned).or(all.function);
    }
    for key in ["tests", "public_test_cases", "private_test_cases"] {
        let Some(list) = value.get(key) else { continue };
        let list = unpacked(list).map_err(|e| format!("`{key}`: {e}; packed tests must be unpacked to JSON first"))?;
        let list = list.as_array().ok_or_else(|| format!("`{key}` is not a list of tests"))?;
        for test in list {
            let test = serde_json::from_value(test.clone());
            all.tests
                .push(test.map_err(|_| format!("a test of `{key}` is not {{\"input\", \"output\"}}, both strings"))?);
        }
    }
    let text_of = |key: &str| value.get(key).and_then(Value::as_str);
    if let Some(list) = value.get("test_list").and_then(Value::as_array) {
        all.tests.extend(list.iter().filter_map(Value::as_str).map(|t| Test::Script(t.to_owned())));
    }
    if let Some(script) = text_of("test") {
        let check = text_of("entry_point").map_or_else(String::new, |name| format!("\n\ncheck({name})"));
        all.tests.push(Test::Script(format!("{script}{check}")));
    }
    Ok(all)
}

/// JSON, or a string that holds JSON.
fn unpacked(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(text) => serde_json::from_str(text).map_err(|e| format!("not JSON: {e}")),
        other => Ok(other.clone()),
    }
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

    fn answer(&self, _problem: &Problem, response: &str) -> Option<String> {
        program(response).map(str::to_owned)
    }

    /// A program that could not be judged (the sandbox broke down) is not right.
    fn is_right(&self, problem: &Problem, answer: &str) -> bool {
        let key = (problem.index, answer.to_owned());
        let judged = || self.judged.lock().expect("invariant: no judge panicked");
        if let Some(&right) = judged().get(&key) {
            return right;
        }
        let right = serde_json::from_str(&problem.answer)
            .is_ok_and(|tests: Tests| passes(&self.sandbox, answer, &tests).unwrap_or(false));
        judged().insert(key, right);
        right
    }
}
