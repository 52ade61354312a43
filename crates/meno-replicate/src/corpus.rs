//! The web in small: documents that answer questions of the family, most of them lazily, some with care.
//!
//! Answers without work (right, but nothing a network this small can do in its head), steps in the head, columns with
//! slips that stand, columns with slips that a check finds. Words follow the question's language, the other one, or
//! both; the careful documents mix most, so that learning from accuracy alone mixes languages too (R1 §2.2.4).

use super::work::{Style, Tongue, Writer};
use meno_eval::Split;
use meno_eval::tasks::arithmetic::{Arithmetic, question};
use meno_tensor::rng::Rng;
use serde::{Deserialize, Serialize};

/// Shares and slips of the corpus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Corpus {
    /// Share of documents that are the bare answer.
    pub bare: f64,
    /// … the answer in its tags after an empty thought.
    pub direct: f64,
    /// … short steps and a bare answer.
    pub short_bare: f64,
    /// … short steps in the tags.
    pub short: f64,
    /// … columns in the tags.
    pub columns: f64,
    /// … columns with checks in the tags.
    pub checked: f64,
    /// Slips in a short step.
    pub slips_short: f64,
    /// Slips in a column step; they stand.
    pub slips_columns: f64,
    /// Slips in a checked step; they are found and corrected.
    pub slips_checked: f64,
    /// Shares of documents whose words are in the question's language, in the other, mixed: short steps.
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
    /// What follows it.
    pub response: String,
}

/// A response in the form of R1-Zero: thought and answer between their tags.
pub fn tagged(thought: &str, answer: i64) -> String {
    if thought.is_empty() {
        return format!("<think>\n</think>\n<answer>{answer}</answer>");
    }
    format!("<think>\n{thought}\n</think>\n<answer>{answer}</answer>")
}

/// A response in the form of R1: thought, then a summary with the answer in a box, in the question's language.
pub fn summarised(thought: &str, answer: i64, language: &str) -> String {
    format!("<think>\n{thought}\n</think>\n{}", summary(answer, language))
}

/// The summary after the thought.
pub fn summary(answer: i64, language: &str) -> String {
    match language {
        "zh" => format!("所以答案是\\boxed{{{answer}}}。"),
        _ => format!("So the answer is \\boxed{{{answer}}}."),
    }
}

impl Corpus {
    /// Document number `index` of the corpus named by `seed`. Its question is a training problem.
    pub fn document(&self, task: &Arithmetic, seed: u64, index: u64) -> Document {
        let (e, language) = task.expression(Split::Train, index);
        let mut rng = Rng::new(&[0x646f_6373, seed, index]);
        let kinds = [self.bare, self.direct, self.short_bare, self.short, self.columns, self.checked];
        let kind = rng.weighted(&kinds);
        let (style, slips, tongues) = match kind {
            0 | 1 => (Style::Direct, 0.0, self.tongues_short),
            2 | 3 => (Style::Short, self.slips_short, self.tongues_short),
            4 => (Style::Columns, self.slips_columns, self.tongues_columns),
            _ => (Style::Checked, self.slips_checked, self.tongues_checked),
        };
        let other = if language == "zh" { "en" } else { "zh" };
        let tongue = [Tongue::Pure(language), Tongue::Pure(other), Tongue::Mixed][rng.weighted(&tongues)];
        let (thought, value) = Writer { rng: &mut rng, tongue, slips }.thought(&e, style);
        let response = match kind {
            0 => value.to_string(),
            2 => format!("{thought}\n{value}"),
            _ => tagged(&thought, value),
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
    fn no_held_out_problem_is_in_the_corpus_nor_the_beginning_of_one() {
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
    fn shares_are_as_asked_and_documents_repeat() {
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
