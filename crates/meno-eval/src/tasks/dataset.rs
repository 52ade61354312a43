//! A JSONL file of questions and answers: `{"question": …, "answer": …}` (or `"prompt"`, `"problem"`), one a line.
//!
//! The answer is compared as mathematics, or as a letter if the reference is a single letter A to J. These published
//! sets are read as they are: AIME (`problem` or `Problem`, `answer` or `Answer`), MATH-500 (`problem`, `answer`), MATH
//! (`problem`, `solution` with its `\boxed`), GSM8K (the solution before `####`), MMLU and MMLU-Pro (`choices` or
//! `options`), GPQA (`Question`, `Correct Answer`, `Incorrect Answer 1` to `3`).

use super::{Problem, Split, Task};
use crate::error::Error;
use crate::verify::{self, Judgement, Verdict};
use meno_tensor::rng::Rng;
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
        let problems = read_lines(path, problem)?;
        let name = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        Ok(Dataset { name, problems })
    }
}

/// The problems of a JSONL file, one a line, as `problem` makes them of a value and its number; a bad line is named.
pub(super) fn read_lines(
    path: &Path,
    problem: impl Fn(&Value, u64) -> Result<Problem, String>,
) -> Result<Vec<Problem>, Error> {
    let file = meno_model::input::open(path).map_err(Error::io(path))?;
    let mut problems = Vec::new();
    for (i, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(Error::io(path))?;
        if line.trim().is_empty() {
            continue;
        }
        let value = serde_json::from_str(&line).map_err(|e| format!("not JSON: {e}"));
        let read = value.and_then(|value| problem(&value, problems.len() as u64));
        problems.push(read.map_err(|message| Error::Data { path: path.to_owned(), line: i + 1, message })?);
    }
    if problems.is_empty() {
        return Err(Error::Empty { path: path.to_owned() });
    }
    Ok(problems)
}

/// The first value of a file, to tell what kind it is; nothing if it has none that can be read.
pub(super) fn first_line(path: &Path) -> Option<Value> {
    let lines = BufReader::new(meno_model::input::open(path).ok()?).lines();
    let first = lines.map_while(Result::ok).find(|l| !l.trim().is_empty())?;
    serde_json::from_str(&first).ok()
}

/// The string or number at the first of `keys` that is there.
pub(super) fn text(value: &Value, keys: &[&str]) -> Result<String, String> {
    match keys.iter().find_map(|k| value.get(k)) {
        Some(Value::String(s)) => Ok(s.clone()),
        Some(Value::Number(n)) => Ok(n.to_string()),
        Some(other) => Err(format!("`{}` is {other}, expected a string or a number", keys[0])),
        None => Err(format!("there is no {}", names(keys))),
    }
}

/// Reads a line of a dataset as the problem of this number.
pub fn problem(value: &Value, index: u64) -> Result<Problem, String> {
    let question = text(value, &["question", "prompt", "problem", "Problem", "Question"])?;
    let language = value.get("language").and_then(Value::as_str).unwrap_or("en").to_owned();
    if let Some((question, answer)) = choices(value, &question, index)? {
        return Ok(Problem { index, question, answer, language });
    }
    let answer = text(value, &["answer", "Answer", "solution"])?;
    let answer = answer.rsplit_once("####").map_or(answer.as_str(), |(_, a)| a).trim();
    // MATH's solutions end with their answer in a box.
    let solution_only = value.get("answer").or(value.get("Answer")).is_none();
    let answer = verify::boxed(answer).filter(|_| solution_only).unwrap_or(answer);
    readable(answer)?;
    Ok(Problem { index, question, answer: answer.to_owned(), language })
}

/// A question with its choices written below it, and the letter of the right one: `choices` or `options` with `answer`
/// (a letter or an index), or GPQA's `Correct Answer` and `Incorrect Answer 1` to `3`, in an order drawn by the number
/// of the problem.
fn choices(value: &Value, question: &str, index: u64) -> Result<Option<(String, String)>, String> {
    let (choices, right) = if value.get("Correct Answer").is_some() {
        let keys = ["Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"];
        let texts = keys.iter().map(|k| text(value, &[k])).collect::<Result<Vec<_>, _>>()?;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        let mut rng = Rng::new(&[0x6770_7161, index]);
        (1..order.len()).rev().for_each(|i| order.swap(i, rng.below(i + 1)));
        let right = order.iter().position(|&i| i == 0).unwrap_or(0);
        (order.iter().map(|&i| texts[i].clone()).collect(), right)
    } else if let Some(list) = value.get("choices").or(value.get("options")) {
        let list = list.as_array().ok_or("the choices are not a list")?;
        let texts: Option<Vec<String>> = list.iter().map(|c| c.as_str().map(str::to_owned)).collect();
        let answer = text(value, &["answer", "answer_index"])?;
        let right = match answer.trim().as_bytes() {
            [letter @ b'A'..=b'J'] => (letter - b'A') as usize,
            _ => {
                answer.trim().parse().map_err(|_| format!("the answer is {answer:?}, expected a letter or an index"))?
            }
        };
        (texts.ok_or("a choice is not a string")?, right)
    } else {
        return Ok(None);
    };
    if choices.len() > 10 || right >= choices.len() {
        return Err(format!(
            "{} choices of which number {right} is right: expected at most ten, A to J",
            choices.len()
        ));
    }
    let letter = |i: usize| char::from(b'A' + i as u8);
    let list: Vec<String> = choices.iter().enumerate().map(|(i, c)| format!("{}) {}", letter(i), c.trim())).collect();
    Ok(Some((format!("{}\n\n{}", question.trim_end(), list.join("\n")), letter(right).to_string())))
}

