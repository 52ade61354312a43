//! Countdown: reach a target with the given numbers and `+ - * /`, using each number once (the task of TinyZero).
//!
//! Every problem has a solution: its target is the value of a random expression.

use super::task::{Problem, Split, Task};
use crate::error::Error;
use crate::verify::{self, Judgement, Verdict};
use meno_tensor::rng::Rng;
use serde::{Deserialize, Serialize};

/// The settings of the task: `[task.countdown]` of a recipe. Seed, split and index identify a problem. A multiset of
/// numbers with its target belongs to exactly one split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Countdown {
    /// Seed of the problems.
    pub seed: u64,
    /// Minimum count of given numbers.
    pub min_numbers: usize,
    /// Maximum count of given numbers.
    pub max_numbers: usize,
    /// Largest given number.
    pub max_number: i64,
    /// Largest target.
    pub max_target: i64,
    /// The question text, with the placeholders `{numbers}` and `{target}`.
    pub question: String,
}

/// The prompt of TinyZero.
const QUESTION: &str = "Using the numbers [{numbers}], create an equation that equals {target}. You can use basic \
arithmetic operations (+, -, *, /) and each number must be used exactly once. Show your work in <think> </think> tags. \
And return the final equation in <answer> </answer> tags, for example <answer>(1 + 2) / 3</answer>.";

impl Default for Countdown {
    fn default() -> Self {
        let question = QUESTION.to_owned();
        Countdown { seed: 0, min_numbers: 3, max_numbers: 4, max_number: 99, max_target: 99, question }
    }
}

impl Countdown {
    /// Validates the settings; an error if no problems exist for them.
    pub fn checked(self) -> Result<Countdown, Error> {
        let bad = |message: &str| Err(Error::Countdown(message.to_owned()));
        if self.min_numbers < 2 || self.max_numbers < self.min_numbers || self.max_numbers > 8 {
            return bad("min_numbers and max_numbers must be 2 to 8, in this order");
        }
        if self.max_number < 4 || self.max_target < 4 || self.max_number.max(self.max_target) > 1_000_000 {
            return bad("max_number and max_target must be 4 to 1000000");
        }
        if !self.question.contains("{numbers}") || !self.question.contains("{target}") {
            return bad("question must contain {numbers} and {target}");
        }
        Ok(self)
    }

    /// The numbers and the target of a problem.
    pub fn numbers(&self, split: Split, index: u64) -> (Vec<i64>, i64) {
        let mut rng = Rng::new(&[0x636f_756e_7464, self.seed, split as u64, index]);
        loop {
            let n = rng.range(self.min_numbers as i64, self.max_numbers as i64) as usize;
            let numbers: Vec<i64> = (0..n).map(|_| rng.range(1, self.max_number)).collect();
            let Some(target) = random_value(numbers.clone(), &mut rng) else { continue };
            if !(1..=self.max_target).contains(&target) || numbers.contains(&target) {
                continue;
            }
            let mut key: Vec<u64> = numbers.iter().map(|&n| n as u64).collect();
            key.sort_unstable();
            key.push(target as u64);
            let part = match Rng::new(&key).below(20) {
                0 => Split::Test,
                1 => Split::Validation,
                _ => Split::Train,
            };
            if part == split {
                return (numbers, target);
            }
        }
    }
}

/// The value of a random expression over all `numbers`; `None` if an intermediate value is not a whole number.
fn random_value(mut numbers: Vec<i64>, rng: &mut Rng) -> Option<i64> {
    while numbers.len() > 1 {
        let a = numbers.swap_remove(rng.below(numbers.len()));
        let b = numbers.swap_remove(rng.below(numbers.len()));
        numbers.push(match rng.below(4) {
            0 => a + b,
            1 => a - b,
            2 => a.checked_mul(b)?,
            _ if b != 0 && a % b == 0 => a / b,
            _ => return None,
        });
    }
    numbers.pop()
}

/// Judges a response against the numbers and the target in a problem's answer field, `3 4 8 = 20`. `None` if the field
/// does not have this form.
pub fn judge(reference: &str, response: &str, truncated: bool) -> Option<Judgement> {
    let (numbers, target) = parse(reference)?;
    let found = verify::countdown::answer(response);
    let text = found.as_ref().map(|f| f.text.clone());
    let expression = text.as_deref().map(|t| t.split('=').next().unwrap_or(t).trim().to_owned());
    let value = expression.as_deref().and_then(verify::countdown::evaluate);
    let (verdict, reason) = match (&text, value) {
        _ if truncated => (Verdict::Truncated, "the response ran into the length limit".to_owned()),
        (None, _) => (Verdict::Unparsable, "the response has no answer after its reasoning".to_owned()),
        (Some(_), None) => (Verdict::Unparsable, "the answer is not an expression of + - * / and brackets".to_owned()),
        (Some(text), Some(_)) if verify::countdown::is_solution(text, &numbers, target) => {
            (Verdict::Right, "equal".to_owned())
        }
        (Some(_), Some((value, used))) => (Verdict::Wrong, format!("its value is {value}, it uses {used:?}")),
    };
    let response = expression.into_iter().collect();
    let marker = found.map(|f| f.marker);
    Some(Judgement { verdict, extracted: text, marker, gold: vec![reference.to_owned()], response, reason })
}

