//! Scores of sampled responses: pass@1, pass@k, cons@k, and counts of the verdicts.
//!
//! pass@1 is the mean over k samples of each problem (R1 §3). Intervals are clustered by problem.

use crate::consensus::majority;
use crate::interval::Interval;
use crate::pass_at_k::pass_at_k;
use crate::tasks::{Problem, Task};
use crate::verify::Verdict;
use serde::{Deserialize, Serialize};

/// One judged response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The text of the response.
    pub response: String,
    /// Its length in tokens.
    pub tokens: usize,
    /// The verifier's verdict.
    pub verdict: Verdict,
    /// The extracted answer, which counts as the sample's vote.
    pub answer: Option<String>,
}

impl Sample {
    /// Judges a response.
    pub fn judge(task: &dyn Task, problem: &Problem, response: String, tokens: usize, truncated: bool) -> Sample {
        let verdict = task.verify(problem, &response, truncated);
        let answer = task.answer(problem, &response).filter(|_| !truncated);
        Sample { response, tokens, verdict, answer }
    }
}

/// All samples of one problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgedProblem {
    /// The problem.
    pub problem: Problem,
    /// Its samples, in order.
    pub samples: Vec<Sample>,
}

impl JudgedProblem {
    fn right(&self) -> usize {
        self.samples.iter().filter(|s| s.verdict == Verdict::Right).count()
    }

    /// The share of right samples.
    pub fn pass1(&self) -> f64 {
        self.right() as f64 / self.samples.len().max(1) as f64
    }

    /// Mean length of its responses in tokens.
    pub fn tokens(&self) -> f64 {
        self.samples.iter().map(|s| s.tokens as f64).sum::<f64>() / self.samples.len().max(1) as f64
    }
}

/// The results of an evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of problems.
    pub problems: usize,
    /// Samples per problem: k.
    pub samples: usize,
    /// Mean share of right samples, clustered by problem.
    pub pass1: Interval,
    /// The probability that at least one of k samples is right.
    pub pass_at_k: f64,
    /// The accuracy of the majority vote over k samples.
    pub cons_at_k: Interval,
    /// cons@k − pass@1, paired by problem.
    pub cons_gain: Interval,
    /// Number of right responses.
    pub right: usize,
    /// Number of wrong responses.
    pub wrong: usize,
    /// Number of responses that reached the length limit.
    pub truncated: usize,
    /// Number of responses without a readable answer.
    pub unparsable: usize,
    /// Length of a response in tokens.
    pub mean_tokens: Interval,
}

impl Summary {
    /// Summarizes judged problems. Skips problems without samples.
    pub fn of(task: &dyn Task, judged: &[JudgedProblem]) -> Summary {
        let judged: Vec<&JudgedProblem> = judged.iter().filter(|j| !j.samples.is_empty()).collect();
        if judged.is_empty() {
            return Summary::default();
        }
        let k = judged.iter().map(|j| j.samples.len()).min().unwrap_or(0);
        let pass1: Vec<f64> = judged.iter().map(|j| j.pass1()).collect();
        let cons: Vec<f64> = judged
            .iter()
            .map(|j| {
                let votes: Vec<Option<String>> = j.samples.iter().map(|s| s.answer.clone()).collect();
                majority(&votes, |a, b| task.is_same(&j.problem, a, b), |answer| task.is_right(&j.problem, answer))
            })
            .collect();
        let any: f64 = judged.iter().filter_map(|j| pass_at_k(j.samples.len(), j.right(), k)).sum();
        let count = |v: Verdict| judged.iter().flat_map(|j| &j.samples).filter(|s| s.verdict == v).count();
        Summary {
            problems: judged.len(),
            samples: k,
            pass1: Interval::of_share(&pass1),
            pass_at_k: any / judged.len() as f64,
            cons_at_k: Interval::of_share(&cons),
            cons_gain: Interval::of_difference(&cons, &pass1),
            right: count(Verdict::Right),
            wrong: count(Verdict::Wrong),
            truncated: count(Verdict::Truncated),
            unparsable: count(Verdict::Unparsable),
            mean_tokens: Interval::of_mean(&judged.iter().map(|j| j.tokens()).collect::<Vec<_>>()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::arithmetic::Arithmetic;

    #[test]
    fn scores_match_hand_computed_values() {
        let task = Arithmetic::default();
        let judged = |answers: [(&str, bool); 4]| {
            let problem = Problem { answer: "7".into(), ..Problem::default() };
            let sample = |(a, cut): (&str, bool)| {
                let text = if a.is_empty() { "7".to_owned() } else { format!("<answer>{a}</answer>") };
                Sample::judge(&task, &problem, text, 10, cut)
            };
            JudgedProblem { samples: answers.map(sample).into_iter().collect(), problem: problem.clone() }
        };
        let all = [
            judged([("7", false), ("7", false), ("8", false), ("", false)]),
            judged([("8", false), ("8", false), ("7", false), ("7", true)]),
        ];
        let s = Summary::of(&task, &all);
        assert_eq!((s.problems, s.samples), (2, 4));
        assert_eq!((s.right, s.wrong, s.truncated, s.unparsable), (3, 3, 1, 1));
        assert!((s.pass1.mean - 0.375).abs() < 1e-12);
        // The truncated 7 does not vote.
        assert_eq!(s.cons_at_k.mean, 0.5);
        assert_eq!(s.pass_at_k, 1.0);
        assert_eq!(s.mean_tokens.mean, 10.0);
        assert!((s.cons_gain.mean - 0.125).abs() < 1e-12);
    }
}