/// Names of keys for an error message.
fn names(keys: &[&str]) -> String {
    keys.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(" or ")
}

/// Judges a response by its reference answer: the letter of a choice, or mathematics.
pub fn judge(reference: &str, response: &str, truncated: bool) -> Judgement {
    if is_choice(reference) {
        verify::choice::judge(reference, response, truncated)
    } else {
        verify::math::judge(reference, response, truncated)
    }
}

/// Refuses a reference answer that nothing could equal.
pub fn readable(answer: &str) -> Result<(), String> {
    if answer.trim().is_empty() {
        return Err("the answer is empty: expected a number, a formula, a letter or a few words".to_owned());
    }
    if !is_choice(answer) && verify::math::reference(answer).is_empty() {
        return Err(format!(
            "the answer {answer:?} cannot be read: expected a number, a formula in LaTeX or plain text, a letter or words"
        ));
    }
    Ok(())
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
        verify::math::answer(&problem.answer, response)
    }

    fn is_right(&self, problem: &Problem, answer: &str) -> bool {
        if is_choice(&problem.answer) {
            return answer == problem.answer;
        }
        verify::math::is_right(&problem.answer, answer)
    }

    fn is_same(&self, problem: &Problem, a: &str, b: &str) -> bool {
        a == b || !is_choice(&problem.answer) && verify::math::equal(a, b)
    }

    fn verify(&self, problem: &Problem, response: &str, truncated: bool) -> Verdict {
        judge(&problem.answer, response, truncated).verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(v(2, "four"), Verdict::Right);
        assert_eq!(v(2, "I do not know"), Verdict::Unparsable);
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
        assert!(error("{\"question\":\"a\"}").contains(":1: there is no `answer` or `Answer` or `solution`"));
        assert!(error("{\"question\":[],\"answer\":1}").contains("expected a string"));
        assert!(error("").contains("no questions"));
    }

    #[test]
    fn published_formats_are_read() {
        let read = |line: &str| problem(&serde_json::from_str(line).unwrap(), 5).unwrap();
        let aime = read(r#"{"ID":"2024-I-1","Problem":"Find it.","Solution":"…","Answer":"204"}"#);
        assert_eq!((aime.question.as_str(), aime.answer.as_str()), ("Find it.", "204"));
        let math = read(r#"{"problem":"P","solution":"so $\\boxed{\\frac{1}{2}}$.","level":"Level 3"}"#);
        assert_eq!(math.answer, "\\frac{1}{2}");
        let math500 =
            read(r#"{"problem":"P","solution":"…","answer":"\\left( 3, \\frac{\\pi}{2} \\right)","level":2}"#);
        assert_eq!(math500.answer, "\\left( 3, \\frac{\\pi}{2} \\right)");
        let mmlu = read(r#"{"question":"Q?","choices":["a","b","c"],"answer":2}"#);
        assert_eq!((mmlu.question.as_str(), mmlu.answer.as_str()), ("Q?\n\nA) a\nB) b\nC) c", "C"));
        let pro = read(r#"{"question":"Q?","options":["a","b"],"answer":"B","answer_index":1}"#);
        assert_eq!(pro.answer, "B");
    }

    #[test]
    fn the_choices_of_gpqa_are_shuffled() {
        let line = r#"{"Question":"Q?","Correct Answer":"yes\n","Incorrect Answer 1":"no",
            "Incorrect Answer 2":"maybe","Incorrect Answer 3":"never"}"#;
        let value: Value = serde_json::from_str(line).unwrap();
        let mut letters = std::collections::HashSet::new();
        for index in 0..40 {
            let p = problem(&value, index).unwrap();
            let right = p.question.lines().find(|l| l.ends_with(") yes")).unwrap();
            assert_eq!(&right[..1], p.answer);
            letters.insert(p.answer.clone());
            assert_eq!(p, problem(&value, index).unwrap());
        }
        assert_eq!(letters.len(), 4);
    }
}
