//! Rotary position embedding (Su et al. 2021), in place, with the frequency scalings of long-context checkpoints.
//!
//! Pair i of a head is rotated by the angle position · f_i. Published layouts: *interleaved* pairs (x\[2i\], x\[2i+1\])
//! (DeepSeek) and *half-split* pairs (x\[i\], x\[i + d/2\]) (Llama, Qwen).

use crate::tape::{Activation, Describe, Io};
use std::f64::consts::PI;
use std::sync::Arc;

/// How the coordinates of a head are paired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// (x\[2i\], x\[2i+1\]).
    Interleaved,
    /// (x\[i\], x\[i + d/2\]).
    HalfSplit,
}

/// cos and sin of every position and pair.
pub struct RopeTable {
    /// `[position, dim / 2]`.
    pub(crate) cos: Vec<f32>,
    /// `[position, dim / 2]`.
    pub(crate) sin: Vec<f32>,
    pub(crate) half: usize,
}

impl RopeTable {
    /// Creates the table for `positions` positions of these frequencies (one per pair), scaled by `magnitude`.
    pub fn new(frequencies: &[f64], magnitude: f64, positions: usize) -> Self {
        let angles = (0..positions).flat_map(|p| frequencies.iter().map(move |f| p as f64 * f));
        let (cos, sin) = angles.map(|a| ((a.cos() * magnitude) as f32, (a.sin() * magnitude) as f32)).unzip();
        RopeTable { cos, sin, half: frequencies.len() }
    }
    /// Returns the number of positions.
    pub fn positions(&self) -> usize {
        self.cos.len() / self.half.max(1)
    }
}

/// Returns f_i = theta^(−2i/dim).
pub fn frequencies(theta: f64, dim: usize) -> Vec<f64> {
    (0..dim / 2).map(|i| theta.powf(-2.0 * i as f64 / dim as f64)).collect()
}

/// YaRN (Peng et al. 2023) as in DeepSeek (spec: V3 §4.3): low frequencies are divided by the factor, high ones are
/// kept, with a linear ramp between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// s, the factor by which the context grows.
    pub factor: f64,
    /// L, the context length before scaling.
    pub original_max_position_embeddings: f64,
    /// Number of rotations over L above which a frequency is kept.
    pub beta_fast: f64,
    /// Number of rotations over L below which a frequency is divided.
    pub beta_slow: f64,
}

impl Yarn {
    /// Returns the (fractional) pair that makes `rotations` rotations over the original context.
    pub fn correction(&self, rotations: f64, theta: f64, dim: usize) -> f64 {
        dim as f64 * (self.original_max_position_embeddings / (2.0 * PI * rotations)).ln() / (2.0 * theta.ln())
    }
    /// Returns the frequencies, one per pair.
    pub fn frequencies(&self, theta: f64, dim: usize) -> Vec<f64> {
        let low = self.correction(self.beta_fast, theta, dim).floor().max(0.0);
        let mut high = self.correction(self.beta_slow, theta, dim).ceil().min(dim as f64 - 1.0);
        if low == high {
            high += 0.001;
        }
        let plain = frequencies(theta, dim).into_iter().enumerate();
        plain
            .map(|(i, f)| {
                let ramp = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                f / self.factor * ramp + f * (1.0 - ramp)
            })
            .collect()
    }
}

/// Returns 0.1 · m · ln s + 1, or 1 if nothing is scaled.
pub fn yarn_mscale(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
}

/// Llama 3.1's scaling (`rope_type: llama3`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Llama3 {
    /// The divisor of low frequencies.
    pub factor: f64,
    /// Wavelengths above original / low_freq_factor are divided.
    pub low_freq_factor: f64,
    /// Wavelengths below original / high_freq_factor are kept.
    pub high_freq_factor: f64,
    /// The context length before scaling.
    pub original_max_position_embeddings: f64,
}

impl Llama3 {
    /// Returns the frequencies, one per pair.
    pub fn frequencies(&self, theta: f64, dim: usize) -> Vec<f64> {
        let scale = |f: f64| {
            let wavelength = 2.0 * PI / f;
            if wavelength > self.original_max_position_embeddings / self.low_freq_factor {
                f / self.factor
            } else if wavelength < self.original_max_position_embeddings / self.high_freq_factor {
                f
            } else {
                let smooth = (self.original_max_position_embeddings / wavelength - self.low_freq_factor)
                    / (self.high_freq_factor - self.low_freq_factor);
                (1.0 - smooth) * f / self.factor + smooth * f
            }
        };
        frequencies(theta, dim).into_iter().map(scale).collect()
    }
}

/// Rotates `heads` heads of every row of `x` in place, by the positions of the batch; backward rotates back.
pub struct Rope {
    /// `[t, ld]`.
    pub x: Activation,
    /// Columns of `x`.
    pub ld: usize,
    /// First rotated column of head 0.
    pub offset: usize,
    /// Distance between heads.
    pub head_stride: usize,
    /// Number of heads.
    pub heads: usize,
    /// Layout of the pairs.
    pub pairs: Pairs,
    /// Angles; `2 · half` columns of each head are rotated.
    pub table: Arc<RopeTable>,
}

