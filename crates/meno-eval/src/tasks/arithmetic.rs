//! Sums and differences, evaluated from left to right: the task of `meno replicate`.
//!
//! One to four operations on numbers below 100; every partial result is between 0 and 499. Questions are in English or
//! Chinese.
//!
//! Held-out problems: expressions with two or more operations are split by a hash of their text, one in twenty for test
//! and one in twenty for validation. A training problem must not *begin* with a held-out expression, so the worked
//! solution of a held-out problem never appears as part of a longer one. All single operations belong to training.

use super::task::{Problem, Split, Task};
use crate::verify;
use meno_tensor::rng::Rng;
use std::fmt;

/// Largest partial result.
pub const MAX_VALUE: i64 = 499;

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `+`
    Add,
    /// `-`
    Sub,
}

impl Op {
    /// Its sign.
    pub fn sign(self) -> char {
        match self {
            Op::Add => '+',
            Op::Sub => '-',
        }
    }

    /// Computes `a` op `b`.
    pub fn apply(self, a: i64, b: i64) -> i64 {
        match self {
            Op::Add => a + b,
            Op::Sub => a - b,
        }
    }
}

/// An expression, evaluated from left to right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// The first number.
    pub first: i64,
    /// The operations that follow.
    pub rest: Vec<(Op, i64)>,
}

impl Expression {
    /// Its value.
    pub fn value(&self) -> i64 {
        self.rest.iter().fold(self.first, |v, &(op, b)| op.apply(v, b))
    }

    /// Parses `12+3-4`; `None` if the expression does not belong to the task.
    pub fn parse(text: &str) -> Option<Expression> {
        let number = |s: &str| (!s.is_empty() && s.len() <= 4).then(|| s.parse::<i64>().ok()).flatten();
        let end = text.find(['+', '-']).unwrap_or(text.len());
        let mut e = Expression { first: number(&text[..end])?, rest: Vec::new() };
        let mut rest = &text[end..];
        while let Some(sign) = rest.chars().next() {
            let op = [Op::Add, Op::Sub].into_iter().find(|o| o.sign() == sign)?;
            let end = rest[1..].find(['+', '-']).map_or(rest.len(), |i| i + 1);
            e.rest.push((op, number(&rest[1..end])?));
            rest = &rest[end..];
        }
        Some(e)
    }

    /// The split that the expression belongs to.
    pub fn split(&self) -> Split {
        if self.rest.len() < 2 {
            return Split::Train;
        }
        // FNV-1a with a finalizer. The split must never change, whatever the seed of a run.
        let hash = self
            .to_string()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ b as u64).wrapping_mul(0x100_0000_01b3));
        match Rng::new(&[hash]).below(20) {
            0 => Split::Test,
            1 => Split::Validation,
            _ => Split::Train,
        }
    }

    /// True if it is, or begins with, an expression held out from training.
    pub fn begins_held_out(&self) -> bool {
        (2..=self.rest.len())
            .any(|n| Expression { first: self.first, rest: self.rest[..n].to_vec() }.split() != Split::Train)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.rest.iter().try_for_each(|(op, b)| write!(f, "{}{b}", op.sign()))
    }
}

/// The arithmetic task. Seed, split and index identify a problem.
#[derive(Clone, Debug)]
pub struct Arithmetic {
    /// Seed of the problems.
    pub seed: u64,
    /// Shares of problems with 1, 2, 3, … operations.
    pub operations: Vec<f64>,
    /// Share of questions in Chinese.
    pub chinese: f64,
}

impl Default for Arithmetic {
    fn default() -> Self {
        Arithmetic { seed: 0, operations: vec![0.10, 0.40, 0.35, 0.15], chinese: 0.4 }
    }
}

impl Arithmetic {
    /// Draws a random expression of any split.
    fn draw(&self, rng: &mut Rng) -> Expression {
        loop {
            let n = rng.weighted(&self.operations) + 1;
            let number = |rng: &mut Rng| if rng.chance(0.2) { rng.range(2, 9) } else { rng.range(10, 99) };
            let mut e = Expression { first: number(rng), rest: Vec::new() };
            let mut value = e.first;
            for _ in 0..n {
                let (op, b) = (*rng.choose(&[Op::Add, Op::Sub]), number(rng));
                value = op.apply(value, b);
                e.rest.push((op, b));
                if !(0..=MAX_VALUE).contains(&value) {
                    break;
                }
            }
            if (0..=MAX_VALUE).contains(&value) {
                return e;
            }
        }
    }

    /// The expression and language of a problem.
    pub fn expression(&self, split: Split, index: u64) -> (Expression, &'static str) {
        let mut rng = Rng::new(&[0x6d65_6e6f, self.seed, split as u64, index]);
        let language = if rng.chance(self.chinese) { "zh" } else { "en" };
        loop {
            let e = self.draw(&mut rng);
            let fits = match split {
                Split::Train => !e.begins_held_out(),
                held_out => e.split() == held_out,
            };
            if fits {
                return (e, language);
            }
        }
    }
}

