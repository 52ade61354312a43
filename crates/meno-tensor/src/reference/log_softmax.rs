//! The log-softmax of one row of logits, and its gradient, in f64.

use crate::log_softmax::LogSoftmax;

/// Returns z − max of a logit, as in [`LogSoftmax::logprob`].
fn distance(logit: f32, inv_temperature: f32, max: f32) -> f64 {
    (logit * inv_temperature - max) as f64
}

/// Returns the normalizer of a row of logits.
pub(super) fn log_softmax_row(logits: &[f32], inv_temperature: f32) -> LogSoftmax {
    let max = logits.iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x)) * inv_temperature;
    let (mut sum, mut weighted) = (0f64, 0f64);
    for &x in logits {
        let d = distance(x, inv_temperature, max);
        sum += d.exp();
        // A token of probability 0 adds nothing: 0 · −∞ would be NaN.
        weighted += if d == f64::NEG_INFINITY { 0.0 } else { d.exp() * d };
    }
    LogSoftmax::new(inv_temperature, max, sum as f32, weighted as f32)
}

/// Like [`log_softmax_row`]; leaves exp(z − max) in the row.
pub(super) fn exp_row(logits: &mut [f32], inv_temperature: f32) -> LogSoftmax {
    let row = log_softmax_row(logits, inv_temperature);
    logits.iter_mut().for_each(|x| *x = distance(*x, inv_temperature, row.max).exp() as f32);
    row
}

/// Returns the gradient with respect to the logits of a loss, given its derivatives with respect to log p(`target`) and
/// the entropy H:
///
/// ∂ log p_t / ∂ logit_j = (1[j = t] − p_j) / T,  ∂ H / ∂ logit_j = −p_j (log p_j + H) / T.
pub(super) fn gradient(row: &LogSoftmax, target: usize, (dlogprob, dentropy): (f32, f32), logits: &[f32]) -> Vec<f32> {
    let (c, k) = [dlogprob, dentropy].map(|d| d as f64 * row.inv_temperature as f64).into();
    let one = |(j, &x): (usize, &f32)| {
        let log_p = distance(x, row.inv_temperature, row.max) - row.log_sum;
        let p = log_p.exp();
        let by_entropy = if p == 0.0 { 0.0 } else { k * p * (log_p + row.entropy as f64) };
        (c * (f64::from(u8::from(j == target)) - p) - by_entropy) as f32
    };
    logits.iter().enumerate().map(one).collect()
}
