//! What an engine tells of itself.

use crate::generator::Stats;

/// Upper bounds of the buckets, in seconds; the last bucket has none.
const BOUNDS: [f64; 15] = [0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0];

/// How often durations fell into which range.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Histogram {
    /// By bucket: how many were at most [`Histogram::bounds`] and above the bound before; the last has those above all.
    pub counts: [u64; BOUNDS.len() + 1],
    /// Sum of all, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Upper bounds of the buckets, in seconds.
    pub fn bounds() -> &'static [f64] {
        &BOUNDS
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Counts a duration.
    pub fn add(&mut self, seconds: f64) {
        self.counts[BOUNDS.partition_point(|&bound| bound < seconds)] += 1;
        self.sum += seconds;
    }
}

/// What was done since the start, and what is being done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineStats {
    /// Steps, prompt tokens run and found, tokens generated.
    pub totals: Stats,
    /// Requests taken.
    pub requests: u64,
    /// Requests refused because too many waited.
    pub refused: u64,
    /// Samples complete: by a stop, by their length, cancelled, failed.
    pub finished: [u64; 4],
    /// Samples waiting for a place.
    pub waiting: usize,
    /// Samples being prefilled or written.
    pub running: usize,
    /// Pages of the cache in use, kept prefixes included, and all.
    pub cache_pages: (usize, usize),
    /// From submission to the first token of a request, in seconds.
    pub time_to_first_token: Histogram,
    /// Between two tokens of a sample, in seconds.
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