/// The question text for an expression.
pub fn question(expression: &Expression, language: &str) -> String {
    match language {
        "zh" => format!("{expression}等于多少？"),
        _ => format!("What is {expression}?"),
    }
}

/// Parses a question into its expression and language: the inverse of [`question`].
pub fn parse_question(question: &str) -> Option<(Expression, &'static str)> {
    if let Some(e) = question.strip_prefix("What is ").and_then(|q| q.strip_suffix('?')) {
        return Some((Expression::parse(e)?, "en"));
    }
    Some((Expression::parse(question.strip_suffix("等于多少？")?)?, "zh"))
}

impl Task for Arithmetic {
    fn name(&self) -> &str {
        "arithmetic"
    }

    fn len(&self, _split: Split) -> Option<u64> {
        None
    }

    fn problem(&self, split: Split, index: u64) -> Problem {
        let (e, language) = self.expression(split, index);
        let answer = e.value().to_string();
        Problem { index, question: question(&e, language), answer, language: language.to_owned(), ..Problem::default() }
    }

    /// The number in the answer tags or in the box. Without either, a response has no answer.
    fn answer(&self, _problem: &Problem, response: &str) -> Option<String> {
        let text = verify::tagged(response).or_else(|| verify::boxed(verify::after_thinking(response)?))?;
        text.trim().parse::<i64>().ok().map(|n| n.to_string())
    }

    fn is_right(&self, problem: &Problem, answer: &str) -> bool {
        answer == problem.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Verdict;
    use std::collections::HashSet;

    #[test]
    fn expressions_round_trip_and_evaluate_as_in_python() {
        for (text, value) in [("47+85-29", 103), ("12-3+4", 13), ("7", 7), ("99+99+99+99", 396)] {
            let e = Expression::parse(text).unwrap();
            assert_eq!((e.value(), e.to_string().as_str()), (value, text));
        }
        for bad in ["", "+3", "3+", "3++4", "a+1", "3/4", "3*4", "99999+1", "3 + 4"] {
            assert_eq!(Expression::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn splits_share_nothing_and_training_never_begins_with_a_held_out_problem() {
        let task = Arithmetic::default();
        let held: HashSet<String> = [Split::Test, Split::Validation]
            .iter()
            .flat_map(|&s| (0..1500).map(move |i| (s, i)))
            .map(|(s, i)| task.expression(s, i).0.to_string())
            .collect();
        let test: HashSet<String> = (0..1500).map(|i| task.expression(Split::Test, i).0.to_string()).collect();
        let validation: HashSet<String> =
            (0..1500).map(|i| task.expression(Split::Validation, i).0.to_string()).collect();
        assert!(test.is_disjoint(&validation));
        for seed in 0..3 {
            let task = Arithmetic { seed, ..Arithmetic::default() };
            for i in 0..5000 {
                let (e, _) = task.expression(Split::Train, i);
                for n in 1..=e.rest.len() {
                    let prefix = Expression { first: e.first, rest: e.rest[..n].to_vec() };
                    assert!(!held.contains(&prefix.to_string()), "{e} begins with the held-out {prefix}");
                }
            }
        }
    }

    #[test]
    fn problems_are_in_range_answerable_and_reproducible() {
        let task = Arithmetic::default();
        let mut chinese = 0;
        for i in 0..2000 {
            let p = task.problem(Split::Test, i);
            let (e, language) = parse_question(&p.question).unwrap();
            assert_eq!((e.value().to_string(), language), (p.answer.clone(), p.language.as_str()));
            assert!((2..=4).contains(&e.rest.len()));
            let mut v = e.first;
            for &(op, b) in &e.rest {
                v = op.apply(v, b);
                assert!((0..=MAX_VALUE).contains(&v), "{e}");
            }
            chinese += usize::from(language == "zh");
            assert_eq!(task.problem(Split::Test, i), p);
        }
        assert!((700..900).contains(&chinese), "{chinese}");
    }

    #[test]
    fn verdicts() {
        let task = Arithmetic::default();
        let p = Problem { answer: "103".into(), ..Problem::default() };
        let v = |r: &str| task.verify(&p, r, false);
        assert_eq!(v("<think>x</think><answer>103</answer>"), Verdict::Right);
        assert_eq!(v("<think>x</think>\n47+85-29=\\boxed{103}"), Verdict::Right);
        assert_eq!(v("<answer> 0103 </answer>"), Verdict::Right);
        assert_eq!(v("<answer>104</answer>"), Verdict::Wrong);
        assert_eq!(v("<answer>104</answer><answer>103</answer>"), Verdict::Unparsable);
        assert_eq!(v("103"), Verdict::Unparsable);
        assert_eq!(v("<answer></answer>"), Verdict::Unparsable);
        assert_eq!(task.verify(&p, "<think>47+", true), Verdict::Truncated);
    }
}
