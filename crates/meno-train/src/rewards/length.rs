//! Length shaping.

use super::{Input, Reward};
use crate::data::Verdict;

/// DAPO's soft overlong punishment (arXiv 2503.14476 eq. 13): 0 up to `max − cache` tokens, falling linearly to −1 at
/// `max`, −1 beyond.
#[derive(Clone, Copy, Debug)]
pub struct SoftOverlong {
    /// Longest response, in tokens.
    pub max: usize,
    /// Over how many tokens before `max` the punishment grows.
    pub cache: usize,
}

impl SoftOverlong {
    fn value(&self, tokens: usize) -> f32 {
        let free = self.max.saturating_sub(self.cache);
        if tokens <= free {
            0.0
        } else if tokens < self.max {
            (free as f32 - tokens as f32) / self.cache as f32
        } else {
            -1.0
        }
    }
}

impl Reward for SoftOverlong {
    fn name(&self) -> &str {
        "soft_overlong"
    }
    fn score(&self, input: &Input) -> f32 {
        self.value(input.tokens)
    }
}

/// The cosine length reward (arXiv 2502.03373 §4): right answers earn more when short, wrong ones lose less when long.
#[derive(Clone, Copy, Debug)]
pub struct CosineLength {
    /// Longest response, in tokens.
    pub max: usize,
    /// Reward of a right answer of no tokens and of `max` tokens.
    pub right: (f32, f32),
    /// Reward of a wrong answer of no tokens and of `max` tokens.
    pub wrong: (f32, f32),
}

impl CosineLength {
    /// The values of the paper: 1 to 0.5 for right, −1 to −0.5 for wrong answers.
    pub fn new(max: usize) -> Self {
        CosineLength { max, right: (1.0, 0.5), wrong: (-1.0, -0.5) }
    }
    fn value(&self, right: bool, tokens: usize) -> f32 {
        let (at_zero, at_max) = if right { self.right } else { self.wrong };
        let t = (tokens as f32 / self.max.max(1) as f32).min(1.0);
        at_max + 0.5 * (at_zero - at_max) * (1.0 + (std::f32::consts::PI * t).cos())
    }
}

impl Reward for CosineLength {
    fn name(&self) -> &str {
        "cosine_length"
    }
    fn score(&self, input: &Input) -> f32 {
        self.value(input.verdict == Verdict::Right, input.tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_overlong_falls_over_the_cache() {
        let r = SoftOverlong { max: 100, cache: 20 };
        assert_eq!([r.value(0), r.value(80), r.value(90), r.value(100), r.value(120)], [0.0, 0.0, -0.5, -1.0, -1.0]);
    }

    #[test]
    fn cosine_prefers_short_right_and_long_wrong() {
        let r = CosineLength::new(100);
        assert_eq!((r.value(true, 0), r.value(true, 100)), (1.0, 0.5));
        assert_eq!((r.value(false, 0), r.value(false, 200)), (-1.0, -0.5));
        assert!((r.value(true, 50) - 0.75).abs() < 1e-6);
    }
}
