//! The log-softmax of one row of logits, and its gradient.

use crate::cpu::row_kernels;
use crate::log_softmax::LogSoftmax;

/// Replaces a row's logits by the gradient of a loss, given its derivatives with respect to log p(`target`) and the
/// entropy H:
///
/// ∂ log p_t / ∂ logit_j = (1[j = t] − p_j) / T,  ∂ H / ∂ logit_j = −p_j (log p_j + H) / T.
pub(crate) fn gradient(row: &LogSoftmax, target: usize, dlogprob: f32, dentropy: f32, logits: &mut [f32]) {
    let (c, k) = (dlogprob * row.inv_temperature, dentropy * row.inv_temperature);
    // With d = z − max, log p = d − log Σ: every logit gets p · (−c − k (d − log Σ + H)).
    let constant = -c - k * (row.entropy as f64 - row.log_sum) as f32;
    row_kernels::exp_times_linear(logits, row.inv_temperature, row.max, constant / row.sum, k / row.sum);
    logits[target] += c;
}

/// Normalizes a row of logits.
pub(crate) fn log_softmax_row(logits: &[f32], inv_temperature: f32) -> LogSoftmax {
    let max = row_kernels::max(logits) * inv_temperature;
    let [sum, weighted] = row_kernels::exp_sums(logits, inv_temperature, max);
    LogSoftmax::new(inv_temperature, max, sum, weighted)
}

/// Like [`log_softmax_row`], with the same bits; leaves exp(z − max) in the row.
pub(crate) fn exp_row(logits: &mut [f32], inv_temperature: f32) -> LogSoftmax {
    let max = row_kernels::max(logits) * inv_temperature;
    let [sum, weighted] = row_kernels::exp_in_place(logits, inv_temperature, max);
    LogSoftmax::new(inv_temperature, max, sum, weighted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn agrees_with_f64_and_with_itself() {
        for (n, temperature) in [(1, 1.0), (7, 0.6), (16, 1.0), (513, 1.3)] {
            let mut rng = Rng::new(&[n as u64]);
            let logits: Vec<f32> = (0..n).map(|_| 5.0 * rng.normal()).collect();
            let row = log_softmax_row(&logits, 1.0 / temperature);
            let mut exps = logits.clone();
            assert_eq!(row, exp_row(&mut exps, 1.0 / temperature));
            let z: Vec<f64> = logits.iter().map(|&x| x as f64 / temperature as f64).collect();
            let log_sum = z.iter().map(|z| z.exp()).sum::<f64>().ln();
            let entropy: f64 = z.iter().map(|z| -(z - log_sum) * (z - log_sum).exp()).sum();
            assert!((row.entropy as f64 - entropy).abs() < 1e-5, "{} {entropy}", row.entropy);
            for (i, z) in z.iter().enumerate() {
                assert!((row.logprob(logits[i]) as f64 - (z - log_sum)).abs() < 2e-6 * (1.0 + z.abs()));
                assert!((row.prob(exps[i]) as f64 - (z - log_sum).exp()).abs() < 2e-6);
            }
        }
    }

    #[test]
    fn survives_huge_logits() {
        let mut logits = [3e4, -3e4, 3e4];
        let row = log_softmax_row(&logits, 1.0);
        assert!((row.logprob(3e4) + 2f32.ln()).abs() < 1e-6);
        assert!((row.entropy - 2f32.ln()).abs() < 1e-6);
        gradient(&row, 0, 1.0, 1.0, &mut logits);
        assert!((logits[0] - 0.5).abs() < 1e-6 && (logits[2] + 0.5).abs() < 1e-6, "{logits:?}");
        assert_eq!(logits[1], 0.0);
    }

    /// The gradient from the definition, in f64: a sum over the whole Jacobian of log p.
    fn plain_gradient(logits: &[f32], temperature: f64, target: usize, dlogprob: f64, dentropy: f64) -> Vec<f64> {
        let z: Vec<f64> = logits.iter().map(|&x| x as f64 / temperature).collect();
        let log_sum = z.iter().map(|z| z.exp()).sum::<f64>().ln();
        let log_p: Vec<f64> = z.iter().map(|z| z - log_sum).collect();
        let jacobian = |i: usize, j: usize| (f64::from(u8::from(i == j)) - log_p[j].exp()) / temperature;
        let by_logit = |j: usize| {
            // H = −Σ p log p, so ∂H/∂ log p_i = −p_i (log p_i + 1).
            let entropy: f64 = (0..z.len()).map(|i| -log_p[i].exp() * (log_p[i] + 1.0) * jacobian(i, j)).sum();
            dlogprob * jacobian(target, j) + dentropy * entropy
        };
        (0..z.len()).map(by_logit).collect()
    }

    #[test]
    fn the_gradient_agrees_with_the_definition() {
        for (n, temperature, spread) in [(1, 1.0, 1.0), (7, 0.6, 2.0), (16, 1.0, 8.0), (301, 1.3, 5.0)] {
            let mut rng = Rng::new(&[n as u64, 3]);
            let logits: Vec<f32> = (0..n).map(|_| spread * rng.normal()).collect();
            for (dlogprob, dentropy) in [(0.7, 0.0), (0.0, 1.0), (-1.2, 0.4)] {
                let target = n / 2;
                let row = log_softmax_row(&logits, 1.0 / temperature);
                let mut found = logits.clone();
                gradient(&row, target, dlogprob, dentropy, &mut found);
                let plain = plain_gradient(&logits, temperature as f64, target, dlogprob as f64, dentropy as f64);
                for (a, b) in found.iter().zip(plain) {
                    assert!((*a as f64 - b).abs() < 2e-6, "{n}: {a} {b}");
                }
            }
        }
    }
}
