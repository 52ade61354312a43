//! Detects thinking that repeats itself.
//!
//! Two tests, both on tokens. *Cycle*: the last tokens repeat with some period at least three times, for at least
//! [`MIN_CYCLE`] tokens. *Low novelty*: few of the last [`WINDOW`] runs of [`GRAM`] tokens are distinct, which detects
//! repetition with small variations. Reasoning that lists cases repeats words too, so both thresholds are high: a false
//! alarm ruins an answer, a late one costs only some tokens.

use std::collections::{HashMap, VecDeque};

/// Longest detected cycle in tokens.
const MAX_PERIOD: usize = 400;
/// Minimum length of the repetition in tokens.
const MIN_CYCLE: usize = 96;
/// Minimum number of repetitions after the first pass.
const REPEATS: usize = 3;
/// Number of runs that are compared.
const WINDOW: usize = 1200;
/// Length of a run in tokens.
const GRAM: usize = 4;
/// The thinking repeats itself if fewer than one in this many runs are distinct.
const NOVELTY: usize = 6;

/// Detects repetition in a sequence of tokens.
#[derive(Debug)]
pub struct LoopDetector {
    /// The last tokens, newest first.
    recent: VecDeque<u32>,
    /// Per period: how many of the last tokens equal the token one period before.
    equal: Vec<u32>,
    /// The runs of the window, oldest first, and how often each occurs.
    runs: VecDeque<[u32; GRAM]>,
    counts: HashMap<[u32; GRAM], u32>,
}

impl Default for LoopDetector {
    fn default() -> Self {
        LoopDetector {
            recent: VecDeque::new(),
            equal: vec![0; MAX_PERIOD + 1],
            runs: VecDeque::new(),
            counts: HashMap::new(),
        }
    }
}

impl LoopDetector {
    /// Adds a token; returns `true` if the tokens repeat themselves.
    pub fn push(&mut self, token: u32) -> bool {
        let mut cycle = false;
        for (i, &before) in self.recent.iter().enumerate() {
            let period = i + 1;
            self.equal[period] = if before == token { self.equal[period] + 1 } else { 0 };
            cycle |= self.equal[period] as usize >= (REPEATS * period).max(MIN_CYCLE);
        }
        self.recent.push_front(token);
        self.recent.truncate(MAX_PERIOD);
        cycle | self.low_novelty()
    }

    fn low_novelty(&mut self) -> bool {
        if self.recent.len() < GRAM {
            return false;
        }
        let run: [u32; GRAM] = std::array::from_fn(|i| self.recent[i]);
        *self.counts.entry(run).or_insert(0) += 1;
        self.runs.push_back(run);
        if self.runs.len() <= WINDOW {
            return false;
        }
        if let Some(old) = self.runs.pop_front()
            && let Some(count) = self.counts.get_mut(&old)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&old);
            }
        }
        self.counts.len() * NOVELTY < WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index of the token at which repetition is detected.
    fn detected_at(tokens: impl IntoIterator<Item = u32>) -> Option<usize> {
        let mut detector = LoopDetector::default();
        tokens.into_iter().position(|t| detector.push(t))
    }

    /// Pseudo-random numbers, the same in every run.
    fn noise(n: usize, of: u32) -> impl Iterator<Item = u32> {
        (0..n as u64)
            .map(move |i| ((i.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407) >> 33) as u32) % of)
    }

    #[test]
    fn cycles_of_every_length_are_detected_soon() {
        for period in [1, 2, 7, 33, 100, 400] {
            let tokens = noise(500, 1000).chain((0..5000).map(|i| 2000 + i % period as u32));
            let at = detected_at(tokens).unwrap();
            let due = 500 + period + MIN_CYCLE.max(REPEATS * period);
            assert!(at >= 500 + MIN_CYCLE && at < due + 2, "period {period}: detected at {at}, due at {due}");
        }
    }

    #[test]
    fn variations_of_the_same_are_detected_at() {
        // Forty tokens, one of which counts up: not a cycle, but only the number is new.
        let tokens = (0..400u32).flat_map(|round| (0..40).map(move |i| if i == 7 { 5000 + round } else { i }));
        assert!(detected_at(tokens).unwrap() <= WINDOW + GRAM);
    }

    #[test]
    fn lists_of_cases_and_long_texts_are_not_loops() {
        assert_eq!(detected_at(noise(30_000, 20_000)), None);
        // "a + b = c, " many times: half of the tokens repeat, the others do not.
        let cases = (0..3000u32).flat_map(|i| [1, 10 + i % 97, 2, 10 + i * 7 % 89, 3, 10 + i * 13 % 83]);
        assert_eq!(detected_at(cases), None);
        // A row of a table, a line of dashes.
        let table = (0..140u32).flat_map(|i| [vec![4; 12], vec![5, 6 + i, 5, 600 + i, 5, 700 + i]].concat());
        assert_eq!(detected_at(table), None);
    }
}
