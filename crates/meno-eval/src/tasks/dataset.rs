//! A file of questions and answers: records `{"question": …, "answer": …}` (or `"prompt"`, `"problem"`) in any layout
//! of [`crate::records`].
//!
//! Answers are compared as mathematics, or as letters if the reference is a single letter A to J. These published
//! datasets can be used unchanged: AIME (`problem` or `Problem`, `answer` or `Answer`), MATH-500 (`problem`, `answer`),
//! MATH (`problem`, `solution` with its `\boxed`), GSM8K (the solution before `####`), MMLU and MMLU-Pro (`choices` or
//! `options`), GPQA (`Question`, `Correct Answer`, `Incorrect Answer 1` to `3`).

use super::task::{Problem, Split, Task};
use crate::error::Error;
use crate::records::records;
use crate::verify::{self, Judgement, Verdict};
use meno_tensor::rng::Rng;
use serde_json::{Map, Value};
use std::path::Path;

/// The questions of one file. A file has no splits: every split returns all questions. Keep held-out questions in a
/// separate file.
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    problems: Vec<Problem>,
}

impl Dataset {
    /// Reads a file. An error names the bad record.
    pub fn open(path: &Path) -> Result<Dataset, Error> {
        Ok(Dataset { name: name_of(path), problems: read(path, problem)? })
    }
}

/// The name of a file without its extensions.
pub(super) fn name_of(path: &Path) -> String {
    let name = path.file_name().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    name.split_once('.').filter(|(stem, _)| !stem.is_empty()).map_or(name.clone(), |(stem, _)| stem.to_owned())
}

/// Reads one problem per record. `problem` receives the record without nulls and the problem's number. An error names
/// the line of the bad record.
pub(super) fn read(
    path: &Path,
    problem: impl Fn(&Value, u64) -> Result<Problem, String>,
) -> Result<Vec<Problem>, Error> {
    let mut problems = Vec::new();
    records(path, |_, value| {
        let record = present(value);
        let made = problem(&record, problems.len() as u64)?;
        let record = if let Value::Object(map) = record { map } else { Map::new() };
        problems.push(Problem { record: record.into(), ..made });
        Ok(())
    })?;
    if problems.is_empty() {
        return Err(Error::Empty { path: path.to_owned() });
    }
    Ok(problems)
}

/// Removes the nulls of a record. In Parquet, every record has the keys of all records.
fn present(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.into_iter().filter(|(_, v)| !v.is_null()).collect()),
        other => other,
    }
}

/// The first record of a file, which determines the kind of task.
pub(super) fn first_record(path: &Path) -> Result<Option<Value>, Error> {
    let mut first = None;
    let read = records(path, |_, value| {
        first = Some(present(value));
        Err("one record is enough".to_owned())
    });
    match first {
        Some(first) => Ok(Some(first)),
        None => read.map(|()| None),
    }
}

/// The string or number at the first existing key of `keys`.
pub(super) fn text(value: &Value, keys: &[&str]) -> Result<String, String> {
    match keys.iter().find_map(|k| value.get(k)) {
        Some(Value::String(s)) => Ok(s.clone()),
        Some(Value::Number(n)) => Ok(n.to_string()),
        Some(other) => Err(format!("`{}` is {other}, expected a string or a number", keys[0])),
        None => Err(format!("there is no {}", names(keys))),
    }
}

/// Parses a record as the problem with this number.
pub fn problem(value: &Value, index: u64) -> Result<Problem, String> {
    let question = text(value, &["question", "prompt", "problem", "Problem", "Question"])?;
    let language = value.get("language").and_then(Value::as_str).unwrap_or("en").to_owned();
    if let Some((question, answer)) = choices(value, &question, index)? {
        return Ok(Problem { index, question, answer, language, ..Problem::default() });
    }
    let answer = text(value, &["answer", "Answer", "solution"])?;
    let answer = answer.rsplit_once("####").map_or(answer.as_str(), |(_, a)| a).trim();
    // MATH has solutions that end with a boxed answer.
    let solution_only = value.get("answer").or(value.get("Answer")).is_none();
    let answer = verify::boxed(answer).filter(|_| solution_only).unwrap_or(answer);
    readable(answer)?;
    Ok(Problem { index, question, answer: answer.to_owned(), language, ..Problem::default() })
}

