//! The pretraining text: documents that answer arithmetic questions, most of them carelessly, some with care.
//!
//! It stands for the web. There are answers without steps (right, but a network this small cannot compute them in one
//! go), steps that show only their results, steps in columns with uncorrected slips, and steps in columns with slips
//! that a check finds. The words are in the question's language, in the other one, or in both. The careful documents
//! mix languages most, so that training for accuracy alone also makes the model mix languages (R1 §2.2.4).

use crate::worked_steps::{ReasoningStyle, WordLanguage, Writer};
use meno_eval::Split;
use meno_eval::tasks::arithmetic::{Arithmetic, question};
use meno_tensor::rng::Rng;
use serde::{Deserialize, Serialize};

/// The composition of the corpus: the share of each kind of document, and the rates of slips.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Corpus {
    /// Share of documents that are the bare answer.
    pub bare: f64,
    /// Share with the answer in its tags after an empty thought.
    pub direct: f64,
    /// Share with short steps and a bare answer.
    pub short_bare: f64,
    /// Share with short steps in the tags.
    pub short: f64,
    /// Share with columns in the tags.
    pub columns: f64,
    /// Share with checked columns in the tags.
    pub checked: f64,
    /// Probability of a slip in a short step. It is not corrected.
    pub slips_short: f64,
    /// Probability of a slip in a column step. It is not corrected.
    pub slips_columns: f64,
    /// Probability of a slip in a checked step. It is found and corrected.
    pub slips_checked: f64,
    /// Shares of documents with short steps whose words are in the question's language, in the other one, mixed.
    pub tongues_short: [f64; 3],
    /// The same for columns.
    pub tongues_columns: [f64; 3],
    /// The same for checked columns.
    pub tongues_checked: [f64; 3],
}

impl Default for Corpus {
    fn default() -> Self {
        Corpus {
            bare: 0.30,
            direct: 0.18,
            short_bare: 0.04,
            short: 0.11,
            columns: 0.05,
            checked: 0.32,
            slips_short: 0.12,
            slips_columns: 0.25,
            slips_checked: 0.45,
            tongues_short: [0.75, 0.10, 0.15],
            tongues_columns: [0.45, 0.15, 0.40],
            tongues_checked: [0.30, 0.15, 0.55],
        }
    }
}

/// One document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The question.
    pub question: String,
    /// The response.
    pub response: String,
}

/// A response in the form of R1-Zero: thought and answer in their tags.
pub fn tagged(thought: &str, answer: i64) -> String {
    if thought.is_empty() {
        return format!("<think>\n</think>\n<answer>{answer}</answer>");
    }
    format!("<think>\n{thought}\n</think>\n<answer>{answer}</answer>")
}

/// A response in the form of R1: a thought, then a summary in the question's language with the answer in a box.
pub fn summarized(thought: &str, answer: i64, language: &str) -> String {
    format!("<think>\n{thought}\n</think>\n{}", summary(answer, language))
}

/// The summary after the thought.
pub fn summary(answer: i64, language: &str) -> String {
    match language {
        "zh" => format!("所以答案是\\boxed{{{answer}}}。"),
        _ => format!("So the answer is \\boxed{{{answer}}}."),
    }
}

/// What encloses the answer of a document.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// Nothing.
    Bare,
    /// The tags of R1-Zero.
    Tagged,
}

impl Corpus {
    /// Document number `index` of the corpus with the given seed. Its question is a training problem of `task`.
    pub fn document(&self, task: &Arithmetic, seed: u64, index: u64) -> Document {
        use ReasoningStyle::{Checked, Columns, Direct, Short};
        let (e, language) = task.expression(Split::Train, index);
        let mut rng = Rng::new(&[0x646f_6373, seed, index]);
        let kinds = [
            (self.bare, Direct, Form::Bare),
            (self.direct, Direct, Form::Tagged),
            (self.short_bare, Short, Form::Bare),
            (self.short, Short, Form::Tagged),
            (self.columns, Columns, Form::Tagged),
            (self.checked, Checked, Form::Tagged),
        ];
        let (_, style, form) = kinds[rng.weighted(&kinds.map(|k| k.0))];
        let (slips, languages) = match style {
            Direct => (0.0, self.tongues_short),
            Short => (self.slips_short, self.tongues_short),
            Columns => (self.slips_columns, self.tongues_columns),
            Checked => (self.slips_checked, self.tongues_checked),
        };
        let other = if language == "zh" { "en" } else { "zh" };
        let choices = [WordLanguage::Pure(language), WordLanguage::Pure(other), WordLanguage::Mixed];
        let words = choices[rng.weighted(&languages)];
        let (thought, value) = Writer { rng: &mut rng, language: words, slips }.thought(&e, style);
        let response = match form {
            Form::Bare if style == Direct => value.to_string(),
            Form::Bare => format!("{thought}\n{value}"),
            Form::Tagged => tagged(&thought, value),
        };
        Document { question: question(&e, language), response }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meno_eval::tasks::arithmetic::{Expression, parse_question};
    use std::collections::HashSet;

    #[test]
    fn no_document_is_or_begins_with_a_held_out_problem() {
        let task = Arithmetic::default();
        let held: HashSet<String> = [Split::Test, Split::Validation]
            .iter()
            .flat_map(|&s| (0..1200).map(move |i| (s, i)))
            .map(|(s, i)| task.expression(s, i).0.to_string())
            .collect();
        let corpus = Corpus::default();
        for i in 0..20_000 {
            let d = corpus.document(&task, 3, i);
            let (e, _) = parse_question(&d.question).unwrap();
            for n in 1..=e.rest.len() {
                let prefix = Expression { first: e.first, rest: e.rest[..n].to_vec() }.to_string();
                assert!(!held.contains(&prefix), "{d:?}");
            }
        }
    }

    #[test]
    fn shares_are_as_set_and_documents_are_reproducible() {
        let (task, corpus) = (Arithmetic::default(), Corpus::default());
        let docs: Vec<Document> = (0..5000).map(|i| corpus.document(&task, 1, i)).collect();
        let share = |f: &dyn Fn(&Document) -> bool| docs.iter().filter(|d| f(d)).count() as f64 / 5000.0;
        let bare = share(&|d| d.response.parse::<i64>().is_ok());
        let checked = share(&|d| d.response.contains("check ") || d.response.contains('查'));
        assert!((bare - corpus.bare).abs() < 0.03 && (checked - corpus.checked).abs() < 0.03, "{bare} {checked}");
        assert_eq!(corpus.document(&task, 1, 17), docs[17]);
        assert_ne!(corpus.document(&task, 2, 17).response, docs[17].response);
    }
}
