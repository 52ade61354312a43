//! A thought that goes in circles.
//!
//! Two signs, both over tokens. *A cycle*: the last tokens repeat with some period at least three times over, for at
//! least [`MIN_CYCLE`] tokens. *Nothing new*: of the last [`WINDOW`] runs of [`GRAM`] tokens only a few are different,
//! which catches a thought that repeats itself with small variations. Reasoning that lists cases also repeats words,
//! so both ask for a lot: a false alarm costs an answer, a late one some tokens.

use std::collections::{HashMap, VecDeque};

/// Longest cycle that is looked for, in tokens.
const MAX_PERIOD: usize = 400;
/// A cycle must have gone on for this many tokens.
const MIN_CYCLE: usize = 96;
/// A cycle must have been repeated this many times after its first pass.
const REPEATS: usize = 3;
/// Runs of tokens that are looked at together.
const WINDOW: usize = 1200;
/// Tokens of a run.
const GRAM: usize = 4;
/// Fewer different runs than one in this many are too few.
const NOVELTY: usize = 6;

/// Watches a thought.
#[derive(Debug)]
pub struct Circles {
    /// The last tokens, newest first.
    recent: VecDeque<u32>,
    /// By period: how many of the last tokens equal the one that long before.
    equal: Vec<u32>,
    /// The runs of the window, oldest first, and how often each is there.
    runs: VecDeque<[u32; GRAM]>,
    counts: HashMap<[u32; GRAM], u32>,
}

impl Default for Circles {
    fn default() -> Self {
        Circles {
            recent: VecDeque::new(),
            equal: vec![0; MAX_PERIOD + 1],
            runs: VecDeque::new(),
            counts: HashMap::new(),
        }
    }
}

impl Circles {
    /// Takes the next token; `true` if the thought goes in circles.
    pub fn push(&mut self, token: u32) -> bool {
        let mut cycle = false;
        for (i, &before) in self.recent.iter().enumerate() {
            let period = i + 1;
            self.equal[period] = if before == token { self.equal[period] + 1 } else { 0 };
            cycle |= self.equal[period] as usize >= (REPEATS * period).max(MIN_CYCLE);
        }
        self.recent.push_front(token);
        self.recent.truncate(MAX_PERIOD);
        cycle | self.nothing_new()
    }

    fn nothing_new(&mut self) -> bool {
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

    /// The index of the token at which circles are seen.
    fn seen(tokens: impl IntoIterator<Item = u32>) -> Option<usize> {
        let mut circles = Circles::default();
        tokens.into_iter().position(|t| circles.push(t))
    }

    /// Different numbers, the same every time.
    fn noise(n: usize, of: u32) -> impl Iterator<Item = u32> {
        (0..n as u64)
            .map(move |i| ((i.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407) >> 33) as u32) % of)
    }

    #[test]
    fn cycles_of_every_length_are_seen_soon() {
        for period in [1, 2, 7, 33, 100, 400] {
            let tokens = noise(500, 1000).chain((0..5000).map(|i| 2000 + i % period as u32));
            let at = seen(tokens).unwrap();
            let due = 500 + period + MIN_CYCLE.max(REPEATS * period);
            assert!(at >= 500 + MIN_CYCLE && at < due + 2, "period {period}: seen at {at}, due at {due}");
        }
    }

    #[test]
    fn variations_of_the_same_are_seen() {
        // Forty tokens of which one counts up: no cycle, and nothing new but the number.
        let tokens = (0..400u32).flat_map(|round| (0..40).map(move |i| if i == 7 { 5000 + round } else { i }));
        assert!(seen(tokens).unwrap() <= WINDOW + GRAM);
    }

    #[test]
    fn lists_of_cases_and_long_texts_are_not() {
        assert_eq!(seen(noise(30_000, 20_000)), None);
        // "a + b = c, " over and over: half of the tokens repeat, the others do not.
        let cases = (0..3000u32).flat_map(|i| [1, 10 + i % 97, 2, 10 + i * 7 % 89, 3, 10 + i * 13 % 83]);
        assert_eq!(seen(cases), None);
        // A row of a table, a line of dashes.
        let table = (0..140u32).flat_map(|i| [vec![4; 12], vec![5, 6 + i, 5, 600 + i, 5, 700 + i]].concat());
        assert_eq!(seen(table), None);
    }
}
