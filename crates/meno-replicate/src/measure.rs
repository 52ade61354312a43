//! What is measured of a model at the end of every stage, on problems it never saw.

use super::work::{Style, read};
use meno_eval::Interval;
use meno_eval::Verdict;
use meno_eval::score::{Judged, Sample, Summary};
use meno_eval::tasks::arithmetic::{Arithmetic, parse_question};
use meno_eval::{Problem, Task};
use meno_train::rewards::{format::Format, language_consistency};
use meno_train::rollout::Rollout;
use serde::{Deserialize, Serialize};

/// The figures of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// pass@1, pass@k, cons@k, verdicts, length.
    #[serde(flatten)]
    pub score: Summary,
    /// Mean share of words in the question's language, over responses with words; clustered by problem.
    pub language_consistency: Interval,
    /// Share of responses with at least one self-check, clustered by problem.
    pub self_check: Interval,
    /// Share of responses that can be followed line by line and hold one language, clustered by problem.
    pub readable: Interval,
    /// The mean of log π over the sampled tokens, negative: an estimate of the entropy in nats.
    pub entropy: f64,
    /// Problems whose samples are all right or all wrong.
    pub zero_variance: f64,
    /// What the responses do.
    pub behaviour: Behaviour,
    /// By the way the response went about it.
    pub styles: Vec<StyleRow>,
    /// One value per problem: what paired comparisons need.
    pub per_problem: PerProblem,
    /// A few responses, the first sample of the first problems.
    pub examples: Vec<Shown>,
}

/// What responses do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Behaviour {
    /// Share with thought and answer in their form, the thought not empty.
    pub format: f64,
    /// Share whose thought can be followed line by line.
    pub readable: f64,
    /// … and holds no word of another language than the question's.
    pub readable_and_pure: f64,
    /// Share with words of both languages.
    pub mixed: f64,
    /// Mean share of words in the question's language, over responses with words.
    pub language_consistency: Option<f64>,
    /// Share with at least one self-check.
    pub self_check: f64,
    /// Share in which a check ended in `wait`.
    pub wait: f64,
    /// Share of steps whose first pass was wrong.
    pub slips_per_step: Option<f64>,
    /// Of the slips that were checked, the share that the check found.
    pub slips_found: Option<f64>,
    /// Of the slips that were found, the share that the second pass repaired.
    pub slips_repaired: Option<f64>,
    /// Of the right steps that were checked, the share that the check doubted.
    pub false_alarms: Option<f64>,
    /// Share right among responses with a check.
    pub right_with_check: Option<f64>,
    /// Share right among responses in columns without a check.
    pub right_without_check: Option<f64>,
}

/// One way to go about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StyleRow {
    /// direct, short, columns, checked.
    pub style: String,
    /// Share of responses.
    pub share: f64,
    /// Share of these that are right.
    pub pass1: Option<f64>,
}

/// Values per problem, in the order of the problems.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerProblem {
    /// Share of right samples.
    pub pass1: Vec<f64>,
    /// Mean tokens of a response.
    pub length: Vec<f64>,
}

/// A response to show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The question.
    pub question: String,
    /// The reference answer.
    pub answer: String,
    /// The response.
    pub response: String,
    /// What the verifier said.
    pub verdict: Verdict,
    /// Its tokens.
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

/// The thought of a response: what stands between its tags, or all of it.
fn thought(response: &str) -> &str {
    let inner = response.split_once("<think>").map_or(response, |(_, rest)| rest);
    inner.split_once("</think>").map_or(inner, |(thought, _)| thought)
}

