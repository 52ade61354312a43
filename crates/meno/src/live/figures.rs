//! The metrics that the view shows, and how it writes numbers.

use meno_train::Metrics;

/// The metrics shown as curves, most informative first, with their labels on the screen.
pub(super) const CURVES: [(&str, &str); 13] = [
    ("reward", "reward"),
    ("rewards/accuracy/mean", "accuracy"),
    ("verdicts/right", "right"),
    ("eval/pass1", "held-out pass@1"),
    ("loss", "loss"),
    ("completions/mean_length", "length"),
    ("rewards/language_consistency/mean", "language consistency"),
    ("entropy", "entropy"),
    ("mtp_loss", "MTP loss"),
    ("grad_norm", "gradient norm"),
    ("moe/max_violation", "expert imbalance"),
    ("kl", "KL"),
    ("kept", "kept"),
];

/// Two keys for the same metric: the first is not shown if the second exists.
pub(super) const SAME: (&str, &str) = ("verdicts/right", "rewards/accuracy/mean");

/// Metrics that a plain line shows in addition to the curves.
const FIGURES: [&str; 3] = ["learning_rate", "tokens_per_second", "sampling/logprob_gap"];

/// True if a metric is shown as a curve.
pub(super) fn is_curve(name: &str) -> bool {
    CURVES.iter().any(|(key, _)| *key == name)
}

/// The metrics of a plain line.
pub(super) fn shown(metrics: &Metrics) -> impl Iterator<Item = (&str, f64)> {
    let curves = CURVES.iter().filter(|(key, _)| !(*key == SAME.0 && metrics.get(SAME.1).is_some()));
    let curves = curves.filter_map(|(key, name)| Some((*name, metrics.get(key)?))).take(6);
    curves.chain(FIGURES.iter().filter_map(|key| Some((*key, metrics.get(key)?))))
}

/// Formats a number in few characters.
pub(super) fn figure(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if !(1e-3..1e6).contains(&size) {
        format!("{value:.1e}")
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(["0", "0.500", "123", "1.0e-4"], [0.0, 0.5, 123.4, 1e-4].map(figure).map(|s| s.leak() as &str));
    }
}
