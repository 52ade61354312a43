//! What responses do: their form, their languages, their checks and slips.

use crate::trace_reading::{TraceReading, read};
use crate::worked_steps::ReasoningStyle;
use meno_eval::Verdict;
use meno_eval::tasks::arithmetic::parse_question;
use meno_train::rewards::{format::FormatReward, language_consistency};
use meno_train::rollout::Rollout;
use serde::{Deserialize, Serialize};

/// What responses do, as shares. A share of nothing is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Behaviour {
    /// Share of responses in the right format: a thought that is not empty, and an answer.
    pub format: f64,
    /// Share of responses whose thought can be followed line by line.
    pub readable: f64,
    /// Share of responses that are readable and contain words of the question's language only.
    pub readable_and_pure: f64,
    /// Share of responses with words of both languages.
    pub mixed: f64,
    /// Mean share of words in the question's language, over responses with words.
    pub language_consistency: Option<f64>,
    /// Share of responses with at least one self-check.
    pub self_check: f64,
    /// Share of responses in which a check ended in `wait`.
    pub wait: f64,
    /// Share of steps that were wrong at first.
    pub slips_per_step: Option<f64>,
    /// Share of checked slips that the check found.
    pub slips_found: Option<f64>,
    /// Share of found slips that the second attempt repaired.
    pub slips_repaired: Option<f64>,
    /// Share of checked right steps that the check doubted.
    pub false_alarms: Option<f64>,
    /// Share of right answers among responses with a check.
    pub right_with_check: Option<f64>,
    /// Share of right answers among responses in columns without a check.
    pub right_without_check: Option<f64>,
}

/// The results of one reasoning style.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StyleRow {
    /// The style's name: direct, short, columns or checked.
    pub style: String,
    /// Share of responses in this style.
    pub share: f64,
    /// Share of right answers among them.
    pub pass1: Option<f64>,
}

/// `part / whole`; `None` if `whole` is 0.
pub(crate) fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Mean share of words in the question's language, over responses with words; `None` if no response has any.
pub(crate) fn language(rollouts: &[Rollout]) -> Option<f64> {
    let shares: Vec<f64> = rollouts
        .iter()
        .map(|r| language_consistency::count(&r.question.language, &r.text))
        .filter(|c| c.1 > 0)
        .map(|(own, all)| own as f64 / all as f64)
        .collect();
    (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
}

/// The steps of a response: the text between its think tags, or all but the last line of a bare answer.
fn steps(response: &str) -> &str {
    let Some((_, inner)) = response.split_once("<think>") else {
        let inner = response.split_once("</think>").map_or(response, |(steps, _)| steps);
        return inner.trim_end().rsplit_once('\n').map_or("", |(steps, _)| steps);
    };
    inner.split_once("</think>").map_or(inner, |(steps, _)| steps)
}

/// Numbers of responses, and sums over their readings.
#[derive(Default)]
struct Counts {
    formed: usize,
    readable: usize,
    pure: usize,
    mixed: usize,
    self_check: usize,
    wait: usize,
    steps: TraceReading,
    /// Responses and right ones, by style.
    styles: [(usize, usize); 4],
}

impl Counts {
    fn add(&mut self, r: &Rollout) {
        let (zero, r1) = (FormatReward::default(), FormatReward { answer: None, ..FormatReward::default() });
        let form = |f: &FormatReward| f.matches(&r.question.prompt_text, &r.text);
        self.formed += usize::from(!r.truncated && (form(&zero) || (!r.text.contains("<answer>") && form(&r1))));
        let (own, all) = language_consistency::count(&r.question.language, &r.text);
        self.mixed += usize::from(own > 0 && own < all);
        let Some((e, _)) = parse_question(&r.question.text) else { return };
        let reading = read(steps(&r.text), &e);
        self.readable += usize::from(reading.is_readable());
        self.pure += usize::from(reading.is_readable() && own == all && !r.truncated);
        self.self_check += usize::from(reading.checks > 0);
        self.wait += usize::from(reading.waits > 0);
        self.steps.add_counts(&reading);
        let row = &mut self.styles[reading.style.unwrap_or(ReasoningStyle::Direct) as usize];
        row.0 += 1;
        row.1 += usize::from(r.verdict == Verdict::Right);
    }
}

/// The behaviour of `rollouts`, and their results by reasoning style.
pub fn behaviour(rollouts: &[Rollout]) -> (Behaviour, Vec<StyleRow>) {
    let mut counts = Counts::default();
    rollouts.iter().for_each(|r| counts.add(r));
    let of_all = |part| share(part, rollouts.len()).unwrap_or(0.0);
    let Counts { formed, readable, pure, mixed, self_check, wait, steps: s, styles } = counts;
    let right_in = |style: ReasoningStyle| share(styles[style as usize].1, styles[style as usize].0);
    let b = Behaviour {
        format: of_all(formed),
        readable: of_all(readable),
        readable_and_pure: of_all(pure),
        mixed: of_all(mixed),
        language_consistency: language(rollouts),
        self_check: of_all(self_check),
        wait: of_all(wait),
        slips_per_step: share(s.slips, s.steps),
        slips_found: share(s.slips_found, s.slips_checked),
        slips_repaired: share(s.slips_repaired, s.slips_found),
        false_alarms: share(s.false_alarms, s.checks - s.slips_checked),
        right_with_check: right_in(ReasoningStyle::Checked),
        right_without_check: right_in(ReasoningStyle::Columns),
    };
    let row = |style: ReasoningStyle| StyleRow {
        style: style.name().into(),
        share: of_all(styles[style as usize].0),
        pass1: right_in(style),
    };
    (b, ReasoningStyle::ALL.map(row).into())
}

/// The behaviour of a step's rollouts, as metrics that are logged next to the trainer's.
pub(crate) fn metrics(rollouts: &[Rollout]) -> Vec<(&'static str, f64)> {
    let (b, _) = behaviour(rollouts);
    let mut metrics =
        vec![("behaviour/self_check", b.self_check), ("behaviour/wait", b.wait), ("behaviour/mixed", b.mixed)];
    let optional = [
        ("behaviour/language_consistency", b.language_consistency),
        ("behaviour/slips_per_step", b.slips_per_step),
        ("behaviour/right_with_check", b.right_with_check),
        ("behaviour/right_without_check", b.right_without_check),
    ];
    metrics.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    metrics
}