/// `None` where there is nothing to take a share of.
fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Mean share of words in the question's language over responses with words; `None` if none has any.
fn language(rollouts: &[Rollout]) -> Option<f64> {
    let shares: Vec<f64> = rollouts
        .iter()
        .map(|r| language_consistency::count(&r.question.language, &r.text))
        .filter(|c| c.1 > 0)
        .map(|(own, all)| own as f64 / all as f64)
        .collect();
    (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
}

/// What `rollouts` do, and by which style.
pub fn behaviour(rollouts: &[Rollout]) -> (Behaviour, Vec<StyleRow>) {
    let n = rollouts.len();
    let (zero, r1) = (Format::default(), Format { answer: None, ..Format::default() });
    let (mut steps, mut slips, mut checks, mut checked_slips, mut found, mut repaired, mut alarms) =
        (0, 0, 0, 0, 0, 0, 0);
    let (mut formed, mut readable, mut pure, mut mixed, mut self_check, mut wait) = (0, 0, 0, 0, 0, 0);
    let mut styles = [(0usize, 0usize); 4];
    for r in rollouts {
        let right = r.verdict == Verdict::Right;
        let form = |f: &Format| f.matches(&r.question.prompt_text, &r.text);
        formed += usize::from(!r.truncated && (form(&zero) || (!r.text.contains("<answer>") && form(&r1))));
        let (own, all) = language_consistency::count(&r.question.language, &r.text);
        mixed += usize::from(own > 0 && own < all);
        let Some((e, _)) = parse_question(&r.question.text) else { continue };
        let mut t = thought(&r.text);
        if !r.text.contains("<think>") {
            // A bare answer ends with a line of its own that is no step.
            t = t.trim_end().rsplit_once('\n').map_or("", |(steps, _)| steps);
        }
        let reading = read(t, &e);
        readable += usize::from(reading.is_readable());
        pure += usize::from(reading.is_readable() && own == all && !r.truncated);
        self_check += usize::from(reading.checks > 0);
        wait += usize::from(reading.waits > 0);
        steps += reading.steps;
        slips += reading.slips;
        checks += reading.checks;
        checked_slips += reading.slips_checked;
        found += reading.slips_found;
        repaired += reading.slips_repaired;
        alarms += reading.false_alarms;
        let row = &mut styles[reading.style.map_or(0, |s| s as usize)];
        row.0 += 1;
        row.1 += usize::from(right);
    }
    let of_all = |part| share(part, n).unwrap_or(0.0);
    let b = Behaviour {
        format: of_all(formed),
        readable: of_all(readable),
        readable_and_pure: of_all(pure),
        mixed: of_all(mixed),
        language_consistency: language(rollouts),
        self_check: of_all(self_check),
        wait: of_all(wait),
        slips_per_step: share(slips, steps),
        slips_found: share(found, checked_slips),
        slips_repaired: share(repaired, found),
        false_alarms: share(alarms, checks - checked_slips),
        right_with_check: share(styles[3].1, styles[3].0),
        right_without_check: share(styles[2].1, styles[2].0),
    };
    let row = |s: Style| {
        let (count, right) = styles[s as usize];
        StyleRow { style: s.name().into(), share: of_all(count), pass1: share(right, count) }
    };
    (b, Style::ALL.map(row).into())
}

impl Measures {
    /// Measures `rollouts`: `k` samples of each problem, neighbours.
    pub fn of(task: &Arithmetic, rollouts: &[Rollout], k: usize, shown: usize) -> Measures {
        let groups: Vec<&[Rollout]> = rollouts.chunks(k.max(1)).collect();
        let judged: Vec<Judged> = groups.iter().map(|g| judge(task, g)).collect();
        let (behaviour, styles) = behaviour(rollouts);
        let tokens: usize = rollouts.iter().map(|r| r.logprobs.len()).sum();
        let logprob: f64 = rollouts.iter().flat_map(|r| &r.logprobs).map(|&l| l as f64).sum();
        let decided = judged.iter().filter(|j| j.pass1() == 0.0 || j.pass1() == 1.0).count();
        let consistency: Vec<f64> = groups.iter().filter_map(|g| language(g)).collect();
        let per_group = |f: &dyn Fn(&Behaviour) -> f64| -> Vec<f64> {
            groups.iter().map(|g| f(&super::measure::behaviour(g).0)).collect()
        };
        let self_check = Interval::of_share(&per_group(&|b| b.self_check));
        let readable = Interval::of_share(&per_group(&|b| b.readable_and_pure));
        let per_problem = PerProblem {
            pass1: judged.iter().map(Judged::pass1).collect(),
            length: judged.iter().map(Judged::tokens).collect(),
        };
        Measures {
            score: Summary::of(task, &judged),
            language_consistency: Interval::of_share(&consistency),
            self_check,
            readable,
            entropy: -logprob / tokens.max(1) as f64,
            zero_variance: share(decided, judged.len()).unwrap_or(0.0),
            behaviour,
            styles,
            per_problem,
            examples: groups.iter().take(shown).map(|g| Shown::from(&g[0])).collect(),
        }
    }
}

fn judge(task: &Arithmetic, group: &[Rollout]) -> Judged {
    let q = &group[0].question;
    let (answer, language) = (q.answer.clone(), q.language.clone());
    let problem = Problem { index: q.index, question: q.text.clone(), answer, language, ..Problem::default() };
    let sample = |r: &Rollout| {
        let answer = task.answer(&problem, &r.text).filter(|_| !r.truncated);
        Sample { response: r.text.clone(), tokens: r.tokens.len(), verdict: r.verdict, answer }
    };
    Judged { samples: group.iter().map(sample).collect(), problem: problem.clone() }
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
    fn figures_by_hand() {
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
        // so, check, 等, so: three of four are English; the other response has one word, English.
        assert!((m.language_consistency.mean - 0.875).abs() < 1e-12);
        let shares: Vec<f64> = m.styles.iter().map(|s| s.share).collect();
        assert_eq!(shares, [0.5, 0.0, 0.25, 0.25]);
        assert_eq!(m.entropy, 0.5);
        assert_eq!(m.examples.len(), 1);
    }
}
