//! Confidence intervals, clustered by problem.
//!
//! Samples of one problem are not independent. The unit is therefore the problem; its value is the mean over its
//! samples (arXiv 2411.00640 §2). Comparisons of two models on the same problems are paired.

use meno_tensor::rng::Rng;
use serde::{Deserialize, Serialize};

/// The normal quantile for 95 % intervals.
const Z: f64 = 1.959_963_985;

/// An estimate with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Mean of one value per problem, each value in 0..1. Uses the Wilson interval, which stays valid for few problems
    /// and extreme shares. Its sample size is the number of problems times the ratio of the binomial variance to the
    /// observed variance (at least 1).
    pub fn of_share(values: &[f64]) -> Interval {
        let n = values.len() as f64;
        if values.is_empty() {
            return Interval { mean: 0.0, low: 0.0, high: 1.0 };
        }
        let mean = values.iter().sum::<f64>() / n;
        let toss = mean * (1.0 - mean);
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        // With one sample per problem, variance = toss and n_eff = n: the plain Wilson interval.
        let n_eff = if variance > 0.0 { n * (toss / variance).max(1.0) } else { n };
        let z2 = Z * Z / n_eff;
        let centre = (mean + z2 / 2.0) / (1.0 + z2);
        let half = Z / (1.0 + z2) * (toss / n_eff + z2 / (4.0 * n_eff)).sqrt();
        Interval { mean, low: (centre - half).max(0.0), high: (centre + half).min(1.0) }
    }

    /// Mean of one value per problem; values may have any size.
    pub fn of_mean(values: &[f64]) -> Interval {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        let half = Z * (variance / n).sqrt();
        Interval { mean, low: mean - half, high: mean + half }
    }

    /// Mean of `a − b` over the same problems (paired).
    ///
    /// # Panics
    /// If `a` and `b` differ in length.
    pub fn of_difference(a: &[f64], b: &[f64]) -> Interval {
        assert_eq!(a.len(), b.len(), "a paired difference needs the same problems on both sides");
        Interval::of_mean(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>())
    }

    /// The difference of two independent estimates.
    pub fn minus(self, other: Interval) -> Interval {
        let half = |i: Interval| (i.high - i.low) / 2.0;
        let (mean, half) = (self.mean - other.mean, half(self).hypot(half(other)));
        Interval { mean, low: mean - half, high: mean + half }
    }

    /// mean(a) / mean(b) over the same problems, with a bootstrap over problems (1000 draws).
    ///
    /// # Panics
    /// If `a` and `b` differ in length.
    pub fn of_ratio(a: &[f64], b: &[f64]) -> Interval {
        assert_eq!(a.len(), b.len(), "a paired ratio needs the same problems on both sides");
        let n = a.len();
        let mut rng = Rng::new(&[0x7261_7469, n as u64]);
        let sum = |v: &[f64]| v.iter().sum::<f64>();
        let mean = sum(a) / sum(b);
        let mut draws: Vec<f64> = (0..1000)
            .map(|_| {
                let (x, y) = (0..n).map(|_| rng.below(n)).fold((0.0, 0.0), |(x, y), i| (x + a[i], y + b[i]));
                x / y
            })
            .collect();
        draws.sort_by(f64::total_cmp);
        Interval { mean, low: draws[25], high: draws[974] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sample_per_problem_gives_wilson() {
        // 8 of 10: the Wilson interval is 0.490 .. 0.943 (Brown, Cai, DasGupta 2001).
        let v: Vec<f64> = (0..10).map(|i| f64::from(u8::from(i < 8))).collect();
        let i = Interval::of_share(&v);
        assert!(
            (i.mean - 0.8).abs() < 1e-12 && (i.low - 0.4902).abs() < 1e-3 && (i.high - 0.9433).abs() < 1e-3,
            "{i:?}"
        );
        let none = Interval::of_share(&[0.0; 500]);
        assert!(none.low == 0.0 && none.high > 0.005 && none.high < 0.01, "{none:?}");
    }

    #[test]
    fn clustered_intervals_are_wider_than_per_sample_intervals() {
        // 100 problems, each all right or all wrong over its 16 samples: the information of 100 coin tosses, no more.
        let v: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i % 2 == 0))).collect();
        let i = Interval::of_share(&v);
        assert!(i.high - i.low > 0.18, "{i:?}");
        // Every problem is about half right: the mean is known much better.
        let even = Interval::of_share(&(0..100).map(|i| if i % 2 == 0 { 0.45 } else { 0.55 }).collect::<Vec<_>>());
        assert!(even.high - even.low < 0.03, "{even:?}");
    }

    #[test]
    fn coverage_is_about_95_percent() {
        let mut rng = Rng::new(&[5]);
        let trials = 2000;
        let hit = (0..trials)
            .filter(|_| {
                let v: Vec<f64> = (0..200).map(|_| f64::from(u8::from(rng.chance(0.3)))).collect();
                let i = Interval::of_share(&v);
                i.low <= 0.3 && 0.3 <= i.high
            })
            .count() as f64
            / trials as f64;
        assert!((0.93..0.97).contains(&hit), "{hit}");
    }

    #[test]
    fn pairing_removes_the_difficulty_of_the_problems() {
        let mut rng = Rng::new(&[6]);
        let hard: Vec<f64> = (0..300).map(|_| rng.uniform_f64()).collect();
        let better: Vec<f64> = hard.iter().map(|h| h + 0.05 + 0.01 * rng.uniform_f64()).collect();
        let d = Interval::of_difference(&better, &hard);
        assert!(d.low > 0.04 && d.high < 0.07, "{d:?}");
        let r = Interval::of_ratio(&hard.iter().map(|h| 2.0 * h).collect::<Vec<_>>(), &hard);
        assert!((r.mean - 2.0).abs() < 1e-9 && (r.low - 2.0).abs() < 1e-9, "{r:?}");
    }
}
