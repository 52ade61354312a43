//! A JSONL file of questions and answers: `{"question": …, "answer": …}` (or `"prompt"`), one a line.
//!
//! The answer is compared as mathematics, or as a letter if the reference is a single letter A to J. A reference in
//! GSM8K's form, with its solution before `####`, counts by what follows.

use super::{Problem, Split, Task};
use crate::error::Error;
use crate::verify;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// The questions of one file. All splits are the same: what is held out is the matter of who makes the files.
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    problems: Vec<Problem>,
}

impl Dataset {
    /// Reads a file; a bad line is named.
    pub fn open(path: &Path) -> Result<Dataset, Error> {
        let file = std::fs::File::open(path).map_err(Error::io(path))?;
        let mut problems = Vec::new();
        for (i, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(Error::io(path))?;
            if line.trim().is_empty() {
                continue;
            }
            let index = problems.len() as u64;
            problems.push(problem(&line, index).map_err(|message| Error::Data {
                path: path.to_owned(),
                line: i + 1,
                message,
            })?);
        }
        if problems.is_empty() {
            return Err(Error::Empty { path: path.to_owned() });
        }
        let name = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        Ok(Dataset { name, problems })
    }
}

fn problem(line: &str, index: u64) -> Result<Problem, String> {
    let value: Value = serde_json::from_str(line).map_err(|e| format!("not JSON: {e}"))?;
    let text = |keys: &[&str]| {
        let found = keys.iter().find_map(|k| value.get(k));
        match found {
            Some(Value::String(s)) => Ok(s.clone()),
            Some(Value::Number(n)) => Ok(n.to_string()),
            Some(other) => Err(format!("`{}` is {other}, expected a string or a number", keys[0])),
            None => Err(format!("there is no {}", names(keys))),
        }
    };
    let answer = text(&["answer", "solution"])?;
    let answer = answer.rsplit_once("####").map_or(answer.as_str(), |(_, a)| a).trim().to_owned();
    let language = value.get("language").and_then(Value::as_str).unwrap_or("en").to_owned();
    Ok(Problem { index, question: text(&["question", "prompt", "problem"])?, answer, language })
}

/// Names of keys for an error message.
fn names(keys: &[&str]) -> String {
    keys.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(" or ")
}

/// Whether a reference answer is the letter of a choice.
fn is_choice(answer: &str) -> bool {
    matches!(answer.as_bytes(), [b'A'..=b'J'])
}

impl Task for Dataset {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self, _split: Split) -> Option<u64> {
        Some(self.problems.len() as u64)
    }

    fn problem(&self, _split: Split, index: u64) -> Problem {
        self.problems[(index % self.problems.len() as u64) as usize].clone()
    }

    fn answer(&self, problem: &Problem, response: &str) -> Option<String> {
        if is_choice(&problem.answer) {
            return verify::choice::letter(response).map(String::from);
        }
        verify::final_answer(response).map(verify::math::canonical)
    }

    fn is_right(&self, problem: &Problem, answer: &str) -> bool {
        if is_choice(&problem.answer) {
            return answer == problem.answer;
        }
        verify::math::equal(answer, &problem.answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Verdict;

    #[test]
    fn reads_and_judges() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("set.jsonl");
        let lines = "{\"question\":\"1/2+1/4?\",\"answer\":\"\\\\frac{3}{4}\"}\n\n{\"prompt\":\"Which?\",\"answer\":\"C\"}\n\
                     {\"question\":\"q\",\"answer\":\"two and two\\n#### 4\"}\n";
        std::fs::write(&path, lines).unwrap();
        let set = Dataset::open(&path).unwrap();
        assert_eq!(set.len(Split::Test), Some(3));
        let v = |i: u64, r: &str| set.verify(&set.problem(Split::Test, i), r, false);
        assert_eq!(v(0, "so \\boxed{0.75}"), Verdict::Right);
        assert_eq!(v(0, "so \\boxed{0.7}"), Verdict::Wrong);
        assert_eq!(v(1, "The answer is (C)."), Verdict::Right);
        assert_eq!(v(1, "The answer is B"), Verdict::Wrong);
        assert_eq!(v(2, "\\boxed{4.0}"), Verdict::Right);
        assert_eq!(v(2, "four"), Verdict::Unparsable);
    }

    #[test]
    fn a_bad_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("set.jsonl");
        let error = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Dataset::open(&path).unwrap_err().to_string()
        };
        assert!(error("{\"question\":\"a\",\"answer\":\"1\"}\nnope").contains("set.jsonl:2: not JSON"));
        assert!(error("{\"question\":\"a\"}").contains(":1: there is no `answer` or `solution`"));
        assert!(error("{\"question\":[],\"answer\":1}").contains("expected a string"));
        assert!(error("").contains("no questions"));
    }
}