/// Parses the numbers and the target from a problem's answer field, `3 4 8 = 20`.
fn parse(answer: &str) -> Option<(Vec<i64>, i64)> {
    let (numbers, target) = answer.split_once('=')?;
    let numbers: Option<Vec<i64>> = numbers.split_whitespace().map(|n| n.parse().ok()).collect();
    Some((numbers?, target.trim().parse().ok()?))
}

impl Task for Countdown {
    fn name(&self) -> &str {
        "countdown"
    }

    fn len(&self, _split: Split) -> Option<u64> {
        None
    }

    fn problem(&self, split: Split, index: u64) -> Problem {
        let (numbers, target) = self.numbers(split, index);
        let list = numbers.iter().map(i64::to_string).collect::<Vec<_>>();
        let question = self.question.replace("{numbers}", &list.join(", ")).replace("{target}", &target.to_string());
        Problem {
            index,
            question,
            answer: format!("{} = {target}", list.join(" ")),
            language: "en".to_owned(),
            ..Problem::default()
        }
    }

    /// The expression without spaces, including the stated result.
    fn answer(&self, _problem: &Problem, response: &str) -> Option<String> {
        let found = verify::countdown::answer(response)?;
        let text: String = found.text.split_whitespace().collect();
        let left = text.split('=').next()?;
        verify::countdown::evaluate(left).map(|_| text)
    }

    fn is_right(&self, problem: &Problem, answer: &str) -> bool {
        parse(&problem.answer).is_some_and(|(numbers, target)| verify::countdown::is_solution(answer, &numbers, target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn splits_do_not_share_problems() {
        let task = Countdown { max_number: 9, max_target: 20, ..Countdown::default() };
        let keys = |split| -> HashSet<(Vec<i64>, i64)> {
            let sorted = |(mut n, t): (Vec<i64>, i64)| {
                n.sort_unstable();
                (n, t)
            };
            (0..2000).map(|i| sorted(task.numbers(split, i))).collect()
        };
        let (train, validation, test) = (keys(Split::Train), keys(Split::Validation), keys(Split::Test));
        assert!(train.is_disjoint(&test) && train.is_disjoint(&validation) && validation.is_disjoint(&test));
    }

    #[test]
    fn verdicts_check_numbers_and_value() {
        let task = Countdown::default();
        let p = Problem { answer: "3 4 8 = 20".into(), ..Problem::default() };
        let v = |r: &str| task.verify(&p, r, false);
        assert_eq!(v("<think>hm</think><answer>(8 - 3) * 4</answer>"), Verdict::Right);
        assert_eq!(v("<answer>(8-3)*4 = 20</answer>"), Verdict::Right);
        assert_eq!(v("<answer>8+3*4</answer>"), Verdict::Right);
        assert_eq!(v("<answer>8*4-3</answer>"), Verdict::Wrong);
        assert_eq!(v("<answer>20</answer>"), Verdict::Wrong);
        assert_eq!(v("<answer>eight</answer>"), Verdict::Unparsable);
        assert_eq!(v("20"), Verdict::Wrong);
        assert_eq!(v("<think>hm</think>\n(8 - 3) * 4"), Verdict::Right);
        assert_eq!(v("I tried (8 - 3) * 4"), Verdict::Unparsable);
    }

    #[test]
    fn every_problem_can_be_solved() {
        // Searches over all orders and operations of three numbers.
        let task = Countdown { max_numbers: 3, ..Countdown::default() };
        for i in 0..200 {
            let (n, t) = task.numbers(Split::Test, i);
            let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
            let forms = |a: i64, b: i64, c: i64| {
                "+-*/".chars().flat_map(move |x| {
                    "+-*/".chars().flat_map(move |y| [format!("({a}{x}{b}){y}{c}"), format!("{a}{x}({b}{y}{c})")])
                })
            };
            let solved = orders
                .iter()
                .flat_map(|o| forms(n[o[0]], n[o[1]], n[o[2]]))
                .any(|e| verify::countdown::is_solution(&e, &n, t));
            assert!(solved, "{n:?} -> {t}");
        }
    }
}