impl Describe for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }
    fn io(&self) -> Io {
        let x = vec![self.x];
        Io { reads: x.clone(), writes: x.clone(), grad_reads: x.clone(), grad_writes: x, ..Io::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precision::Precision;
    use crate::testing::{TestInput, build, check_agreement};

    /// spec: V3 with d = 64, theta 1e4, L = 4096, s = 40, beta 32 / 1.
    #[test]
    fn yarn_vectors_of_deepseek_v3() {
        let yarn = Yarn { factor: 40.0, original_max_position_embeddings: 4096.0, beta_fast: 32.0, beta_slow: 1.0 };
        assert!((yarn.correction(32.0, 1e4, 64) - 10.4722408).abs() < 1e-6);
        assert!((yarn.correction(1.0, 1e4, 64) - 22.5134406).abs() < 1e-6);
        let f = yarn.frequencies(1e4, 64);
        let expected = [
            (0, 1.0),
            (10, 5.623413252e-2),
            (11, 3.900692657e-2),
            (15, 8.334508951e-3),
            (16, 5.5e-3),
            (17, 3.561997494e-3),
            (22, 1.778279410e-4),
            (23, 3.333803580e-5),
            (31, 3.333803580e-6),
        ];
        for (i, e) in expected {
            assert!((f[i] / e - 1.0).abs() < 1e-8, "f[{i}] = {}", f[i]);
        }
        assert!((yarn_mscale(40.0, 1.0).powi(2) - 1.8738542071).abs() < 1e-9);
        assert!((192f64.powf(-0.5) * yarn_mscale(40.0, 1.0).powi(2) - 0.1352337789).abs() < 1e-9);
        assert!((192f64.powf(-0.5) * yarn_mscale(40.0, 0.707).powi(2) - 0.1147213868).abs() < 1e-9);
    }

    fn nets(pairs: Pairs) -> Vec<crate::testing::Net> {
        build(true, 19, |b, p| {
            let x = TestInput::input(b, p, 60);
            let table = Arc::new(RopeTable::new(&frequencies(100.0, 12), 1.0, 19));
            // The gradient is rotated in place too: other ops must add to it after it is rotated back.
            b.push(Rope { x, ld: 60, offset: 5, head_stride: 18, heads: 3, pairs, table });
            x
        })
    }

    #[test]
    fn gradients_and_bits() {
        for pairs in [Pairs::Interleaved, Pairs::HalfSplit] {
            for mut net in nets(pairs) {
                net.check_gradients(1e-3);
                net.check_bits();
            }
        }
    }

    /// Devices may load four elements at once and rotate several heads in one thread.
    #[test]
    fn heads_at_multiples_of_four_columns() {
        for pairs in [Pairs::Interleaved, Pairs::HalfSplit] {
            let nets = || {
                build(true, 19, |b, p| {
                    let x = TestInput::input(b, p, 128);
                    let table = Arc::new(RopeTable::new(&frequencies(100.0, 16), 1.0, 19));
                    b.push(Rope { x, ld: 128, offset: 4, head_stride: 20, heads: 6, pairs, table });
                    x
                })
            };
            check_agreement(nets(), Precision::F32, 2e-5);
            nets().iter_mut().for_each(|net| net.check_bits());
        }
    }

    #[test]
    fn equals_complex_rotation() {
        let (n, dim) = (19, 12);
        for pairs in [Pairs::Interleaved, Pairs::HalfSplit] {
            for mut net in nets(pairs) {
                let x = net.value("test.input.0");
                let y = net.output();
                let positions = net.batch.positions.clone();
                let mut rotated = 0;
                for (row, col) in (0..n).flat_map(|r| (0..60).map(move |c| (r, c))) {
                    let inside = col >= 5 && (col - 5) % 18 < dim && (col - 5) / 18 < 3;
                    let at = |c: usize| x[row * 60 + c] as f64;
                    let expected = if inside {
                        let (d, first) = ((col - 5) % 18, 5 + (col - 5) / 18 * 18);
                        let (i, second) = match pairs {
                            Pairs::Interleaved => (d / 2, d % 2 == 1),
                            Pairs::HalfSplit => (d % 6, d >= 6),
                        };
                        let (re, im) = match pairs {
                            Pairs::Interleaved => (at(first + 2 * i), at(first + 2 * i + 1)),
                            Pairs::HalfSplit => (at(first + i), at(first + i + 6)),
                        };
                        let angle = positions[row] as f64 * 100f64.powf(-(i as f64) / 6.0);
                        rotated += 1;
                        if second { re * angle.sin() + im * angle.cos() } else { re * angle.cos() - im * angle.sin() }
                    } else {
                        at(col)
                    };
                    assert!((y[row * 60 + col] as f64 - expected).abs() < 1e-5, "{pairs:?} row {row} column {col}");
                }
                assert_eq!(rotated, n * 36);
            }
        }
    }

    /// transformers' `_compute_llama3_parameters`: long waves divided by the factor, short ones kept, smooth between.
    #[test]
    fn llama3_keeps_short_waves_and_stretches_long_ones() {
        let llama3 = Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192.0,
        };
        let (plain, scaled) = (frequencies(5e5, 128), llama3.frequencies(5e5, 128));
        assert_eq!(plain[0], scaled[0]);
        assert_eq!(plain[63] / 8.0, scaled[63]);
        for (p, s) in plain.iter().zip(&scaled) {
            assert!(*s <= *p && *s >= p / 8.0 * (1.0 - 1e-12));
        }
        assert!(plain.iter().zip(&scaled).any(|(p, s)| *s < 0.99 * p && *s > p / 7.9));
        assert!(scaled.windows(2).all(|w| w[1] < w[0]));
    }
}
