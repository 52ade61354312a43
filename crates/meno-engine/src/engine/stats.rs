//! Statistics of an engine.

use crate::generator::{CachePages, Finish, Stats};

/// Upper bounds of the buckets in seconds; the last bucket has no upper bound.
const BOUNDS: [f64; 15] = [0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0];

/// A histogram of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Durations per bucket: at most its bound in [`Histogram::bounds`] and above the previous bound. The last bucket
    /// has all larger ones.
    pub counts: [u64; BOUNDS.len() + 1],
    /// Sum of all durations in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Returns the upper bounds of the buckets in seconds.
    pub fn bounds() -> &'static [f64] {
        &BOUNDS
    }

    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds a duration.
    pub fn add(&mut self, seconds: f64) {
        self.counts[BOUNDS.partition_point(|&bound| bound < seconds)] += 1;
        self.sum += seconds;
    }
}

/// Numbers of completed samples by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// A stop token, a stop string or a constraint ended them.
    pub stop: u64,
    /// They reached the maximum number of tokens, or the end of the context.
    pub length: u64,
    /// The client or the engine cancelled them.
    pub cancelled: u64,
    /// The logits were not finite.
    pub failed: u64,
}

impl Finished {
    /// Counts one sample.
    pub(super) fn add(&mut self, finish: Finish) {
        let count = match finish {
            Finish::Stop => &mut self.stop,
            Finish::Length => &mut self.length,
            Finish::Cancelled => &mut self.cancelled,
            Finish::NotFinite => &mut self.failed,
        };
        *count += 1;
    }
}

/// Counters since the start, and the current state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineStats {
    /// Steps, prompt tokens computed and found in the cache, tokens generated.
    pub totals: Stats,
    /// Accepted requests.
    pub requests: u64,
    /// Requests rejected because too many samples were waiting.
    pub refused: u64,
    /// Completed samples by reason.
    pub finished: Finished,
    /// Samples waiting for a slot.
    pub waiting: usize,
    /// Samples in prefill or decoding.
    pub running: usize,
    /// Pages of the cache.
    pub cache_pages: CachePages,
    /// Time from the submission of a request to its first token, in seconds.
    pub time_to_first_token: Histogram,
    /// Time between two tokens of a sample, in seconds.
    pub time_between_tokens: Histogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_buckets() {
        let mut h = Histogram::default();
        for x in [0.005, 0.0051, 0.3, 500.0] {
            h.add(x);
        }
        assert_eq!((h.counts[0], h.counts[1], h.counts[8], h.counts[15], h.count()), (1, 1, 1, 1, 4));
        assert!((h.sum - 500.3101).abs() < 1e-9);
    }
}
