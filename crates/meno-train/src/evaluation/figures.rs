//! The results of one evaluation, as metrics and as text.

use super::settings::Metric;
use crate::metrics::Metrics;
use meno_eval::score::Summary;

/// The results of one evaluation.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) loss: Option<f64>,
    pub(super) summary: Option<Summary>,
}

impl Figures {
    /// Returns the value of the metric that selects the best model. The settings were checked, so it was evaluated.
    pub(super) fn value(&self, metric: Metric) -> f64 {
        match (metric, &self.summary) {
            (Metric::Pass1, Some(s)) => s.pass1.mean,
            (Metric::PassAtK, Some(s)) => s.pass_at_k,
            (Metric::ConsAtK, Some(s)) => s.cons_at_k.mean,
            (_, _) => self.loss.unwrap_or(f64::INFINITY),
        }
    }

    /// Formats the metrics for display, with confidence intervals where available.
    pub(super) fn describe(&self, metric: Metric) -> String {
        let mut parts = Vec::new();
        if let Some(s) = &self.summary {
            let metric = if metric == Metric::Loss { Metric::Pass1 } else { metric };
            let interval = match metric {
                Metric::Pass1 => Some(s.pass1),
                Metric::ConsAtK => Some(s.cons_at_k),
                _ => None,
            };
            let range = |i: meno_eval::Interval| format!(" ({:.1} to {:.1})", 100.0 * i.low, 100.0 * i.high);
            let value = metric.shown(self.value(metric));
            parts.push(format!("{} {value}{}", metric.name(), interval.map_or(String::new(), range)));
        }
        if let Some(loss) = self.loss {
            parts.push(format!("loss {}", Metric::Loss.shown(loss)));
        }
        parts.join(", ")
    }

    /// Adds the metrics of the evaluation.
    pub(super) fn push(&self, m: &mut Metrics) {
        if let Some(loss) = self.loss {
            m.push("eval/loss", loss);
        }
        let Some(s) = &self.summary else { return };
        let n = (s.right + s.wrong + s.truncated + s.unparsable).max(1) as f64;
        m.push("eval/pass1", s.pass1.mean);
        m.push("eval/pass1_low", s.pass1.low);
        m.push("eval/pass1_high", s.pass1.high);
        m.push("eval/pass_at_k", s.pass_at_k);
        m.push("eval/cons_at_k", s.cons_at_k.mean);
        m.push("eval/truncated", s.truncated as f64 / n);
        m.push("eval/unparsable", s.unparsable as f64 / n);
        m.push("eval/mean_length", s.mean_tokens.mean);
    }
}
