//! The tasks that a small model was trained on: `meno.json` in its checkpoint directory.
//!
//! A model of half a million parameters knows one family of questions. The file describes that family, the accepted
//! ways to write a question, how a question becomes the prompt of the training, and the reply to all other input.

use crate::error::Error;
use meno_model::input;
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The file's name in a checkpoint directory.
pub const FILE: &str = "meno.json";
/// Maximum size of the file in bytes; its patterns are compiled for every question.
const MAX_BYTES: u64 = 1 << 20;

/// The tasks that a model was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskProfile {
    /// One or two sentences for the user: what the model can answer.
    pub description: String,
    /// Example questions, as a user would type them.
    pub examples: Vec<String>,
    /// Kinds of questions; the first whose pattern matches is used.
    #[serde(rename = "families")]
    pub patterns: Vec<QuestionPattern>,
    /// The reply to all other input.
    #[serde(rename = "otherwise")]
    pub fallback: String,
}

/// One kind of question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuestionPattern {
    /// A regular expression that must match the whole line, after `ignore` is removed from it.
    pub pattern: String,
    /// A regular expression for irrelevant characters in a line, e.g. `\s` or `[\s?=]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
    /// The prompt as in training: `{0}` is the matched line, `{1}`… are the pattern's groups.
    pub prompt: String,
}

impl TaskProfile {
    /// Reads `meno.json` of a model directory; `None` if there is none.
    pub fn load(dir: &Path) -> Result<Option<TaskProfile>, Error> {
        let path = dir.join(FILE);
        let bytes = match input::read(&path, MAX_BYTES) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(Error::io(&path))?,
        };
        let profile: TaskProfile = serde_json::from_slice(&bytes).map_err(|e| Error::file(&path, e))?;
        for question in &profile.patterns {
            for pattern in [Some(&question.pattern), question.ignore.as_ref()].into_iter().flatten() {
                Regex::new(pattern).map_err(|e| Error::file(&path, e))?;
            }
        }
        Ok(Some(profile))
    }

    /// Writes `meno.json` into a model directory.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join(FILE);
        let json = serde_json::to_string_pretty(self).map_err(|e| Error::file(&path, e))?;
        std::fs::write(&path, json + "\n").map_err(Error::io(&path))
    }

    /// Returns the prompt for a line; `None` if no pattern matches.
    pub fn prompt(&self, line: &str) -> Option<String> {
        self.patterns.iter().find_map(|pattern| pattern.prompt(line))
    }
}

impl QuestionPattern {
    fn prompt(&self, line: &str) -> Option<String> {
        let line = match &self.ignore {
            Some(ignore) => Regex::new(ignore).ok()?.replace_all(line, "").into_owned(),
            None => line.trim().to_owned(),
        };
        let pattern = Regex::new(&format!("^(?:{})$", self.pattern)).ok()?;
        let captures = pattern.captures(&line)?;
        let mut prompt = self.prompt.clone();
        for i in (0..captures.len()).rev() {
            prompt = prompt.replace(&format!("{{{i}}}"), captures.get(i).map_or("", |m| m.as_str()));
        }
        Some(prompt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arithmetic() -> TaskProfile {
        let question = |pattern: &str, prompt: &str| QuestionPattern {
            pattern: pattern.into(),
            ignore: Some(r"[\s?=]".into()),
            prompt: prompt.into(),
        };
        TaskProfile {
            description: "sums".into(),
            examples: vec!["47 + 85 - 29".into()],
            patterns: vec![
                question(r"(?:whatis|calc)?(\d+(?:[-+*]\d+)+)", "calc {1}="),
                question(r"算(\d+(?:[-+*]\d+)+)", "算{1}="),
            ],
            fallback: "I was taught sums".into(),
        }
    }

    #[test]
    fn a_line_becomes_the_prompt_of_training() {
        let t = arithmetic();
        assert_eq!(t.prompt("what is 47 + 85 - 29?").as_deref(), Some("calc 47+85-29="));
        assert_eq!(t.prompt("算 3*4+5 =").as_deref(), Some("算3*4+5="));
        assert_eq!(t.prompt("who are you?"), None);
        assert_eq!(t.prompt("1+2; rm -rf"), None);
    }

    #[test]
    fn the_file_reads_back_and_bad_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(TaskProfile::load(dir.path()).unwrap(), None);
        arithmetic().save(dir.path()).unwrap();
        assert_eq!(TaskProfile::load(dir.path()).unwrap(), Some(arithmetic()));
        let mut bad = arithmetic();
        bad.patterns[0].pattern = "(".into();
        bad.save(dir.path()).unwrap();
        assert!(TaskProfile::load(dir.path()).unwrap_err().to_string().contains("meno.json"));
    }
}
