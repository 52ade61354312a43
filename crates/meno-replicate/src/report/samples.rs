//! Example responses, with their lines and words marked.

use crate::measure::Shown;
use crate::records::StageRecords;
use crate::stage::Stage;
use meno_eval::Verdict;
use serde::Serialize;

/// A question and the responses of several models.
#[derive(Serialize)]
pub(super) struct Sample {
    question: String,
    answer: String,
    responses: Vec<Response>,
}

#[derive(Serialize)]
struct Response {
    model: &'static str,
    tokens: usize,
    verdict: Verdict,
    lines: Vec<Line>,
}

/// A line of a response.
#[derive(Serialize)]
struct Line {
    /// True if the line is a self-check.
    check: bool,
    parts: Vec<Part>,
}

/// A part of a line. Its kind is `tag`, `other` (a word of the other language), `wait` (a second thought), or empty.
#[derive(Debug, PartialEq, Serialize)]
struct Part {
    kind: &'static str,
    text: String,
}

const TAGS: [&str; 4] = ["<think>", "</think>", "<answer>", "</answer>"];
const ENGLISH: [&str; 3] = ["so", "check", "ok"];
const CHINESE: [&str; 3] = ["得", "查", "对"];

/// How many questions are shown.
const SHOWN: usize = 5;

/// The models whose responses are shown.
const MODELS: [(Stage, &str); 3] = [(Stage::Base, "base"), (Stage::R1Zero, "R1-Zero"), (Stage::R1, "R1")];

/// The first response of each model to the first questions. None is selected by its content.
pub(super) fn samples(r: &StageRecords) -> Vec<Sample> {
    let first = &r.measures(Stage::Base).examples;
    let sample = |(i, shown): (usize, &Shown)| {
        let of = |&(stage, model): &(Stage, &'static str)| {
            let s = r.measures(stage).examples.get(i)?;
            let chinese = s.question.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
            let lines = s.response.lines().map(|l| line(l, chinese)).collect();
            Some(Response { model, tokens: s.tokens, verdict: s.verdict, lines })
        };
        Sample {
            question: shown.question.clone(),
            answer: shown.answer.clone(),
            responses: MODELS.iter().filter_map(of).collect(),
        }
    };
    first.iter().take(SHOWN).enumerate().map(sample).collect()
}

/// Splits a line into parts. `chinese` is whether the question is in Chinese.
fn line(text: &str, chinese: bool) -> Line {
    let mut parts: Vec<Part> = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let before = text[..text.len() - rest.len()].chars().next_back();
        let Some((kind, word)) = marked(rest, before, chinese) else {
            plain.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        if !plain.is_empty() {
            parts.push(Part { kind: "", text: std::mem::take(&mut plain) });
        }
        parts.push(Part { kind, text: word.to_owned() });
        rest = &rest[word.len()..];
    }
    if !plain.is_empty() {
        parts.push(Part { kind: "", text: plain });
    }
    Line { check: text.starts_with("check ") || text.starts_with('查'), parts }
}

/// The kind and the text of the marked word at the start of `rest`; `None` if there is none. `before` is the character
/// before `rest`.
fn marked(rest: &str, before: Option<char>, chinese: bool) -> Option<(&'static str, &'static str)> {
    let starts = |words: &[&'static str], whole: bool| {
        words.iter().copied().find(|w| {
            let letter = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphabetic());
            rest.starts_with(w) && !(whole && (letter(before) || letter(rest[w.len()..].chars().next())))
        })
    };
    let tag = starts(&TAGS, false).map(|w| ("tag", w));
    let wait = starts(&["wait"], true).or(starts(&["等"], false)).map(|w| ("wait", w));
    let other = if chinese { starts(&ENGLISH, true) } else { starts(&CHINESE, false) };
    tag.or(wait).or(other.map(|w| ("other", w)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str, chinese: bool) -> Vec<(&'static str, String)> {
        line(text, chinese).parts.into_iter().map(|p| (p.kind, p.text)).collect()
    }

    #[test]
    fn words_of_the_other_language_and_second_thoughts_are_marked() {
        let p = |kind, text: &str| (kind, text.to_owned());
        assert_eq!(parts("<think>", false), [p("tag", "<think>")]);
        assert_eq!(parts("47+85 so 132", false), [p("", "47+85 so 132")]);
        assert_eq!(parts("47+85 so 132", true), [p("", "47+85 "), p("other", "so"), p("", " 132")]);
        assert_eq!(parts("47+85得132", false), [p("", "47+85"), p("other", "得"), p("", "132")]);
        assert_eq!(parts("check 133-85: 8~7 wait", false), [p("", "check 133-85: 8~7 "), p("wait", "wait")]);
        assert_eq!(parts("sofa waits", true), [p("", "sofa waits")]);
        assert!(line("查133-85", true).check && !line("133 so", true).check);
        assert_eq!(parts("", true), []);
    }
}
