//! The log-softmax of one row of logits. Scoring, training and sampling share it, so a token's log-probability has the
//! same bits in all three.

/// The normalizer of a row of logits. With z = logit / temperature: log p = (z − max) − log Σ exp(z − max).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogSoftmax {
    /// 1 / temperature.
    pub inv_temperature: f32,
    /// The largest z.
    pub max: f32,
    /// Σ exp(z − max).
    pub sum: f32,
    /// log Σ exp(z − max).
    pub log_sum: f64,
    /// −Σ p log p, in nats.
    pub entropy: f32,
}

impl LogSoftmax {
    /// Creates a normalizer from the largest z, Σ e and Σ e·(z − max), where e = exp(z − max).
    pub(crate) fn new(inv_temperature: f32, max: f32, sum: f32, weighted: f32) -> Self {
        // Σ p log p = Σ p (z − max) − log Σ.
        let log_sum = (sum as f64).ln();
        let entropy = (log_sum - weighted as f64 / sum as f64).max(0.0) as f32;
        LogSoftmax { inv_temperature, max, sum, log_sum, entropy }
    }
    /// Returns the log-probability of a token with this logit.
    pub fn logprob(&self, logit: f32) -> f32 {
        ((logit * self.inv_temperature - self.max) as f64 - self.log_sum) as f32
    }
    /// Returns the probability of a token, given its exp(z − max).
    pub fn prob(&self, exp: f32) -> f32 {
        exp / self.sum
    }
}