/// The question with its choices appended, and the letter of the right choice. Supports `choices` or `options` with
/// `answer` (a letter or an index), and GPQA's `Correct Answer` and `Incorrect Answer 1` to `3`, shuffled by the number
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
        // A cell of a CSV file holds the list as text.
        let cell = list.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let list = cell.as_ref().unwrap_or(list).as_array().ok_or("the choices are not a list")?;
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
            "{} choices, of which index {right} is right: expected at most ten choices, A to J",
            choices.len()
        ));
    }
    let letter = |i: usize| char::from(b'A' + i as u8);
    let list: Vec<String> = choices.iter().enumerate().map(|(i, c)| format!("{}) {}", letter(i), c.trim())).collect();
    Ok(Some((format!("{}\n\n{}", question.trim_end(), list.join("\n")), letter(right).to_string())))
}

/// Joins key names for an error message.
fn names(keys: &[&str]) -> String {
    keys.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(" or ")
}

/// Judges a response according to its reference: the letter of a choice, or mathematics.
pub fn judge(reference: &str, response: &str, truncated: bool) -> Judgement {
    if is_choice(reference) {
        verify::choice::judge(reference, response, truncated)
    } else {
        verify::math::judge(reference, response, truncated)
    }
}

/// Rejects a reference answer that no response could match.
pub fn readable(answer: &str) -> Result<(), String> {
    if answer.trim().is_empty() {
        return Err("the answer is empty: expected a number, a formula, a letter or a few words".to_owned());
    }
    if !is_choice(answer) && verify::math::reference(answer).is_empty() {
        return Err(format!(
            "the answer {answer:?} cannot be read: expected a number, a formula in LaTeX or plain text, a letter or \
             words"
        ));
    }
    Ok(())
}

/// True if a reference answer is the letter of a choice.
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
        let lines = "{\"question\":\"1/2+1/4?\",\"answer\":\"\\\\frac{3}{4}\"}\n\n\
                     {\"prompt\":\"Which?\",\"answer\":\"C\"}\n\
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
    fn errors_name_the_bad_line() {
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
    fn every_layout_gives_the_same_questions() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str, bytes: &[u8]| {
            std::fs::write(dir.path().join(name), bytes).unwrap();
            Dataset::open(&dir.path().join(name)).unwrap()
        };
        let lines = "{\"question\":\"1+1?\",\"answer\":\"2\",\"level\":\"easy\",\"choices\":null}\n\
                     {\"question\":\"Which?\",\"answer\":\"B\",\"choices\":[\"x\",\"y\"]}\n";
        let jsonl = open("a.jsonl", format!("\u{feff}{lines}").as_bytes());
        assert_eq!(jsonl.problem(Split::Test, 0).record.get("level"), Some(&Value::from("easy")));
        assert!(!jsonl.problem(Split::Test, 0).record.contains_key("choices"), "a null is absent");
        let array = open("b.json", format!("[{}]", lines.trim().replace('\n', ",")).as_bytes());
        let csv = open("c.csv", b"question,answer,level,choices\n1+1?,2,easy,\nWhich?,B,,\"[\"\"x\"\", \"\"y\"\"]\"\n");
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gz, lines.as_bytes()).unwrap();
        let gz = open("d.jsonl.gz", &gz.finish().unwrap());
        assert_eq!(gz.name(), "d");
        for set in [&array, &csv, &gz] {
            for i in 0..2 {
                let (a, b) = (jsonl.problem(Split::Test, i), set.problem(Split::Test, i));
                assert_eq!((a.question, a.answer), (b.question, b.answer), "{}", set.name());
            }
            assert_eq!(set.problem(Split::Test, 0).record.get("level"), Some(&Value::from("easy")));
        }
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
