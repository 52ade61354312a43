//! The results of a model on problems it never saw, measured at the end of its stage.

use crate::behaviour::{Behaviour, StyleRow, behaviour, language, share};
use meno_eval::score::{JudgedProblem, Sample, Summary};
use meno_eval::tasks::arithmetic::Arithmetic;
use meno_eval::{Interval, Problem, Task, Verdict};
use meno_train::rollout::Rollout;
use serde::{Deserialize, Serialize};

/// The results of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// pass@1, pass@k, cons@k, verdicts, length.
    #[serde(flatten)]
    pub score: Summary,
    /// Mean share of words in the question's language, over responses with words; clustered by problem.
    pub language_consistency: Interval,
    /// Share of responses with at least one self-check; clustered by problem.
    pub self_check: Interval,
    /// Share of responses that can be followed line by line and use one language; clustered by problem.
    pub readable: Interval,
    /// The mean of −log π over the sampled tokens: an estimate of the entropy, in nats.
    pub entropy: f64,
    /// Share of problems whose samples are all right or all wrong.
    pub zero_variance: f64,
    /// What the responses do.
    pub behaviour: Behaviour,
    /// The results by reasoning style.
    pub styles: Vec<StyleRow>,
    /// One value per problem, for paired comparisons.
    pub per_problem: PerProblem,
    /// The first sample of each of the first problems.
    pub examples: Vec<Shown>,
}

/// Values per problem, in the order of the problems.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerProblem {
    /// Share of right samples.
    pub pass1: Vec<f64>,
    /// Mean tokens of a response.
    pub length: Vec<f64>,
}

/// A response shown in the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The question.
    pub question: String,
    /// The reference answer.
    pub answer: String,
    /// The response.
    pub response: String,
    /// The verifier's verdict.
    pub verdict: Verdict,
    /// The number of tokens.
    pub tokens: usize,
}

impl From<&Rollout> for Shown {
    fn from(r: &Rollout) -> Self {
        Shown {
            question: r.question.text.clone(),
            answer: r.question.answer.clone(),
            response: r.text.clone(),
            verdict: r.verdict,
            tokens: r.tokens.len(),
        }
    }
}

impl Measures {
    /// Measures `rollouts`, which hold `k` consecutive samples of each problem. Keeps the first `shown` examples.
    pub fn of(task: &Arithmetic, rollouts: &[Rollout], k: usize, shown: usize) -> Measures {
        let groups: Vec<&[Rollout]> = rollouts.chunks(k.max(1)).collect();
        let judged: Vec<JudgedProblem> = groups.iter().map(|g| judge(task, g)).collect();
        let (overall, styles) = behaviour(rollouts);
        let tokens: usize = rollouts.iter().map(|r| r.logprobs.len()).sum();
        let logprob: f64 = rollouts.iter().flat_map(|r| &r.logprobs).map(|&l| l as f64).sum();
        let decided = judged.iter().filter(|j| j.pass1() == 0.0 || j.pass1() == 1.0).count();
        let consistency: Vec<f64> = groups.iter().filter_map(|g| language(g)).collect();
        let by_group: Vec<Behaviour> = groups.iter().map(|g| behaviour(g).0).collect();
        let clustered = |f: fn(&Behaviour) -> f64| Interval::of_share(&by_group.iter().map(f).collect::<Vec<_>>());
        let per_problem = PerProblem {
            pass1: judged.iter().map(JudgedProblem::pass1).collect(),
            length: judged.iter().map(JudgedProblem::tokens).collect(),
        };
        Measures {
            score: Summary::of(task, &judged),
            language_consistency: Interval::of_share(&consistency),
            self_check: clustered(|b| b.self_check),
            readable: clustered(|b| b.readable_and_pure),
            entropy: -logprob / tokens.max(1) as f64,
            zero_variance: share(decided, judged.len()).unwrap_or(0.0),
            behaviour: overall,
            styles,
            per_problem,
            examples: groups.iter().take(shown).map(|g| Shown::from(&g[0])).collect(),
        }
    }
}

/// The samples of one problem as the scorer takes them. A truncated response has no answer.
fn judge(task: &Arithmetic, group: &[Rollout]) -> JudgedProblem {
    let q = &group[0].question;
    let (answer, language) = (q.answer.clone(), q.language.clone());
    let problem = Problem { index: q.index, question: q.text.clone(), answer, language, ..Problem::default() };
    let sample = |r: &Rollout| {
        let answer = task.answer(&problem, &r.text).filter(|_| !r.truncated);
        Sample { response: r.text.clone(), tokens: r.tokens.len(), verdict: r.verdict, answer }
    };
    JudgedProblem { samples: group.iter().map(sample).collect(), problem: problem.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::tagged;
    use meno_train::data::Question;

    fn rollout(question: &str, answer: i64, language: &str, text: String, verdict: Verdict) -> Rollout {
        let question = Question {
            text: question.into(),
            answer: answer.to_string(),
            language: language.into(),
            ..Question::default()
        };
        let tokens: Vec<u32> = (0..text.len() as u32).collect();
        let logprobs = vec![-0.5; tokens.len()];
        let (ref_logprobs, scores) = (vec![], vec![]);
        Rollout {
            question,
            tokens,
            logprobs,
            ref_logprobs,
            text,
            truncated: false,
            verdict,
            reward: 0.0,
            scores,
            advantage: 0.0,
        }
    }

    #[test]
    fn measures_agree_with_values_computed_by_hand() {
        let task = Arithmetic::default();
        let q = "What is 47+85?";
        let check = "47+85: 7+5=13, 4+8+1=13 so 133\ncheck 133-85: 13-5=8~7等\n47+85: 7+5=12, 4+8+1=13 so 132";
        let rollouts = [
            rollout(q, 132, "en", tagged(check, 132), Verdict::Right),
            rollout(q, 132, "en", tagged("47+85: 7+5=12, 4+8+1=13 so 132", 132), Verdict::Right),
            rollout(q, 132, "en", "131".into(), Verdict::Unparsable),
            rollout(q, 132, "en", tagged("", 130), Verdict::Wrong),
        ];
        let m = Measures::of(&task, &rollouts, 4, 2);
        assert_eq!((m.score.problems, m.score.samples, m.score.right), (1, 4, 2));
        assert_eq!(m.score.pass1.mean, 0.5);
        let b = m.behaviour;
        assert_eq!((b.format, b.mixed, b.self_check, b.wait), (0.5, 0.25, 0.25, 0.25));
        assert_eq!((b.slips_per_step, b.slips_found, b.slips_repaired), (Some(0.5), Some(1.0), Some(1.0)));
        assert_eq!((b.right_with_check, b.right_without_check), (Some(1.0), Some(1.0)));
        // so, check, 等, so: three of four words are English. The second response has one word, and it is English.
        assert!((m.language_consistency.mean - 0.875).abs() < 1e-12);
        let shares: Vec<f64> = m.styles.iter().map(|s| s.share).collect();
        assert_eq!(shares, [0.5, 0.0, 0.25, 0.25]);
        assert_eq!(m.entropy, 0.5);
        assert_eq!(m.examples.len(), 1);
    }
}
