//! Length shaping.

use super::{Input, Reward};
use crate::data::Verdict;

/// DAPO's soft overlong punishment (arXiv 2503.14476 eq. 13): 0 up to `max − cache` tokens, then linear to −1 at `max`,
/// and −1 beyond.
#[derive(Clone, Copy, Debug)]
pub struct SoftOverlong {
    /// Maximum length of a response, in tokens.
    pub max: usize,
    /// Number of tokens before `max` over which the penalty grows.
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

/// The cosine length reward (arXiv 2502.03373 §4.1): right answers earn more when short, wrong ones lose less when
/// long, and an answer that hits the length limit gets a fixed penalty.
///
/// R = r_e if L = L_max, else r_L + ½ (r_0 − r_L) (1 + cos(π L / L_max)), where r_0 is the reward of an answer with no
/// tokens and r_L that of one with L_max tokens. The names of the values are those of open-r1's
/// `get_cosine_scaled_reward`, which has no penalty and counts characters; `exceed_length` is the name in the paper's
/// code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineLength {
    /// L_max: the maximum length of a response, in tokens.
    pub max_len: usize,
    /// Reward of a wrong answer with no tokens.
    pub min_value_wrong: f32,
    /// Reward of a wrong answer with `max_len` tokens.
    pub max_value_wrong: f32,
    /// Reward of a right answer with `max_len` tokens.
    pub min_value_correct: f32,
    /// Reward of a right answer with no tokens.
    pub max_value_correct: f32,
    /// r_e: reward of an answer that was truncated, or that has `max_len` tokens or more.
    pub exceed_length: f32,
}

impl CosineLength {
    /// Uses the values of open-r1. A truncated response gets the value of a wrong answer with no tokens, as in the
    /// paper.
    pub fn new(max_len: usize) -> Self {
        CosineLength {
            max_len,
            min_value_wrong: -1.0,
            max_value_wrong: -0.5,
            min_value_correct: 0.5,
            max_value_correct: 1.0,
            exceed_length: -1.0,
        }
    }

    fn value(&self, right: bool, tokens: usize, truncated: bool) -> f32 {
        if truncated || tokens >= self.max_len {
            return self.exceed_length;
        }
        let (at_zero, at_max) = match right {
            true => (self.max_value_correct, self.min_value_correct),
            false => (self.min_value_wrong, self.max_value_wrong),
        };
        let progress = tokens as f32 / self.max_len as f32;
        at_max + 0.5 * (at_zero - at_max) * (1.0 + (std::f32::consts::PI * progress).cos())
    }
}

impl Reward for CosineLength {
    fn name(&self) -> &str {
        "cosine_length"
    }
    fn score(&self, input: &Input) -> f32 {
        self.value(input.verdict == Verdict::Right, input.tokens, input.truncated)
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
    fn cosine_by_hand() {
        // r_L + ½ (r_0 − r_L) (1 + cos(π L/L_max)); cos is 1, √½, 0, −½ at 0, 1/4, 1/2, 2/3 of π.
        let open_r1 = CosineLength::new(120);
        let paper = CosineLength {
            min_value_wrong: -10.0,
            max_value_wrong: 0.0,
            min_value_correct: 1.0,
            max_value_correct: 2.0,
            exceed_length: -10.0,
            ..open_r1
        };
        for (tokens, right, wrong, paper_right, paper_wrong) in [
            (0, 1.0, -1.0, 2.0, -10.0),
            (30, 0.926_776_7, -0.926_776_7, 1.853_553_4, -8.535_534),
            (60, 0.75, -0.75, 1.5, -5.0),
            (80, 0.625, -0.625, 1.25, -2.5),
            (119, 0.500_085_67, -0.500_085_67, 1.000_171_3, -0.001_713_27),
        ] {
            let got = [
                open_r1.value(true, tokens, false),
                open_r1.value(false, tokens, false),
                paper.value(true, tokens, false),
                paper.value(false, tokens, false),
            ];
            let expected: [f32; 4] = [right, wrong, paper_right, paper_wrong];
            assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{tokens}: {got:?} {expected:?}");
        }
        // At the limit, or truncated earlier by a shorter context: the penalty, right or wrong.
        for (tokens, truncated) in [(120, true), (120, false), (150, false), (70, true)] {
            assert_eq!((paper.value(true, tokens, truncated), paper.value(false, tokens, truncated)), (-10.0, -10.0));
        }
    }

    #[test]
    fn shorter_is_better_when_right_and_worse_when_wrong() {
        let r = CosineLength::new(64);
        for tokens in 1..64 {
            assert!(r.value(true, tokens, false) < r.value(true, tokens - 1, false), "{tokens}");
            assert!(r.value(false, tokens, false) > r.value(false, tokens - 1, false), "{tokens}");
        }
    }
}
