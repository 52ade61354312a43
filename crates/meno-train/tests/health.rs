//! Runs that fail in different ways, and the warning for each.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

#[path = "common/tiny.rs"]
mod tiny;

use meno_train::data::{Question, Questions, Verdict};
use meno_train::rewards::{Input, Weighted, from_fn};
use meno_train::{Error, Grpo, Observer, Run, Train};
use tiny::{STOP, dense};

/// Asks for a letter; answers consist of one-letter words.
struct Letters {
    verdict: fn(&str, bool) -> Verdict,
    stops: bool,
}

impl Questions for Letters {
    fn question(&self, index: u64) -> Result<Question, Error> {
        let letter = 4 + (index % 4) as u32;
        let answer = self.text(&[letter]);
        Ok(Question { index, prompt: vec![2, letter, 3], answer, language: "en".into(), ..Question::default() })
    }
    fn text(&self, tokens: &[u32]) -> String {
        tokens.iter().filter(|t| **t != STOP).map(|t| format!("{} ", char::from(b'a' + *t as u8))).collect()
    }
    fn stop_tokens(&self) -> Vec<u32> {
        if self.stops { vec![STOP] } else { Vec::new() }
    }
    fn verify(&self, _: &Question, response: &str, truncated: bool) -> Verdict {
        (self.verdict)(response, truncated)
    }
}

const WRONG: Letters = Letters { verdict: |_, _| Verdict::Wrong, stops: true };

#[derive(Default)]
struct Notes(Vec<String>);

impl Observer for Notes {
    fn on_note(&mut self, line: &str) {
        self.0.push(line.to_owned());
    }
}

/// Trains `steps` steps and returns the warnings, as the observer and the metrics report them.
#[track_caller]
fn warnings(task: Letters, steps: usize, max_completion_length: usize, score: fn(&Input) -> f32) -> Vec<String> {
    warnings_at(1e-2, task, steps, max_completion_length, score)
}

/// Like [`warnings`], with another learning rate.
fn warnings_at(
    learning_rate: f32,
    task: Letters,
    steps: usize,
    max_completion_length: usize,
    score: fn(&Input) -> f32,
) -> Vec<String> {
    let max_tokens = 128.max(max_completion_length + 8);
    let train = Train { max_steps: steps, learning_rate, weight_decay: 0.0, max_tokens, ..Train::default() };
    let grpo =
        Grpo { num_questions: 8, num_generations: 8, max_completion_length, max_prompt_length: 8, ..Grpo::default() };
    let rewards = [Weighted::new(1.0, from_fn("mine", score))];
    let mut notes = Notes::default();
    let summary = grpo.run(&train, &mut dense(), &task, &rewards, &mut Run::new(&mut notes)).unwrap();
    let in_metrics: Vec<String> = summary.history.into_iter().flat_map(|m| m.warnings).collect();
    let noted: Vec<&str> = notes.0.iter().map(|n| n.strip_prefix("warning: ").unwrap()).collect();
    assert_eq!(noted, in_metrics);
    in_metrics
}

#[track_caller]
fn one(warnings: Vec<String>, part: &str) {
    assert!(warnings.len() == 1 && warnings[0].contains(part), "expected only {part:?}: {warnings:#?}");
}

/// Returns the number of early letters of the alphabet in an answer: some answers are always better than others.
fn early(i: &Input) -> f32 {
    i.text.split(' ').filter(|w| *w < "m").count() as f32 / (1 + i.tokens) as f32
}

#[test]
fn nothing_to_judge() {
    let unmarked = Letters { verdict: |_, _| Verdict::Unparsable, stops: true };
    one(warnings(unmarked, 3, 8, early), "64 of 64 answers have no marked answer");
    let endless = Letters { verdict: |_, _| Verdict::Truncated, stops: false };
    one(warnings(endless, 3, 8, early), "64 of 64 answers ran into the length limit");
}

#[test]
fn a_closure_alone_judges_prompts_without_reference_answers() {
    let unverified = Letters { verdict: |_, _| Verdict::Unverified, stops: true };
    assert_eq!(warnings(unverified, 3, 8, early), [""; 0]);
    // Answers that run into the length limit have rewards, too.
    let endless = Letters { verdict: |_, _| Verdict::Unverified, stops: false };
    assert_eq!(warnings(endless, 3, 8, early), [""; 0]);
}

#[test]
fn nothing_to_prefer() {
    one(
        warnings(WRONG, 3, 8, |_| 0.5),
        "in 8 of 8 groups all answers have the same reward (0 of 64 answers are right)",
    );
    let right = Letters { verdict: |_, _| Verdict::Right, stops: true };
    one(warnings(right, 3, 8, |_| 0.5), "nothing left to learn");
}

#[test]
fn a_reward_for_length_makes_long_answers() {
    // Slow enough, and with enough room, that the first rollouts are short compared with the last.
    let all = warnings_at(2e-3, WRONG, 20, 240, |i| i.tokens as f32);
    assert!(all.iter().any(|w| w.contains("answers grew from") && w.contains("0 % to 0 %")), "{all:#?}");
}

#[test]
fn a_reward_for_one_word_ends_in_repetition_without_entropy() {
    let all = warnings(WRONG, 30, 16, |i| i.text.matches('f').count() as f32);
    assert!(all.iter().any(|w| w.contains("answers repeat more than 50 % of their 3-grams")), "{all:#?}");
    assert!(all.iter().any(|w| w.contains("the entropy fell from")), "{all:#?}");
}
